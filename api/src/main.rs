//! proofmill-api: serves the API and administers a deployment.

mod cli;

use std::process::ExitCode;

use anyhow::Context as _;

/// The C library's allocator keeps what each thread once needed, in up to eight arenas a processor: memory grew with every
/// further thread that had once opened a thousand attempts. This one's stays level.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let loaded = proofmill_settings::load(cli::DEFAULTS, cli::SECTIONS, std::env::args_os());
    let loaded = loaded.unwrap_or_else(|refusal| refusal.exit());
    let run = async { cli::run(loaded).await };
    match runtime().context("no thread can be started").and_then(|runtime| runtime.block_on(run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            proofmill_telemetry::tell(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Half of the processors serve requests, unless TOKIO_WORKER_THREADS says otherwise. Disk and database are waited for on
/// threads of their own, which need a place as well: with as many threads as processors for the requests alone, two of them
/// change places all the time, and the slowest answers take twice as long.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        builder.worker_threads(processors.div_ceil(2));
    }
    builder.enable_all().build()
}
