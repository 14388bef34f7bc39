//! `cargo xtask demo`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use xtask::process;
use xtask::setup::{self, Purpose};
use xtask::workspace::Workspace;

/// Sets up, builds, and hands over to the demonstration itself, which prints the last line.
pub fn run(workspace: &Workspace, options: &[OsString]) -> Result<ExitCode> {
    setup::run(workspace, Purpose::Run)?;
    let mut build = workspace.cargo();
    build.args(["build", "--bins", "-p", "proofmill-api", "-p", "proofmill-worker", "-p", "proofmill-tests"]);
    process::check(&mut build)?;

    let mut demo = std::process::Command::new(workspace.program("debug", "proofmill-demo")?);
    demo.current_dir(&workspace.root).args(options);
    demo.env("PROOFMILL_MODELS", workspace.models());
    demo.env("PROOFMILL_PHOTOS", workspace.photos());
    let status = process::run(&mut demo)?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}
