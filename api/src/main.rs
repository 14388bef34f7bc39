//! proofmill-api: serves the API and administers a deployment.

mod cli;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let loaded = proofmill_settings::load(cli::DEFAULTS, cli::SECTIONS, std::env::args_os());
    match cli::run(loaded.unwrap_or_else(|refusal| refusal.exit())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            proofmill_telemetry::tell(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
