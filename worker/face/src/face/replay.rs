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
    let portrait = Detail::of(portrait, false);
    [false, true].map(|mirror| portrait.best_match(&Detail::of(frame, mirror))).into_iter().fold(-1.0, f32::max)
}

/// Pixels along the side of the band-passed picture.
const SIDE: usize = Chip::SIDE / 2;
/// The window that is compared, out of SIDE: the face without the surroundings that a crop or
/// another background would change.
const WINDOW: std::ops::Range<usize> = 17..58;
/// Largest displacement tried, in pixels of the small picture.
const REACH: f32 = 3.0;

/// A face at half size, without its coarse shading and its pixel noise.
struct Detail(Zeroizing<Vec<f32>>);

impl Detail {
    fn of(chip: &Chip, mirror: bool) -> Self {
        let full = luminance(chip);
        let mut small = Zeroizing::new(vec![0f32; SIDE * SIDE]);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let sum: u32 = [(0, 0), (1, 0), (0, 1), (1, 1)]
                    .iter()
                    .map(|(dx, dy)| u32::from(full[(2 * y + dy) * Chip::SIDE + 2 * x + dx]))
                    .sum();
                let to = if mirror { SIDE - 1 - x } else { x };
                small[y * SIDE + to] = sum as f32 / 4.0;
            }
        }
        let fine = blur(&small, 1);
        let coarse = blur(&blur(&small, 3), 3);
        let band = fine.iter().zip(coarse.iter()).map(|(f, c)| f - c);
        Self(Zeroizing::new(band.collect()))
    }

    fn best_match(&self, other: &Self) -> f32 {
        // From coarse to fine: each round looks around the best of the last one.
        let mut best = (self.compare(other, Placement::default()), Placement::default());
        for x in -3..=3 {
            for y in -3..=3 {
                best = self.better(other, best, Placement { x: x as f32, y: y as f32, ..Placement::default() });
            }
        }
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
                    best = self.better(
                        other,
                        best,
                        Placement {
                            x: (from.x + x * step).clamp(-REACH, REACH),
                            y: (from.y + y * step).clamp(-REACH, REACH),
                            turn: (from.turn + turn * step * 0.04).clamp(-0.12, 0.12),
                            scale: (from.scale + scale * step * 0.04).clamp(-0.12, 0.12),
                        },
                    );
                }
                if best.0 <= centre.0 {
                    break;
                }
            }
        }
        best.0
    }

    fn better(&self, other: &Self, best: (f32, Placement), tried: Placement) -> (f32, Placement) {
        let found = self.compare(other, tried);
        if found > best.0 { (found, tried) } else { best }
    }

    /// Normalised correlation of the window with the other picture laid over it.
    fn compare(&self, other: &Self, placement: Placement) -> f32 {
        let middle = (SIDE as f32 - 1.0) / 2.0;
        let (sin, cos) = placement.turn.sin_cos();
        let (sin, cos) = (sin * (1.0 + placement.scale), cos * (1.0 + placement.scale));
        let (mut a1, mut a2, mut b1, mut b2, mut ab) = (0f64, 0f64, 0f64, 0f64, 0f64);
        for y in WINDOW {
            for x in WINDOW {
                let (dx, dy) = (x as f32 - middle, y as f32 - middle);
                let a = self.0[y * SIDE + x];
                let b =
                    other.at(middle + cos * dx - sin * dy + placement.x, middle + sin * dx + cos * dy + placement.y);
                let (a, b) = (f64::from(a), f64::from(b));
                a1 += a;
                a2 += a * a;
                b1 += b;
                b2 += b * b;
                ab += a * b;
            }
        }
        let n = (WINDOW.len() * WINDOW.len()) as f64;
        let spread = ((a2 - a1 * a1 / n) * (b2 - b1 * b1 / n)).max(0.0).sqrt();
        // Two faces without any detail are not evidence of a copy.
        if spread < n { 0.0 } else { ((ab - a1 * b1 / n) / spread) as f32 }
    }

    /// Between pixels, bilinearly. The window and REACH keep inside the picture.
    fn at(&self, x: f32, y: f32) -> f32 {
        let limit = SIDE as f32 - 1.001;
        let (x, y) = (x.clamp(0.0, limit), y.clamp(0.0, limit));
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = (x - left as f32, y - top as f32);
        let row = |y: usize| {
            let at = y * SIDE + left;
            self.0[at] * (1.0 - fx) + self.0[at + 1] * fx
        };
        row(top) * (1.0 - fy) + row(top + 1) * fy
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
    let pass = |from: &[f32], step: usize, line: usize| {
        let mut out = Zeroizing::new(vec![0f32; from.len()]);
        for l in 0..SIDE {
            for i in 0..SIDE {
                let (first, last) = (i.saturating_sub(reach), (i + reach).min(SIDE - 1));
                let sum: f32 = (first..=last).map(|j| from[l * line + j * step]).sum();
                out[l * line + i * step] = sum / (last - first + 1) as f32;
            }
        }
        out
    };
    let rows = pass(from, 1, SIDE);
    pass(&rows, SIDE, 1)
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
    fn faces_without_detail_are_not_copies() {
        let flat = || Chip::new(vec![80; Chip::SIDE * Chip::SIDE * 3]).unwrap();
        assert_eq!(correlation(&flat(), &flat()), 0.0);
    }
}
