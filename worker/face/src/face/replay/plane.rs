//! Square pictures of one number a pixel, and what is done to them before they are compared.

use zeroize::Zeroizing;

/// A square picture. Wiped when dropped.
pub(super) struct Plane {
    side: usize,
    values: Zeroizing<Vec<f32>>,
}

impl Plane {
    pub(super) fn new(side: usize, values: Zeroizing<Vec<f32>>) -> Self {
        debug_assert_eq!(values.len(), side * side);
        Self { side, values }
    }

    pub(super) fn side(&self) -> usize {
        self.side
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Part of a row.
    pub(super) fn row(&self, y: usize, from: usize, length: usize) -> &[f32] {
        &self.values[y * self.side + from..][..length]
    }

    /// At half the size, each pixel the mean of four.
    pub(super) fn halved(&self) -> Self {
        let side = self.side / 2;
        let mut out = Zeroizing::new(Vec::with_capacity(side * side));
        for y in 0..side {
            let (upper, lower) = (self.row(2 * y, 0, 2 * side), self.row(2 * y + 1, 0, 2 * side));
            out.extend(
                upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(a, b)| (a[0] + a[1] + b[0] + b[1]) / 4.0),
            );
        }
        Self::new(side, out)
    }

    pub(super) fn mirrored(&self) -> Self {
        let mut values = Zeroizing::new(Vec::with_capacity(self.values.len()));
        for row in self.values.chunks_exact(self.side) {
            values.extend(row.iter().rev());
        }
        Self::new(self.side, values)
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut values = self.values.clone();
        for (value, other) in values.iter_mut().zip(other.values.iter()) {
            *value -= other;
        }
        Self::new(self.side, values)
    }

    /// The mean over a square of this reach, clipped at the edges.
    pub(super) fn blurred(&self, reach: usize) -> Self {
        let side = self.side;
        let span = |at: usize| at.saturating_sub(reach)..(at + reach + 1).min(side);
        // Rows: a running sum along each.
        let mut rows = Zeroizing::new(vec![0f32; self.values.len()]);
        for (from, out) in self.values.chunks_exact(side).zip(rows.chunks_exact_mut(side)) {
            let mut sum: f32 = from[..reach].iter().sum();
            for (at, out) in out.iter_mut().enumerate() {
                if let Some(entering) = from.get(at + reach) {
                    sum += entering;
                }
                if let Some(leaving) = at.checked_sub(reach + 1) {
                    sum -= from[leaving];
                }
                *out = sum / span(at).len() as f32;
            }
        }
        // Columns: a running sum of whole rows.
        let mut out = Zeroizing::new(vec![0f32; self.values.len()]);
        let mut sums = Zeroizing::new(vec![0f32; side]);
        let row = |at: usize| &rows[at * side..][..side];
        let move_in = |sums: &mut [f32], row: &[f32], sign: f32| {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += sign * value;
            }
        };
        for at in 0..reach {
            move_in(&mut sums, row(at), 1.0);
        }
        for (at, out) in out.chunks_exact_mut(side).enumerate() {
            if at + reach < side {
                move_in(&mut sums, row(at + reach), 1.0);
            }
            if let Some(leaving) = at.checked_sub(reach + 1) {
                move_in(&mut sums, row(leaving), -1.0);
            }
            let count = span(at).len() as f32;
            for (out, sum) in out.iter_mut().zip(sums.iter()) {
                *out = sum / count;
            }
        }
        Self::new(side, out)
    }

    /// Each pixel from another place.
    pub(super) fn sampled(&self, from: impl Fn(f32, f32) -> (f32, f32)) -> Self {
        let mut values = Zeroizing::new(Vec::with_capacity(self.values.len()));
        for y in 0..self.side {
            values.extend((0..self.side).map(|x| {
                let (x, y) = from(x as f32, y as f32);
                self.at(x, y)
            }));
        }
        Self::new(self.side, values)
    }

    /// Between pixels, bilinearly; beyond an edge, the edge.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let limit = self.side as f32 - 1.001;
        let (x, y) = (x.clamp(0.0, limit), y.clamp(0.0, limit));
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = (x - left as f32, y - top as f32);
        let pixels = &self.values[top * self.side + left..][..self.side + 2];
        let upper = pixels[0] * (1.0 - fx) + pixels[1] * fx;
        let lower = pixels[self.side] * (1.0 - fx) + pixels[self.side + 1] * fx;
        upper * (1.0 - fy) + lower * fy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(side: usize) -> Plane {
        Plane::new(side, Zeroizing::new((0..side * side).map(|i| ((i * 7919) % 251) as f32).collect()))
    }

    #[test]
    fn a_blur_is_the_mean_of_the_square_clipped_at_the_edges() {
        const SIDE: usize = 75;
        let from = numbers(SIDE);
        let got = from.blurred(3);
        for (x, y) in [(0, 0), (1, 40), (37, 37), (74, 2), (74, 74)] {
            let span = |at: usize| at.saturating_sub(3)..(at + 4).min(SIDE);
            let sum: f32 =
                span(y).flat_map(|v| span(x).map(move |u| (u, v))).map(|(u, v)| from.values[v * SIDE + u]).sum();
            let expected = sum / (span(x).len() * span(y).len()) as f32;
            assert!((got.values[y * SIDE + x] - expected).abs() < 1e-2, "{x} {y}");
        }
    }

    #[test]
    fn half_the_size_is_the_mean_of_four_and_an_odd_edge_is_left_out() {
        let got = numbers(5).halved();
        assert_eq!(got.side(), 2);
        let from = numbers(5);
        let expected = (from.values[2] + from.values[3] + from.values[7] + from.values[8]) / 4.0;
        assert_eq!(got.values()[1], expected);
    }

    #[test]
    fn mirrored_twice_is_itself_and_between_pixels_is_between() {
        let from = numbers(6);
        assert_eq!(from.mirrored().values()[0], from.values()[5]);
        assert_eq!(from.mirrored().mirrored().values(), from.values());
        assert!((from.at(0.5, 0.0) - (from.values[0] + from.values[1]) / 2.0).abs() < 1e-3);
        assert!((from.at(-9.0, 99.0) - from.values[30]).abs() < 1.0);
    }
}
