//! What can honestly be measured about one face. Names follow ISO/IEC 29794-5 where it has one.

use pulp::{Arch, Simd, WithSimd};

use super::chip::Chip;
use super::detect::Detection;
use crate::geometry::Bounds;
use crate::image::RgbImage;
use crate::wipe::Wiped;

/// Measurements of one face in one picture.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quality {
    /// InterEyeDistance: between the centres of the eyes, in pixels of the picture.
    pub inter_eye_px: f32,
    /// HeadSize: the height of the detected face as a share of the picture's.
    pub head_size: f32,
    /// LeftwardCropOfTheFaceImage: share of the face's width beyond the picture's left edge.
    pub crop_left: f32,
    /// RightwardCropOfTheFaceImage: share of the face's width beyond its right edge.
    pub crop_right: f32,
    /// MarginAboveOfTheFaceImage: share of the face's height above the picture.
    pub crop_above: f32,
    /// MarginBelowOfTheFaceImage: share of the face's height below the picture.
    pub crop_below: f32,
    /// HeadPoseRoll: the angle of the line through the eyes, in degrees, clockwise.
    pub roll_degrees: f32,
    /// HeadPoseYaw, coarsely: the nose's distance from the middle of the eyes along the line
    /// through them, in inter-eye distances. 0 is frontal.
    pub yaw_ratio: f32,
    /// HeadPosePitch, coarsely: the nose's height between eyes (0) and mouth (1).
    pub nose_height: f32,
    /// OverExposurePrevention: share of the aligned face at luminance 247 or above.
    pub overexposed: f32,
    /// UnderExposurePrevention: share of the aligned face at luminance 25 or below.
    pub underexposed: f32,
    /// LuminanceMean of the aligned face, of 255.
    pub luminance: f32,
    /// DynamicRange: between the 5th and 95th percentiles of luminance, of 255.
    pub dynamic_range: f32,
    /// LuminanceVariance of the aligned face, in squared grey levels.
    pub luminance_variance: f32,
    /// Sharpness: variance of the Laplacian over variance, on the aligned face.
    pub sharpness: f32,
    /// CompressionArtifacts: steps at the edges of 8 x 8 blocks over steps elsewhere, in the
    /// picture as it came; 1 is none.
    pub blockiness: f32,
}

impl Quality {
    /// For ranking the frames of one attempt; not a calibrated score.
    pub(crate) fn rank(&self, detection_score: f32) -> f32 {
        let size = (self.inter_eye_px / 90.0).min(1.0);
        let frontal = (1.0 - self.yaw_ratio.abs()).max(0.0);
        let sharp = (self.sharpness / 0.02).clamp(0.05, 1.0).sqrt();
        detection_score * size * frontal * sharp
    }
}

/// What is kept of the picture that a face was found in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Source {
    width: usize,
    height: usize,
    blockiness: f32,
}

impl Source {
    /// Of a face in a picture, while the picture is there.
    pub fn of(image: &RgbImage, detection: &Detection) -> Self {
        let blockiness = blockiness(image, &detection.bounds);
        Self { width: image.width(), height: image.height(), blockiness }
    }
}

/// Measures a face.
pub fn measure(source: &Source, detection: &Detection, chip: &Chip) -> Quality {
    let pose = Pose::of(detection);
    let light = Light::of(chip);
    let bounds = &detection.bounds;
    // Beyond a picture's near edge, and beyond its far one.
    let outside = |start: f32, length: f32, limit: usize| {
        let share = |beyond: f32| (beyond / length.max(f32::EPSILON)).clamp(0.0, 1.0);
        [share(-start), share(start + length - limit as f32)]
    };
    let [crop_left, crop_right] = outside(bounds.x, bounds.width, source.width);
    let [crop_above, crop_below] = outside(bounds.y, bounds.height, source.height);
    Quality {
        inter_eye_px: pose.inter_eye,
        head_size: bounds.height / source.height.max(1) as f32,
        crop_left,
        crop_right,
        crop_above,
        crop_below,
        roll_degrees: pose.roll,
        yaw_ratio: pose.yaw,
        nose_height: pose.nose_height,
        overexposed: light.overexposed,
        underexposed: light.underexposed,
        luminance: light.mean,
        dynamic_range: light.range,
        luminance_variance: light.variance,
        sharpness: light.sharpness,
        blockiness: source.blockiness,
    }
}

