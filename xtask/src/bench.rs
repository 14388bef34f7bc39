//! `cargo xtask bench`: the whole road, or one stage of it over a private PostgreSQL.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;
use xtask::process;
use xtask::services::Services;
use xtask::setup::{self, Purpose};
use xtask::workspace::Workspace;

/// Stages with a program of their own, by the word that asks for them.
const STAGES: [(&str, &str); 2] = [("api", "proofmill-bench-api"), ("webhooks", "proofmill-bench-webhooks")];

/// Sets up, builds with optimisation, and measures.
pub fn run(workspace: &Workspace, options: &[OsString]) -> Result<ExitCode> {
    let asked = options.first().and_then(|word| STAGES.iter().find(|(name, _)| word == name));
    match asked {
        Some((_, program)) => stage(workspace, program, options.get(1..).unwrap_or_default()),
        None => road(workspace, options),
    }
}

fn road(workspace: &Workspace, options: &[OsString]) -> Result<ExitCode> {
    setup::run(workspace, Purpose::Run)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--bins", "-p", "proofmill-api", "-p", "proofmill-worker"]);
    build.args(["-p", "proofmill-benches"]);
    process::check(&mut build)?;

    let mut bench = Command::new(workspace.program("release", "proofmill-bench-road")?);
    bench.current_dir(&workspace.root).args(options);
    bench.env("PROOFMILL_MODELS", workspace.models());
    bench.env("PROOFMILL_PHOTOS", workspace.photos());
    exit_code(process::run(&mut bench)?)
}

/// On PostgreSQL with everything that makes a commit durable switched on, as in production.
fn stage(workspace: &Workspace, program: &str, options: &[OsString]) -> Result<ExitCode> {
    setup::run(workspace, Purpose::Tests)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "-p", "proofmill-api", "-p", "proofmill-benches", "--bins"]);
    process::check(&mut build)?;
    let services = Services::start_durable()?;
    let mut bench = Command::new(workspace.program("release", program)?);
    bench.current_dir(&workspace.root).args(options);
    bench.env("PROOFMILL_TEST_DATABASE_URL", services.database_url()).env("PROOFMILL_AMQP_URI", services.amqp_uri());
    let status = process::run(&mut bench)?;
    drop(services);
    process::check_interrupted()?;
    exit_code(status)
}

fn exit_code(status: std::process::ExitStatus) -> Result<ExitCode> {
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}
