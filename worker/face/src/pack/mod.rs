//! Model packs: a folder with `pack.toml` and the weights that it pins.

mod description;
pub(crate) mod dlib;
mod evidence;
pub(crate) mod tflite;
pub(crate) mod torchscript;

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

pub(crate) use description::{Channels, LandmarkUnit, NetworkInput};
use description::{Description, DetectorKind, LandmarkerKind, PinnedFile};
pub use description::{Metric, OperatingPoint};
use dlib::resnet::{self, ResNet};
use dlib::shape::ShapePredictor;
use tflite::Graph;
use torchscript::Script;

use crate::error::{ModelError, ModelFault, PackError};
use crate::policy::MatchPolicy;

/// How strict to be with a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Take a pack whose licence forbids commercial use, or that does not say.
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

/// What a pack says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PackSummary {
    /// Its licence.
    pub licence: String,
    /// Whether it may be used commercially; `None` when it does not say.
    pub commercial_use: Option<bool>,
    /// Kind of the aligner.
    pub aligner: &'static str,
    /// Kind of the embedder.
    pub embedder: &'static str,
    /// Width and height of the embedder's input, in pixels.
    pub input_size: usize,
    /// Numbers in an embedding.
    pub dimensions: usize,
    /// How embeddings are compared.
    pub metric: Metric,
}

/// A pack, read and checked: every weight is in memory, no network is built yet.
pub struct Pack {
    pub(crate) identity: PackIdentity,
    pub(crate) operating_points: Vec<OperatingPoint>,
    pub(crate) detector: Graph,
    pub(crate) aligner: Aligner,
    pub(crate) embedder: Embedder,
    policy: MatchPolicy,
    summary: PackSummary,
}

/// How a face is brought into the embedder's frame.
pub(crate) enum Aligner {
    /// Five landmarks by regression trees, in the detector's box enlarged by a factor.
    Dlib5 { predictor: ShapePredictor, box_scale: f32 },
    /// The detector's own points, or those of a landmarker, into a crop of this side.
    Arcface4 { side: usize, points: Option<Points> },
}

/// A pack's own five-point landmarker, read and not yet loaded.
pub(crate) struct Points {
    pub(crate) script: Script,
    /// Side of its square, in longer sides of the detector's box.
    pub(crate) box_scale: f32,
    pub(crate) unit: LandmarkUnit,
}

/// A network that turns faces into numbers, and what the numbers are.
pub(crate) struct Embedder {
    pub(crate) network: Network,
    pub(crate) output: Output,
}

pub(crate) enum Network {
    Resnet29(ResNet),
    TorchScript(Script),
}

