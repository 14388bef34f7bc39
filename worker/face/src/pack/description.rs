//! `pack.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::evidence;
use crate::error::PackError;
use crate::policy::{MatchPolicy, PolicyError};

/// Larger weights than any kind of network here has.
const MAX_FILE: u64 = 1 << 30;
/// Sides that an embedder's input may have, in pixels.
const INPUT_SIDES: std::ops::RangeInclusive<usize> = 16..=512;
/// Most numbers in an embedding.
const MAX_DIMENSIONS: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    /// Version of this layout.
    format: u32,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) licence: String,
    /// Absent means that nobody said so, which is not a yes.
    pub(super) commercial_use: Option<bool>,
    pub(super) default_operating_point: String,
    pub(super) detector: Detector,
    pub(super) aligner: Aligner,
    pub(super) embedder: Embedder,
    pub(super) comparison: Comparison,
    /// What the pack changes about the default policy, by section and setting.
    #[serde(default)]
    gates: BTreeMap<String, BTreeMap<String, f64>>,
    pub(super) operating_points: Vec<OperatingPoint>,
}

/// A weights file: its name inside the pack, and what it must be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinnedFile {
    pub(super) name: String,
    pub(super) sha256: String,
    pub(super) bytes: u64,
    #[serde(rename = "licence")]
    _licence: String,
    #[serde(rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detector {
    pub(super) kind: DetectorKind,
    pub(super) file: PinnedFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DetectorKind {
    Blazeface,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Aligner {
    Dlib5 { box_scale: f32, file: PinnedFile },
    Arcface4 { landmarker: Option<LandmarkerFile> },
}

/// A pack's own five-point landmarker.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LandmarkerFile {
    pub(super) kind: LandmarkerKind,
    /// Side of the square around the detector's box, in longer sides of that box.
    pub(super) box_scale: f32,
    pub(super) unit: LandmarkUnit,
    pub(super) input: NetworkInput,
    pub(super) file: PinnedFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LandmarkerKind {
    Torchscript,
}

/// What a landmarker's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LandmarkUnit {
    /// Pixels of its input.
    Pixels,
    /// Sides of its input: 0 to 1.
    Crop,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Embedder {
    DlibResnet29 { file: PinnedFile },
    Torchscript { dimensions: usize, input: NetworkInput, file: PinnedFile },
}

/// What a TorchScript network is given: N x 3 x size x size.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkInput {
    /// Width and height in pixels.
    pub(crate) size: usize,
    pub(crate) channels: Channels,
    /// Taken from each value of 0 to 255, by channel in the network's order.
    pub(crate) mean: [f32; 3],
    /// Then divides it.
    pub(crate) scale: [f32; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Channels {
    Rgb,
    Bgr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Comparison {
    pub(super) metric: Metric,
}

/// How embeddings are compared. Operating points are in this unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The length of the difference.
    Euclidean,
    /// 1 minus the cosine of the angle between them: 0 to 2.
    Cosine,
}

/// A threshold, and what is known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoint {
    /// Its name.
    pub name: String,
    /// Two faces match when their distance is at most this.
    pub threshold: f32,
    /// False-match rate that it was measured to keep (ISO/IEC 19795-1); absent when it was not.
    pub false_match_rate: Option<f64>,
    /// Impostor comparisons that the rate was measured on; stands beside every rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impostor_comparisons: Option<u64>,
    /// How many of them matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_matches: Option<u64>,
    /// How it was measured, or that it was not.
    pub evidence: String,
}

impl Description {
    pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Self, PackError> {
        let refuse = |error: String| PackError::Description { path: path.to_owned(), error };
        let text = std::str::from_utf8(text).map_err(|error| refuse(error.to_string()))?;
        let parsed: Self = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        parsed.check().map_err(refuse)?;
        Ok(parsed)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != 1 {
            return Err(format!("format {} is not known, only 1", self.format));
        }
        let aligner = match &self.aligner {
            Aligner::Dlib5 { file, .. } => Some(file),
            Aligner::Arcface4 { landmarker } => landmarker.as_ref().map(|landmarker| &landmarker.file),
        };
        let (Embedder::DlibResnet29 { file: embedder } | Embedder::Torchscript { file: embedder, .. }) = &self.embedder;
        for file in [Some(&self.detector.file), aligner, Some(embedder)].into_iter().flatten() {
            file.check()?;
        }
        if let Aligner::Dlib5 { box_scale, .. } = &self.aligner
            && !(0.5..=3.0).contains(box_scale)
        {
            return Err("aligner.box_scale is not between 0.5 and 3".to_owned());
        }
        if let Aligner::Arcface4 { landmarker: Some(landmarker) } = &self.aligner {
            landmarker.input.check().map_err(|error| error.replace("embedder.", "aligner.landmarker."))?;
            if !(0.5..=3.0).contains(&landmarker.box_scale) {
                return Err("aligner.landmarker.box_scale is not between 0.5 and 3".to_owned());
            }
        }
        self.check_embedder()?;
        self.policy().map_err(|error| format!("gates: {error}"))?;
        self.operating_points.iter().try_for_each(OperatingPoint::check)?;
        let mut named = self.operating_points.iter().filter(|point| point.name == self.default_operating_point);
        match (named.next(), named.next()) {
            (Some(_), None) => Ok(()),
            _ => Err(format!(
                "default_operating_point {:?} is not the name of exactly one operating point",
                self.default_operating_point
            )),
        }
    }

    /// The default policy, with what the pack changes about it.
    pub(super) fn policy(&self) -> Result<MatchPolicy, PolicyError> {
        let mut policy = MatchPolicy::default();
        for (section, settings) in &self.gates {
            for (name, value) in settings {
                policy.set(&format!("{section}.{name}"), *value)?;
            }
        }
        policy.check()?;
        Ok(policy)
    }

    fn check_embedder(&self) -> Result<(), String> {
        match (&self.aligner, &self.embedder) {
            (Aligner::Dlib5 { .. }, Embedder::DlibResnet29 { .. }) => Ok(()),
            (Aligner::Arcface4 { .. }, Embedder::DlibResnet29 { .. }) => {
                Err("the embedder dlib-resnet29 needs the aligner dlib5".to_owned())
            }
            (aligner, Embedder::Torchscript { dimensions, input, .. }) => {
                input.check()?;
                if matches!(aligner, Aligner::Dlib5 { .. }) && input.size != crate::face::chip::Chip::SIDE {
                    return Err(format!(
                        "the aligner dlib5 makes inputs of 150 pixels, embedder.input.size says {}",
                        input.size
                    ));
                }
                if !(2..=MAX_DIMENSIONS).contains(dimensions) {
                    return Err(format!("embedder.dimensions is {dimensions}, expected 2 to {MAX_DIMENSIONS}"));
                }
                Ok(())
            }
        }
    }
}

impl PinnedFile {
    fn check(&self) -> Result<(), String> {
        // A pack must not reach outside its folder.
        let plain = !self.name.is_empty() && !self.name.contains(['/', '\\']) && self.name != "." && self.name != "..";
        if !plain {
            return Err(format!("{:?} is not a plain file name", self.name));
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("the sha256 of {:?} is not one", self.name));
        }
        if self.bytes == 0 || self.bytes > MAX_FILE {
            return Err(format!("{:?} cannot have {} bytes", self.name, self.bytes));
        }
        Ok(())
    }
}

