//! Is one face picture a copy of another? Decided by the pixels of the aligned faces.
//!
//! Two photographs of one person agree in their coarse shading, whatever the day; a copy agrees
//! in the finer structure too (the catchlights, the strands of hair, the shadow's edge), even
//! after recompression, scaling, cropping or a change of brightness. So both faces are
//! band-passed, laid over one another as well as they will go, and correlated; the mirror image
//! too.

use zeroize::Zeroizing;

use super::chip::Chip;
use super::quality::luminance;

/// The highest correlation of the two faces over small shifts, turns and scales, mirrored or
/// not: 1 for a perfect copy, near 0 for unrelated detail.
pub fn correlation(portrait: &Chip, frame: &Chip) -> f32 {
    Detail::of(portrait).correlation(&Detail::of(frame))
}

/// Pixels along the side of the band-passed picture.
const SIDE: usize = Chip::SIDE / 2;
/// The window that is compared, out of SIDE: the face without the surroundings that a crop or
/// another background would change.
const WINDOW: std::ops::Range<usize> = 17..58;
/// Largest displacement tried, in pixels of the small picture.
const REACH: i16 = 3;
/// What does not correlate this far over whole-pixel shifts is no copy that turning and scaling
/// could bring out, and the search ends there. In the tests, copies correlated at 0.82 or more
/// over whole-pixel shifts already, and refining added at most 0.25 to any pair.
const WORTH_REFINING: f32 = 0.5;

/// A face at half size, without its coarse shading and its pixel noise. Wiped when dropped.
pub struct Detail {
    values: Zeroizing<Vec<f32>>,
}

impl Detail {
    /// Takes the detail of an aligned face.
    pub fn of(chip: &Chip) -> Self {
        let full = luminance(chip);
        let mut small = Zeroizing::new(vec![0f32; SIDE * SIDE]);
        for (rows, out) in full.chunks_exact(2 * Chip::SIDE).zip(small.chunks_exact_mut(SIDE)) {
            let (upper, lower) = rows.split_at(Chip::SIDE);
            for ((a, b), out) in upper.chunks_exact(2).zip(lower.chunks_exact(2)).zip(out) {
                let sum: u16 = [a[0], a[1], b[0], b[1]].map(u16::from).iter().sum();
                *out = f32::from(sum) / 4.0;
            }
        }
        let mut values = blur(&small, 1);
        let coarse = blur(&blur(&small, 3), 3);
        for (value, coarse) in values.iter_mut().zip(coarse.iter()) {
            *value -= coarse;
        }
        Self { values }
    }

    /// The highest correlation with another face's detail.
    pub fn correlation(&self, other: &Self) -> f32 {
        let fixed = self.window();
        let best = |other: &Self| self.best_match(&fixed, other);
        best(other).max(best(&other.mirrored()))
    }

    fn mirrored(&self) -> Self {
        let rows = self.values.chunks_exact(SIDE);
        Self { values: Zeroizing::new(rows.flat_map(|row| row.iter().rev().copied()).collect()) }
    }

    /// This picture's own part of each comparison.
    fn window(&self) -> Sums {
        WINDOW.fold(Sums::default(), |sums, y| {
            let row = &self.values[y * SIDE..][WINDOW];
            sums.with(row, row)
        })
    }

    fn best_match(&self, fixed: &Sums, other: &Self) -> f32 {
        // From coarse to fine: each round looks around the best of the last one.
        let mut best = (-1.0, Placement::default());
        for x in -REACH..=REACH {
            for y in -REACH..=REACH {
                let found = self.compare_shifted(fixed, other, x, y);
                if found > best.0 {
                    best = (found, Placement { x: f32::from(x), y: f32::from(y), ..Placement::default() });
                }
            }
        }
        if best.0 < WORTH_REFINING {
            return best.0;
        }
        let reach = f32::from(REACH);
        for step in [1.0f32, 0.5, 0.25] {
            for _ in 0..4 {
                let centre = best;
                for (x, y, turn, scale) in [
                    (1.0, 0.0, 0.0, 0.0),
                    (-1.0, 0.0, 0.0, 0.0),
                    (0.0, 1.0, 0.0, 0.0),
                    (0.0, -1.0, 0.0, 0.0),
                    (0.0, 0.0, 1.0, 0.0),
                    (0.0, 0.0, -1.0, 0.0),
                    (0.0, 0.0, 0.0, 1.0),
                    (0.0, 0.0, 0.0, -1.0),
                ] {
                    let from = centre.1;
                    let tried = Placement {
                        x: (from.x + x * step).clamp(-reach, reach),
                        y: (from.y + y * step).clamp(-reach, reach),
                        turn: (from.turn + turn * step * 0.04).clamp(-0.12, 0.12),
                        scale: (from.scale + scale * step * 0.04).clamp(-0.12, 0.12),
                    };
                    let found = self.compare(fixed, other, tried);
                    if found > best.0 {
                        best = (found, tried);
                    }
                }
                if best.0 <= centre.0 {
                    break;
                }
            }
        }
        best.0
    }

