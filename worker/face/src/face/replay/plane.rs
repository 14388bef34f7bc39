//! Square pictures of one number a pixel, and what is done to them before they are compared.

use pulp::{Arch, Simd, WithSimd};

use crate::wipe::Wiped;

/// A square picture. Wiped when dropped.
pub(super) struct Plane {
    side: usize,
    values: Wiped<f32>,
}

impl Plane {
    pub(super) fn new(side: usize, values: Wiped<f32>) -> Self {
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
    #[inline(always)]
    pub(super) fn row(&self, y: usize, from: usize, length: usize) -> &[f32] {
        &self.values[y * self.side + from..][..length]
    }

    /// At half the size, each pixel the mean of four.
    pub(super) fn halved(&self) -> Self {
        let side = self.side / 2;
        let mut out = Wiped::with_capacity(side * side);
        for y in 0..side {
            let (upper, lower) = (self.row(2 * y, 0, 2 * side), self.row(2 * y + 1, 0, 2 * side));
            out.extend(
                upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(a, b)| (a[0] + a[1] + b[0] + b[1]) / 4.0),
            );
        }
        Self::new(side, out)
    }

    pub(super) fn mirrored(&self) -> Self {
        let mut values = Wiped::with_capacity(self.values.len());
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
        let mut out = Wiped::zeros(self.values.len());
        Arch::new().dispatch(Blur { from: self, reach, out: &mut out });
        Self::new(self.side, out)
    }

    /// Each pixel from another column and row.
    pub(super) fn sampled(&self, column: impl Fn(f32) -> f32, row: impl Fn(f32) -> f32) -> Self {
        let place = |at: f32| self.place(at);
        let columns: Vec<(usize, f32)> = (0..self.side).map(|x| place(column(x as f32))).collect();
        let mut values = Wiped::with_capacity(self.values.len());
        let mut between = Wiped::<f32>::zeros(self.side);
        for y in 0..self.side {
            let (top, fy) = place(row(y as f32));
            let (upper, lower) = (self.row(top, 0, self.side), self.row(top + 1, 0, self.side));
            for ((out, upper), lower) in between.iter_mut().zip(upper).zip(lower) {
                *out = upper * (1.0 - fy) + lower * fy;
            }
            values.extend(columns.iter().map(|(left, fx)| between[*left] * (1.0 - fx) + between[left + 1] * fx));
        }
        Self::new(self.side, values)
    }

    /// Between pixels, bilinearly; beyond an edge, the edge.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let ((left, fx), (top, fy)) = (self.place(x), self.place(y));
        let pixels = &self.values[top * self.side + left..][..self.side + 2];
        let upper = pixels[0] * (1.0 - fx) + pixels[1] * fx;
        let lower = pixels[self.side] * (1.0 - fx) + pixels[self.side + 1] * fx;
        upper * (1.0 - fy) + lower * fy
    }

    /// The pixel before a place along an axis, one before the last at most, and how far behind it the place is.
    fn place(&self, at: f32) -> (usize, f32) {
        let at = at.clamp(0.0, self.side as f32 - 1.001);
        let before = at as usize;
        (before, at - before as f32)
    }
}

/// First down the columns, by a running sum of whole rows, then along each row.
struct Blur<'a> {
    from: &'a Plane,
    reach: usize,
    out: &'a mut [f32],
}

impl WithSimd for Blur<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { from, reach, out } = self;
        let side = from.side;
        let span = |at: usize| (at.saturating_sub(reach)..(at + reach + 1).min(side)).len() as f32;
        let shares: Vec<f32> = (0..side).map(|x| 1.0 / span(x)).collect();
        let row = |at: usize| from.row(at, 0, side);
        // Nothing on either side of the row, as far as the blur reaches.
        let mut sums = Wiped::<f32>::zeros(side + 2 * reach);
        for at in 0..reach.min(side) {
            add(&mut sums[reach..][..side], row(at));
        }
        for (y, out) in out.chunks_exact_mut(side).enumerate() {
            if y + reach < side {
                add(&mut sums[reach..][..side], row(y + reach));
            }
            if y > reach {
                let leaving = row(y - reach - 1);
                for (sum, value) in sums[reach..][..side].iter_mut().zip(leaving) {
                    *sum -= value;
                }
            }
            for k in 0..2 * reach + 1 {
                add(out, &sums[k..][..side]);
            }
            let share = 1.0 / span(y);
            for (out, across) in out.iter_mut().zip(&shares) {
                *out *= share * across;
            }
        }
    }
}

#[inline(always)]
fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(side: usize) -> Plane {
        Plane::new(side, (0..side * side).map(|i| ((i * 7919) % 251) as f32).collect())
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
