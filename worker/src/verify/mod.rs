//! The offline job: evidence in, one verdict an item out, in input order, without any server.
//!
//! Memory is bounded by configuration, not by the input: a reader stays a bounded number of items and of bytes ahead of
//! the output, and verdicts leave in order through a window of the same size.

mod input;
mod output;

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proofmill_contract::{Clock as _, OrganisationPolicy, Outcome, Timestamp};
use proofmill_telemetry::{Metrics, SystemClock, tell};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use self::input::{Item, Size, Source};
use self::output::{Format, ItemError, Row};
use crate::attestation::Reader;
use crate::engine::{Case, Engine};
use crate::face::{FaceLane, FaceService, FaceStage};
use crate::kept::ChipEvidence;
pub(crate) use crate::settings::moment;
use crate::settings::{EngineArgs, PolicyArgs};

/// Evidence bytes that may be in memory at once, in KiB: several of the longest lines.
const WINDOW_KIB: usize = 256 << 10;

/// `proofmill-worker verify`.
#[derive(clap::Args, Debug)]
pub struct VerifyArgs {
    /// An NDJSON file of evidence, `-` for standard input, or a folder with one sub-folder per item (sod.bin, dg1.bin,
    /// dg2.bin, dg14.bin, dg15.bin, active_authentication.bin, challenge.hex, selfie*.jpg) or one .json file per item
    pub path: PathBuf,
    /// One JSON object per item instead of a table
    #[arg(long)]
    pub json: bool,
    /// No progress bar and no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// Verify as of this moment (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub at: Option<Timestamp>,
    /// What the organisation would decide about borderline documents
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Trust store, model pack, device and threads
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Every gate held.
    pub accepted: u64,
    /// A gate failed.
    pub rejected: u64,
    /// No verdict: unreadable, or the machine failed.
    pub errors: u64,
}

impl Summary {
    /// 0 when every item passed, 1 when some did not, 2 when there was none.
    pub fn exit_status(self) -> u8 {
        match self {
            Summary { accepted: 0, rejected: 0, errors: 0 } => 2,
            Summary { rejected: 0, errors: 0, .. } => 0,
            _ => 1,
        }
    }

    fn count(&mut self, row: &Row) {
        match &row.result {
            Ok(decision) if decision.outcome == Outcome::Accepted => self.accepted += 1,
            Ok(_) => self.rejected += 1,
            Err(_) => self.errors += 1,
        }
    }

    fn items(self) -> u64 {
        self.accepted + self.rejected + self.errors
    }
}

/// Runs the job; the answer is the process's exit status.
///
/// # Errors
/// It could not run at all: no input, no trust store, no model pack, output closed.
pub async fn run(args: VerifyArgs) -> anyhow::Result<u8> {
    let source = Source::open(&args.path)?;
    let threads = args.engine.threads();
    let trust = crate::trust::load_source(&args.engine.trust_source(&[&beside(&args.path)])?, 1)?;
    let pack = crate::face::pack_folder(args.engine.pack.as_deref());
    let metrics = Arc::new(Metrics::new(&crate::build_info("verify"))?);
    let face = Arc::new(FaceService::start(
        &pack,
        &args.engine.terms,
        args.engine.device,
        threads,
        &args.engine.batch,
        metrics.clone(),
    )?);
    let engine = Engine::new(Arc::new(trust), face.clone() as Arc<dyn FaceStage>, metrics, threads);

    let job = Job {
        engine: Arc::new(engine),
        policy: args.policy.policy(),
        at: args.at,
        // Enough to fill a batch while the next is prepared and the last is written.
        window: 4 * threads + 4 * face.max_batch(),
        format: if args.json { Format::Json } else { Format::Table },
    };
    let started = Instant::now();
    let bar = if args.quiet { ProgressBar::hidden() } else { progress(source.size()) };
    let summary = match job.run(source, &mut io::stdout().lock(), &bar).await {
        // Whoever read has enough, as `head` does.
        Err(error) if error.root_cause().downcast_ref::<io::Error>().is_some_and(broken_pipe) => return Ok(2),
        done => done?,
    };
    bar.finish_and_clear();
    face.drain().await;
    if summary.items() == 0 {
        anyhow::bail!("{}: no evidence found", args.path.display());
    }
    if !args.quiet {
        tell(describe(summary, started.elapsed()));
    }
    Ok(summary.exit_status())
}

fn broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

struct Job {
    engine: Arc<Engine>,
    policy: OrganisationPolicy,
    at: Option<Timestamp>,
    window: usize,
    format: Format,
}

