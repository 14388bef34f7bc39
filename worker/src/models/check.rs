//! `models list` and `models check`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use proofmill_face::{Matcher, OperatingPoint, Pack};

use crate::face::{self, DeviceChoice};
use crate::settings;

/// `models list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Folder of packs [default: where `models fetch` puts them]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
    models: Option<PathBuf>,
}

/// `models check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Pack folder, or a folder of packs [default: where `models fetch` puts it]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
    pack: Option<PathBuf>,
    /// Where to build the networks
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
}

pub(super) fn list(args: &ListArgs) -> anyhow::Result<u8> {
    let models = args.models.as_deref();
    let default = face::pack_folder(models);
    // A named pack stands for itself; otherwise its siblings are listed too.
    let folder = match models {
        Some(path) if !path.join("pack.toml").is_file() => path.to_owned(),
        _ => default.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let mut packs: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("pack.toml").is_file())
        .collect();
    packs.sort();
    anyhow::ensure!(!packs.is_empty(), "no model pack in {} (`models fetch` gets the default one)", folder.display());
    let mut broken = false;
    for path in &packs {
        match face::load(path, face::FOR_TOOLS) {
            Ok(pack) => describe(&pack, path),
            Err(error) => {
                broken = true;
                println!("{}: {error:#}", path.display());
            }
        }
    }
    Ok(u8::from(broken))
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    let folder = face::pack_folder(args.pack.as_deref());
    let threads = settings::processor_threads(None);
    let devices = face::devices(args.device)?;
    let mut first = None;
    for device in &devices {
        let pack = face::load(&folder, face::FOR_TOOLS)?;
        if first.is_none() {
            describe(&pack, &folder);
            println!("  files        every one is the one that pack.toml pins");
        }
        let started = Instant::now();
        let matcher = Matcher::new(pack, *device, threads)
            .with_context(|| format!("cannot build the model pack {} on {device}", folder.display()))?;
        println!("  {device:<12} built, self-test passed, in {:.1} s", started.elapsed().as_secs_f64());
        first.get_or_insert(matcher);
    }
    if let Some(matcher) = first {
        super::bench::print(&matcher, &[1, 8, 32])?;
    }
    Ok(0)
}

/// What a pack says of itself.
pub(super) fn describe(pack: &Pack, folder: &Path) {
    let (identity, summary) = (pack.identity(), pack.summary());
    let commercial = match summary.commercial_use {
        Some(true) => "allowed",
        Some(false) => "NOT allowed: refused without --allow-non-commercial",
        None => "NOT STATED: refused without --allow-non-commercial",
    };
    println!("{} {}  {}", identity.name, identity.version, folder.display());
    println!("  sha256       {}", identity.sha256);
    println!("  licence      {}; commercial use {commercial}", summary.licence);
    println!(
        "  networks     detector blazeface, aligner {}, embedder {} ({side} x {side} to {} numbers)",
        summary.aligner,
        summary.embedder,
        summary.dimensions,
        side = summary.input_size,
    );
    for point in pack.operating_points() {
        let chosen = if point.name == identity.operating_point { " (default)" } else { "" };
        let metric = format!("{:?}", summary.metric).to_lowercase();
        println!("  threshold    {}{chosen}: {metric} distance {}, {}", point.name, point.threshold, known(point));
    }
}

fn known(point: &OperatingPoint) -> String {
    let evidence = &point.evidence;
    match (point.false_match_rate, point.false_matches, point.impostor_comparisons) {
        (Some(rate), Some(matches), Some(of)) => {
            format!("false-match rate at most {rate:e} ({matches} in {of} impostor comparisons; {evidence})")
        }
        _ => format!("no false-match rate measured ({evidence})"),
    }
}
