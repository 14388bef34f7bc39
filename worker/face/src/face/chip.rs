//! The aligned face: upright, 150 x 150, eyes and nose at fixed places.

use pulp::{Arch, Simd, WithSimd};

use super::arcface::Alignment;
use super::landmarks::Landmarks;
use crate::geometry::Similarity;
use crate::image::RgbImage;
use crate::pack::dlib::resnet::INPUT as SIDE;
use crate::wipe::Wiped;

/// Room around the face, as a share of its size.
const PADDING: f64 = 0.25;

/// Where the five landmarks of a mean face lie in the unit square.
const MEAN_FACE: [[f64; 2]; 5] = [
    [0.859_567_459_599_2, 0.213_498_153_801_4],
    [0.646_060_476_410_4, 0.228_967_438_767_8],
    [0.120_575_062_078_9, 0.213_727_452_684_8],
    [0.334_085_061_371_2, 0.229_064_240_324_2],
    [0.490_112_313_567_9, 0.627_797_531_647_5],
];

/// Where the eyes of the mean face lie in a chip: the one on the picture's left, then the other.
pub(crate) const EYES: [[f64; 2]; 2] = [eye(2, 3), eye(0, 1)];

const fn eye(outer: usize, inner: usize) -> [f64; 2] {
    [place((MEAN_FACE[outer][0] + MEAN_FACE[inner][0]) / 2.0), place((MEAN_FACE[outer][1] + MEAN_FACE[inner][1]) / 2.0)]
}

/// From the unit square to pixels of a chip.
const fn place(v: f64) -> f64 {
    (PADDING + v) / (2.0 * PADDING + 1.0) * SIDE as f64
}

/// An aligned face, and the embedder's own crop of it where that is not the same. Wiped when
/// dropped; it has no `Debug`.
pub struct Chip {
    pixels: Wiped<u8>,
    crop: Option<Wiped<u8>>,
}

impl Chip {
    /// Side in pixels.
    pub const SIDE: usize = SIDE;

    /// Takes SIDE x SIDE RGB pixels.
    pub fn new(pixels: Vec<u8>) -> Option<Self> {
        let pixels = Wiped::new(pixels);
        (pixels.len() == SIDE * SIDE * 3).then_some(Self { pixels, crop: None })
    }

    /// With a crop for the embedder.
    pub(crate) fn with_crop(self, crop: Vec<u8>) -> Self {
        Self { crop: Some(Wiped::new(crop)), ..self }
    }

    /// The pixels, RGB interleaved.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// What the embedder is given.
    pub(crate) fn input(&self) -> &[u8] {
        self.crop.as_ref().unwrap_or(&self.pixels)
    }

    /// Where the mean face has its five landmarks.
    pub(crate) fn mean_landmarks() -> [[f64; 2]; 5] {
        MEAN_FACE.map(|p| p.map(place))
    }
}

/// Cuts the chip out of the picture: rotated, scaled by a Gaussian pyramid and then bilinearly.
/// What lies outside the picture is black.
pub fn chip(image: &RgbImage, landmarks: &Landmarks) -> Chip {
    ChipPlan::new(image, landmarks).render()
}

/// What a chip is made of: the part of the picture that it needs, at the pyramid level that it
/// needs, and where the chip lies in it. Small enough to send to a device, which then does what
/// [`ChipPlan::render`] does: one pixel after another, independently. Wiped when dropped.
pub struct ChipPlan {
    cut: Cut,
    /// The embedder's own crop and its side, where it is not the chip.
    crop: Option<(Cut, usize)>,
}

/// A square of pixels to be cut out.
struct Cut {
    source: Level,
    /// Of pixel (0, 0), in pixels of the source.
    origin: [f64; 2],
    /// The steps to the next column and row.
    across: [f64; 2],
    down: [f64; 2],
}

impl ChipPlan {
    /// Bytes of [`ChipPlan::descriptor`].
    pub(crate) const DESCRIPTOR: usize = 64;

    /// Plans the chip of the face with these landmarks.
    pub fn new(image: &RgbImage, landmarks: &Landmarks) -> Self {
        Self { cut: Cut::of_square(image, &Square::around(landmarks)), crop: None }
    }