impl Job {
    async fn run(&self, source: Source, out: &mut dyn Write, bar: &ProgressBar) -> anyhow::Result<Summary> {
        let by_bytes = matches!(source.size(), Size::Bytes(_));
        let (items, mut queue) = mpsc::channel(1);
        let reader = tokio::task::spawn_blocking(move || read_all(source, &items));
        let stream = futures::stream::poll_fn(|context| queue.poll_recv(context));
        let mut rows = stream.map(|(item, permit)| self.judge(item, permit)).buffered(self.window);

        let mut summary = Summary::default();
        bar.suspend(|| output::head(self.format, out)).context("cannot write verdicts")?;
        while let Some((row, bytes)) = rows.next().await {
            bar.suspend(|| {
                output::row(self.format, &row, out)?;
                if let Err(ItemError::Broken(error)) = &row.result {
                    tell(format_args!("item at line {}: {}: {}", row.line, error.code, error.message));
                }
                Ok::<_, io::Error>(())
            })
            .context("cannot write verdicts")?;
            summary.count(&row);
            bar.inc(if by_bytes { bytes } else { 1 });
            bar.set_message(format!("{} verdicts, {} rejected", summary.items(), summary.rejected));
        }
        out.flush().context("cannot write verdicts")?;
        drop(rows);
        reader.await.context("the reader stopped")?.context("cannot read the input any further")?;
        Ok(summary)
    }

    async fn judge(&self, item: Item, permit: Option<OwnedSemaphorePermit>) -> (Row, u64) {
        let Item { id, line, content, bytes } = item;
        let (caller_challenge, result) = match content {
            Err(error) => (false, Err(ItemError::Broken(error))),
            Ok(content) => {
                let case = Arc::new(Case {
                    policy: self.policy.clone(),
                    selected_field_keys: Vec::new(),
                    challenge: content.challenge,
                    // Without a server there is no terminal of ours: the reader of items refuses such transcripts.
                    terminal: None,
                    // Nor is there a register of readers: a statement is passed over and reported as not run.
                    reader: Reader::default(),
                    chip: ChipEvidence::default(),
                    at: self.at.unwrap_or_else(|| SystemClock.now()),
                });
                let judged = self.engine.judge(content.evidence, case, FaceLane::Bulk).await;
                let result =
                    judged.map(|judgement| judgement.decision).map_err(|fault| ItemError::Fault(fault.to_string()));
                (content.challenge.is_some(), result)
            }
        };
        drop(permit);
        (Row { id, line, caller_challenge, result }, bytes)
    }
}

/// Reads ahead until the window of bytes is full or the output is gone.
fn read_all(mut source: Source, items: &mpsc::Sender<(Item, Option<OwnedSemaphorePermit>)>) -> io::Result<()> {
    let window = Arc::new(Semaphore::new(WINDOW_KIB));
    let runtime = tokio::runtime::Handle::current();
    while let Some(item) = source.next()? {
        let size = item.content.as_ref().map_or(0, |content| content.evidence.total_bytes());
        let kib = u32::try_from((size >> 10) + 1).unwrap_or(u32::MAX).min(WINDOW_KIB as u32);
        let permit = runtime.block_on(window.clone().acquire_many_owned(kib)).ok();
        if items.blocking_send((item, permit)).is_err() {
            break;
        }
    }
    Ok(())
}

/// The trust store that lies beside the input, if one does.
fn beside(path: &Path) -> PathBuf {
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    folder.unwrap_or(Path::new("")).join("trust")
}

