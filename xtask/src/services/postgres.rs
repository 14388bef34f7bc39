//! A private PostgreSQL.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Account, ServiceFolder, free_port, wait_until_ready};
use crate::process;

const DEBIAN: &str = "/usr/lib/postgresql";

/// A running server.
pub struct Postgres {
    port: u16,
}

impl Postgres {
    /// Makes a database cluster in the folder and serves it. Nothing is synced: the machine does not lose power during a
    /// test, and a killed process loses nothing by it.
    pub fn start(folder: &ServiceFolder) -> Result<Self> {
        Self::start_as(folder, false)
    }

    /// The same, with commits that reach the disk, as they do in production.
    pub fn start_durable(folder: &ServiceFolder) -> Result<Self> {
        Self::start_as(folder, true)
    }

    fn start_as(folder: &ServiceFolder, durable: bool) -> Result<Self> {
        let programs = programs(Path::new(DEBIAN))?;
        let account = Account::of("postgres")?;
        let home = folder.path().join("postgres");
        account.folder(&home)?;
        let data = home.join("data");
        let mut initdb = account.command(programs.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"]);
        process::output(initdb.arg(&data)).context("cannot make a database cluster")?;

        let port = free_port()?;
        let log = home.join("log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut server = account.command(programs.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        let sockets = format!("unix_socket_directories={}", home.display());
        for setting in [
            "listen_addresses=127.0.0.1",
            sockets.as_str(),
            // Every test process brings a pool.
            "max_connections=300",
            if durable { "fsync=on" } else { "fsync=off" },
            if durable { "full_page_writes=on" } else { "full_page_writes=off" },
        ] {
            server.args(["-c", setting]);
        }
        server.stdout(output.try_clone()?).stderr(output);
        // QUIT is the immediate shutdown: the data is thrown away anyhow.
        let group = folder.reaper.watch(server.spawn().context("cannot start PostgreSQL")?, "QUIT")?;
        wait_until_ready(
            "PostgreSQL",
            || folder.reaper.ended(group),
            &log,
            || {
                let mut ask = Command::new(programs.join("pg_isready"));
                ask.args(["--quiet", "--host=127.0.0.1", "--port", &port.to_string()]);
                ask.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
            },
        )?;
        Ok(Self { port })
    }

    /// Where it takes connections, as its superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

/// The newest installed version's programs.
fn programs(debian: &Path) -> Result<PathBuf> {
    let versions = fs::read_dir(debian)
        .with_context(|| format!("PostgreSQL is not installed: cannot read {}", debian.display()))?;
    versions
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| debian.join(version.to_string()).join("bin/postgres").exists())
        .max()
        .map(|version| debian.join(version.to_string()).join("bin"))
        .with_context(|| format!("no PostgreSQL server in {}", debian.display()))
}