    /// Plans chip and crop of a face by the detector's points; black without an alignment.
    pub(crate) fn arcface(image: &RgbImage, alignment: Option<&Alignment>, side: usize) -> Self {
        let Some(alignment) = alignment else {
            return Self { cut: Cut::black(), crop: Some((Cut::black(), side)) };
        };
        Self {
            cut: Cut::of_transform(image, &alignment.chip(), SIDE),
            crop: Some((Cut::of_transform(image, &alignment.crop(side), side), side)),
        }
    }

    /// Plans a crop alone; the chip is black.
    pub(crate) fn of_crop(image: &RgbImage, transform: &Similarity, side: usize) -> Self {
        Self { cut: Cut::black(), crop: Some((Cut::of_transform(image, transform, side), side)) }
    }

    /// The whole picture under any transform: origin, across and down.
    #[cfg(test)]
    pub(crate) fn arbitrary(image: &RgbImage, [ox, oy, ax, ay, dx, dy]: [f64; 6]) -> Self {
        let source = Level::of(image.width(), image.height(), image.data());
        Self { cut: Cut { source, origin: [ox, oy], across: [ax, ay], down: [dx, dy] }, crop: None }
    }

    /// The samples that the descriptor's offset refers to.
    pub(crate) fn samples(&self) -> &[u8] {
        self.cut.source.samples()
    }