/// Steps between neighbouring pixels at the edges of 8 x 8 blocks, over the steps elsewhere. The
/// edges are wherever the steps are largest: a picture may have been cropped or turned since. The
/// direction with less of it counts, for an edge of the face runs in one only.
fn blockiness(image: &RgbImage, bounds: &Bounds) -> f32 {
    let span = |start: f32, length: f32, limit: usize| {
        let at = |value: f32| (value.max(0.0) as usize).min(limit);
        at(start)..at(start + length)
    };
    let columns = span(bounds.x, bounds.width, image.width());
    let rows = span(bounds.y, bounds.height, image.height());
    let across = phases(image, &columns, &rows, Direction::Across);
    let down = phases(image, &rows, &columns, Direction::Down);
    across.min(down)
}

/// Along rows, or along columns.
#[derive(Clone, Copy)]
enum Direction {
    Across,
    Down,
}

/// Samples of one direction: enough for a stable mean, and no more on a large face.
const STEPS: usize = 40_000;

/// Pixels along the side of a block.
const BLOCK: usize = 8;

/// Largest mean step of the eight places that an edge may have along `along`, over the mean of the
/// other seven.
fn phases(
    image: &RgbImage,
    along: &std::ops::Range<usize>,
    across: &std::ops::Range<usize>,
    direction: Direction,
) -> f32 {
    // Too small to tell a block from a face.
    if along.len() < 4 * BLOCK || across.len() < 4 * BLOCK {
        return 1.0;
    }
    let skip = (along.len() * across.len() / STEPS).max(1);
    let mut counts = [0u64; BLOCK];
    let lines = across.clone().step_by(skip).len() as u64;
    for at in along.start + 1..along.end {
        counts[at % BLOCK] += lines;
    }
    let sums = Arch::new().dispatch(Steps { image, along, across, skip, direction });
    let total: u64 = sums.iter().sum();
    let all: u64 = counts.iter().sum();
    // A tenth of a grey level of doubt: on a flat surface a ratio of nothings is nothing.
    let mean = |sum: u64, count: u64| sum as f32 / count.max(1) as f32 + 0.1;
    let ratios = sums.iter().zip(&counts).map(|(sum, n)| mean(*sum, *n) / mean(total - sum, all - n));
    ratios.fold(1.0, f32::max)
}

/// The sums of the steps of green (most of luminance, and there already) at each of the eight places.
struct Steps<'a> {
    image: &'a RgbImage,
    along: &'a std::ops::Range<usize>,
    across: &'a std::ops::Range<usize>,
    skip: usize,
    direction: Direction,
}

