//! A program of the product, running.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::wait;

/// A running program with its output in a file; killed when dropped.
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    kept: bool,
}

impl Running {
    /// Starts it; what it prints goes to `log`, after what is there.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), kept: false })
    }

    /// Waits until `http://{metrics}/readyz` answers 200. Fails at once when the program ends.
    pub async fn ready(&mut self, metrics: &str) -> Result<()> {
        let url = format!("http://{metrics}/readyz");
        let http = reqwest::Client::new();
        let mut last = String::from("no answer");
        let deadline = std::time::Instant::now() + wait::PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}; its log ends with:\n{}", self.name, self.log_tail());
            }
            match http.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => last = format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()),
                Err(_) => {}
            }
            if std::time::Instant::now() > deadline {
                bail!("{} is not ready ({last}); its log ends with:\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// A termination signal; the caller waits with [`Running::ended`].
    pub fn terminate(&self) -> Result<()> {
        let status = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status()?;
        if !status.success() {
            bail!("cannot send {} a termination signal", self.name);
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let deadline = std::time::Instant::now() + wait::PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if std::time::Instant::now() > deadline {
                bail!("{} has not ended; its log ends with:\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Whether it is still there.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Leaves it running when this value goes.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Everything it has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let _ = self.kill();
        if std::thread::panicking() {
            eprintln!("--- the log of {} ends with:\n{}", self.name, self.log_tail());
        }
    }
}

/// Runs a command to its end and reads the JSON that it prints.
pub fn json(command: &mut Command) -> Result<Value> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{command:?} printed no JSON but {:?}", String::from_utf8_lossy(&output.stdout)))
}