    /// The plan as the kernel reads it (`ChipPlan` in `cuda/pixel.h`), its samples lying at
    /// `offset`.
    pub(crate) fn descriptor(&self, offset: usize) -> [u8; Self::DESCRIPTOR] {
        let mut out = [0; Self::DESCRIPTOR];
        out[..8].copy_from_slice(&(offset as u64).to_le_bytes());
        // Zero when it does not fit, which no region of a decodable picture comes near: black.
        let side = |v: usize| i32::try_from(v).unwrap_or(0).to_le_bytes();
        out[8..12].copy_from_slice(&side(self.cut.source.width));
        out[12..16].copy_from_slice(&side(self.cut.source.height));
        let places = [self.cut.origin, self.cut.across, self.cut.down].into_iter().flatten();
        for (value, out) in places.zip(out[16..].chunks_exact_mut(8)) {
            out.copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    /// Makes the chip: bilinear, in 64 bits, rounded down; black where a neighbour is outside.
    pub fn render(&self) -> Chip {
        Chip { pixels: self.cut.render(SIDE), crop: self.crop.as_ref().map(|(cut, side)| cut.render(*side)) }
    }
}

impl Cut {
    fn black() -> Self {
        Self { source: Level::empty(), origin: [0.0; 2], across: [0.0; 2], down: [0.0; 2] }
    }

    fn of_square(image: &RgbImage, square: &Square) -> Self {
        let depth = square.pyramid_depth();
        let Some(region) = Region::around(&square.corners(), depth, image) else { return Self::black() };
        let source = pyramid(image, &region, depth);
        let [origin, across, _, down] = square.at_level(&region, depth).corners();
        let step = |to: [f64; 2]| [0, 1].map(|axis| (to[axis] - origin[axis]) / (SIDE as f64 - 1.0));
        Self { source, origin, across: step(across), down: step(down) }
    }

    /// Of the pixels that `transform` takes to the picture.
    fn of_transform(image: &RgbImage, transform: &Similarity, side: usize) -> Self {
        let scale = transform.a.hypot(transform.b);
        // No face in a picture that can be decoded is that large or small.
        if !(1e-4..=1e4).contains(&scale) {
            return Self::black();
        }
        // Halvings that leave at least a pixel of the source for each of the crop.
        let depth = (0..16).find(|depth| scale < f64::from(2u32 << depth)).unwrap_or(0);
        let last = side as f64 - 1.0;
        let corners = [[0.0, 0.0], [last, 0.0], [last, last], [0.0, last]].map(|p| transform.apply(p));
        let Some(region) = Region::around(&corners, depth, image) else { return Self::black() };
        let source = pyramid(image, &region, depth);
        let level = f64::from(1u32 << depth);
        let start = [corners[0][0] - region.left as f64, corners[0][1] - region.top as f64];
        // The filter's middle lies two pixels further at each level.
        let origin = (0..depth).fold(start, |p, _| p.map(|v| (v - 2.0) / 2.0));
        let (a, b) = (transform.a / level, transform.b / level);
        Self { source, origin, across: [a, b], down: [-b, a] }
    }

    fn render(&self, side: usize) -> Wiped<u8> {
        let mut pixels = Wiped::<u8>::zeros(side * side * 3);
        // No region of a decodable picture comes near it: places below are whole numbers that 64 bits hold exactly.
        if self.source.width.saturating_mul(self.source.height) < 1 << 40 {
            Arch::new().dispatch(Rows { cut: self, side, out: &mut pixels });
        }
        pixels
    }
}

/// Makes the pixels of a cut, row by row: first where they lie, then what lies there, then what is between. Each of the
/// three goes over a whole row, which the compiler does with as many lanes as the processor has.
struct Rows<'a> {
    cut: &'a Cut,
    side: usize,
    out: &'a mut [u8],
}

/// Added to a whole number below it, it leaves that number in the lowest bits: quicker than a conversion, for it goes
/// lane by lane.
const WHOLE: f64 = (1u64 << 52) as f64;

fn whole(value: f64) -> u64 {
    (value + WHOLE).to_bits() & ((1 << 52) - 1)
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { cut: Cut { source, origin, across, down }, side, out } = self;
        let (stride, width) = (source.width * 3, source.width as f64);
        let (last_x, last_y) = (source.width as f64 - 1.0, source.height as f64 - 1.0);
        let (mut xs, mut ys, mut at) = (vec![0f64; side], vec![0f64; side], vec![0u64; side]);
        // Three of each for every pixel, and room for a fourth behind the last.
        let room = side * 3 + 1;
        let (mut fx, mut fy) = (vec![0f64; room], vec![0f64; room]);
        let mut taken = Wiped::<u8>::zeros(4 * room);
        let (upper, lower) = taken.split_at_mut(2 * room);
        let (upper_left, upper_right) = upper.split_at_mut(room);
        let (lower_left, lower_right) = lower.split_at_mut(room);
        for (row, out) in out.chunks_exact_mut(side * 3).enumerate() {
            let r = row as f64;
            let (down_x, down_y) = (down[0] * r, down[1] * r);
            for (column, (x, y)) in xs.iter_mut().zip(&mut ys).enumerate() {
                let c = column as f64;
                *x = across[0] * c + down_x + origin[0];
                *y = across[1] * c + down_y + origin[1];
            }
            // Both neighbours inside, along both axes; false for what is no number. Places only grow or only shrink along
            // a row, whatever the transform, until they are infinite: so what is inside lies together.
            let inside = |c: &usize| {
                let (x, y) = (xs[*c], ys[*c]);
                x >= 0.0 && y >= 0.0 && x < last_x && y < last_y
            };
            let Some(first) = (0..side).find(inside) else { continue };
            let end = (first..side).rfind(inside).map_or(first, |last| last + 1);
            for c in first..end {
                let (left, top) = (xs[c].floor(), ys[c].floor());
                xs[c] -= left;
                ys[c] -= top;
                at[c] = whole((top * width + left) * 3.0);
            }
            for c in first..end {
                let at = at[c] as usize;
                // Two pixels, and two bytes more that level() leaves room for.
                let two = |at: usize| source.pixels.get(at..).and_then(<[u8]>::first_chunk::<8>);
                let (Some(above), Some(below)) = (two(at), two(at + stride)) else {
                    continue;
                };
                let to = 3 * c..3 * c + 4;
                upper_left[to.clone()].copy_from_slice(&above[..4]);
                upper_right[to.clone()].copy_from_slice(&above[3..7]);
                lower_left[to.clone()].copy_from_slice(&below[..4]);
                lower_right[to.clone()].copy_from_slice(&below[3..7]);
                fx[to.clone()].fill(xs[c]);
                fy[to].fill(ys[c]);
            }
            let span = 3 * first..3 * end;
            let (ul, ur) = (&upper_left[span.clone()], &upper_right[span.clone()]);
            let (ll, lr) = (&lower_left[span.clone()], &lower_right[span.clone()]);
            let (fx, fy, out) = (&fx[span.clone()], &fy[span.clone()], &mut out[span]);
            for i in 0..out.len() {
                let (fx, fy) = (fx[i], fy[i]);
                let (ex, ey) = (1.0 - fx, 1.0 - fy);
                let upper = ex * f64::from(ul[i]) + fx * f64::from(ur[i]);
                let lower = ex * f64::from(ll[i]) + fx * f64::from(lr[i]);
                // At most 255 and a hair, and never less than nothing.
                out[i] = whole((ey * upper + fy * lower).floor()) as u8;
            }
        }
    }
}

