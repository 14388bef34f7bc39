//! `models import`: a TorchScript file of the user's own becomes a pack.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{ArgAction, Args, ValueEnum};
use proofmill_face::{Device, Matcher};
use sha2::{Digest as _, Sha256};

use crate::face;

/// `models import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The network: TorchScript, N x 3 x H x W to N x D. It is a program; import only what you trust
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the pack, and of its folder
    #[arg(long, value_parser = plain_name)]
    name: String,
    /// Version of the pack
    #[arg(long, default_value = "1")]
    pack_version: String,
    /// Licence of the network, as an SPDX expression
    #[arg(long)]
    licence: String,
    /// Whether the licence allows commercial use
    #[arg(long, action = ArgAction::Set, value_name = "true|false")]
    commercial_use: bool,
    /// Where the network came from
    #[arg(long, default_value = "imported by the operator")]
    source: String,
    /// Width and height of the network's input
    #[arg(long, value_name = "PIXELS", default_value_t = 112)]
    input_size: usize,
    /// Order of the input's channels
    #[arg(long, value_enum, default_value = "rgb")]
    channels: Order,
    /// How values of 0 to 255 are normalised: `arcface` (-1 to 1), `unit` (0 to 1), `imagenet`, or MEAN,MEAN,MEAN/SCALE,SCALE,SCALE
    #[arg(long, default_value = "arcface", value_parser = normalisation)]
    normalisation: Normalisation,
    /// Length of an embedding
    #[arg(long, value_name = "N", default_value_t = 512)]
    dimensions: usize,
    /// How embeddings are compared
    #[arg(long, value_enum, default_value = "cosine")]
    metric: Comparison,
    /// Five-point landmarker as TorchScript (N x 3 x H x W to N x 10 or N x 5 x 2: eyes, nose, corners of the mouth, left before
    /// right in the picture) [default: the detector's own points]
    #[arg(long, value_name = "FILE")]
    landmarker: Option<PathBuf>,
    /// Width and height of the landmarker's input
    #[arg(long, value_name = "PIXELS", default_value_t = 112, requires = "landmarker")]
    landmarker_size: usize,
    /// Side of the square that the landmarker sees, in longer sides of the detector's box
    #[arg(long, value_name = "FACTOR", default_value_t = 1.3, requires = "landmarker")]
    landmarker_box_scale: f32,
    /// What its numbers mean
    #[arg(long, value_enum, default_value = "crop", requires = "landmarker")]
    landmarker_unit: Unit,
    /// How its input is normalised, as for the network
    #[arg(long, default_value = "unit", value_parser = normalisation, requires = "landmarker")]
    landmarker_normalisation: Normalisation,
    /// Two faces match up to this distance
    #[arg(long, value_name = "DISTANCE")]
    threshold: f32,
    /// False-match rate that the threshold was measured to keep
    #[arg(long, value_name = "RATE", requires_all = ["impostor_comparisons", "false_matches"])]
    false_match_rate: Option<f64>,
    /// Impostor comparisons that the rate was measured on
    #[arg(long, value_name = "N")]
    impostor_comparisons: Option<u64>,
    /// How many of them matched
    #[arg(long, value_name = "N")]
    false_matches: Option<u64>,
    /// How the threshold was found
    #[arg(long, default_value = "the operator's, not calibrated")]
    evidence: String,
    /// Pack whose detector is used [default: the default pack]
    #[arg(long, value_name = "DIR")]
    detector_from: Option<PathBuf>,
    /// Folder of packs to put it into [default: where `models fetch` puts them]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
    models: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Rgb,
    Bgr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    /// Sides of its input, 0 to 1
    Crop,
    /// Pixels of its input
    Pixels,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Comparison {
    Euclidean,
    Cosine,
}

