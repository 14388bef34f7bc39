//! Is one face picture a copy of another? Decided by the pixels of the aligned faces.
//!
//! Two photographs of one person agree in their coarse shading, whatever the day; a copy agrees
//! in the finer structure too (the catchlights, the strands of hair, the shadow's edge), even
//! after recompression, scaling, cropping or a change of brightness. So both faces are
//! band-passed, laid over one another as well as they will go, and correlated; the mirror image
//! too.
//!
//! Two more things keep a copy from looking like another photograph. A blur takes the finer
//! structure out of one of them: then the other is blurred as far before they are compared, and the
//! place is found by what is coarser. And a crop, a glare or a thumb spoils a part: so the face is
//! compared in nine parts, of which the middle one by correlation counts.
//!
//! A picture made narrower or wider is a third: no shift, turn or scale lays its face over the
//! other's. So where the coarse shading agrees once the frame's face has the other proportions, it
//! is compared with those, too.

mod plane;

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::chip::Chip;
use super::quality::luminance;
use crate::wipe::Wiped;
use plane::Plane;

/// The highest correlation of the two faces over small shifts, turns, scales and blurs, mirrored
/// or not: 1 for a perfect copy, near 0 for unrelated detail.
pub fn correlation(portrait: &Chip, frame: &Chip) -> f32 {
    Detail::of(portrait).correlation(&Detail::of(frame))
}

/// Pixels along the side of the band-passed picture.
const SIDE: usize = Chip::SIDE / 2;
/// The window that is compared, out of SIDE: the face without the surroundings that a crop or
/// another background would change.
const WINDOW: Range<usize> = 17..58;
/// The same of the coarse picture, at half the size again.
const COARSE_WINDOW: Range<usize> = 8..29;
/// Largest displacement tried, in pixels of the small picture.
const REACH: i16 = 3;
/// The same in pixels of the coarse picture.
const COARSE_REACH: i16 = 2;
/// What correlates neither this far over whole-pixel shifts, nor that far with its coarse shading
/// alone, is no copy that turning, scaling and blurring could bring out, and the search ends there.
/// In the tests, other photographs of one person stayed below 0.85 by their coarse shading; copies
/// were above 0.9, however much they were blurred.
const WORTH_FINE: f32 = 0.5;
const WORTH_COARSE: f32 = 0.86;
/// How many times as high as it should be a face may have become against its width; the search
/// around each goes an eighth further.
const PROPORTIONS: [f32; 6] = [0.7, 0.78, 0.88, 1.13, 1.28, 1.43];
/// What agrees less than this in its coarse shading at such proportions is not searched there: the
/// nearest of them is still a little off.
const WORTH_STRETCHING: f32 = 0.78;
/// The aligner lays five points over their places. They lie around this row of the small picture,
/// and are four eye corners to one nose: so of a wrong proportion a quarter goes into the width.
const ALIGNED_ROW: f32 = 27.0;
const ALIGNED_WIDTH: f32 = 0.25;
/// How far one picture or the other is blurred, in pixels of the small picture.
const BLURS: [(usize, usize); 7] = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (0, 3)];
/// Parts of the window along each side.
const PARTS: usize = 3;

/// A face at half size, without its coarse shading and its pixel noise. Wiped when dropped.
pub struct Detail {
    small: Plane,
    /// At half the size again.
    quarter: Plane,
    fine: Plane,
    coarse: Plane,
}

