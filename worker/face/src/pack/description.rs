//! `pack.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::PackError;

/// Larger weights than any kind of network here has.
const MAX_FILE: u64 = 1 << 30;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    /// Version of this layout.
    format: u32,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) licence: String,
    pub(super) commercial_use: bool,
    pub(super) default_operating_point: String,
    pub(super) detector: Detector,
    pub(super) aligner: Aligner,
    pub(super) embedder: Embedder,
    #[serde(rename = "comparison")]
    _comparison: Comparison,
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
#[serde(deny_unknown_fields)]
pub(super) struct Aligner {
    pub(super) kind: AlignerKind,
    pub(super) box_scale: f32,
    pub(super) file: PinnedFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AlignerKind {
    Dlib5,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Embedder {
    pub(super) kind: EmbedderKind,
    pub(super) file: PinnedFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EmbedderKind {
    DlibResnet29,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Comparison {
    #[serde(rename = "metric")]
    _metric: Metric,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Metric {
    Euclidean,
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
        for file in [&self.detector.file, &self.aligner.file, &self.embedder.file] {
            // A pack must not reach outside its folder.
            let plain =
                !file.name.is_empty() && !file.name.contains(['/', '\\']) && file.name != "." && file.name != "..";
            if !plain {
                return Err(format!("{:?} is not a plain file name", file.name));
            }
            if file.sha256.len() != 64 || !file.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(format!("the sha256 of {:?} is not one", file.name));
            }
            if file.bytes == 0 || file.bytes > MAX_FILE {
                return Err(format!("{:?} cannot have {} bytes", file.name, file.bytes));
            }
        }
        if !(0.5..=3.0).contains(&self.aligner.box_scale) {
            return Err("aligner.box_scale is not between 0.5 and 3".to_owned());
        }
        for point in &self.operating_points {
            if !(point.threshold > 0.0 && point.threshold.is_finite()) {
                return Err(format!("the threshold of {:?} is not positive", point.name));
            }
        }
        let mut named = self.operating_points.iter().filter(|point| point.name == self.default_operating_point);
        match (named.next(), named.next()) {
            (Some(_), None) => Ok(()),
            _ => Err(format!(
                "default_operating_point {:?} is not the name of exactly one operating point",
                self.default_operating_point
            )),
        }
    }
}