/// A square turned by `angle` about its centre; edges in pixel coordinates.
#[derive(Clone, Copy)]
struct Square {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    angle: f64,
}

/// Whole pixels of the picture that the chip needs.
struct Region {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Region {
    /// What a square with these corners needs of the picture.
    fn around(corners: &[[f64; 2]; 4], depth: u32, image: &RgbImage) -> Option<Self> {
        // Each level needs two more pixels around it for its filter.
        let grow = (0..depth).fold(2.0, |grow, _| grow * 2.0 + 2.0);
        let along =
            |axis: usize, pick: fn(f64, f64) -> f64, start: f64| corners.iter().map(|c| c[axis]).fold(start, pick);
        let clip = |low: f64, high: f64, length: usize| -> Option<(usize, usize)> {
            let low = (low - grow).max(0.0);
            let high = (high + grow).min(length as f64 - 1.0);
            if low > high || low.is_nan() || high.is_nan() {
                return None;
            }
            let (low, high) = ((low + 0.5).floor() as usize, (high + 0.5).floor() as usize);
            Some((low, high - low + 1))
        };
        let (left, width) =
            clip(along(0, f64::min, f64::INFINITY), along(0, f64::max, f64::NEG_INFINITY), image.width())?;
        let (top, height) =
            clip(along(1, f64::min, f64::INFINITY), along(1, f64::max, f64::NEG_INFINITY), image.height())?;
        Some(Self { left, top, width, height })
    }
}

impl Square {
    fn around(landmarks: &Landmarks) -> Self {
        let size = SIDE as f64;
        let from = MEAN_FACE.map(|p| p.map(|v| (PADDING + v) / (2.0 * PADDING + 1.0) * size));
        let to = landmarks.0.map(|p| p.map(|v| v as f64));
        let transform = Similarity::fit(&from, &to);
        let angle = transform.b.atan2(transform.a);
        let scale = transform.a.hypot(transform.b);
        let [cx, cy] = transform.apply([size / 2.0, size / 2.0]);
        let reach = (size * scale - 1.0) / 2.0;
        Self { left: cx - reach, top: cy - reach, right: cx + reach, bottom: cy + reach, angle }
    }

    fn area(&self) -> f64 {
        (self.right - self.left + 1.0) * (self.bottom - self.top + 1.0)
    }

    /// The same square one pyramid level down.
    fn down(&self) -> Self {
        let (x, y) = (|v: f64| v / 2.0 - 1.25, |v: f64| v / 2.0 - 0.75);
        Self { left: x(self.left), top: y(self.top), right: x(self.right), bottom: y(self.bottom), angle: self.angle }
    }

    /// How many halvings keep the square at least as large as the chip.
    fn pyramid_depth(&self) -> u32 {
        let mut depth = 0;
        let mut square = self.down();
        while square.area() > (SIDE * SIDE) as f64 {
            square = square.down();
            depth += 1;
        }
        depth
    }

    /// Corner by corner: top left, top right, bottom right, bottom left, turned.
    fn corners(&self) -> [[f64; 2]; 4] {
        let (cx, cy) = ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0);
        let (sin, cos) = self.angle.sin_cos();
        [[self.left, self.top], [self.right, self.top], [self.right, self.bottom], [self.left, self.bottom]].map(
            |[x, y]| {
                let (x, y) = (x - cx, y - cy);
                [cos * x - sin * y + cx, sin * x + cos * y + cy]
            },
        )
    }