impl Detail {
    /// Takes the detail of an aligned face.
    pub fn of(chip: &Chip) -> Self {
        let full = luminance(chip);
        let mut small = Wiped::with_capacity(SIDE * SIDE);
        for rows in full.chunks_exact(2 * Chip::SIDE) {
            let (upper, lower) = rows.split_at(Chip::SIDE);
            small.extend(upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(a, b)| {
                let sum: u16 = [a[0], a[1], b[0], b[1]].map(u16::from).iter().sum();
                f32::from(sum) / 4.0
            }));
        }
        Self::of_small(Plane::new(SIDE, small))
    }

    fn of_small(small: Plane) -> Self {
        let quarter = small.halved();
        Self { fine: fine(&small), coarse: coarse(&quarter), quarter, small }
    }

    /// The highest correlation with another face's detail.
    pub fn correlation(&self, other: &Self) -> f32 {
        let sides = [other, &other.mirrored()].map(|other| self.best_match(other, WORTH_COARSE));
        let upright = sides[0].max(sides[1]);
        let shadings = PROPORTIONS.map(|proportion| coarse(&unstretched(&other.quarter, proportion)));
        [false, true]
            .into_iter()
            .filter_map(|mirror| self.best_proportion(other, &shadings, mirror))
            .map(|(found, stretched)| if found > upright { self.best_match(&stretched, WORTH_STRETCHING) } else { 0.0 })
            .fold(upright, f32::max)
    }

    /// The other face at the proportions at which its coarse shading agrees best, if it does.
    fn best_proportion(&self, other: &Self, shadings: &[Plane; 6], mirror: bool) -> Option<(f32, Self)> {
        let tried = PROPORTIONS.iter().zip(shadings).map(|(proportion, shading)| {
            // A mirrored face, stretched, is the stretched one mirrored: both leave the middle column where it is.
            let mirrored = mirror.then(|| shading.mirrored());
            let shading = mirrored.as_ref().unwrap_or(shading);
            (shifts(&self.coarse, shading, &COARSE_WINDOW, COARSE_REACH).0, *proportion)
        });
        let (found, proportion) = tried.max_by(|a, b| a.0.total_cmp(&b.0))?;
        if found < WORTH_STRETCHING {
            return None;
        }
        let small = if mirror { &other.small.mirrored() } else { &other.small };
        Some((found, Self::of_small(unstretched(small, proportion))))
    }

    fn mirrored(&self) -> Self {
        Self {
            small: self.small.mirrored(),
            quarter: self.quarter.mirrored(),
            fine: self.fine.mirrored(),
            coarse: self.coarse.mirrored(),
        }
    }

    /// `worth`: the agreement in coarse shading from which a place is searched by it.
    fn best_match(&self, other: &Self, worth: f32) -> f32 {
        let near = shifts(&self.fine, &other.fine, &WINDOW, REACH);
        let far = shifts(&self.coarse, &other.coarse, &COARSE_WINDOW, COARSE_REACH);
        let mut places = Vec::with_capacity(2);
        if near.0 >= WORTH_FINE {
            places.push(refine(&self.fine, &other.fine, near));
        }
        if far.0 >= worth {
            // By what is left of a face after a strong blur.
            let shading = |detail: &Self| detail.small.blurred(2).minus(&detail.small.blurred(6).blurred(6));
            let (mine, theirs) = (shading(self), shading(other));
            let start = Placement { x: far.1.x * 2.0, y: far.1.y * 2.0, ..Placement::default() };
            let start = (laid(&mine, &theirs, start), start);
            places.push(refine(&mine, &theirs, start));
        }
        if places.is_empty() {
            return near.0;
        }
        // A copy's blur is not known: each is tried, on the sharper picture of the two.
        let versions = |detail: &Self| [0, 1, 2, 3].map(|reach| detail.blurred(reach));
        let (mine, theirs) = (versions(self), versions(other));
        let tried =
            BLURS.iter().flat_map(|(a, b)| places.iter().map(|(_, place)| laid(&mine[*a], &theirs[*b], *place)));
        tried.fold(near.0, f32::max)
    }

    /// The detail that a blur of this reach would have left.
    fn blurred(&self, reach: usize) -> Plane {
        fine(&self.small.blurred(reach).blurred(reach))
    }
}

/// Without pixel noise and without coarse shading.
fn fine(small: &Plane) -> Plane {
    small.blurred(1).minus(&small.blurred(3).blurred(3))
}

/// The shading of a picture at a quarter of the size.
fn coarse(quarter: &Plane) -> Plane {
    quarter.blurred(1).minus(&quarter.blurred(3).blurred(3))
}

/// A face that has become `proportion` times as high against its width, as the aligner would have
/// cut it out before.
fn unstretched(plane: &Plane, proportion: f32) -> Plane {
    let middle = (plane.side() as f32 - 1.0) / 2.0;
    let row = (ALIGNED_ROW + 0.5) * plane.side() as f32 / SIDE as f32 - 0.5;
    let (across, down) = (proportion.powf(-ALIGNED_WIDTH), proportion.powf(1.0 - ALIGNED_WIDTH));
    plane.sampled(|x| (x - middle) * across + middle, |y| (y - row) * down + row)
}

/// The best of all shifts by whole pixels.
fn shifts(a: &Plane, b: &Plane, window: &Range<usize>, reach: i16) -> (f32, Placement) {
    // Lanes enough for a third of either window.
    if window.len() > WINDOW.len() / 2 + 1 {
        Arch::new().dispatch(Shifts::<16> { a, b, window, reach })
    } else {
        Arch::new().dispatch(Shifts::<8> { a, b, window, reach })
    }
}

struct Shifts<'a, const LANES: usize> {
    a: &'a Plane,
    b: &'a Plane,
    window: &'a Range<usize>,
    reach: i16,
}

