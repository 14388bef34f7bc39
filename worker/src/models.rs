//! `models list|check`: which packs there are, and whether one is what it claims to be and runs here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Subcommand;
use proofmill_telemetry::Metrics;

use crate::face::{self, DeviceChoice, FaceService, FaceStage as _};

/// `proofmill-worker models`.
#[derive(Subcommand, Debug)]
pub enum ModelsCommand {
    /// List the packs of a folder
    List {
        /// Folder of packs [default: where `cargo xtask setup` puts them]
        #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
        models: Option<PathBuf>,
    },
    /// Check a pack: every file's sha256, and that its networks build on the device
    Check {
        /// Pack folder, or a folder of packs [default: where `cargo xtask setup` puts it]
        #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
        pack: Option<PathBuf>,
        /// Where to build the networks
        #[arg(long, value_enum, default_value = "auto")]
        device: DeviceChoice,
    },
}

/// Runs the command; the answer is the process's exit status.
///
/// # Errors
/// The folder cannot be read, or the pack is not what it claims to be.
pub async fn run(command: ModelsCommand) -> anyhow::Result<u8> {
    match command {
        ModelsCommand::List { models } => list(models.as_deref()),
        ModelsCommand::Check { pack, device } => check(pack.as_deref(), device).await,
    }
}

fn list(models: Option<&Path>) -> anyhow::Result<u8> {
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
    let mut broken = false;
    for pack in &packs {
        match face::load(pack) {
            Ok(loaded) => {
                let identity = loaded.identity();
                let (name, version, point) = (&identity.name, &identity.version, &identity.operating_point);
                println!("{name} {version}  operating point {point}  sha256 {}  {}", identity.sha256, pack.display());
            }
            Err(error) => {
                broken = true;
                println!("{}: {error:#}", pack.display());
            }
        }
    }
    anyhow::ensure!(
        !packs.is_empty(),
        "no model pack in {} (`cargo xtask setup` fetches the default one)",
        folder.display()
    );
    Ok(u8::from(broken))
}

async fn check(pack: Option<&Path>, device: DeviceChoice) -> anyhow::Result<u8> {
    let pack = face::pack_folder(pack);
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let metrics = Arc::new(Metrics::new(&crate::build_info("models"))?);
    let service = FaceService::start(&pack, device, threads, None, metrics)?;
    let devices = service.devices().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    println!("{}: every file is the one that pack.toml pins", pack.display());
    println!("{} runs on {devices}; loaded and built in {:.1} s", service.model(), started.elapsed().as_secs_f64());
    service.drain().await;
    Ok(0)
}
