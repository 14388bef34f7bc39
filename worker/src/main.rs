//! The worker's command line.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use proofmill_settings::{ConfigArgs, Effective, Loaded};
use proofmill_telemetry::{LogFormat, init_logging, install_panic_hook, log_filter, tell};
use proofmill_worker::doctor::DoctorArgs;
use proofmill_worker::evaluate::{self, EvaluateArgs};
use proofmill_worker::face_tools::{self, FaceCommand};
use proofmill_worker::inspect::{self, InspectArgs};
use proofmill_worker::models::ModelsCommand;
use proofmill_worker::serve::{RunArgs, StandaloneArgs};
use proofmill_worker::trust::{self, TrustCommand};
use proofmill_worker::verify::VerifyArgs;
use proofmill_worker::{doctor, models, serve, verify};

/// Every setting with its default: embedded, and the reference that `--default-config` prints.
const DEFAULTS: &str = include_str!("../defaults.toml");
/// The commands with settings of their own.
const SECTIONS: &[&str] = &["standalone", "run", "verify", "doctor"];

/// Verifies passports and their holders.
#[derive(Parser, Debug)]
#[command(name = "proofmill-worker", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    /// What to log, such as `info` or `warn,proofmill_worker=debug` [default: info; warn for commands that end]
    #[arg(long, value_name = "FILTER", env = "PROOFMILL_LOG", value_parser = log_filter, global = true)]
    log: Option<String>,
    /// How to log: `human` or `json`
    #[arg(long, value_name = "FORMAT", env = "PROOFMILL_LOG_FORMAT", default_value = "human", value_parser = ["human", "json"], global = true)]
    log_format: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Everything in one process: api, relay, worker and webhook sender
    Standalone(Box<StandaloneArgs>),
    /// A cluster's worker: takes attempts from the queue, settles them, sends webhooks
    Run(Box<RunArgs>),
    /// Verify a file or folder of evidence without any server
    #[command(after_help = "Exit status: 0 all passed, 1 some were rejected or could not be read, 2 could not run")]
    Verify(Box<VerifyArgs>),
    /// Look into one kind of document file: what it is, what it rests on, why it fails
    #[command(after_help = inspect::HELP)]
    Inspect(Box<InspectArgs>),
    /// Measure a model pack's error rates on your own labelled pictures
    #[command(after_help = evaluate::HELP)]
    Evaluate(Box<EvaluateArgs>),
    /// Look at faces in pictures (development tools)
    #[command(subcommand)]
    Face(FaceCommand),
    /// List or check model packs
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Look after the trust store: certificates of states and their revocation lists
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Tell whether this machine and configuration can work
    Doctor(Box<DoctorArgs>),
}

fn main() -> ExitCode {
    let loaded = proofmill_settings::load(DEFAULTS, SECTIONS, std::env::args_os());
    match start(loaded.unwrap_or_else(|refusal| refusal.exit())) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            tell(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn start(Loaded { cli, effective, unknown }: Loaded<Cli>) -> anyhow::Result<u8> {
    let serves =
        matches!(cli.command, Command::Standalone(_) | Command::Run(_) | Command::Trust(TrustCommand::Refresh(_)));
    let filter = cli.log.as_deref().unwrap_or(if serves { "info" } else { "warn" });
    let format = if cli.log_format == "json" { LogFormat::Json } else { LogFormat::Human };
    init_logging(format, filter)?;
    install_panic_hook();
    if let Some(unknown) = unknown {
        tracing::warn!("{unknown}");
    }
    if cli.config.check_config {
        return check(&cli.command, &effective);
    }
    // One provider of cryptography for TLS; a second install would fail and change nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let status = runtime.block_on(async {
        match cli.command {
            Command::Standalone(args) => serve::standalone(*args).await,
            Command::Run(args) => serve::run(*args).await,
            Command::Verify(args) => verify::run(*args).await,
            Command::Inspect(args) => inspect::run(*args),
            Command::Evaluate(args) => evaluate::run(&args),
            Command::Face(command) => face_tools::run(&command),
            Command::Models(command) => models::run(command).await,
            Command::Trust(command) => trust::run(command).await,
            Command::Doctor(args) => Ok(doctor::run(*args).await),
        }
    });
    // A reader that still waits for standard input must not keep the process.
    runtime.shutdown_background();
    status
}

/// Prints what applies; fails where the settings do not go together. `doctor` tells whether they also work.
fn check(command: &Command, effective: &Effective) -> anyhow::Result<u8> {
    effective.print();
    match command {
        Command::Standalone(args) => args.storage.check(true)?,
        Command::Run(args) => {
            serve::needs_cluster(&args.storage)?;
            args.storage.check(true)?;
        }
        _ => {}
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_file_tells_every_setting_as_it_is() {
        assert_eq!(proofmill_settings::check_manual::<Cli>(DEFAULTS, SECTIONS), Vec::<String>::new());
    }

    #[test]
    fn its_variables_are_no_strangers_to_the_other_program() {
        assert_eq!(proofmill_settings::unlisted_variables::<Cli>(), Vec::<String>::new());
    }

    #[test]
    fn the_sample_configurations_are_read() {
        for (file, word) in [("standalone.toml", "standalone"), ("run.toml", "run")] {
            let sample = format!("{}/examples/{file}", env!("CARGO_MANIFEST_DIR"));
            let words = ["proofmill-worker", word, "--config", &sample];
            let loaded = proofmill_settings::load::<Cli>(DEFAULTS, SECTIONS, words);
            let shown =
                loaded.map(|loaded| loaded.effective.to_string()).map_err(|refusal| refusal.to_string()).unwrap();
            assert!(shown.contains(&format!("# {sample}")), "{shown}");
        }
    }
}
