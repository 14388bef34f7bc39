//! Running other programs: with their failure named, and with signals passed on.

use std::fmt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Ends the program with an exit status of its own and a message without "error:".
#[derive(Debug)]
pub struct Stop {
    /// The exit status.
    pub code: u8,
    /// What the person has to know or to do.
    pub message: String,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

/// Runs a program to its end, its output shown; fails when it does.
pub fn check(command: &mut Command) -> Result<()> {
    let status = run(command)?;
    if !status.success() {
        check_interrupted()?;
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a program quietly; its standard output if it succeeds.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", line(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end, its output shown. This program survives Ctrl-C, which the
/// terminal sends to the other one as well, so that whatever was started can be stopped in
/// order; a termination signal, which comes to this program alone, is passed on.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    let signals = signals()?;
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
    let mut passed_on = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if signals.terminated.load(Ordering::SeqCst) && !passed_on {
            passed_on = true;
            terminate(&child);
        }
        pause();
    }
}

/// A short breath between two looks at a condition that nobody announces, such as another
/// process's end; whoever calls this in a loop has a deadline or a person at Ctrl-C.
#[allow(clippy::disallowed_methods)]
pub fn pause() {
    thread::sleep(Duration::from_millis(20));
}

/// Whether Ctrl-C or a termination signal has come.
pub fn interrupted() -> bool {
    signals().is_ok_and(|s| s.interrupted.load(Ordering::SeqCst) || s.terminated.load(Ordering::SeqCst))
}

/// Fails once a signal has come; to be asked between steps.
pub fn check_interrupted() -> Result<()> {
    if interrupted() {
        return Err(Stop { code: 130, message: "interrupted".into() }.into());
    }
    Ok(())
}

/// The command as one would type it.
pub fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// The uid that this program runs under.
pub fn user_id() -> Result<u32> {
    output(Command::new("id").arg("-u"))?.trim().parse().context("`id -u` printed no number")
}

struct Signals {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

fn signals() -> Result<&'static Signals> {
    static SIGNALS: OnceLock<Result<Signals, String>> = OnceLock::new();
    let made = SIGNALS.get_or_init(|| {
        let signals = Signals { interrupted: Arc::default(), terminated: Arc::default() };
        let register = |signal, flag: &Arc<AtomicBool>| signal_hook::flag::register(signal, flag.clone());
        register(signal_hook::consts::SIGINT, &signals.interrupted)
            .and_then(|_| register(signal_hook::consts::SIGTERM, &signals.terminated))
            .and_then(|_| register(signal_hook::consts::SIGHUP, &signals.terminated))
            .map_err(|error| error.to_string())?;
        Ok(signals)
    });
    made.as_ref().map_err(|error| anyhow::anyhow!("cannot watch signals: {error}"))
}

fn terminate(child: &Child) {
    // The standard library can only kill outright. A child that is gone already is no failure.
    let _ = Command::new("kill").args(["-s", "TERM", "--", &child.id().to_string()]).status();
}