    /// Normalised correlation of the window with the other picture moved by whole pixels.
    fn compare_shifted(&self, fixed: &Sums, other: &Self, x: i16, y: i16) -> f32 {
        // REACH keeps inside the picture.
        let moved = |at: usize, by: i16| at.saturating_add_signed(isize::from(by));
        let sums = WINDOW.fold(Sums::default(), |sums, row| {
            let theirs = &other.values[moved(row, y) * SIDE + moved(WINDOW.start, x)..][..WINDOW.len()];
            sums.with(&self.values[row * SIDE..][WINDOW], theirs)
        });
        sums.correlation(fixed)
    }

    /// Normalised correlation of the window with the other picture laid over it.
    fn compare(&self, fixed: &Sums, other: &Self, placement: Placement) -> f32 {
        let middle = (SIDE as f32 - 1.0) / 2.0;
        let (sin, cos) = placement.turn.sin_cos();
        let (sin, cos) = (sin * (1.0 + placement.scale), cos * (1.0 + placement.scale));
        let mut laid = Zeroizing::new([0f32; WINDOW.end - WINDOW.start]);
        let sums = WINDOW.fold(Sums::default(), |sums, y| {
            let dy = y as f32 - middle;
            for (x, out) in WINDOW.zip(laid.iter_mut()) {
                let dx = x as f32 - middle;
                *out = other.at(middle + cos * dx - sin * dy + placement.x, middle + sin * dx + cos * dy + placement.y);
            }
            sums.with(&self.values[y * SIDE..][WINDOW], &laid[..])
        });
        sums.correlation(fixed)
    }

    /// Between pixels, bilinearly. The window and REACH keep inside the picture.
    fn at(&self, x: f32, y: f32) -> f32 {
        let limit = SIDE as f32 - 1.001;
        let (x, y) = (x.clamp(0.0, limit), y.clamp(0.0, limit));
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = (x - left as f32, y - top as f32);
        let pixels = &self.values[top * SIDE + left..][..SIDE + 2];
        let upper = pixels[0] * (1.0 - fx) + pixels[1] * fx;
        let lower = pixels[SIDE] * (1.0 - fx) + pixels[SIDE + 1] * fx;
        upper * (1.0 - fy) + lower * fy
    }
}

/// What a correlation is made of. Of the pair (a, b): sums of b, b squared, and a times b.
#[derive(Clone, Copy, Default)]
struct Sums {
    b: f64,
    bb: f64,
    ab: f64,
}

impl Sums {
    /// With one more row. In eight lanes, which the compiler turns into one instruction each.
    fn with(self, a: &[f32], b: &[f32]) -> Self {
        const LANES: usize = 8;
        let mut lanes = [[0f32; LANES]; 3];
        let (heads, tails) = (a.chunks_exact(LANES).zip(b.chunks_exact(LANES)), a.len() / LANES * LANES);
        for (a, b) in heads {
            for lane in 0..LANES {
                lanes[0][lane] += b[lane];
                lanes[1][lane] += b[lane] * b[lane];
                lanes[2][lane] += a[lane] * b[lane];
            }
        }
        for (a, b) in a[tails..].iter().zip(&b[tails..]) {
            lanes[0][0] += b;
            lanes[1][0] += b * b;
            lanes[2][0] += a * b;
        }
        let [b, bb, ab] = lanes.map(|lanes| f64::from(lanes.iter().sum::<f32>()));
        Self { b: self.b + b, bb: self.bb + bb, ab: self.ab + ab }
    }

    /// `fixed` is the first picture against itself.
    fn correlation(&self, fixed: &Self) -> f32 {
        let n = (WINDOW.len() * WINDOW.len()) as f64;
        let spread = ((fixed.bb - fixed.b * fixed.b / n) * (self.bb - self.b * self.b / n)).max(0.0).sqrt();
        // Two faces without any detail are not evidence of a copy.
        if spread < n { 0.0 } else { ((self.ab - fixed.b * self.b / n) / spread) as f32 }
    }
}

