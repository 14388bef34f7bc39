//! `cargo xtask`: set-up, demonstration, tests and benches, each by one command.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::process::Stop;
use xtask::setup::{self, Purpose};
use xtask::workspace::Workspace;

mod bench;
mod conformance;
mod demo;
mod test;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demonstration, tests and benches of proofmill", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch and install whatever this machine lacks (libtorch, model pack, photos, Debian packages)
    Setup {
        /// Also what only the tests need: PostgreSQL, RabbitMQ, cargo-nextest
        #[arg(long)]
        tests: bool,
    },
    /// Set up, then run the main job end to end in one process: no database server, no broker
    Demo {
        /// Options of the demonstration, such as --keep; `cargo xtask demo -- --help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// Set up, start PostgreSQL and RabbitMQ privately, run every test with cargo-nextest
    Test {
        /// Instead, hold a running API against its OpenAPI document with schemathesis, which takes the options
        #[arg(long)]
        conformance: bool,
        /// Options for `cargo nextest run`, such as `-p proofmill-store` or a test name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// Set up, then measure on this machine: the whole road, or one stage by its name (`api`, `webhooks`)
    Bench {
        /// Options for the bench program, a stage's name before them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<Stop>() {
            Some(stop) => {
                eprintln!("{stop}");
                ExitCode::from(stop.code)
            }
            None => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match arguments.command {
        Command::Setup { tests } => {
            setup::run(&workspace, if tests { Purpose::Tests } else { Purpose::Run })?;
            eprintln!("set-up: everything is in place in {}", workspace.cache.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo { options } => demo::run(&workspace, &options),
        Command::Test { conformance: true, options } => conformance::run(&workspace, &options),
        Command::Test { conformance: false, options } => test::run(&workspace, &options),
        Command::Bench { options } => bench::run(&workspace, &options),
    }
}
