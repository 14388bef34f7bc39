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

/// One step of the cascade: where to sample, and the trees that correct the shape.
pub(crate) struct Cascade {
    /// For each sample, the landmark that it hangs on ...
    pub(crate) anchors: Vec<u16>,
    /// ... and its offset from it, in the mean shape's frame.
    pub(crate) deltas: Vec<[f32; 2]>,
    /// SPLITS of each tree in turn.
    pub(crate) splits: Vec<Split>,
    /// LEAVES of each tree in turn: what each adds to the shape.
    pub(crate) leaves: Vec<[f32; COORDINATES]>,
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
        cascades.push(Cascade { anchors, deltas, splits, leaves });
    }
    reader.finish()?;
    Ok(ShapePredictor { initial, cascades })
}
