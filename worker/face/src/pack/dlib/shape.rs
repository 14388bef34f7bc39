//! The five-point shape predictor: cascades of regression trees (Kazemi and Sullivan, CVPR 2014).

use super::reader::{Reader, Result};
use crate::error::ModelFault;

/// Landmarks of the model.
pub(crate) const POINTS: usize = 5;
/// x and y of each.
pub(crate) const COORDINATES: usize = 2 * POINTS;
/// Splits on the way from root to leaf.
pub(crate) const DEPTH: usize = 4;
/// Splits in a tree.
pub(crate) const SPLITS: usize = (1 << DEPTH) - 1;
/// Leaves of a tree.
pub(crate) const LEAVES: usize = 1 << DEPTH;

/// Compares two sampled pixels.
#[derive(Clone, Copy)]
pub(crate) struct Split {
    pub(crate) first: u16,
    pub(crate) second: u16,
    pub(crate) threshold: f32,
}

/// A tree's splits, packed; the last one is none. One line of the processor's cache.
#[repr(align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Tree(pub(crate) [Packed; LEAVES]);

/// The samples of one step that can be told apart.
pub(crate) const SAMPLES: usize = 1 << Packed::INDEX;

/// A [`Split`] in 32 bits. Samples are whole numbers of 0 to 255, so of a threshold only the whole number below it counts.
#[derive(Clone, Copy)]
pub(crate) struct Packed(u32);

impl Packed {
    const INDEX: u32 = 11;

    fn new(first: u16, second: u16, threshold: f32) -> Self {
        // A comparison with what is no number is never true.
        let whole = if threshold.is_nan() { 255 } else { threshold.floor().clamp(-256.0, 255.0) as i32 };
        let low = u32::from(first) | u32::from(second) << Self::INDEX;
        Self(low | (whole as u32) << (2 * Self::INDEX))
    }

    /// Whether the first sample exceeds the second by more than the threshold.
    #[inline(always)]
    pub(crate) fn exceeds(self, samples: &[i16; SAMPLES]) -> bool {
        let [first, second] = [self.0, self.0 >> Self::INDEX].map(|index| samples[index as usize % SAMPLES]);
        i32::from(first) - i32::from(second) > self.0 as i32 >> (2 * Self::INDEX)
    }
}

/// What a leaf adds to the shape, and nothing to what lies behind it. One line of the processor's cache, so that fetching
/// it is one wait.
#[repr(align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Leaf(pub(crate) [f32; LANES]);

impl Leaf {
    fn new(changes: &[f32; COORDINATES]) -> Self {
        Self(std::array::from_fn(|at| changes.get(at).copied().unwrap_or(0.0)))
    }
}

/// A shape's coordinates, filled up.
pub(crate) const LANES: usize = 16;

/// One step of the cascade: where to sample, and the trees that correct the shape.
pub(crate) struct Cascade {
    /// Where the samples end that hang on each landmark: those of one landmark lie together.
    pub(crate) ends: [usize; POINTS],
    /// Their offsets from it, in the mean shape's frame: rightwards and downwards.
    pub(crate) deltas: [Vec<f32>; 2],
    pub(crate) trees: Vec<Tree>,
    /// LEAVES of each tree in turn.
    pub(crate) leaves: Vec<Leaf>,
}

impl Cascade {
    /// Puts the samples in order of the landmarks that they hang on, one of `anchors` for each of `deltas`. All samples
    /// that the splits name must be there.
    pub(crate) fn new(anchors: &[u16], deltas: &[[f32; 2]], splits: &[Split], leaves: &[[f32; COORDINATES]]) -> Self {
        let mut order: Vec<usize> = (0..anchors.len()).collect();
        order.sort_by_key(|sample| anchors[*sample]);
        let mut place = vec![0u16; order.len()];
        for (at, sample) in order.iter().enumerate() {
            // At most SAMPLES of them.
            place[*sample] = at as u16;
        }
        let tree = |splits: &[Split]| {
            let mut tree = [Packed(0); LEAVES];
            for (to, split) in tree.iter_mut().zip(splits) {
                let [first, second] = [split.first, split.second].map(|sample| place[usize::from(sample)]);
                *to = Packed::new(first, second, split.threshold);
            }
            Tree(tree)
        };
        let ends = std::array::from_fn(|point| order.partition_point(|sample| usize::from(anchors[*sample]) <= point));
        Self {
            ends,
            deltas: [0, 1].map(|axis| order.iter().map(|sample| deltas[*sample][axis]).collect()),
            trees: splits.chunks_exact(SPLITS).map(tree).collect(),
            leaves: leaves.iter().map(Leaf::new).collect(),
        }
    }

    /// How many samples it takes.
    pub(crate) fn samples(&self) -> usize {
        self.deltas[0].len()
    }
}