impl<const LANES: usize> WithSimd for Shifts<'_, LANES> {
    type Output = (f32, Placement);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f32, Placement) {
        let Self { a, b, window, reach } = self;
        let fixed = parts::<LANES>(a, a, window, [0, 0]);
        let spreads = Parts::spreads(&fixed);
        let mut best = (-1.0, Placement::default());
        for x in -reach..=reach {
            for y in -reach..=reach {
                let found = parts::<LANES>(a, b, window, [x, y]).agreement_by(&fixed, &spreads);
                if found > best.0 {
                    best = (found, Placement { x: f32::from(x), y: f32::from(y), ..Placement::default() });
                }
            }
        }
        best
    }
}

/// The window of one picture against that of another, moved by whole pixels: each third of a row is one load of `LANES`
/// numbers, of which those that belong to its neighbour do not count in the end.
#[inline(always)]
fn parts<const LANES: usize>(a: &Plane, b: &Plane, window: &Range<usize>, by: [i16; 2]) -> Parts {
    let side = window.len();
    // The reach keeps inside the picture.
    let [x, y] = by.map(|by| window.start.saturating_add_signed(isize::from(by)));
    let mut parts = [Sums::default(); PARTS * PARTS];
    for down in 0..PARTS {
        let rows = (down * side).div_ceil(PARTS)..((down + 1) * side).div_ceil(PARTS);
        for across in 0..PARTS {
            let columns = across * side / PARTS..(across + 1) * side / PARTS;
            let mut lanes = [[0f32; LANES]; 3];
            for row in rows.clone() {
                let mine = a.row(window.start + row, window.start + columns.start, LANES);
                let theirs = b.row(y + row, x + columns.start, LANES);
                for lane in 0..LANES {
                    let (a, b) = (mine[lane], theirs[lane]);
                    lanes[0][lane] += b;
                    lanes[1][lane] += b * b;
                    lanes[2][lane] += a * b;
                }
            }
            let [b, bb, ab] = lanes.map(|mut lanes| {
                for (lane, sum) in lanes.iter_mut().enumerate() {
                    *sum = if lane < columns.len() { *sum } else { 0.0 };
                }
                let mut width = LANES / 2;
                while width > 0 {
                    for lane in 0..width {
                        lanes[lane] += lanes[lane + width];
                    }
                    width /= 2;
                }
                f64::from(lanes[0])
            });
            parts[down * PARTS + across] = Sums { count: rows.len() * columns.len(), b, bb, ab };
        }
    }
    Parts(parts)
}

/// From coarse to fine: each round looks around the best of the last one.
fn refine(a: &Plane, b: &Plane, start: (f32, Placement)) -> (f32, Placement) {
    let reach = f32::from(REACH) + 1.0;
    let mut best = start;
    for step in [1.0f32, 0.5, 0.25] {
        for _ in 0..6 {
            let (found, from) = best;
            for (x, y, turn, scale, stretch) in [
                (1.0, 0.0, 0.0, 0.0, 0.0),
                (-1.0, 0.0, 0.0, 0.0, 0.0),
                (0.0, 1.0, 0.0, 0.0, 0.0),
                (0.0, -1.0, 0.0, 0.0, 0.0),
                (0.0, 0.0, 1.0, 0.0, 0.0),
                (0.0, 0.0, -1.0, 0.0, 0.0),
                (0.0, 0.0, 0.0, 1.0, 0.0),
                (0.0, 0.0, 0.0, -1.0, 0.0),
                (0.0, 0.0, 0.0, 0.0, 1.0),
                (0.0, 0.0, 0.0, 0.0, -1.0),
            ] {
                let tried = Placement {
                    x: (from.x + x * step).clamp(-reach, reach),
                    y: (from.y + y * step).clamp(-reach, reach),
                    turn: (from.turn + turn * step * 0.04).clamp(-0.12, 0.12),
                    scale: (from.scale + scale * step * 0.04).clamp(-0.12, 0.12),
                    stretch: (from.stretch + stretch * step * 0.04).clamp(-0.12, 0.12),
                };
                let found = laid(a, b, tried);
                if found > best.0 {
                    best = (found, tried);
                }
            }
            if best.0 <= found {
                break;
            }
        }
    }
    best
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
    /// 0 is the same proportions; above, higher.
    stretch: f32,
}