impl WithSimd for Steps<'_> {
    type Output = [u64; BLOCK];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [u64; BLOCK] {
        let Self { image, along, across, skip, direction } = self;
        // All three channels go through, because they lie together; of two of them nothing is kept.
        let row = |y: usize, columns: &std::ops::Range<usize>| {
            image.data().get((y * image.width() + columns.start) * 3..).unwrap_or_default().get(..3 * columns.len())
        };
        let mut sums = [0u64; BLOCK];
        match direction {
            Direction::Across => {
                // Two blocks of three channels, and one pixel more, at a time.
                const LANES: usize = 2 * BLOCK * 3;
                let mut totals = [0u64; LANES];
                for y in across.clone().step_by(skip) {
                    let mut rest = row(y, along).unwrap_or_default();
                    let mut lanes = [0u32; LANES];
                    while let Some(pixels) = rest.first_chunk::<{ LANES + 3 }>() {
                        for i in 0..LANES {
                            lanes[i] += u32::from(pixels[i + 3].abs_diff(pixels[i]));
                        }
                        rest = &rest[LANES..];
                    }
                    for (i, (last, next)) in rest.iter().zip(rest.iter().skip(3)).enumerate() {
                        lanes[i] += u32::from(next.abs_diff(*last));
                    }
                    for i in 0..LANES {
                        totals[i] += u64::from(lanes[i]);
                    }
                }
                for step in 0..2 * BLOCK {
                    sums[(along.start + 1 + step) % BLOCK] += totals[3 * step + 1];
                }
            }
            // Row by row too, as they lie in memory.
            Direction::Down => {
                let mut wanted = vec![0u8; 3 * across.len()];
                for green in wanted.iter_mut().skip(1).step_by(3 * skip) {
                    *green = 0xff;
                }
                for at in along.start + 1..along.end {
                    let (Some(last), Some(next)) = (row(at - 1, across), row(at, across)) else { continue };
                    let mut sum = 0u32;
                    for i in 0..wanted.len().min(last.len()).min(next.len()) {
                        sum += u32::from(next[i].abs_diff(last[i]) & wanted[i]);
                    }
                    sums[at % BLOCK] += u64::from(sum);
                }
            }
        }
        sums
    }
}

struct Pose {
    inter_eye: f32,
    roll: f32,
    yaw: f32,
    nose_height: f32,
}

impl Pose {
    fn of(detection: &Detection) -> Self {
        // The person's right eye is on the picture's left.
        let [right, left, nose, mouth, ..] = detection.points;
        let (dx, dy) = (left.x - right.x, left.y - right.y);
        let inter_eye = dx.hypot(dy).max(f32::EPSILON);
        let (ux, uy) = (dx / inter_eye, dy / inter_eye);
        let middle = ((left.x + right.x) / 2.0, (left.y + right.y) / 2.0);
        let along = |x: f32, y: f32| (x - middle.0) * ux + (y - middle.1) * uy;
        let below = |x: f32, y: f32| (y - middle.1) * ux - (x - middle.0) * uy;
        let mouth_depth = below(mouth.x, mouth.y);
        Self {
            inter_eye,
            roll: dy.atan2(dx).to_degrees(),
            yaw: along(nose.x, nose.y) / inter_eye,
            nose_height: if mouth_depth > 0.0 {
                below(nose.x, nose.y) / mouth_depth
            } else {
                // A mouth above the eyes is no pose that any limit allows.
                f32::INFINITY
            },
        }
    }
}

struct Light {
    sharpness: f32,
    mean: f32,
    variance: f32,
    overexposed: f32,
    underexposed: f32,
    range: f32,
}

/// The part of the chip that the face itself fills.
const FACE: std::ops::Range<usize> = 30..120;

impl Light {
    fn of(chip: &Chip) -> Self {
        let luminance = luminance(chip);
        let [sum, squares, edges, edge_squares] = Arch::new().dispatch(Moments(&luminance));
        // Several, because neighbours mostly fall into one bin, and each would wait for the one before.
        let mut histograms = [[0u32; 256]; 4];
        for y in FACE {
            let row = &luminance[y * Chip::SIDE + FACE.start..][..FACE.len()];
            for values in row.chunks(histograms.len()) {
                for (histogram, value) in histograms.iter_mut().zip(values) {
                    histogram[usize::from(*value)] += 1;
                }
            }
        }
        let histogram: [u32; 256] = std::array::from_fn(|bin| histograms.iter().map(|bins| bins[bin]).sum());
        let [sum, squares, edges, edge_squares] = [sum, squares, edges, edge_squares].map(|sum| sum as f64);
        let count = (FACE.len() * FACE.len()) as f64;
        let variance = |sum: f64, squares: f64| (squares / count - (sum / count).powi(2)).max(0.0);
        let contrast = variance(sum, squares);
        let percentile = |share: f64| {
            let wanted = (count * share) as u32;
            let mut seen = 0;
            histogram
                .iter()
                .position(|n| {
                    seen += n;
                    seen > wanted
                })
                .unwrap_or(255) as f32
        };
        let share = |bins: &[u32]| (f64::from(bins.iter().sum::<u32>()) / count) as f32;
        Self {
            // One grey level of noise on a flat surface must not look sharp.
            sharpness: (variance(edges, edge_squares) / (contrast + 25.0)) as f32,
            mean: (sum / count) as f32,
            variance: contrast as f32,
            overexposed: share(&histogram[247..]),
            underexposed: share(&histogram[..=25]),
            range: percentile(0.95) - percentile(0.05),
        }
    }
}