fn progress(size: Size) -> ProgressBar {
    let (length, template) = match size {
        Size::Bytes(bytes) => (Some(bytes), "{elapsed_precise} {bar:32} {bytes}/{total_bytes} {msg} (eta {eta})"),
        Size::Items(items) => (Some(items), "{elapsed_precise} {bar:32} {pos}/{len} {msg} (eta {eta})"),
        Size::Unknown => (None, "{elapsed_precise} {spinner} {msg}"),
    };
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn describe(summary: Summary, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let rate = summary.items() as f64 / seconds.max(1e-9);
    let Summary { accepted, rejected, errors } = summary;
    format!(
        "{} items in {seconds:.1} s: {accepted} accepted, {rejected} rejected, {errors} without a verdict; {rate:.1} items/s",
        summary.items()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::FaceAnswer;
    use futures::future::BoxFuture;
    use proofmill_emrtd::TrustStoreBuilder;
    use proofmill_face::{FaceFailure, Prepared};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// For evidence that fails the first document gate.
    struct NoFaces;

    impl FaceStage for NoFaces {
        fn prepare(&self, _: &[u8], _: &[&[u8]]) -> Result<Prepared, FaceFailure> {
            panic!("a document that failed reached the face stage")
        }

        fn submit(&self, _: Prepared, _: FaceLane) -> BoxFuture<'_, Result<FaceAnswer, crate::Fault>> {
            panic!("a document that failed reached the face stage")
        }

        fn model(&self) -> &str {
            "none"
        }
    }

    fn job(window: usize) -> Job {
        let metrics = Arc::new(Metrics::new(&crate::build_info("test")).unwrap());
        let trust = Arc::new(TrustStoreBuilder::new().build(1));
        Job {
            engine: Arc::new(Engine::new(trust, Arc::new(NoFaces), metrics, 2)),
            policy: OrganisationPolicy::default(),
            at: None,
            window,
            format: Format::Json,
        }
    }

    async fn rows(input: &str, window: usize) -> (Summary, Vec<serde_json::Value>) {
        let mut out = Vec::new();
        let source = Source::reading(io::Cursor::new(input.to_owned()));
        let summary = job(window).run(source, &mut out, &ProgressBar::hidden()).await.unwrap();
        let rows = out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        (summary, rows.map(|line| serde_json::from_slice(line).unwrap()).collect())
    }

    #[tokio::test]
    async fn verdicts_come_in_input_order_and_broken_lines_keep_their_place() {
        let mut input = String::new();
        for line in 1..=100 {
            match line % 10 {
                3 => input.push_str("{\"sod\":\n"),
                7 => input.push_str(&format!("{{\"id\":\"{line}\",\"sod\":\"AQ==\"}}\n")),
                _ => input.push_str(&format!(
                    "{{\"id\":\"{line}\",\"sod\":\"AQ==\",\"dg1\":\"AQ==\",\"dg2\":\"AQ==\",\"selfie\":[\"AQ==\"],\
                     \"challenge\":\"0102030405060708\"}}\n"
                )),
            }
        }
        for window in [1, 3, 64] {
            let (summary, rows) = rows(&input, window).await;
            assert_eq!(summary, Summary { accepted: 0, rejected: 80, errors: 20 });
            assert_eq!(rows.len(), 100);
            for (index, row) in rows.iter().enumerate() {
                let line = index + 1;
                assert_eq!(row["line"], line);
                match line % 10 {
                    3 => assert_eq!(row["error"]["code"], "INVALID_REQUEST"),
                    7 => {
                        assert_eq!(row["error"]["code"], "EVIDENCE_PART_MISSING");
                        assert_eq!(row["id"], line.to_string());
                    }
                    _ => {
                        assert_eq!(row["verdict"], "rejected");
                        assert_eq!(row["failure_code"], "document_authenticity_failed");
                        assert_eq!(row["challenge"], "caller_supplied");
                    }
                }
            }
        }
    }

    /// Lines without an end; counts those that were taken.
    struct Endless {
        line: Vec<u8>,
        at: usize,
        taken: Arc<AtomicU64>,
    }

    impl io::Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let rest = &self.line[self.at..];
            let count = rest.len().min(out.len());
            out[..count].copy_from_slice(&rest[..count]);
            self.at = (self.at + count) % self.line.len();
            self.taken.fetch_add(u64::from(self.at == 0), Ordering::SeqCst);
            Ok(count)
        }
    }

    /// An output whose reader goes away after some lines.
    struct Closing(usize);

    impl Write for Closing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let ends = bytes.iter().filter(|&&byte| byte == b'\n').count();
            self.0 = self.0.checked_sub(ends).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_input_without_end_is_read_no_further_than_the_window() {
        let (window, written) = (5, 50);
        let taken = Arc::new(AtomicU64::new(0));
        let mut line = br#"{"sod":"AQ==","dg1":"AQ==","dg2":"AQ==","selfie":["AQ=="]}"#.to_vec();
        line.push(b'\n');
        let capacity = line.len();
        let endless = Endless { line, at: 0, taken: taken.clone() };
        let source = Source::reading(io::BufReader::with_capacity(capacity, endless));
        let error = job(window).run(source, &mut Closing(written), &ProgressBar::hidden()).await.unwrap_err();
        assert!(format!("{error:#}").contains("cannot write verdicts"), "{error:#}");
        // Written, in the window, in the channel, in the reader's hands.
        let bound = (written + window + 4) as u64;
        assert!(
            taken.load(Ordering::SeqCst) <= bound,
            "{} lines were taken, at most {bound} may be",
            taken.load(Ordering::SeqCst)
        );
    }

    #[test]
    fn the_exit_status_tells_all_passed_from_some_and_none() {
        let summary = |accepted, rejected, errors| Summary { accepted, rejected, errors }.exit_status();
        assert_eq!(summary(3, 0, 0), 0);
        assert_eq!(summary(3, 1, 0), 1);
        assert_eq!(summary(3, 0, 1), 1);
        assert_eq!(summary(0, 0, 2), 1);
        assert_eq!(summary(0, 0, 0), 2);
    }
}
