//! proofmill-api: serves the API and administers a deployment.

mod cli;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            proofmill_telemetry::tell(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