/// The model.
pub(crate) struct ShapePredictor {
    pub(crate) initial: [f32; COORDINATES],
    pub(crate) cascades: Vec<Cascade>,
}

/// Reads the whole file.
pub(crate) fn read(bytes: &[u8]) -> Result<ShapePredictor> {
    /// An integer takes two bytes at least, a float two integers.
    const INT: usize = 2;
    const FLOAT: usize = 4;
    const TREE: usize = INT + SPLITS * (2 * INT + FLOAT) + INT + LEAVES * (2 * INT + COORDINATES * FLOAT);

    let mut reader = Reader::new(bytes);
    reader.exactly("shape predictor version", 1)?;
    let initial = reader.column::<COORDINATES>("mean shape")?;

    let steps = reader.count("cascades", INT)?;
    let mut trees: Vec<(Vec<Split>, Vec<[f32; COORDINATES]>)> = Vec::new();
    for _ in 0..steps {
        let count = reader.count("trees", TREE)?;
        let mut splits = Vec::with_capacity(count * SPLITS);
        let mut leaves = Vec::with_capacity(count * LEAVES);
        for _ in 0..count {
            reader.exactly("splits of a tree", SPLITS as i64)?;
            for _ in 0..SPLITS {
                // The number of samples follows later in the file; checked below.
                splits.push(Split {
                    first: reader.index("sample index", usize::from(u16::MAX))?,
                    second: reader.index("sample index", usize::from(u16::MAX))?,
                    threshold: reader.float("split threshold")? as f32,
                });
            }
            reader.exactly("leaves of a tree", LEAVES as i64)?;
            for _ in 0..LEAVES {
                leaves.push(reader.column::<COORDINATES>("leaf")?);
            }
        }
        trees.push((splits, leaves));
    }

    reader.exactly("cascades of anchors", steps as i64)?;
    let mut anchors = Vec::new();
    for _ in 0..steps {
        let count = reader.count("anchors", INT)?;
        let mut step = Vec::with_capacity(count);
        for _ in 0..count {
            step.push(reader.index("anchor", POINTS)?);
        }
        anchors.push(step);
    }

    reader.exactly("cascades of offsets", steps as i64)?;
    let mut cascades = Vec::new();
    for ((splits, leaves), anchors) in trees.into_iter().zip(anchors) {
        let count = reader.count("offsets", 2 * FLOAT)?;
        if count != anchors.len() {
            return reader.unexpected("offsets", count, anchors.len());
        }
        let mut deltas = Vec::with_capacity(count);
        for _ in 0..count {
            deltas.push([reader.float("offset")? as f32, reader.float("offset")? as f32]);
        }
        let samples = count;
        if splits.iter().any(|s| usize::from(s.first.max(s.second)) >= samples) {
            return reader.fail(ModelFault::Malformed("sample index beyond the samples"));
        }
        if samples > SAMPLES {
            return reader.unexpected("samples, at most", samples, SAMPLES);
        }
        cascades.push(Cascade::new(&anchors, &deltas, &splits, &leaves));
    }
    reader.finish()?;
    Ok(ShapePredictor { initial, cascades })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_split_decides_as_the_split_does() {
        let mut samples = [0i16; SAMPLES];
        let thresholds =
            [-1e9, -256.0, -255.5, -255.0, -0.5, 0.0, 0.25, 7.0, 254.999, 255.0, 300.0, f32::INFINITY, f32::NAN];
        for threshold in thresholds {
            let packed = Packed::new(2_047, 3, threshold);
            for (first, second) in [(0, 255), (255, 0), (0, 0), (9, 9), (9, 2), (10, 2), (9, 10), (255, 1)] {
                (samples[2_047], samples[3]) = (first, second);
                let expected = f32::from(first) - f32::from(second) > threshold;
                assert_eq!(packed.exceeds(&samples), expected, "{first} {second} {threshold}");
            }
        }
    }

    #[test]
    fn samples_are_put_in_order_of_their_landmarks_and_splits_follow_them() {
        let deltas = [[0.0, 10.0], [1.0, 11.0], [2.0, 12.0], [3.0, 13.0]];
        let splits = [Split { first: 0, second: 2, threshold: 0.0 }; SPLITS];
        let step = Cascade::new(&[4, 0, 2, 0], &deltas, &splits, &[[1.0; COORDINATES]; LEAVES]);
        assert_eq!(step.ends, [2, 2, 3, 3, 4]);
        assert_eq!(step.deltas, [vec![1.0, 3.0, 2.0, 0.0], vec![11.0, 13.0, 12.0, 10.0]]);
        let mut samples = [0i16; SAMPLES];
        samples[3] = 1;
        assert!(step.trees[0].0[0].exceeds(&samples));
        samples[2] = 1;
        assert!(!step.trees[0].0[0].exceeds(&samples));
        assert_eq!(step.leaves[0].0[COORDINATES..], [0.0; LANES - COORDINATES]);
    }
}
