//! Model packs: a folder with `pack.toml` and the weights that it pins.

mod description;
pub(crate) mod dlib;
pub(crate) mod tflite;

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

pub use description::OperatingPoint;
use description::{AlignerKind, Description, DetectorKind, EmbedderKind, PinnedFile};
use dlib::resnet::ResNet;
use dlib::shape::ShapePredictor;
use tflite::Graph;

use crate::error::{ModelError, ModelFault, PackError};

/// How strict to be with a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Take a pack whose licence forbids commercial use.
    pub allow_non_commercial: bool,
}

/// Which model and threshold decided: goes on record with each verdict.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PackIdentity {
    /// Name of the pack.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of `pack.toml`, in hex; it pins the SHA-256 of every file.
    pub sha256: String,
    /// Name of the operating point in force.
    pub operating_point: String,
}

/// A pack, read and checked: every weight is in memory, no network is built yet.
pub struct Pack {
    pub(crate) identity: PackIdentity,
    pub(crate) operating_points: Vec<OperatingPoint>,
    pub(crate) detector: Graph,
    pub(crate) predictor: ShapePredictor,
    pub(crate) embedder: ResNet,
    /// Factor on the detector's box before the landmarks are looked for in it.
    pub(crate) box_scale: f32,
}

/// Side and outputs of the BlazeFace short-range network.
pub(crate) const DETECTOR_INPUT: usize = 128;
pub(crate) const DETECTOR_ANCHORS: usize = 896;
pub(crate) const DETECTOR_VALUES: usize = 16;

impl Pack {
    /// Reads `dir/pack.toml` and the files that it names. A file counts only if its SHA-256 is
    /// the pinned one, and only then is it parsed.
    pub fn load(dir: &Path, options: LoadOptions) -> Result<Self, PackError> {
        let path = dir.join("pack.toml");
        let text = read_at_most(&path, 1 << 20)?;
        let description = Description::parse(&path, &text)?;
        if !description.commercial_use && !options.allow_non_commercial {
            return Err(PackError::NonCommercial { name: description.name, licence: description.licence });
        }
        let DetectorKind::Blazeface = description.detector.kind;
        let AlignerKind::Dlib5 = description.aligner.kind;
        let EmbedderKind::DlibResnet29 = description.embedder.kind;
        let detector = load_file(dir, &description.detector.file, |bytes| {
            let graph = tflite::read(bytes)?;
            check_detector(&graph)?;
            Ok(graph)
        })?;
        let predictor = load_file(dir, &description.aligner.file, dlib::shape::read)?;
        let embedder = load_file(dir, &description.embedder.file, dlib::resnet::read)?;
        Ok(Self {
            identity: PackIdentity {
                name: description.name,
                version: description.version,
                sha256: hex::encode(Sha256::digest(&text)),
                operating_point: description.default_operating_point,
            },
            operating_points: description.operating_points,
            detector,
            predictor,
            embedder,
            box_scale: description.aligner.box_scale,
        })
    }

    /// Name, version, digest and default operating point.
    pub fn identity(&self) -> &PackIdentity {
        &self.identity
    }

    /// The thresholds that the pack offers, with what is known about each.
    pub fn operating_points(&self) -> &[OperatingPoint] {
        &self.operating_points
    }
}

fn load_file<T>(
    dir: &Path,
    file: &PinnedFile,
    parse: impl FnOnce(&[u8]) -> Result<T, ModelError>,
) -> Result<T, PackError> {
    let path = dir.join(&file.name);
    let bytes = read_at_most(&path, file.bytes)?;
    let found = hex::encode(Sha256::digest(&bytes));
    if found != file.sha256 {
        return Err(PackError::WrongHash { path, expected: file.sha256.clone(), found });
    }
    parse(&bytes).map_err(|error| PackError::Model { path, error })
}

fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, PackError> {
    let io = |error| PackError::Io { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(PackError::TooLarge {
            path: path.to_owned(),
            bytes: std::fs::metadata(path).map_err(io)?.len(),
            limit,
        });
    }
    Ok(bytes)
}

/// Any graph may parse; only this one's outputs can be read as faces.
fn check_detector(graph: &Graph) -> Result<(), ModelError> {
    let shape_of = |number: usize| graph.shapes[number].clone();
    let output = |values: usize| graph.outputs.iter().any(|output| shape_of(*output) == [1, DETECTOR_ANCHORS, values]);
    let side = DETECTOR_INPUT;
    let fits = graph.inputs.len() == 1
        && shape_of(graph.inputs[0]) == [1, side, side, 3]
        && graph.outputs.len() == 2
        && output(DETECTOR_VALUES)
        && output(1);
    if fits {
        return Ok(());
    }
    Err(ModelError {
        offset: 0,
        fault: ModelFault::Unexpected {
            what: "detector's inputs and outputs",
            found: format!(
                "{:?} to {:?}",
                graph.inputs.iter().map(|i| shape_of(*i)).collect::<Vec<_>>(),
                graph.outputs.iter().map(|i| shape_of(*i)).collect::<Vec<_>>()
            ),
            expected: format!(
                "[1, {side}, {side}, 3] to [1, {DETECTOR_ANCHORS}, {DETECTOR_VALUES}] and [1, {DETECTOR_ANCHORS}, 1]"
            ),
        },
    })
}