impl NetworkInput {
    fn check(&self) -> Result<(), String> {
        if !INPUT_SIDES.contains(&self.size) {
            let (low, high) = (INPUT_SIDES.start(), INPUT_SIDES.end());
            return Err(format!("embedder.input.size is {}, expected {low} to {high}", self.size));
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return Err("embedder.input.mean is not finite".to_owned());
        }
        if !self.scale.iter().all(|scale| scale.is_finite() && scale.abs() >= 1e-6) {
            return Err("embedder.input.scale divides by nothing".to_owned());
        }
        Ok(())
    }
}

impl OperatingPoint {
    /// A rate counts only with the numbers behind it, and only if they support it.
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if !(self.threshold > 0.0 && self.threshold.is_finite()) {
            return Err(format!("the threshold of {name:?} is not positive"));
        }
        let Some(rate) = self.false_match_rate else { return Ok(()) };
        if !(rate > 0.0 && rate < 1.0) {
            return Err(format!("the false_match_rate of {name:?} is not between 0 and 1"));
        }
        let (Some(comparisons), Some(matches)) = (self.impostor_comparisons, self.false_matches) else {
            return Err(format!(
                "{name:?} claims a false_match_rate without impostor_comparisons and false_matches behind it"
            ));
        };
        if !evidence::supports(rate, comparisons, matches) {
            return Err(format!(
                "{name:?} claims a false_match_rate of {rate:e}, which {matches} false matches in {comparisons} \
                 impostor comparisons do not support (one-sided 95 % bound, ISO/IEC 19795-1)"
            ));
        }
        Ok(())
    }
}