/// How well one face's window agrees with the other's laid over it.
fn laid(fixed: &Plane, other: &Plane, placement: Placement) -> f32 {
    let middle = (other.side() as f32 - 1.0) / 2.0;
    let (sin, cos) = placement.turn.sin_cos();
    let size = 1.0 + placement.scale;
    let (wide, high) = (size * (1.0 - placement.stretch / 2.0), size * (1.0 + placement.stretch / 2.0));
    let mut over = Wiped::with_capacity(WINDOW.len() * WINDOW.len());
    for y in WINDOW {
        let dy = y as f32 - middle;
        over.extend(WINDOW.map(|x| {
            let dx = x as f32 - middle;
            let (across, down) = ((cos * dx - sin * dy) * wide, (sin * dx + cos * dy) * high);
            other.at(middle + across + placement.x, middle + down + placement.y)
        }));
    }
    let mine = |y: usize| fixed.row(WINDOW.start + y, WINDOW.start, WINDOW.len());
    let itself = Parts::of(WINDOW.len(), |y| (mine(y), mine(y)));
    let parts = Parts::of(WINDOW.len(), |y| (mine(y), &over[y * WINDOW.len()..][..WINDOW.len()]));
    parts.agreement(&itself)
}

/// What the correlations of a window's parts are made of.
struct Parts([Sums; PARTS * PARTS]);

impl Parts {
    /// Of a square window of `side` rows, which `rows` gives in pairs.
    fn of<'a>(side: usize, rows: impl Fn(usize) -> (&'a [f32], &'a [f32])) -> Self {
        let mut parts = [Sums::default(); PARTS * PARTS];
        for y in 0..side {
            let (a, b) = rows(y);
            let down = y * PARTS / side;
            for across in 0..PARTS {
                let columns = across * side / PARTS..(across + 1) * side / PARTS;
                let part = &mut parts[down * PARTS + across];
                *part = part.with(&a[columns.clone()], &b[columns]);
            }
        }
        Self(parts)
    }

    /// The whole window's correlation, or that of the middle one of its parts, whichever is higher:
    /// of nine parts, up to four may be spoilt. `fixed` is the first picture against itself.
    fn agreement(&self, fixed: &Self) -> f32 {
        self.agreement_by(fixed, &fixed.spreads())
    }

    /// The same, with the first picture's [`Parts::spreads`].
    #[inline(always)]
    fn agreement_by(&self, fixed: &Self, spreads: &[f64; PARTS * PARTS]) -> f32 {
        let whole = |parts: &Self| parts.0.iter().fold(Sums::default(), |sums, part| sums.and(part));
        let (all, fixed_all) = (whole(self), whole(fixed));
        let mut each = [0f32; PARTS * PARTS];
        for at in 0..PARTS * PARTS {
            each[at] = self.0[at].correlation(&fixed.0[at], spreads[at]);
        }
        all.correlation(&fixed_all, fixed_all.spread()).max(median(each))
    }

    /// How far each part spreads.
    #[inline(always)]
    fn spreads(&self) -> [f64; PARTS * PARTS] {
        self.0.map(|sums| sums.spread())
    }
}

/// The middle one of nine (of the least, middle and largest of three threes), without a branch.
#[inline(always)]
fn median(v: [f32; PARTS * PARTS]) -> f32 {
    let sorted = |a: f32, b: f32, c: f32| {
        let (min, max) = (|a, b| if a < b { a } else { b }, |a, b| if a < b { b } else { a });
        let (low, high) = (min(a, b), max(a, b));
        [min(low, c), max(low, min(high, c)), max(high, c)]
    };
    let [a, b, c] = [sorted(v[0], v[1], v[2]), sorted(v[3], v[4], v[5]), sorted(v[6], v[7], v[8])];
    let lows = sorted(a[0], b[0], c[0])[2];
    let middles = sorted(a[1], b[1], c[1])[1];
    let highs = sorted(a[2], b[2], c[2])[0];
    sorted(lows, middles, highs)[1]
}

/// What a correlation is made of. Of the pair (a, b): how many, sums of b, b squared, and a times b.
#[derive(Clone, Copy, Default)]
struct Sums {
    count: usize,
    b: f64,
    bb: f64,
    ab: f64,
}

impl Sums {
    /// With one more row. In four lanes, which the compiler turns into one instruction each.
    fn with(self, a: &[f32], b: &[f32]) -> Self {
        const LANES: usize = 4;
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
        Self { count: self.count + a.len(), b: self.b + b, bb: self.bb + bb, ab: self.ab + ab }
    }

    #[inline(always)]
    fn and(self, other: &Self) -> Self {
        Self { count: self.count + other.count, b: self.b + other.b, bb: self.bb + other.bb, ab: self.ab + other.ab }
    }

    /// The variance of b, times their number.
    #[inline(always)]
    fn spread(&self) -> f64 {
        self.bb - self.b * self.b / self.count as f64
    }