/// Taken from each value, and then dividing it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Normalisation {
    mean: [f32; 3],
    scale: [f32; 3],
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<u8> {
    let folder = args.models.clone().unwrap_or_else(face::cache);
    anyhow::ensure!(!folder.join("pack.toml").is_file(), "{} is a pack, not a folder of packs", folder.display());
    let target = folder.join(&args.name);
    anyhow::ensure!(!target.exists(), "{} exists already", target.display());
    let partial = folder.join(format!(".partial-{}-{}", args.name, std::process::id()));
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let made = make(args, &partial)
        .and_then(|()| fs::rename(&partial, &target).with_context(|| format!("cannot write {}", target.display())));
    if made.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    made?;
    super::check::describe(&face::load(&target, face::FOR_TOOLS)?, &target);
    Ok(0)
}

/// Writes the pack and holds it to what a worker would hold it to.
fn make(args: &ImportArgs, folder: &Path) -> anyhow::Result<()> {
    let detector_pack = face::pack_folder(args.detector_from.as_deref());
    let description = fs::read_to_string(detector_pack.join("pack.toml")).with_context(|| {
        format!(
            "cannot read the pack {} for its detector (`models fetch` gets the default one)",
            detector_pack.display()
        )
    })?;
    let description: toml::Table = toml::from_str(&description)
        .with_context(|| format!("cannot read {}", detector_pack.join("pack.toml").display()))?;
    let detector = description.get("detector").cloned().context("the pack of --detector-from has no detector")?;
    let file = detector.get("file").and_then(|file| file.get("name")).and_then(toml::Value::as_str);
    let file = file.context("the pack of --detector-from does not name its detector's file")?;
    let file = plain_name(file).map_err(anyhow::Error::msg)?;
    copy(&detector_pack.join(&file), &folder.join(&file))?;

    copy(&args.file, &folder.join("network.pt"))?;
    let bytes = fs::read(folder.join("network.pt"))?;
    let points = match &args.landmarker {
        Some(path) => {
            copy(path, &folder.join("landmarker.pt"))?;
            Some(fs::read(folder.join("landmarker.pt"))?)
        }
        None => None,
    };
    let text = toml::to_string(&args.description(detector, &bytes, points.as_deref())?)?;
    fs::write(folder.join("pack.toml"), text)?;
    let pack = face::load(folder, face::FOR_TOOLS)?;
    Matcher::new(pack, Device::Cpu, 0)
        .with_context(|| format!("{} does not work as described", args.file.display()))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
}

