//! `trust import`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proofmill_telemetry::tell;
use proofmill_trust::{Anchors, Collected, Found, Import, Refusal, TrustFolder, Visitor};
use serde_json::json;

use super::command::{StoreArgs, now};

/// Refusals that are shown one by one.
const SHOWN: usize = 50;

/// `trust import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// Files and folders: CMS master lists, ICAO PKD LDIF, PEM, DER, revocation lists, exported stores; told apart by content.
    /// What is named must be right; in a folder or LDIF file what is broken is refused and the rest taken
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Certificates under which master lists count: files or folders, may be repeated. A list whose signature does not hold
    /// under one of them is refused whole
    #[arg(long, value_name = "PATH")]
    anchor: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// No progress bar
    #[arg(long, short)]
    quiet: bool,
}

/// Imports; the answer is the exit status.
pub fn run(args: ImportArgs) -> anyhow::Result<u8> {
    let folder = args.store.folder()?;
    folder.check_unoccupied(&args.paths).with_context(|| folder.path().display().to_string())?;
    let (import, refused, refusals) = import(&folder, &args.paths, &args.anchor, None, !args.quiet)?;
    let mut out = io::stdout().lock();
    if args.json {
        let refused: Vec<_> = refused
            .iter()
            .map(|refusal| json!({ "source": refusal.source, "place": refusal.place, "reason": refusal.reason.to_string() }))
            .collect();
        let mut report = serde_json::to_value(&import)?;
        if let Some(report) = report.as_object_mut() {
            report.insert("refused".to_owned(), refused.into());
            report.insert("refusals".to_owned(), refusals.into());
        }
        writeln!(out, "{report}")?;
    } else {
        for refusal in refused.iter().take(SHOWN) {
            tell(format_args!("refused: {refusal}"));
        }
        if refusals > SHOWN {
            tell(format_args!("refused: {} more (--json names up to {})", refusals - SHOWN, refused.len()));
        }
        writeln!(out, "{}", describe(&import, refusals))?;
    }
    Ok(u8::from(refusals > 0 || import.crls_turned_away > 0))
}

/// Reads paths and merges them into the store: what was done, the first refusals, how many there were.
pub fn import(
    folder: &TrustFolder,
    paths: &[PathBuf],
    anchors: &[PathBuf],
    mirror: Option<&Path>,
    show_progress: bool,
) -> anyhow::Result<(Import, Vec<Refusal>, usize)> {
    let anchors = Anchors::read(anchors).map_err(|refusal| anyhow::anyhow!("anchor {refusal}"))?;
    let mut reading = Reading { collected: Collected::default(), bar: bar(show_progress, paths) };
    proofmill_trust::read(paths, &anchors, &mut reading).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    reading.bar.finish_and_clear();
    let Reading { mut collected, .. } = reading;
    let (refused, refusals) = (std::mem::take(&mut collected.refused), collected.refusals);
    let import = folder
        .import(collected, mirror, now())
        .with_context(|| format!("the trust store in {} was not changed", folder.path().display()))?;
    Ok((import, refused, refusals))
}

/// For people.
pub fn describe(import: &Import, refusals: usize) -> String {
    let Import { epoch, taken, known, superseded, removed, crls_not_counting, crls_turned_away, .. } = import;
    let mut text = format!(
        "epoch {epoch}: {} new ({} csca, {} dsc, {} crl), {known} known, {refusals} refused",
        taken.all(),
        taken.csca,
        taken.dsc,
        taken.crl
    );
    for (count, what) in [
        (superseded, "revocation lists replaced by newer ones"),
        (removed, "removed"),
        (crls_not_counting, "revocation lists that no certificate vouches for, waiting for one"),
        (crls_turned_away, "revocation lists not taken: nothing vouches for them, and too many of their issuer wait"),
    ] {
        if *count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

struct Reading {
    collected: Collected,
    bar: ProgressBar,
}

impl Visitor for Reading {
    fn found(&mut self, found: Found) {
        self.collected.found(found);
    }

    fn refused(&mut self, refusal: Refusal) {
        self.collected.refused(refusal);
    }

    fn progress(&mut self, octets: u64) {
        self.bar.inc(octets);
    }
}

fn bar(show: bool, paths: &[PathBuf]) -> ProgressBar {
    if !show || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(proofmill_trust::size(paths)), ProgressDrawTarget::stderr());
    let template = "{elapsed_precise} {bar:32} {bytes}/{total_bytes} (eta {eta})";
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
