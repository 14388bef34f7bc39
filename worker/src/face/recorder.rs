//! Records arrivals for the batch simulator: lanes, times since the start, sizes and running times. Nothing that says whose.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use proofmill_face::{BatchEvent, TraceRow};

/// A CSV file being written; given up at the first failure, which no attempt may pay for.
pub(super) struct Recorder {
    /// Shared by the batcher's threads, each of which writes whole lines.
    file: Mutex<Option<BufWriter<File>>>,
}

impl Recorder {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot record arrivals in {}", path.display());
        // Never over a file that is there: it may be anything, and a named pipe would be waited for.
        let file = match File::create_new(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                anyhow::bail!("cannot record arrivals in {}: it exists already; name a new file", path.display());
            }
            opened => opened.with_context(context)?,
        };
        let mut file = BufWriter::new(file);
        writeln!(file, "{}", TraceRow::HEADER).with_context(context)?;
        Ok(Self { file: Mutex::new(Some(file)) })
    }

    pub(super) fn hear(&self, event: &BatchEvent) {
        let (row, end) = match event {
            BatchEvent::Arrived { lane, at, .. } => (TraceRow::Arrival { lane: *lane, at: *at }, false),
            BatchEvent::Ran(report) if report.failed => return,
            BatchEvent::Ran(report) => (TraceRow::Batch { at: report.began, size: report.size, ran: report.ran }, true),
            BatchEvent::Returned { .. } | BatchEvent::Changed(_) => return,
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *file else { return };
        let written = writeln!(open, "{}", row.line()).and_then(|()| if end { open.flush() } else { Ok(()) });
        if let Err(error) = written {
            tracing::warn!(%error, "arrivals are not recorded any more");
            *file = None;
        }
    }
}
