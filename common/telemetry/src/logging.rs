//! Logs: for people or as JSON; ids only, and scrubbed on the way out.

use std::io::{self, IsTerminal as _, Write};
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::redaction::scrub;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One readable line.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<Self, LoggingError> {
        match text {
            "human" => Ok(LogFormat::Human),
            "json" => Ok(LogFormat::Json),
            other => Err(LoggingError::Format(other.to_owned())),
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not of the form `info,proofmill_worker=debug`.
    #[error("log filter `{0}` is not valid")]
    Filter(String),
    /// The process has logging already.
    #[error("logging is already set up")]
    AlreadySet,
    /// Not a known format.
    #[error("log format `{0}` is unknown: expected human or json")]
    Format(String),
}

/// Sends the process's logs to standard error: standard output belongs to results.
///
/// # Errors
/// [`LoggingError`].
pub fn init_logging(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let colour = io::stderr().is_terminal();
    subscriber(format, filter, colour, Scrubbed(io::stderr))?.try_init().map_err(|_| LoggingError::AlreadySet)
}

/// A filter on the command line, for `value_parser`: what [`init_logging`] would take.
///
/// # Errors
/// What was expected.
pub fn log_filter(text: &str) -> Result<String, String> {
    let expected = "expected a level (off, error, warn, info, debug, trace), or parts of the program with a level each, such as \
                    info,proofmill_api=debug";
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|_| expected.to_owned())
}

/// A line to standard error for whoever runs a command. Unlike `eprintln!` it does not panic when nobody reads any more.
pub fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Logs panics as errors, with thread and place, in the format of all other lines.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(%place, thread = thread.name().unwrap_or("unnamed"), "panic: {message}");
    }));
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colour: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).map_err(|_| LoggingError::Filter(filter.to_owned()))?;
    // A line that cannot be written is lost. The library would say so with `eprintln!`, which panics when standard error
    // is closed: a log reader that went away would take the process with it.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    Ok(match format {
        LogFormat::Human => Box::new(builder.with_ansi(colour).compact().finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    })
}

/// Scrubs each line. The formatter hands over whole lines, one write each.
struct Scrubbed<M>(M);

struct ScrubbedWriter<W>(W);

impl<'writer, M, W> MakeWriter<'writer> for Scrubbed<M>
where
    M: Fn() -> W,
    W: Write,
{
    type Writer = ScrubbedWriter<W>;

    fn make_writer(&'writer self) -> Self::Writer {
        ScrubbedWriter((self.0)())
    }
}

impl<W: Write> Write for ScrubbedWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(scrub(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, work: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = subscriber(format, filter, false, Scrubbed(move || writer.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_have_fields_and_no_secret_in_any_of_them() {
        let text = logged(LogFormat::Json, "info", || {
            let span = tracing::info_span!("request", key = "kk_0123456789abcdefghijklmnopqrstuv");
            let _entered = span.enter();
            tracing::info!(attempt_id = "va_1", uri = "amqp://user:hunter2@host/", "published");
            tracing::debug!("not this one");
        });
        assert_eq!(text.lines().count(), 1);
        assert!(
            text.starts_with('{')
                && text.contains(r#""message":"published""#)
                && text.contains(r#""attempt_id":"va_1""#),
            "{text}"
        );
        assert!(!text.contains("hunter2") && !text.contains("0123456789abc"), "{text}");
    }

    #[test]
    fn human_lines_are_readable_and_scrubbed() {
        let text = logged(LogFormat::Human, "warn,proofmill_telemetry=info", || {
            tracing::info!(attempt_id = "va_1", "read P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<");
        });
        assert!(text.contains("INFO") && text.contains("attempt_id=\"va_1\""), "{text}");
        assert!(!text.contains("ERIKSSON"), "{text}");
    }

    #[test]
    fn panics_are_logged_with_their_place_and_scrubbed() {
        let text = logged(LogFormat::Human, "error", || {
            let before = std::panic::take_hook();
            install_panic_hook();
            let caught = std::panic::catch_unwind(|| panic!("amqp://user:hunter2@host"));
            std::panic::set_hook(before);
            assert!(caught.is_err());
        });
        assert!(text.contains("panic:") && text.contains("logging.rs"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn wrong_settings_are_named() {
        assert!(matches!(subscriber(LogFormat::Human, "info,=,", false, io::stderr), Err(LoggingError::Filter(_))));
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        assert!("xml".parse::<LogFormat>().unwrap_err().to_string().contains("xml"));
    }
}
