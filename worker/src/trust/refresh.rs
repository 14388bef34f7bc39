//! `trust refresh`: a folder that somebody else fills, on a timer.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use proofmill_trust::{State, TrustFolder, TrustSource};
use tokio::signal::unix::{SignalKind, signal};

use super::command::StoreArgs;
use super::import;
use crate::settings::duration;

/// `trust refresh`.
#[derive(Args, Debug)]
pub struct RefreshArgs {
    /// The folder to watch; what it holds is told by content, as for `trust import`
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Certificates under which master lists count: files or folders, may be repeated
    #[arg(long, value_name = "PATH")]
    anchor: Vec<PathBuf>,
    /// How often to look: a number and s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    every: Duration,
    /// Also remove from the store what came from the folder alone and is there no longer. A file that cannot be read
    /// removes nothing
    #[arg(long)]
    mirror: bool,
    /// Look once and end, with the exit status of `trust import`
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Refreshes until a signal; the answer is the exit status.
pub async fn run(args: RefreshArgs) -> anyhow::Result<u8> {
    let store = args.store.folder()?;
    let from = args.from.canonicalize().with_context(|| format!("cannot watch {}", args.from.display()))?;
    anyhow::ensure!(from.is_dir(), "{} is not a folder", from.display());
    anyhow::ensure!(
        store.path().canonicalize().ok().is_none_or(|store| !store.starts_with(&from)),
        "the store lies in the folder that is watched: it would read what it writes"
    );
    store.check_unoccupied(&[]).with_context(|| store.path().display().to_string())?;
    let source = TrustSource { paths: vec![from.clone()], anchors: args.anchor.clone() };
    let mut round = Round { store, from, source, mirror: args.mirror, state: None, failure: None };
    if args.once {
        return Ok(u8::from(tokio::task::spawn_blocking(move || round.import()).await?? > 0));
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let watching = async move {
        loop {
            round = tokio::task::spawn_blocking(move || {
                round.look();
                round
            })
            .await?;
            tokio::time::sleep(args.every).await;
        }
    };
    tokio::select! {
        // An import that is running has either replaced the store's file or not: there is nothing to wait for.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        failed = watching => return failed,
    }
    tracing::info!("stopped");
    Ok(0)
}

struct Round {
    store: TrustFolder,
    from: PathBuf,
    source: TrustSource,
    mirror: bool,
    /// Of the files when all of them were taken.
    state: Option<State>,
    /// What was wrong at the last look: said once, and not every time.
    failure: Option<String>,
}

impl Round {
    /// Imports if anything can have changed, or if something was refused the last time.
    fn look(&mut self) {
        let state = self.source.state();
        if self.state.as_ref() == Some(&state) {
            return;
        }
        match self.import() {
            Ok(0) => {
                self.state = Some(state);
                self.failure = None;
            }
            Ok(_) => {}
            Err(error) => self.fail(format!("{error:#}; tried again at the next look")),
        }
    }

    /// How much was refused.
    fn import(&mut self) -> anyhow::Result<usize> {
        // An absent folder is an error and not an empty one: nothing may be removed for it.
        anyhow::ensure!(self.from.is_dir(), "{} is not there", self.from.display());
        let mirror = self.mirror.then_some(self.from.as_path());
        let (import, refused, refusals) =
            import::import(&self.store, std::slice::from_ref(&self.from), &self.source.anchors, mirror, false)?;
        if import.changed {
            tracing::info!("{}", import::describe(&import, refusals));
        }
        if refusals > 0 {
            let named: Vec<String> = refused.iter().take(20).map(ToString::to_string).collect();
            self.fail(format!("{refusals} refused, tried again at the next look: {}", named.join("; ")));
        }
        Ok(refusals)
    }

    fn fail(&mut self, failure: String) {
        if self.failure.as_ref() != Some(&failure) {
            tracing::warn!("{failure}");
            self.failure = Some(failure);
        }
    }
}