    /// The square in the coordinates of the region's pyramid level.
    fn at_level(&self, region: &Region, depth: u32) -> Self {
        let (dx, dy) = (region.left as f64, region.top as f64);
        let moved = Self {
            left: self.left - dx,
            top: self.top - dy,
            right: self.right - dx,
            bottom: self.bottom - dy,
            angle: self.angle,
        };
        (0..depth).fold(moved, |square, _| square.down())
    }
}

/// Pixels, RGB interleaved; wiped when dropped.
struct Level {
    width: usize,
    height: usize,
    /// And a few bytes more.
    pixels: Wiped<u8>,
}

fn pyramid(image: &RgbImage, region: &Region, depth: u32) -> Level {
    let whole = View {
        width: region.width,
        height: region.height,
        stride: image.width() * 3,
        pixels: image.data().get((region.top * image.width() + region.left) * 3..).unwrap_or_default(),
    };
    let first = if depth == 0 { whole.copy() } else { whole.halve() };
    (1..depth).fold(first, |level, _| level.view().halve())
}

/// Pixels inside a larger picture.
struct View<'a> {
    width: usize,
    height: usize,
    /// From one row to the next, in bytes.
    stride: usize,
    /// From the first pixel on.
    pixels: &'a [u8],
}

impl View<'_> {
    fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.stride..][..self.width * 3]
    }

    fn copy(&self) -> Level {
        let mut level = Level::black(self.width, self.height);
        let row = self.width * 3;
        for (y, out) in level.pixels.chunks_exact_mut(row).take(self.height).enumerate() {
            out.copy_from_slice(self.row(y));
        }
        level
    }

    /// Half the size, through the binomial filter 1 4 6 4 1 in both directions; the outermost
    /// two rows and columns go.
    fn halve(&self) -> Level {
        let width = self.width.saturating_sub(3) / 2;
        let height = self.height.saturating_sub(3) / 2;
        if width == 0 || height == 0 {
            return Level::black(width, height);
        }
        let mut level = Level::black(width, height);
        Arch::new().dispatch(Halve { from: self, level: &mut level });
        level
    }
}

struct Halve<'a> {
    from: &'a View<'a>,
    level: &'a mut Level,
}

impl WithSimd for Halve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { from, level } = self;
        // Columns first, then rows, in whole numbers, of which 16 bits hold the largest: the order does not matter
        // then. Both over every pixel in turn, which the compiler does many at a time; half of the second are for
        // nothing, and still it is quicker than one by one.
        let length = (2 * level.width + 3) * 3;
        let mut down = Wiped::<u16>::zeros(length);
        let mut across = Wiped::<u8>::zeros(length - 12 + 1);
        for y in 0..level.height {
            let row = |i: usize| &from.row(2 * y + i)[..length];
            let (a, b, c, d, e) = (row(0), row(1), row(2), row(3), row(4));
            let sums = &mut down[..length];
            for i in 0..length {
                let tap = |row: &[u8]| u16::from(row[i]);
                sums[i] = tap(a) + tap(e) + 4 * (tap(b) + tap(d)) + 6 * tap(c);
            }
            let count = length - 12;
            let tap = |i: usize| &down[3 * i..][..count];
            let (a, b, c, d, e) = (tap(0), tap(1), tap(2), tap(3), tap(4));
            let sums = &mut across[..count];
            for i in 0..count {
                sums[i] = ((a[i] + e[i] + 4 * (b[i] + d[i]) + 6 * c[i]) >> 8) as u8;
            }
            // Every second pixel, four bytes at a time: the fourth is the next one's.
            let out = &mut level.pixels[y * level.width * 3..][..level.width * 3 + 1];
            for x in 0..level.width {
                out[3 * x..3 * x + 4].copy_from_slice(&across[6 * x..6 * x + 4]);
            }
        }
    }
}

impl Level {
    /// Bytes behind the last pixel, so that two pixels can be read as eight bytes.
    const BEHIND: usize = 2;