/// Sums over the face of luminance, its squares, its Laplacian and the squares of that.
struct Moments<'a>(&'a [u8]);

impl WithSimd for Moments<'_> {
    type Output = [i64; 4];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [i64; 4] {
        const COUNT: usize = FACE.end - FACE.start;
        // Whole numbers, which the largest sums fit: 8,100 squares of at most 1,020.
        let mut sums = [0i64; 4];
        for y in FACE {
            let row = |y: usize| self.0[y * Chip::SIDE + FACE.start - 1..].first_chunk::<{ COUNT + 2 }>();
            let (Some(above), Some(here), Some(below)) = (row(y - 1), row(y), row(y + 1)) else { continue };
            let mut row = [0i32; 4];
            for x in 1..=COUNT {
                let at = |row: &[u8; COUNT + 2], x: usize| i32::from(row[x]);
                let value = at(here, x);
                let laplacian = at(here, x - 1) + at(here, x + 1) + at(above, x) + at(below, x) - 4 * value;
                row[0] += value;
                row[1] += value * value;
                row[2] += laplacian;
                row[3] += laplacian * laplacian;
            }
            for (sum, row) in sums.iter_mut().zip(row) {
                *sum += i64::from(row);
            }
        }
        sums
    }
}

/// Luminance by ITU-R BT.601, of each pixel of the chip.
pub(crate) fn luminance(chip: &Chip) -> Wiped<u8> {
    let mut out = Wiped::zeros(Chip::SIDE * Chip::SIDE);
    Arch::new().dispatch(Luminance { pixels: chip.pixels(), out: &mut out });
    out
}

struct Luminance<'a> {
    pixels: &'a [u8],
    out: &'a mut [u8],
}

impl WithSimd for Luminance<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (pixel, out) in self.pixels.chunks_exact(3).zip(self.out) {
            let [r, g, b] = [u16::from(pixel[0]), u16::from(pixel[1]), u16::from(pixel[2])];
            // The weights are 256 together, so 16 bits hold the sum.
            *out = ((77 * r + 150 * g + 29 * b) >> 8) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Point;

    fn detection(points: [[f32; 2]; 6]) -> Detection {
        Detection {
            score: 0.9,
            bounds: Bounds { x: 50.0, y: 50.0, width: 100.0, height: 100.0 },
            points: points.map(|[x, y]| Point { x, y }),
        }
    }

    fn chip(value: impl Fn(usize, usize) -> u8) -> Chip {
        let pixels = (0..Chip::SIDE)
            .flat_map(|y| (0..Chip::SIDE).map(move |x| (x, y)))
            .flat_map(|(x, y)| [value(x, y); 3])
            .collect();
        Chip::new(pixels).unwrap()
    }

    #[test]
    fn a_frontal_face_has_no_roll_and_no_yaw() {
        let d = detection([[80., 80.], [120., 80.], [100., 100.], [100., 120.], [60., 85.], [140., 85.]]);
        let pose = Pose::of(&d);
        assert_eq!((pose.inter_eye, pose.roll, pose.yaw), (40.0, 0.0, 0.0));
        assert_eq!(pose.nose_height, 0.5);
    }

