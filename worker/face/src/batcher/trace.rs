//! Recorded arrivals: when attempts came, in which lane, and how long batches took. No ids, no
//! times of day, nothing of anybody's evidence: a trace can be kept and shared.
//!
//! ```csv
//! event,lane,at_us,size,ran_us
//! arrival,interactive,1200,,
//! batch,,7300,3,81000
//! ```

use std::time::Duration;

use super::Lane;

/// A recording of a service's work, in microseconds since its start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// Lane and time of each attempt, by time.
    pub arrivals: Vec<(Lane, Duration)>,
    /// Size and running time of each batch.
    pub batches: Vec<(usize, Duration)>,
}

/// One line of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceRow {
    /// An attempt was taken.
    Arrival {
        /// Its lane.
        lane: Lane,
        /// When.
        at: Duration,
    },
    /// A batch ran.
    Batch {
        /// When it began.
        at: Duration,
        /// Attempts in it.
        size: usize,
        /// How long it ran.
        ran: Duration,
    },
}

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of the trace is not a row of {HEADER}")]
pub struct TraceError(usize);

const HEADER: &str = "event,lane,at_us,size,ran_us";

impl TraceRow {
    /// The first line of a recording.
    pub const HEADER: &'static str = HEADER;

    /// The line, without its end.
    pub fn line(&self) -> String {
        match self {
            Self::Arrival { lane, at } => format!("arrival,{},{},,", lane.as_str(), at.as_micros()),
            Self::Batch { at, size, ran } => format!("batch,,{},{size},{}", at.as_micros(), ran.as_micros()),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let micros = |text: &str| text.parse().ok().map(Duration::from_micros);
        let fields: Vec<&str> = line.split(',').collect();
        match fields[..] {
            ["arrival", lane, at, "", ""] => {
                let lane = Lane::ALL.into_iter().find(|known| known.as_str() == lane)?;
                Some(Self::Arrival { lane, at: micros(at)? })
            }
            ["batch", "", at, size, ran] => {
                Some(Self::Batch { at: micros(at)?, size: size.parse().ok()?, ran: micros(ran)? })
            }
            _ => None,
        }
    }
}

impl Trace {
    /// Reads a recording.
    ///
    /// # Errors
    /// [`TraceError`] names the line.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut trace = Self::default();
        for (index, line) in text.lines().enumerate() {
            let expected_header = index == 0;
            match TraceRow::parse(line) {
                _ if expected_header && line == HEADER => {}
                Some(TraceRow::Arrival { lane, at }) if !expected_header => trace.arrivals.push((lane, at)),
                Some(TraceRow::Batch { size, ran, .. }) if !expected_header => trace.batches.push((size, ran)),
                _ => return Err(TraceError(index + 1)),
            }
        }
        trace.arrivals.sort_by_key(|(_, at)| *at);
        Ok(trace)
    }

    /// From the first arrival to the last.
    pub fn length(&self) -> Duration {
        match (self.arrivals.first(), self.arrivals.last()) {
            (Some((_, first)), Some((_, last))) => last.saturating_sub(*first),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_as_it_was_written() {
        let rows = [
            TraceRow::Arrival { lane: Lane::Interactive, at: Duration::from_micros(1_200) },
            TraceRow::Batch { at: Duration::from_micros(7_300), size: 3, ran: Duration::from_micros(81_000) },
            TraceRow::Arrival { lane: Lane::Isolated, at: Duration::from_micros(9_000) },
        ];
        let lines: Vec<String> = rows.iter().map(TraceRow::line).collect();
        assert_eq!(lines[1], "batch,,7300,3,81000");
        let trace = Trace::parse(&format!("{HEADER}\n{}\n", lines.join("\n"))).unwrap();
        assert_eq!(trace.arrivals.len(), 2);
        assert_eq!(trace.batches, [(3, Duration::from_micros(81_000))]);
        assert_eq!(trace.length(), Duration::from_micros(7_800));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, line) in [
            ("arrival,interactive,1,,", 1),
            ("event,lane,at_us,size,ran_us\narrival,express,1,,", 2),
            ("event,lane,at_us,size,ran_us\nbatch,,1,x,3", 2),
            ("event,lane,at_us,size,ran_us\narrival,bulk,-1,,", 2),
            ("event,lane,at_us,size,ran_us\n\n", 2),
        ] {
            assert_eq!(Trace::parse(text), Err(TraceError(line)), "{text}");
        }
    }
}