/// What comes out of an embedder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) dimensions: usize,
    pub(crate) metric: Metric,
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
        if description.commercial_use != Some(true) && !options.allow_non_commercial {
            return Err(PackError::NonCommercial { name: description.name, licence: description.licence });
        }
        let policy = description
            .policy()
            .map_err(|error| PackError::Description { path: path.clone(), error: error.to_string() })?;
        let DetectorKind::Blazeface = description.detector.kind;
        let detector = load_file(dir, &description.detector.file, |bytes| {
            let graph = tflite::read(&bytes)?;
            check_detector(&graph)?;
            Ok(graph)
        })?;
        let embedder = Embedder::load(dir, description.embedder, description.comparison.metric)?;
        let aligner = match description.aligner {
            description::Aligner::Dlib5 { box_scale, file } => {
                let predictor = load_file(dir, &file, |bytes| dlib::shape::read(&bytes))?;
                Aligner::Dlib5 { predictor, box_scale }
            }
            description::Aligner::Arcface4 { landmarker } => {
                let points = landmarker.map(|from| Points::load(dir, from)).transpose()?;
                Aligner::Arcface4 { side: embedder.side(), points }
            }
        };
        Ok(Self {
            summary: PackSummary {
                licence: description.licence,
                commercial_use: description.commercial_use,
                aligner: aligner.kind(),
                embedder: embedder.kind(),
                input_size: embedder.side(),
                dimensions: embedder.output.dimensions,
                metric: embedder.output.metric,
            },
            identity: PackIdentity {
                name: description.name,
                version: description.version,
                sha256: hex::encode(Sha256::digest(&text)),
                operating_point: description.default_operating_point,
            },
            operating_points: description.operating_points,
            detector,
            aligner,
            embedder,
            policy,
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

    /// The policy that the pack asks for: the defaults, with what its `[gates]` change.
    pub fn policy(&self) -> MatchPolicy {
        self.policy.clone()
    }

    /// Licence and kinds.
    pub fn summary(&self) -> &PackSummary {
        &self.summary
    }

    /// The operating point for a false-match rate: of those that were measured to keep it, the
    /// one that lets most genuine faces through.
    pub fn operating_point_for(&self, false_match_rate: f64) -> Result<&OperatingPoint, PackError> {
        let keeps = |point: &&OperatingPoint| point.false_match_rate.is_some_and(|rate| rate <= false_match_rate);
        let points = self.operating_points.iter();
        points.clone().filter(keeps).max_by(|a, b| a.threshold.total_cmp(&b.threshold)).ok_or_else(|| {
            let rate = |point: &OperatingPoint| match point.false_match_rate {
                Some(rate) => format!("{} ({rate:e})", point.name),
                None => format!("{} (no rate measured)", point.name),
            };
            PackError::UnsupportedRate {
                name: self.identity.name.clone(),
                asked: false_match_rate,
                known: points.map(rate).collect::<Vec<_>>().join(", "),
            }
        })
    }
}

impl Aligner {
    fn kind(&self) -> &'static str {
        match self {
            Self::Dlib5 { .. } => "dlib5",
            Self::Arcface4 { points: None, .. } => "arcface4",
            Self::Arcface4 { points: Some(_), .. } => "arcface4 with a landmarker of its own",
        }
    }
}

impl Embedder {
    fn load(dir: &Path, from: description::Embedder, metric: Metric) -> Result<Self, PackError> {
        let (network, dimensions) = match from {
            description::Embedder::DlibResnet29 { file } => {
                let network = load_file(dir, &file, |bytes| resnet::read(&bytes))?;
                (Network::Resnet29(network), resnet::OUTPUT)
            }
            description::Embedder::Torchscript { dimensions, input, file } => {
                (Network::TorchScript(Script::load(dir, file, input)?), dimensions)
            }
        };
        Ok(Self { network, output: Output { dimensions, metric } })
    }

    /// Width and height of the input.
    pub(crate) fn side(&self) -> usize {
        match &self.network {
            Network::Resnet29(_) => resnet::INPUT,
            Network::TorchScript(script) => script.input.size,
        }
    }

    fn kind(&self) -> &'static str {
        match self.network {
            Network::Resnet29(_) => "dlib-resnet29",
            Network::TorchScript(_) => "torchscript",
        }
    }
}

impl Points {
    fn load(dir: &Path, from: description::LandmarkerFile) -> Result<Self, PackError> {
        let description::LandmarkerFile { kind: LandmarkerKind::Torchscript, box_scale, unit, input, file } = from;
        Ok(Self { script: Script::load(dir, file, input)?, box_scale, unit })
    }
}

impl Script {
    fn load(dir: &Path, file: PinnedFile, input: NetworkInput) -> Result<Self, PackError> {
        let bytes = load_file(dir, &file, |bytes| torchscript::check(&bytes).map(|()| bytes))?;
        Ok(Self { file: file.name, bytes, input })
    }
}

fn load_file<T>(
    dir: &Path,
    file: &PinnedFile,
    parse: impl FnOnce(Vec<u8>) -> Result<T, ModelError>,
) -> Result<T, PackError> {
    let path = dir.join(&file.name);
    let bytes = read_at_most(&path, file.bytes)?;
    let found = hex::encode(Sha256::digest(&bytes));
    if !found.eq_ignore_ascii_case(&file.sha256) {
        return Err(PackError::WrongHash { path, expected: file.sha256.clone(), found });
    }
    parse(bytes).map_err(|error| PackError::Model { path, error })
}

fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, PackError> {
    let io = |error| PackError::Io { path: path.to_owned(), error };
    // A named pipe would keep the process waiting for whoever writes to it.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(PackError::NotRegular { path: path.to_owned() });
    }
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
