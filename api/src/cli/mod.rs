//! The command line.

mod id_keys;
mod keys;
mod migrate;
mod org;
mod quarantine;
mod reader_keys;
mod serve;

use clap::{Parser, Subcommand};
use proofmill_api::StorageArgs;
use proofmill_settings::{ConfigArgs, Effective, Loaded};
use proofmill_telemetry::{LogFormat, init_logging, install_panic_hook, log_filter};

/// Every setting with its default: embedded, and the reference that `--default-config` prints.
pub const DEFAULTS: &str = include_str!("../../defaults.toml");
/// The commands with settings of their own.
pub const SECTIONS: &[&str] = &["serve"];

/// Takes verification attempts over HTTP and administers a deployment.
///
/// Embedded, everything lives in one directory (--data-dir) and `proofmill-worker standalone` serves the API too. In a
/// cluster (--database-url, --amqp-uri) run `proofmill-api serve` here and `proofmill-worker run` on the workers.
#[derive(Parser)]
#[command(name = "proofmill-api", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    storage: StorageArgs,
    /// Log as `human` lines or `json`
    #[arg(long, env = "PROOFMILL_LOG_FORMAT", value_name = "FORMAT", default_value = "human", value_parser = ["human", "json"], global = true)]
    log_format: String,
    /// What to log, such as info,proofmill_api=debug
    #[arg(long, env = "PROOFMILL_LOG", value_name = "FILTER", default_value = "info", value_parser = log_filter, global = true)]
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
    /// Print the OpenAPI 3.1 document
    Openapi,
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

pub async fn run(Loaded { cli, effective, unknown }: Loaded<Cli>) -> anyhow::Result<()> {
    let format = if cli.log_format == "json" { LogFormat::Json } else { LogFormat::Human };
    init_logging(format, &cli.log)?;
    install_panic_hook();
    if let Some(unknown) = unknown {
        tracing::warn!("{unknown}");
    }
    if cli.config.check_config {
        return check(&cli, &effective);
    }
    match cli.command {
        Command::Serve(args) => serve::run(cli.storage, args).await,
        Command::Migrate => migrate::run(&cli.storage).await,
        Command::Openapi => {
            use std::io::Write as _;
            writeln!(std::io::stdout(), "{:#}", proofmill_api::openapi::document())?;
            Ok(())
        }
        Command::Org(command) => org::run(&cli.storage, command).await,
        Command::Keys(command) => keys::run(&cli.storage, command).await,
        Command::Quarantine(command) => quarantine::run(&cli.storage, command).await,
    }
}

/// Prints what applies; fails where the settings do not go together.
fn check(cli: &Cli, effective: &Effective) -> anyhow::Result<()> {
    effective.print();
    let serves = matches!(cli.command, Command::Serve(_));
    if serves {
        serve::needs_cluster(&cli.storage)?;
    }
    Ok(cli.storage.check(serves)?)
}

/// One JSON object a line, or a text for people.
fn print(json: bool, value: &serde_json::Value, text: impl FnOnce() -> String) {
    if json {
        println!("{value}");
    } else {
        println!("{}", text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_file_tells_every_setting_as_it_is() {
        assert_eq!(proofmill_settings::check_manual::<Cli>(DEFAULTS, SECTIONS), Vec::<String>::new());
    }

    #[test]
    fn the_workers_variables_are_no_strangers_here() {
        assert_eq!(proofmill_settings::unlisted_variables::<Cli>(), Vec::<String>::new());
    }
}
