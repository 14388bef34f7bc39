//! The command line.

mod keys;
mod migrate;
mod org;
mod quarantine;
mod serve;

use clap::{Parser, Subcommand};
use proofmill_api::StorageArgs;
use proofmill_telemetry::{LogFormat, init_logging, install_panic_hook};

/// Takes verification attempts over HTTP and administers a deployment.
///
/// Embedded, everything lives in one directory (--data-dir) and `proofmill-worker standalone` serves the API too. In a
/// cluster (--database-url, --amqp-uri) run `proofmill-api serve` here and `proofmill-worker run` on the workers.
#[derive(Parser)]
#[command(name = "proofmill-api", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    storage: StorageArgs,
    /// Log as `human` lines or `json`
    #[arg(long, env = "PROOFMILL_LOG_FORMAT", value_name = "FORMAT", default_value = "human", global = true)]
    log_format: String,
    /// What to log, such as info,proofmill_api=debug
    #[arg(long, env = "PROOFMILL_LOG", value_name = "FILTER", default_value = "info", global = true)]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API of a cluster, and relay its outbox to RabbitMQ
    Serve(proofmill_api::ServeArgs),
    /// Bring the database schema up to date
    Migrate,
    /// Organisations
    #[command(subcommand)]
    Org(org::OrgCommand),
    /// API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Attempts set aside after repeated system faults
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
}

pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let format = match cli.log_format.as_str() {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        other => anyhow::bail!("--log-format {other}: expected human or json"),
    };
    init_logging(format, &cli.log)?;
    install_panic_hook();
    match cli.command {
        Command::Serve(args) => serve::run(cli.storage, args).await,
        Command::Migrate => migrate::run(&cli.storage).await,
        Command::Org(command) => org::run(&cli.storage, command).await,
        Command::Keys(command) => keys::run(&cli.storage, command).await,
        Command::Quarantine(command) => quarantine::run(&cli.storage, command).await,
    }
}

/// One JSON object a line, or a text for people.
fn print(json: bool, value: &serde_json::Value, text: impl FnOnce() -> String) {
    if json {
        println!("{value}");
    } else {
        println!("{}", text());
    }
}