    fn empty() -> Self {
        Self { width: 0, height: 0, pixels: Wiped::default() }
    }

    fn black(width: usize, height: usize) -> Self {
        Self { width, height, pixels: Wiped::zeros(width * height * 3 + Self::BEHIND) }
    }

    #[cfg(test)]
    fn of(width: usize, height: usize, samples: &[u8]) -> Self {
        let mut level = Self::black(width, height);
        level.pixels[..samples.len()].copy_from_slice(samples);
        level
    }

    fn samples(&self) -> &[u8] {
        self.pixels.get(..self.width * self.height * 3).unwrap_or_default()
    }

    fn view(&self) -> View<'_> {
        View { width: self.width, height: self.height, stride: self.width * 3, pixels: &self.pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> RgbImage {
        let data =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [(x % 256) as u8, (y % 256) as u8, 77])).collect();
        RgbImage::new(width, height, data).unwrap()
    }

    /// Landmarks of a mean face, scaled and moved.
    fn upright(scale: f64, x: f64, y: f64) -> Landmarks {
        Landmarks(MEAN_FACE.map(|p| [(p[0] * scale + x).round() as i64, (p[1] * scale + y).round() as i64]))
    }

    #[test]
    fn an_upright_face_of_chip_size_is_cut_out_in_place() {
        let image = ramp(256, 256);
        let chip = chip(&image, &upright(100.0, 80.0, 90.0));
        // The chip's centre is the face's, and its scale is 1 (but for rounding of landmarks).
        let centre = (75 * SIDE + 75) * 3;
        let [r, g, b] = [centre, centre + 1, centre + 2].map(|i| chip.pixels()[i]);
        assert!(r.abs_diff(130) <= 2 && g.abs_diff(140) <= 2, "{r} {g}");
        assert_eq!(b, 77);
    }

    #[test]
    fn a_large_face_goes_through_the_pyramid() {
        let image = ramp(1024, 1024);
        let landmarks = upright(420.0, 300.0, 300.0);
        assert!(Square::around(&landmarks).pyramid_depth() > 0);
        let chip = chip(&image, &landmarks);
        assert!(chip.pixels().chunks(3).all(|p| p[2] == 77 || p[2] == 76));
    }

    #[test]
    fn outside_the_picture_is_black_and_absurd_landmarks_do_no_harm() {
        let image = ramp(64, 64);
        let outside = chip(&image, &upright(100.0, 5_000.0, 5_000.0));
        assert!(outside.pixels().iter().all(|v| *v == 0));
        let one_point = chip(&image, &Landmarks([[10, 10]; 5]));
        assert_eq!(one_point.pixels().len(), SIDE * SIDE * 3);
        let huge = chip(&image, &upright(1e7, -5e6, -5e6));
        assert_eq!(huge.pixels().len(), SIDE * SIDE * 3);
    }

    #[test]
    fn a_transform_that_leaves_every_picture_at_once_still_has_its_first_column() {
        let image = RgbImage::new(4, 4, vec![9; 48]).unwrap();
        for step in [-1e300, 1e300, f64::MAX, f64::INFINITY, f64::NAN] {
            let plan = ChipPlan::arbitrary(&image, [1.5, 1.25, 0.01, step, 0.0, 0.01]);
            let chip = plan.render();
            let first = if step.is_finite() { [9; 3] } else { [0; 3] };
            assert_eq!((&chip.pixels()[..3], &chip.pixels()[3..6]), (&first[..], &[0; 3][..]), "{step}");
        }
    }

    #[test]
    fn halving_is_the_binomial_filter_in_whole_numbers() {
        let mut pixels = vec![0u8; 7 * 7 * 3];
        pixels[(3 * 7 + 3) * 3] = 255;
        let level = Level::of(7, 7, &pixels);
        let half = level.view().halve();
        assert_eq!((half.width, half.height), (2, 2));
        // Centres lie at 2 and 4: the impulse at 3 is one step from each, weight 4 in each
        // direction.
        assert_eq!(half.pixels[0], (255u32 * 16 / 256) as u8);
    }
}