    #[test]
    fn roll_does_not_disturb_yaw_and_pitch() {
        // The same face turned by 90 degrees clockwise.
        let d = detection([[120., 80.], [120., 120.], [90., 110.], [80., 100.], [0., 0.], [0., 0.]]);
        let pose = Pose::of(&d);
        assert!((pose.roll - 90.0).abs() < 1e-4);
        assert!((pose.yaw - 0.25).abs() < 1e-6);
        assert!((pose.nose_height - 0.75).abs() < 1e-6);
    }

    #[test]
    fn each_side_of_the_picture_crops_by_itself() {
        // The face covers 50..150 both ways.
        let cropped = |width, height| {
            let source = Source { width, height, blockiness: 1.0 };
            let found = measure(&source, &detection([[0.0; 2]; 6]), &chip(|_, _| 0));
            [found.crop_left, found.crop_right, found.crop_above, found.crop_below]
        };
        assert_eq!(cropped(200, 200), [0.0; 4]);
        assert_eq!(cropped(100, 200), [0.0, 0.5, 0.0, 0.0]);
        assert_eq!(cropped(200, 120), [0.0, 0.0, 0.0, 0.3]);
        let mut beyond = detection([[0.0; 2]; 6]);
        (beyond.bounds.x, beyond.bounds.y) = (-25.0, -75.0);
        let source = Source { width: 200, height: 50, blockiness: 1.0 };
        let found = measure(&source, &beyond, &chip(|_, _| 0));
        assert_eq!((found.crop_left, found.crop_above, found.head_size), (0.25, 0.75, 2.0));
    }

    #[test]
    fn blocks_are_told_from_edges_wherever_their_grid_lies() {
        let picture = |value: &dyn Fn(usize, usize) -> u8| {
            let data = (0..96 * 96).flat_map(|i| [value(i % 96, i / 96); 3]).collect();
            RgbImage::new(96, 96, data).unwrap()
        };
        let bounds = Bounds { x: 4.0, y: 6.0, width: 80.0, height: 80.0 };
        for offset in [0, 3] {
            // Each block is flat, as the coarsest quantiser leaves it.
            let blocks = picture(&|x, y| (((x + offset) / 8 * 37 + (y + offset) / 8 * 91) % 200) as u8);
            assert!(blockiness(&blocks, &bounds) > 10.0);
        }
        let slope = picture(&|x, y| (x + y) as u8);
        assert!((blockiness(&slope, &bounds) - 1.0).abs() < 0.05);
        // An edge of the face runs one way only.
        let edge = picture(&|x, y| if x < 40 { y as u8 } else { 200 - y as u8 });
        assert!(blockiness(&edge, &bounds) < 2.0, "{}", blockiness(&edge, &bounds));
        let flat = picture(&|_, _| 90);
        assert_eq!(blockiness(&flat, &bounds), 1.0);
        let outside = Bounds { x: 500.0, y: -900.0, width: 80.0, height: 80.0 };
        assert_eq!(blockiness(&slope, &outside), 1.0);
    }

    #[test]
    fn light_and_sharpness_tell_flat_bright_and_busy_apart() {
        let flat = Light::of(&chip(|_, _| 10));
        assert_eq!((flat.sharpness, flat.range, flat.mean), (0.0, 0.0, 10.0));
        let burnt = Light::of(&chip(|_, _| 255));
        assert!(burnt.overexposed > 0.99 && burnt.underexposed == 0.0);
        assert!(flat.underexposed > 0.99 && flat.variance == 0.0);
        let busy = Light::of(&chip(|x, y| if (x + y) % 2 == 0 { 0 } else { 255 }));
        let smooth = Light::of(&chip(|x, _| x as u8));
        assert!(busy.sharpness > 10.0 && smooth.sharpness < 1e-3);
        assert!(smooth.range > 70.0);
    }
}
