//! `cargo xtask bench`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use xtask::process;
use xtask::setup::{self, Purpose};
use xtask::workspace::Workspace;

/// Sets up, builds with optimisation, and measures the whole road.
pub fn run(workspace: &Workspace, options: &[OsString]) -> Result<ExitCode> {
    setup::run(workspace, Purpose::Run)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--bins", "-p", "proofmill-api", "-p", "proofmill-worker"]);
    build.args(["-p", "proofmill-benches"]);
    process::check(&mut build)?;

    let mut bench = std::process::Command::new(workspace.program("release", "proofmill-bench-road")?);
    bench.current_dir(&workspace.root).args(options);
    bench.env("PROOFMILL_MODELS", workspace.models());
    bench.env("PROOFMILL_PHOTOS", workspace.photos());
    let status = process::run(&mut bench)?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}
