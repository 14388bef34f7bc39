//! Points, boxes and the similarity transform, in pixels with y downwards.

/// A point.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// Rightwards.
    pub x: f32,
    /// Downwards.
    pub y: f32,
}

/// A box by its corner and size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// A box of whole pixels; all four edges belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelRect {
    /// First column.
    pub left: i64,
    /// First row.
    pub top: i64,
    /// Last column.
    pub right: i64,
    /// Last row.
    pub bottom: i64,
}

/// x' = a x - b y + tx, y' = b x + a y + ty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Similarity {
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) tx: f64,
    pub(crate) ty: f64,
}

impl Similarity {
    /// The least-squares similarity that takes `from` to `to` (Umeyama, IEEE PAMI 13(4), 1991),
    /// in the closed form that two dimensions allow; never a reflection.
    pub(crate) fn fit<const N: usize>(from: &[[f64; 2]; N], to: &[[f64; 2]; N]) -> Self {
        let mean = |points: &[[f64; 2]; N]| {
            let sum = points.iter().fold([0.0, 0.0], |s, p| [s[0] + p[0], s[1] + p[1]]);
            [sum[0] / N as f64, sum[1] / N as f64]
        };
        let (mf, mt) = (mean(from), mean(to));
        let (mut dot, mut cross, mut norm) = (0.0, 0.0, 0.0);
        for (f, t) in from.iter().zip(to) {
            let (fx, fy) = (f[0] - mf[0], f[1] - mf[1]);
            let (tx, ty) = (t[0] - mt[0], t[1] - mt[1]);
            dot += fx * tx + fy * ty;
            cross += fx * ty - fy * tx;
            norm += fx * fx + fy * fy;
        }
        let (a, b) = if norm == 0.0 { (1.0, 0.0) } else { (dot / norm, cross / norm) };
        Self { a, b, tx: mt[0] - (a * mf[0] - b * mf[1]), ty: mt[1] - (b * mf[0] + a * mf[1]) }
    }

    /// The way back; `None` where everything falls onto one point or nothing is a number.
    pub(crate) fn inverse(&self) -> Option<Self> {
        let norm = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / norm, -self.b / norm);
        let back = Self { a, b, tx: b * self.ty - a * self.tx, ty: -(b * self.tx + a * self.ty) };
        [back.a, back.b, back.tx, back.ty].iter().all(|v| v.is_finite()).then_some(back)
    }

    /// This one, of points that are scaled and then moved first.
    pub(crate) fn after(&self, scale: f64, offset: [f64; 2]) -> Self {
        let [tx, ty] = self.apply(offset);
        Self { a: self.a * scale, b: self.b * scale, tx, ty }
    }

    pub(crate) fn apply(&self, p: [f64; 2]) -> [f64; 2] {
        [self.a * p[0] - self.b * p[1] + self.tx, self.b * p[0] + self.a * p[1] + self.ty]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similarity_is_recovered_from_its_images() {
        let known = Similarity { a: 1.2, b: -0.7, tx: 30.0, ty: -4.0 };
        let from = [[0.0, 0.0], [3.0, 1.0], [-2.0, 5.0], [8.0, -3.0]];
        let to = from.map(|p| known.apply(p));
        let found = Similarity::fit(&from, &to);
        assert!((found.a - known.a).abs() < 1e-12 && (found.b - known.b).abs() < 1e-12);
        assert!((found.tx - known.tx).abs() < 1e-12 && (found.ty - known.ty).abs() < 1e-12);
    }

    #[test]
    fn the_inverse_leads_back_and_a_collapse_has_none() {
        let known = Similarity { a: 1.2, b: -0.7, tx: 30.0, ty: -4.0 };
        let [x, y] = known.inverse().unwrap().apply(known.apply([5.0, -9.0]));
        assert!((x - 5.0).abs() < 1e-12 && (y + 9.0).abs() < 1e-12);
        let [x, y] = known.after(2.0, [1.0, 3.0]).apply([4.0, 5.0]);
        let direct = known.apply([9.0, 13.0]);
        assert!((x - direct[0]).abs() < 1e-12 && (y - direct[1]).abs() < 1e-12);
        assert_eq!(Similarity { a: 0.0, b: 0.0, tx: 1.0, ty: 1.0 }.inverse(), None);
        assert_eq!(Similarity { a: f64::NAN, b: 0.0, tx: 1.0, ty: 1.0 }.inverse(), None);
    }

    #[test]
    fn a_reflection_is_not_fitted() {
        let from = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let to = [[0.0, 0.0], [-1.0, 0.0], [0.0, 1.0]];
        let found = Similarity::fit(&from, &to);
        assert!(found.a * found.a + found.b * found.b < 0.5);
    }
}