    /// `fixed` is the first picture against itself, `spread` its spread.
    #[inline(always)]
    fn correlation(&self, fixed: &Self, spread: f64) -> f32 {
        let n = self.count as f64;
        let spread = (spread * self.spread()).max(0.0).sqrt();
        // Two faces without any detail are not evidence of a copy.
        if spread < 0.5 * n { 0.0 } else { ((self.ab - fixed.b * self.b / n) / spread) as f32 }
    }
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
    fn the_median_of_nine_is_the_fifth_in_order() {
        let mut seed = 1u32;
        for _ in 0..2_000 {
            let values: [f32; 9] = std::array::from_fn(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 28) as f32
            });
            let mut sorted = values;
            sorted.sort_by(f32::total_cmp);
            assert_eq!(median(values), sorted[4], "{values:?}");
        }
    }

    #[test]
    fn a_shift_by_whole_pixels_is_a_placement_like_any_other() {
        let (a, b) = (Detail::of(&textured(1, 0, false, 1.0)), Detail::of(&textured(1, 4, false, 1.0)));
        let (found, place) = shifts(&a.fine, &b.fine, &WINDOW, REACH);
        assert_eq!((place.x, place.y), (-2.0, 0.0));
        assert!((laid(&a.fine, &b.fine, place) - found).abs() < 1e-4);
    }

    /// The texture, as a camera out of focus would see it.
    fn out_of_focus(chip: &Chip, reach: usize) -> Chip {
        let pixels: Vec<f32> = chip.pixels().chunks_exact(3).map(|p| f32::from(p[0])).collect();
        let blurred = Plane::new(Chip::SIDE, Wiped::new(pixels)).blurred(reach).blurred(reach);
        Chip::new(blurred.values().iter().flat_map(|v| [*v as u8; 3]).collect()).unwrap()
    }

    #[test]
    fn a_blur_hides_no_copy_and_makes_none() {
        let original = textured(1, 0, false, 1.0);
        for reach in [2, 4, 6] {
            let copy = out_of_focus(&textured(1, 2, false, 1.0), reach);
            assert!(correlation(&original, &copy) > 0.9, "{reach}: {}", correlation(&original, &copy));
            assert!(correlation(&copy, &original) > 0.9, "{reach}");
            for seed in 2..5 {
                let other = out_of_focus(&textured(seed, 0, false, 1.0), reach);
                let found = correlation(&original, &other).max(correlation(&copy, &other));
                assert!(found < 0.8, "{reach} {seed}: {found}");
            }
        }
    }

    #[test]
    fn a_copy_with_a_part_cut_away_is_a_copy() {
        let original = textured(1, 0, false, 1.0);
        let cut = |columns: Range<usize>| {
            let mut pixels = original.pixels().to_vec();
            for row in pixels.chunks_exact_mut(Chip::SIDE * 3) {
                row[columns.start * 3..columns.end * 3].fill(0);
            }
            Chip::new(pixels).unwrap()
        };
        for columns in [0..55, 100..150] {
            assert!(correlation(&original, &cut(columns.clone())) > 0.9, "{columns:?}");
        }
        // Too little is left to tell.
        assert!(correlation(&original, &cut(0..110)) < 0.85);
    }

    /// The texture, `proportion` times as high, as the aligner would cut it out.
    fn stretched(chip: &Chip, proportion: f32) -> Chip {
        let pixels: Vec<f32> = chip.pixels().chunks_exact(3).map(|p| f32::from(p[0])).collect();
        let plane = unstretched(&Plane::new(Chip::SIDE, Wiped::new(pixels)), 1.0 / proportion);
        Chip::new(plane.values().iter().flat_map(|v| [*v as u8; 3]).collect()).unwrap()
    }

    #[test]
    fn other_proportions_hide_no_copy_and_make_none() {
        let original = textured(1, 0, false, 1.0);
        for proportion in [0.65, 0.7, 0.74, 0.83, 0.95, 1.06, 1.2, 1.35, 1.5] {
            for mirror in [false, true] {
                let copy = stretched(&textured(1, 2, mirror, 1.0), proportion);
                let found = correlation(&original, &copy);
                assert!(found > 0.9, "{proportion} {mirror}: {found}");
            }
            for seed in 2..5 {
                let found = correlation(&original, &stretched(&textured(seed, 0, false, 1.0), proportion));
                assert!(found < 0.75, "{proportion} {seed}: {found}");
            }
        }
    }

    #[test]
    fn faces_without_detail_are_not_copies() {
        let flat = || Chip::new(vec![80; Chip::SIDE * Chip::SIDE * 3]).unwrap();
        assert_eq!(correlation(&flat(), &flat()), 0.0);
    }
}