/// How the second face is laid over the first.
#[derive(Clone, Copy, Default)]
struct Placement {
    x: f32,
    y: f32,
    /// Radians.
    turn: f32,
    /// 0 is the same size.
    scale: f32,
}

/// The mean over a square of this reach, clipped at the edges.
fn blur(from: &[f32], reach: usize) -> Zeroizing<Vec<f32>> {
    let span = |at: usize| at.saturating_sub(reach)..(at + reach + 1).min(SIDE);
    // Rows: a running sum along each.
    let mut rows = Zeroizing::new(vec![0f32; from.len()]);
    for (from, out) in from.chunks_exact(SIDE).zip(rows.chunks_exact_mut(SIDE)) {
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
    let mut out = Zeroizing::new(vec![0f32; from.len()]);
    let mut sums = Zeroizing::new([0f32; SIDE]);
    let row = |at: usize| &rows[at * SIDE..][..SIDE];
    let move_in = |sums: &mut [f32; SIDE], row: &[f32], sign: f32| {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += sign * value;
        }
    };
    for at in 0..reach {
        move_in(&mut sums, row(at), 1.0);
    }
    for (at, out) in out.chunks_exact_mut(SIDE).enumerate() {
        if at + reach < SIDE {
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
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smooth random texture, moved by whole pixels and mirrored on demand.
    fn textured(seed: u64, dx: usize, mirror: bool, gain: f32) -> Chip {
        let value = |x: usize, y: usize| {
            let mut sum = 0.0f32;
            for wave in 0..24u64 {
                let h = (seed * 1_000 + wave).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let (kx, ky) = ((h >> 8) as u8 as f32 / 400.0, (h >> 20) as u8 as f32 / 400.0);
                let phase = (h >> 40) as u8 as f32 / 40.0;
                sum += (kx * x as f32 + ky * y as f32 + phase).sin();
            }
            (128.0 + sum * 10.0 * gain).clamp(0.0, 255.0) as u8
        };
        let pixels = (0..Chip::SIDE)
            .flat_map(|y| (0..Chip::SIDE).map(move |x| (x, y)))
            .flat_map(|(x, y)| {
                let x = if mirror { Chip::SIDE - 1 - x } else { x };
                [value(x + dx, y); 3]
            })
            .collect();
        Chip::new(pixels).unwrap()
    }

    #[test]
    fn copies_are_found_moved_mirrored_and_at_another_contrast() {
        let original = textured(1, 0, false, 1.0);
        for copy in [textured(1, 0, false, 1.0), textured(1, 3, false, 0.6), textured(1, 0, true, 1.0)] {
            let found = correlation(&original, &copy);
            assert!(found > 0.95, "{found}");
        }
    }

    #[test]
    fn other_textures_do_not_correlate() {
        let original = textured(1, 0, false, 1.0);
        for seed in 2..6 {
            let found = correlation(&original, &textured(seed, 0, false, 1.0));
            assert!(found < 0.6, "{found}");
        }
    }

    #[test]
    fn a_blur_is_the_mean_of_the_square_clipped_at_the_edges() {
        let from: Vec<f32> = (0..SIDE * SIDE).map(|i| ((i * 7919) % 251) as f32).collect();
        let got = blur(&from, 3);
        for (x, y) in [(0, 0), (1, 40), (37, 37), (74, 2), (74, 74)] {
            let span = |at: usize| at.saturating_sub(3)..(at + 4).min(SIDE);
            let sum: f32 = span(y).flat_map(|v| span(x).map(move |u| (u, v))).map(|(u, v)| from[v * SIDE + u]).sum();
            let expected = sum / (span(x).len() * span(y).len()) as f32;
            assert!((got[y * SIDE + x] - expected).abs() < 1e-2, "{x} {y}");
        }
    }

    #[test]
    fn a_shift_by_whole_pixels_is_a_placement_like_any_other() {
        let (a, b) = (Detail::of(&textured(1, 0, false, 1.0)), Detail::of(&textured(3, 2, false, 1.0)));
        let fixed = a.window();
        for (x, y) in [(0i16, 0i16), (3, -3), (-2, 1)] {
            let placed = Placement { x: f32::from(x), y: f32::from(y), ..Placement::default() };
            let difference = a.compare_shifted(&fixed, &b, x, y) - a.compare(&fixed, &b, placed);
            assert!(difference.abs() < 1e-4, "{difference}");
        }
    }

    #[test]
    fn faces_without_detail_are_not_copies() {
        let flat = || Chip::new(vec![80; Chip::SIDE * Chip::SIDE * 3]).unwrap();
        assert_eq!(correlation(&flat(), &flat()), 0.0);
    }
}
