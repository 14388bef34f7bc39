//! Stops servers and removes their folder after the process that started them, however it ended.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::process;

/// Reads "SIGNAL GROUP" lines until the other end of the pipe is gone; then stops those process
/// groups, the last one first, and removes the folder given as argument.
const SCRIPT: &str = r#"
# A zombie is as good as gone: whoever should ask for its status may be slow about it.
lives() {
    { read -r _ _ state _ <"/proc/$1/stat"; } 2>/dev/null && [ "$state" != Z ]
}
groups=
while read -r signal group; do groups="$signal:$group $groups"; done
for entry in $groups; do
    signal=${entry%%:*} group=${entry#*:}
    kill -s "$signal" -- "-$group" 2>/dev/null
    tries=0
    while lives "$group" && [ "$tries" -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    kill -s KILL -- "-$group" 2>/dev/null
done
for try in 1 2 3 4 5; do rm -rf -- "$1" 2>/dev/null && break; sleep 0.2; done
"#;

/// The watching process. Dropping it makes it act now.
pub struct Reaper {
    child: Child,
    pipe: Option<ChildStdin>,
    servers: Mutex<Vec<Child>>,
}

impl Reaper {
    /// Starts the watch over a folder.
    pub fn start(folder: &Path) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .current_dir("/")
            // Neither Ctrl-C nor a closed terminal may reach it before its work is done.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start sh")?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe, servers: Mutex::default() })
    }

    /// Has the process group of `server` stopped by `signal` in the end; returns the group.
    /// To be called at once after the start: a server not yet watched outlives a killed starter.
    pub fn watch(&self, server: Child, signal: &str) -> Result<u32> {
        let group = server.id();
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        let mut pipe = self.pipe.as_ref().context("the reaper is gone")?;
        writeln!(pipe, "{signal} {group}").context("the reaper is gone")?;
        Ok(group)
    }

    /// How a watched server has ended, if it has.
    pub fn ended(&self, group: u32) -> Option<ExitStatus> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.iter_mut().find(|server| server.id() == group)?.try_wait().ok()?
    }

    /// Kills a watched server's process group at once, as a crash would, and waits for its end.
    pub fn kill(&self, group: u32) -> Result<()> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let place = servers.iter().position(|server| server.id() == group).context("no such server")?;
        let mut server = servers.swap_remove(place);
        let killed = Command::new("kill").args(["-s", "KILL", "--", &format!("-{group}")]).status();
        let ended = server.wait();
        killed.context("cannot start kill")?;
        ended.context("cannot wait for the server's end")?;
        Ok(())
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let servers = self.servers.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A server that has ended stays in its process group until its parent has asked.
        while matches!(self.child.try_wait(), Ok(None)) {
            for server in servers.iter_mut() {
                let _ = server.try_wait();
            }
            process::pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        // A shell with a child of its own: the whole group must go.
        Command::new("sh").args(["-c", "sleep 600 & wait"]).process_group(0).spawn().unwrap()
    }

    /// Whether any process of the group runs; zombies, which an init may be slow to collect, do not.
    fn group_lives(group: u32) -> bool {
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
                return false;
            };
            // pid (name) state parent group: the name may hold spaces and parentheses.
            let Some((_, rest)) = stat.rsplit_once(") ") else {
                return false;
            };
            let words: Vec<&str> = rest.split(' ').collect();
            words[0] != "Z" && words[2] == group.to_string()
        })
    }

    #[test]
    fn when_it_is_dropped_every_watched_group_is_stopped_and_the_folder_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("servers");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("data"), "x").unwrap();
        let reaper = Reaper::start(&folder).unwrap();
        let first = reaper.watch(sleeper(), "TERM").unwrap();
        let second = reaper.watch(sleeper(), "KILL").unwrap();
        assert!(group_lives(first) && group_lives(second));
        assert!(reaper.ended(first).is_none());
        drop(reaper);
        assert!(!group_lives(first) && !group_lives(second));
        assert!(!folder.exists());
    }

    #[test]
    fn it_acts_even_when_its_starter_is_killed_outright() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("servers");
        std::fs::create_dir(&folder).unwrap();
        // Only the pipe's end is left to tell the script: nothing of this process is run.
        let mut reaper = Reaper::start(&folder).unwrap();
        let mut server = sleeper();
        let group = server.id();
        writeln!(reaper.pipe.as_ref().unwrap(), "TERM {group}").unwrap();
        reaper.pipe = None;
        server.wait().unwrap();
        reaper.child.wait().unwrap();
        assert!(!group_lives(group));
        assert!(!folder.exists());
    }

    #[test]
    fn a_killed_server_is_gone_and_the_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("servers");
        std::fs::create_dir(&folder).unwrap();
        let reaper = Reaper::start(&folder).unwrap();
        let crashed = reaper.watch(sleeper(), "TERM").unwrap();
        let other = reaper.watch(sleeper(), "TERM").unwrap();
        reaper.kill(crashed).unwrap();
        assert!(group_lives(other));
        assert!(reaper.kill(crashed).is_err());
    }
}
