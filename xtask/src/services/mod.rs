//! Private PostgreSQL and RabbitMQ: free ports, a temporary folder, never a system's instance.
//!
//! A reaper stops them and removes the folder once this process is gone, however it went:
//! the reaper waits for the end of a pipe that the kernel closes even after `kill -9`.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

mod postgres;
mod rabbitmq;
mod reaper;

pub use postgres::Postgres;
pub use rabbitmq::Rabbit;
pub use reaper::Reaper;

/// Both services, stopped and wiped when dropped.
pub struct Services {
    // Dropped in this order: the servers' handles first, then the folder with everything in it.
    postgres: Postgres,
    rabbit: Rabbit,
    folder: ServiceFolder,
}

impl Services {
    /// Starts both at once and waits until they answer.
    pub fn start() -> Result<Self> {
        Self::start_as(Postgres::start)
    }

    /// The same, with commits that reach the disk, as they do in production.
    pub fn start_durable() -> Result<Self> {
        Self::start_as(Postgres::start_durable)
    }

    fn start_as(postgres: fn(&ServiceFolder) -> Result<Postgres>) -> Result<Self> {
        let folder = ServiceFolder::new()?;
        let (postgres, rabbit) = thread::scope(|scope| {
            let postgres = scope.spawn(|| postgres(&folder));
            let rabbit = Rabbit::start(&folder);
            (postgres.join(), rabbit)
        });
        let postgres = postgres.map_err(|_| anyhow::anyhow!("starting PostgreSQL panicked"))??;
        Ok(Self { postgres, rabbit: rabbit?, folder })
    }

    /// A folder for temporary files that goes when the servers go.
    pub fn temporary_folder(&self) -> Result<PathBuf> {
        let path = self.folder.path().join("tmp");
        if !path.exists() {
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
            // Servers that a test starts run under users of their own.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        }
        Ok(path)
    }

    /// Where PostgreSQL takes connections, as its superuser.
    pub fn database_url(&self) -> String {
        self.postgres.url()
    }

    /// Where RabbitMQ takes connections.
    pub fn amqp_uri(&self) -> String {
        self.rabbit.uri()
    }
}

/// A temporary folder for servers, and the reaper that outlives this process to clear it.
pub struct ServiceFolder {
    path: PathBuf,
    reaper: Reaper,
}

impl ServiceFolder {
    /// A new folder that every user may pass through: servers run under users of their own.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let path = loop {
            let number = NUMBER.fetch_add(1, Ordering::SeqCst);
            let path = std::env::temp_dir().join(format!("proofmill-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                // Left by an earlier process of this id, or not ours at all.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot make {}", path.display()));
                }
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        let reaper = Reaper::start(&path)?;
        Ok(Self { path, reaper })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The user a server runs under. Both servers refuse, or had better refuse, to run as root.
#[derive(Clone, Copy)]
struct Account {
    ids: Option<(u32, u32)>,
}

impl Account {
    /// Debian's own user for the server when this is root, else whoever this is.
    fn of(name: &str) -> Result<Self> {
        if process::user_id()? != 0 {
            return Ok(Self { ids: None });
        }
        let id = |option: &str| -> Result<u32> {
            let text = process::output(Command::new("id").args([option, name]))?;
            text.trim().parse().with_context(|| format!("`id {option} {name}` printed no number"))
        };
        Ok(Self { ids: Some((id("-u")?, id("-g")?)) })
    }

    fn folder(self, path: &Path) -> Result<()> {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        self.own(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot restrict {}", path.display()))
    }

    fn own(self, path: &Path) -> Result<()> {
        match self.ids {
            Some((user, group)) => {
                chown(path, Some(user), Some(group)).with_context(|| format!("cannot give away {}", path.display()))
            }
            None => Ok(()),
        }
    }

    /// The program under this user, in a process group of its own, so that Ctrl-C in the
    /// terminal does not stop it before those who use it.
    fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        command.process_group(0).current_dir("/").stdin(Stdio::null());
        command
    }
}

/// A port of the loopback address that nobody listens on now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Asks until the answer is yes; fails early when the process is gone, and says what it wrote.
fn wait_until_ready(
    name: &str,
    ended: impl Fn() -> Option<ExitStatus>,
    log: &Path,
    mut ready: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if ready() {
            return Ok(());
        }
        let gone = ended().map(|status| format!("ended with {status}"));
        let late = (Instant::now() > deadline).then(|| "did not answer within 120 s".to_owned());
        if let Some(what) = gone.or(late) {
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
            bail!("{name} {what}; its log ends with:\n{tail}");
        }
        process::check_interrupted()?;
        process::pause();
    }
}
