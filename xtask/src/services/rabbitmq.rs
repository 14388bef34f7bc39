//! A private RabbitMQ.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Account, ServiceFolder, free_port, wait_until_ready};

/// Debian's wrapper in `/usr/sbin` always takes the system's folders; this one takes the
/// environment's.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A running broker.
pub struct Rabbit {
    home: PathBuf,
    account: Account,
    port: u16,
    distribution_port: u16,
    mapper_port: u16,
    group: u32,
}

impl Rabbit {
    /// Starts a broker, with its own Erlang port mapper, in the folder.
    pub fn start(folder: &ServiceFolder) -> Result<Self> {
        let account = Account::of("rabbitmq")?;
        let home = folder.path().join("rabbitmq");
        account.folder(&home)?;
        for name in ["home", "data", "log"] {
            account.folder(&home.join(name))?;
        }
        for (name, text) in [
            // What a broker does when a disk is nearly full is not what is tested here.
            ("rabbitmq.conf", "disk_free_limit.absolute = 50MB\nlog.file.level = warning\n"),
            ("enabled_plugins", "[].\n"),
        ] {
            let path = home.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            account.own(&path)?;
        }
        let (port, distribution_port, mapper_port) = (free_port()?, free_port()?, free_port()?);
        let mut rabbit = Self { home, account, port, distribution_port, mapper_port, group: 0 };

        // Without one running already, Erlang starts a mapper as a daemon that nobody stops.
        let mut mapper = rabbit.command("epmd");
        mapper.args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()]);
        let output = rabbit.output()?;
        mapper.stdout(output.try_clone()?).stderr(output);
        let mapper = mapper.spawn().context("cannot start Erlang's port mapper; is rabbitmq-server installed?")?;
        let group = folder.reaper.watch(mapper, "TERM")?;
        wait_until_ready(
            "Erlang's port mapper",
            || folder.reaper.ended(group),
            &rabbit.log(),
            || connects(mapper_port),
        )?;

        rabbit.serve(folder)?;
        Ok(rabbit)
    }

    /// Kills the broker as a crash would, and starts it again on the same port and data.
    pub fn crash_and_restart(&mut self, folder: &ServiceFolder) -> Result<()> {
        self.crash(folder)?;
        self.serve(folder)
    }

    /// Kills the broker as a crash would.
    pub fn crash(&mut self, folder: &ServiceFolder) -> Result<()> {
        folder.reaper.kill(self.group)
    }

    /// Starts the broker after a crash.
    pub fn serve(&mut self, folder: &ServiceFolder) -> Result<()> {
        self.group = folder.reaper.watch(self.spawn()?, "KILL")?;
        wait_until_ready("RabbitMQ", || folder.reaper.ended(self.group), &self.log(), || greets(self.port))
    }

    /// Where it takes connections.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    fn spawn(&self) -> Result<Child> {
        let output = self.output()?;
        let mut server = self.command(SERVER);
        server.stdout(output.try_clone()?).stderr(output);
        server.spawn().with_context(|| format!("cannot start {SERVER}; is rabbitmq-server installed?"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.account.command(program);
        // Erlang keeps the cookie of its cluster in the home folder.
        command
            .env("HOME", self.home.join("home"))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("RABBITMQ_NODENAME", format!("proofmill-{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.home.join("data"))
            .env("RABBITMQ_LOG_BASE", self.home.join("log"))
            // The file's name without its ending, as RabbitMQ wants it.
            .env("RABBITMQ_CONFIG_FILE", self.home.join("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.home.join("enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", Path::new("/dev/null"));
        command
    }

    fn output(&self) -> Result<File> {
        let log = self.log();
        let file = File::options().create(true).append(true).open(&log);
        file.with_context(|| format!("cannot write {}", log.display()))
    }

    fn log(&self) -> PathBuf {
        self.home.join("output")
    }
}

fn connects(port: u16) -> bool {
    connect(port).is_some()
}

/// Whether a broker answers the AMQP 0-9-1 protocol header with a method frame (type 1).
fn greets(port: u16) -> bool {
    let mut first = [0u8; 1];
    connect(port)
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
            stream.write_all(b"AMQP\x00\x00\x09\x01").ok()?;
            stream.read_exact(&mut first).ok()
        })
        .is_some_and(|()| first == [1])
}

fn connect(port: u16) -> Option<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
}
