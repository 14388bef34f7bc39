//! What each process spends: processor time and changes of threads, told by the kernel (proc_pid_stat(5), proc_pid_status(5)).

use std::fs;
use std::ops::{AddAssign, Sub};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Ticks of `/proc/PID/stat` in a second.
const TICKS: f64 = 100.0;

/// A process, or a server with all of its processes.
#[derive(Clone, Copy, Debug)]
pub enum Metered {
    /// One process.
    Process(u32),
    /// A process and its children, those that have ended included.
    Family(u32),
    /// All that the machine does, its kernel's own threads included.
    Machine,
}

/// What was spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Processor seconds.
    pub seconds: f64,
    /// How often a thread stopped, by itself or not. Those of threads that have ended are missing.
    pub switches: f64,
}

impl Metered {
    /// Spent since the start.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn spent(self) -> Result<Spent> {
        match self {
            Self::Process(id) => Ok(Spent { seconds: seconds(id, false)?, switches: switches(id)? }),
            Self::Family(id) => {
                let mut spent = Spent { seconds: seconds(id, true)?, switches: switches(id)? };
                for child in children(id)? {
                    // Ended since it was listed: then it is in its parent's figures by the next look.
                    let (Ok(seconds), Ok(switches)) = (seconds(child, true), switches(child)) else { continue };
                    spent += Spent { seconds, switches };
                }
                Ok(spent)
            }
            Self::Machine => machine(),
        }
    }
}

impl Sub for Spent {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { seconds: self.seconds - before.seconds, switches: self.switches - before.switches }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, more: Self) {
        self.seconds += more.seconds;
        self.switches += more.switches;
    }
}

/// The process that is the parent of another.
///
/// # Errors
/// When there is no such process.
pub fn parent(id: u32) -> Result<u32> {
    field(&stat(id)?, 1).map(|parent| parent as u32)
}

/// The process that listens at a port of this machine; `None` if the kernel does not say.
///
/// # Errors
/// When the kernel tells nothing of sockets.
pub fn listener(port: u16) -> Result<Option<u32>> {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&"0A"), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
                continue;
            };
            if local.ends_with(&format!(":{port:04X}")) {
                sockets.push(format!("socket:[{inode}]"));
            }
        }
    }
    ensure!(!sockets.is_empty(), "nobody listens at port {port}");
    Ok(processes()?.into_iter().find(|id| {
        let open = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        let mut links = open.filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link == Path::new(socket)))
    }))
}

fn processes() -> Result<Vec<u32>> {
    let names = fs::read_dir("/proc").context("the kernel lists its processes")?.flatten();
    Ok(names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn children(id: u32) -> Result<Vec<u32>> {
    Ok(processes()?.into_iter().filter(|child| parent(*child).is_ok_and(|parent| parent == id)).collect())
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything.
fn stat(id: u32) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("process {id}"))?;
    Ok(stat.rsplit(") ").next().unwrap_or_default().to_owned())
}

fn field(stat: &str, index: usize) -> Result<f64> {
    let field = stat.split_whitespace().nth(index).context("a short line")?;
    field.parse().with_context(|| format!("`{field}` is no number"))
}

fn seconds(id: u32, with_ended_children: bool) -> Result<f64> {
    let stat = stat(id)?;
    let fields = if with_ended_children { 11..=14 } else { 11..=12 };
    let ticks: f64 = fields.map(|index| field(&stat, index)).sum::<Result<f64>>()?;
    Ok(ticks / TICKS)
}

fn switches(id: u32) -> Result<f64> {
    let mut switches = 0.0;
    for thread in fs::read_dir(format!("/proc/{id}/task")).with_context(|| format!("process {id}"))?.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        switches += counts.filter_map(|(_, count)| count.trim().parse::<f64>().ok()).sum::<f64>();
    }
    Ok(switches)
}

fn machine() -> Result<Spent> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)).context("a line is missing");
    let columns: Vec<f64> = line("cpu ")?.split_whitespace().filter_map(|column| column.parse().ok()).collect();
    // user, nice, system; then idle and iowait, which are none of it; then irq and softirq.
    let busy = columns.iter().enumerate().filter(|(index, _)| matches!(index, 0..=2 | 5..=6)).map(|(_, ticks)| ticks);
    Ok(Spent { seconds: busy.sum::<f64>() / TICKS, switches: line("ctxt ")?.trim().parse()? })
}