impl ImportArgs {
    fn description(&self, detector: toml::Value, network: &[u8], points: Option<&[u8]>) -> anyhow::Result<toml::Table> {
        let mut point = toml::toml! { name = "imported" };
        point.insert("threshold".to_owned(), shortest(self.threshold).into());
        point.insert("evidence".to_owned(), self.evidence.clone().into());
        if let Some(rate) = self.false_match_rate {
            point.insert("false_match_rate".to_owned(), rate.into());
        }
        for (key, count) in [("impostor_comparisons", self.impostor_comparisons), ("false_matches", self.false_matches)]
        {
            if let Some(count) = count {
                point.insert(key.to_owned(), i64::try_from(count)?.into());
            }
        }
        let text = |value: &str| toml::Value::from(value);
        let table = |pairs: Vec<(&str, toml::Value)>| -> toml::Table {
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
        };
        let channels = match self.channels {
            Order::Rgb => "rgb",
            Order::Bgr => "bgr",
        };
        let input = |size: usize, normalisation: &Normalisation| -> anyhow::Result<toml::Value> {
            let numbers = |values: [f32; 3]| toml::Value::from(values.map(shortest).to_vec());
            let pairs = vec![
                ("size", i64::try_from(size)?.into()),
                ("channels", text(channels)),
                ("mean", numbers(normalisation.mean)),
                ("scale", numbers(normalisation.scale)),
            ];
            Ok(table(pairs).into())
        };
        let file = |name: &str, bytes: &[u8]| -> anyhow::Result<toml::Value> {
            let pairs = vec![
                ("name", text(name)),
                ("sha256", hex::encode(Sha256::digest(bytes)).into()),
                ("bytes", i64::try_from(bytes.len())?.into()),
                ("licence", text(&self.licence)),
                ("source", text(&self.source)),
            ];
            Ok(table(pairs).into())
        };
        let mut aligner = table(vec![("kind", text("arcface4"))]);
        if let Some(points) = points {
            let unit = match self.landmarker_unit {
                Unit::Crop => "crop",
                Unit::Pixels => "pixels",
            };
            let landmarker = table(vec![
                ("kind", text("torchscript")),
                ("box_scale", shortest(self.landmarker_box_scale).into()),
                ("unit", text(unit)),
                ("input", input(self.landmarker_size, &self.landmarker_normalisation)?),
                ("file", file("landmarker.pt", points)?),
            ]);
            aligner.insert("landmarker".to_owned(), landmarker.into());
        }
        let embedder = table(vec![
            ("kind", text("torchscript")),
            ("dimensions", i64::try_from(self.dimensions)?.into()),
            ("input", input(self.input_size, &self.normalisation)?),
            ("file", file("network.pt", network)?),
        ]);
        let metric = match self.metric {
            Comparison::Euclidean => "euclidean",
            Comparison::Cosine => "cosine",
        };
        Ok(table(vec![
            ("format", 1.into()),
            ("name", text(&self.name)),
            ("version", text(&self.pack_version)),
            ("licence", text(&self.licence)),
            ("commercial_use", self.commercial_use.into()),
            ("default_operating_point", text("imported")),
            ("detector", detector),
            ("aligner", aligner.into()),
            ("embedder", embedder.into()),
            ("comparison", table(vec![("metric", text(metric))]).into()),
            ("operating_points", vec![toml::Value::from(point)].into()),
        ]))
    }
}

/// The double that prints as the single does: 0.35, not 0.3499999940395355.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn plain_name(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if plain && !text.is_empty() && !text.starts_with('.') && text.len() <= 64 {
        return Ok(text.to_owned());
    }
    Err("expected letters, digits, dots, hyphens and underscores".to_owned())
}

fn normalisation(text: &str) -> Result<Normalisation, String> {
    let same = |mean, scale| Ok(Normalisation { mean: [mean; 3], scale: [scale; 3] });
    match text {
        "arcface" => return same(127.5, 127.5),
        "unit" => return same(0.0, 255.0),
        "imagenet" => {
            return Ok(Normalisation { mean: [123.675, 116.28, 103.53], scale: [58.395, 57.12, 57.375] });
        }
        _ => {}
    }
    let three = |text: &str| -> Option<[f32; 3]> {
        let values: Vec<f32> = text.split(',').map(|value| value.trim().parse().ok()).collect::<Option<_>>()?;
        values.try_into().ok()
    };
    let parsed = text.split_once('/').and_then(|(mean, scale)| Some((three(mean)?, three(scale)?)));
    let (mean, scale) = parsed.ok_or("expected arcface, unit, imagenet or MEAN,MEAN,MEAN/SCALE,SCALE,SCALE")?;
    Ok(Normalisation { mean, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisations_have_names_or_six_numbers() {
        assert_eq!(normalisation("arcface").unwrap().scale, [127.5; 3]);
        let own = normalisation("1,2,3/4,5,6.5").unwrap();
        assert_eq!((own.mean, own.scale), ([1.0, 2.0, 3.0], [4.0, 5.0, 6.5]));
        for wrong in ["", "vgg", "1,2/3,4,5", "1,2,3", "1,2,3/4,5,x"] {
            assert!(normalisation(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        assert!(plain_name("my-pack_1.0").is_ok());
        for wrong in ["", ".hidden", "..", "a/b", "a b", "a\\b"] {
            assert!(plain_name(wrong).is_err(), "{wrong}");
        }
    }
}
