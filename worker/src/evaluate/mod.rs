//! `evaluate`: how well a model pack tells apart the people on somebody's own labelled pictures (ISO/IEC 19795-1).
//!
//! Offline: pictures and distances stay on this machine, and leave the process on standard output and in files that were
//! asked for, nowhere else.

mod acquisition;
mod csv;
mod figures;
mod pairs;
mod plots;
mod report;
mod scores;
mod statistics;
mod svg;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proofmill_telemetry::tell;

use self::acquisition::{Acquired, Compared, Conditions};
use self::figures::Figures;
use self::pairs::PairList;
use self::plots::{Curve, MOST_CURVES};
use self::report::{CAVEATS, Group, Report, Unread};
use crate::face_tools::{Instrument, ToolArgs, printable};

/// Files that cannot be read and are named one by one; the report has all of them.
const NAMED: usize = 20;

/// What follows the options in `--help`.
pub const HELP: &str = "\
The list has a header; `same` is 1, true, yes or 0, false, no. Column a is the reference and must pass the gates of a
document's portrait, column b the probe and must pass those of a selfie. Other columns are left alone; paths are relative
to the list's folder. Everything stays on this machine. A pack that is not for commercial use runs here without being
asked for: its licence is yours to keep.

Exit status: 0 evaluated, 1 evaluated with files that could not be read or with nothing to compare, 2 could not run";

/// `proofmill-worker evaluate`.
#[derive(clap::Args, Debug)]
pub struct EvaluateArgs {
    /// Labelled pairs: comma-separated values with the columns a, b (pictures) and same
    #[arg(long, value_name = "FILE.csv")]
    pub pairs: PathBuf,
    /// Report on the pairs of each value of this column, too
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Write report.txt, report.json, det.svg, scores.svg and comparisons.csv (with every distance) into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Compare the widest face of every picture, whatever its quality and whoever stands beside it
    #[arg(long)]
    pub without_gates: bool,
    /// Run the replay guard on each pair, too; keeps 23 kB for each picture
    #[arg(long)]
    pub replay_guard: bool,
    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
    /// Model pack, device and threads
    #[command(flatten)]
    pub tool: ToolArgs,
}

/// Runs the evaluation; the answer is the process's exit status.
///
/// # Errors
/// It could not run at all: the list is malformed, the pack does not load, the engine fails, the output cannot be written.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<u8> {
    let list = PairList::read(&args.pairs, args.group.as_deref())?;
    // Before the long work, not after it.
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let instrument = args.tool.open()?;
    let conditions = Conditions { gates: !args.without_gates, replay_guard: args.replay_guard };
    let bar = progress(list.pictures.len(), args.quiet);
    let acquired = acquisition::acquire(&instrument, &list.pictures, conditions, &bar)?;
    bar.finish_and_clear();
    let compared = acquisition::compare(&instrument, &acquired, &list.pairs, conditions)?;

    let report = report(args, &list, &instrument, &acquired, &compared);
    for unread in report.unread.iter().take(NAMED) {
        tell(format_args!("{}: {}: {}", printable(&unread.file), unread.code, unread.message));
    }
    if report.unread.len() > NAMED {
        tell(format_args!("and {} more files could not be read", report.unread.len() - NAMED));
    }
    if let Some(folder) = &args.out {
        write_files(folder, &report, &instrument, &list, &compared)?;
    }
    let text = if args.json { json(&report, serde_json::to_string)? } else { report.text() };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read has enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(2),
        written => written.context("cannot write the report")?,
    }
    let nothing = report.overall.pairs.genuine_compared + report.overall.pairs.impostor_compared == 0;
    Ok(u8::from(nothing || !report.unread.is_empty()))
}

fn progress(pictures: usize, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} pictures, {per_sec}, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(pictures as u64), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn report(
    args: &EvaluateArgs,
    list: &PairList,
    instrument: &Instrument,
    acquired: &[Acquired],
    compared: &[Compared],
) -> Report {
    let gates = !args.without_gates;
    let points = &instrument.points;
    let unread = list.pictures.iter().zip(acquired).filter_map(|(picture, acquired)| match acquired {
        Acquired::Unread(error) => {
            Some(Unread { file: picture.name.clone(), code: error.code(), message: error.to_string() })
        }
        _ => None,
    });
    let groups = list.groups.iter().enumerate().map(|(index, group)| Group {
        group: group.clone(),
        figures: Figures::of(&list.pairs, compared, acquired, points, gates, |pair| pair.group == Some(index)),
    });
    Report {
        pack: instrument.matcher.identity().clone(),
        device: instrument.matcher.device().to_string(),
        gates,
        pictures: list.pictures.len(),
        repeated_pairs: list.repeated,
        unread: unread.collect(),
        overall: Figures::of(&list.pairs, compared, acquired, points, gates, |_| true),
        group_column: args.group.clone(),
        groups: groups.collect(),
        caveats: &CAVEATS,
    }
}

fn json(report: &Report, style: fn(&Report) -> serde_json::Result<String>) -> anyhow::Result<String> {
    let mut text = style(report).context("cannot write the report as JSON")?;
    text.push('\n');
    Ok(text)
}

fn write_files(
    folder: &Path,
    report: &Report,
    instrument: &Instrument,
    list: &PairList,
    compared: &[Compared],
) -> anyhow::Result<()> {
    let subject = format!("{} {}", report.pack.name, report.pack.version);
    let mut curves = vec![Curve { name: "all pairs", scores: &report.overall.scores }];
    let groups = report.groups.iter().map(|group| Curve { name: &group.group, scores: &group.figures.scores });
    curves.extend(groups.take(MOST_CURVES - 1));
    let files = [
        ("report.txt", report.text()),
        ("report.json", json(report, serde_json::to_string_pretty)?),
        ("det.svg", plots::trade_off(&subject, &curves, &instrument.points)),
        ("scores.svg", plots::histogram(&subject, &report.overall.scores, &instrument.points)),
        ("comparisons.csv", comparisons(list, compared)),
    ];
    for (name, content) in files {
        let path = folder.join(name);
        // Distances between people's faces: for whoever asked.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Every pair with its distance, or with the reasons why it has none.
fn comparisons(list: &PairList, compared: &[Compared]) -> String {
    let mut out = String::from("a,b,same,group,distance,a_failure,b_failure,copy\n");
    for (pair, compared) in list.pairs.iter().zip(compared) {
        let name = |at: usize| list.pictures.get(at).map_or("", |picture| picture.name.as_str());
        let group = pair.group.and_then(|at| list.groups.get(at)).map_or("", String::as_str);
        let row = match compared {
            Compared::Unread => ",file,file,".to_owned(),
            Compared::NotAcquired(a, b) => format!(",{},{},", a.unwrap_or_default(), b.unwrap_or_default()),
            Compared::Distance { distance, copy } => {
                format!("{distance},,,{}", copy.map_or("", |copy| if copy { "1" } else { "0" }))
            }
        };
        let fields = [name(pair.a), name(pair.b), if pair.genuine { "1" } else { "0" }, group].map(csv::escape);
        let _ = writeln!(out, "{},{row}", fields.join(","));
    }
    out
}
