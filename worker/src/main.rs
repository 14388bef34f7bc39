//! The worker's command line.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use proofmill_telemetry::{LogFormat, init_logging, install_panic_hook, tell};
use proofmill_worker::doctor::DoctorArgs;
use proofmill_worker::evaluate::{self, EvaluateArgs};
use proofmill_worker::face_tools::{self, FaceCommand};
use proofmill_worker::inspect::{self, InspectArgs};
use proofmill_worker::models::ModelsCommand;
use proofmill_worker::serve::{RunArgs, StandaloneArgs};
use proofmill_worker::trust::{self, TrustCommand};
use proofmill_worker::verify::VerifyArgs;
use proofmill_worker::{doctor, models, serve, verify};

/// Verifies passports and their holders.
#[derive(Parser, Debug)]
#[command(name = "proofmill-worker", version, about, arg_required_else_help = true)]
struct Cli {
    /// What to log, such as `info` or `warn,proofmill_worker=debug` [default: info; warn for commands that end]
    #[arg(long, value_name = "FILTER", env = "PROOFMILL_LOG", global = true)]
    log: Option<String>,
    /// How to log: `human` or `json`
    #[arg(long, value_name = "FORMAT", env = "PROOFMILL_LOG_FORMAT", default_value = "human", global = true)]
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
    let cli = Cli::parse();
    match start(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            tell(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<u8> {
    let serves =
        matches!(cli.command, Command::Standalone(_) | Command::Run(_) | Command::Trust(TrustCommand::Refresh(_)));
    let filter = cli.log.as_deref().unwrap_or(if serves { "info" } else { "warn" });
    let format = match cli.log_format.as_str() {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        other => anyhow::bail!("log format `{other}` is unknown: human or json"),
    };
    init_logging(format, filter)?;
    install_panic_hook();
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
