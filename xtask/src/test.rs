//! `cargo xtask test`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use xtask::process;
use xtask::services::Services;
use xtask::setup::{self, Purpose};
use xtask::workspace::Workspace;

/// Sets up, starts the servers, runs the tests. The last line is nextest's own summary.
pub fn run(workspace: &Workspace, options: &[OsString]) -> Result<ExitCode> {
    setup::run(workspace, Purpose::Tests)?;

    let words: Vec<_> = options.iter().map(|option| option.to_string_lossy()).collect();
    let selected = words.iter().any(|word| word == "-p" || word.starts_with("--package"));
    let starts_programs = words.iter().any(|word| word.ends_with("proofmill-tests"));
    if !selected {
        // In one invocation with the tests, so that cargo unifies features over the same set of
        // crates and builds none of them twice; nextest alone would not build the programs that
        // the integration tests start.
        process::check(workspace.cargo().args(["build", "--workspace", "--bins", "--tests"]))?;
    } else if starts_programs {
        process::check(workspace.cargo().args(["build", "--bins", "-p", "proofmill-api", "-p", "proofmill-worker"]))?;
    }
    process::check_interrupted()?;

    let services = Services::start()?;
    let mut nextest = workspace.cargo();
    nextest.args(["nextest", "run"]);
    if !selected {
        nextest.arg("--workspace");
    }
    nextest.args(options);
    nextest.env("PROOFMILL_TEST_DATABASE_URL", services.database_url());
    nextest.env("PROOFMILL_AMQP_URI", services.amqp_uri());
    // A test that is killed leaves its temporary files behind: they go with the servers' folder.
    nextest.env("TMPDIR", services.temporary_folder()?);
    nextest.env("PROOFMILL_MODELS", workspace.models());
    nextest.env("PROOFMILL_PHOTOS", workspace.photos());
    nextest.env("PROOFMILL_NVRTC", workspace.nvrtc());
    let status = process::run(&mut nextest)?;
    drop(services);
    process::check_interrupted()?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}
