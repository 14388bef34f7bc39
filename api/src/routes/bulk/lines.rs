//! Lines of a body that arrives in pieces, each under the limit and within the process's memory.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures::StreamExt;
use proofmill_contract::evidence_line::Names;
use proofmill_contract::limits::MAX_BULK_LINE_BYTES;
use proofmill_contract::{ApiError, ErrorCode};
use zeroize::Zeroizing;

use crate::http::error::Error;
use crate::memory_budget::{Exhausted, Held, MemoryBudget};

/// How long a line waits for memory that other uploads hold.
const MEMORY_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes at a line's beginning in which its names are looked for when the line itself is not kept.
const NAMES_WITHIN: usize = 4 << 10;
/// How much of a request that is too long is read and thrown away, so that its answers reach who is still sending.
const DISCARD_BYTES: usize = 1 << 30;

/// The lines of a body.
pub(super) struct Lines {
    body: BodyDataStream,
    rest: Bytes,
    number: u64,
    budget: MemoryBudget,
    idle: Duration,
    patience: Duration,
}

/// What comes next. Lines count from 1, empty ones too.
pub(super) enum Next {
    /// A line without its end.
    Line { number: u64, text: Zeroizing<Vec<u8>>, held: Held },
    /// A line that cannot be taken; it was read past.
    Refused { number: u64, names: Names, error: ApiError },
    /// Nothing more will be read, and this is why.
    Stop { number: u64, error: ApiError },
    /// The body ended, or broke off in the middle of a line, which then never came.
    End,
}

/// What the body gave.
enum Piece {
    Bytes(Bytes),
    End,
    Broken,
    Idle,
}

impl Lines {
    /// `idle` is how long the body may bring nothing.
    pub(super) fn new(body: Body, budget: MemoryBudget, idle: Duration) -> Self {
        Self { body: body.into_data_stream(), rest: Bytes::new(), number: 0, budget, idle, patience: MEMORY_PATIENCE }
    }

    /// The number of the last line that was begun.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line that is not empty. Must not be cancelled if it is to be called again.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            self.number += 1;
            let (number, mut line) = (self.number, Gathered::new(&self.budget));
            let ended = loop {
                if self.rest.is_empty() {
                    match self.piece().await {
                        Piece::Bytes(bytes) => self.rest = bytes,
                        Piece::End => break true,
                        Piece::Broken => return Next::End,
                        Piece::Idle => {
                            let message = format!("nothing came for {} s", self.idle.as_secs());
                            return Next::Stop { number, error: ApiError::new(ErrorCode::RequestTimeout, message) };
                        }
                    }
                }
                let end = self.rest.iter().position(|byte| *byte == b'\n');
                let piece = self.rest.split_to(end.unwrap_or(self.rest.len()));
                line.push(piece, self.patience).await;
                if end.is_some() {
                    let _ = self.rest.split_to(1);
                    break false;
                }
            };
            if let Some(next) = line.finish(number) {
                return next;
            }
            if ended {
                return Next::End;
            }
        }
    }

    /// Reads on without looking, for as long as the caller keeps sending and there is an end in sight.
    pub(super) async fn discard(&mut self) {
        let mut taken = self.rest.len();
        while taken < DISCARD_BYTES
            && let Piece::Bytes(bytes) = self.piece().await
        {
            taken += bytes.len();
        }
    }

    async fn piece(&mut self) -> Piece {
        match tokio::time::timeout(self.idle, self.body.next()).await {
            Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
            Ok(Some(Err(_))) => Piece::Broken,
            Ok(None) => Piece::End,
            Err(_) => Piece::Idle,
        }
    }
}

/// A line that grows: pieces as they came, copied once at its end into a buffer that is wiped.
struct Gathered {
    pieces: Vec<Bytes>,
    size: usize,
    held: Held,
    blank: bool,
    refused: Option<(Names, ApiError)>,
}

impl Gathered {
    fn new(budget: &MemoryBudget) -> Self {
        Self { pieces: Vec::new(), size: 0, held: budget.hold(), blank: true, refused: None }
    }

    async fn push(&mut self, piece: Bytes, patience: Duration) {
        if self.refused.is_some() || piece.is_empty() {
            return;
        }
        self.blank = self.blank && piece.iter().all(u8::is_ascii_whitespace);
        self.size = self.size.saturating_add(piece.len());
        if self.size > MAX_BULK_LINE_BYTES {
            self.refuse(piece, ApiError::too_large("line", MAX_BULK_LINE_BYTES));
        } else if self.held.take_within(piece.len(), patience).await == Err(Exhausted) {
            self.refuse(piece, Error::unavailable("vault", "too much evidence is being received at once").api);
        } else {
            self.pieces.push(piece);
        }
    }

    /// Lets go of what was gathered.
    fn refuse(&mut self, last: Bytes, error: ApiError) {
        let mut beginning = Zeroizing::new(Vec::with_capacity(NAMES_WITHIN));
        for piece in self.pieces.iter().chain([&last]) {
            let room = NAMES_WITHIN - beginning.len();
            beginning.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.refused = Some((Names::of(&beginning), error));
        self.pieces = Vec::new();
        self.held.give_back();
    }

    /// `None` for an empty line.
    fn finish(self, number: u64) -> Option<Next> {
        if let Some((names, error)) = self.refused {
            return Some(Next::Refused { number, names, error });
        }
        if self.blank {
            return None;
        }
        let mut text = Zeroizing::new(Vec::with_capacity(self.size));
        self.pieces.iter().for_each(|piece| text.extend_from_slice(piece));
        Some(Next::Line { number, text, held: self.held })
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn lines(pieces: &[&[u8]], budget: usize) -> Lines {
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
        Lines::new(Body::from_stream(stream::iter(pieces)), MemoryBudget::new(budget), Duration::from_secs(1))
    }

    async fn all(mut lines: Lines) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            seen.push(match lines.next().await {
                Next::Line { number, text, .. } => format!("{number} {}", String::from_utf8_lossy(&text)),
                Next::Refused { number, names, error } => format!("{number} {:?} {}", names.id, error.code),
                Next::Stop { number, error } => format!("{number} stop {}", error.code),
                Next::End => return seen,
            });
        }
    }

    #[tokio::test]
    async fn lines_are_found_however_the_pieces_are_cut() {
        let text = b"one\n\n \t\r\ntwo\r\nthree";
        let expected = ["1 one", "4 two\r", "5 three"];
        for size in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(all(lines(&pieces, 1 << 20)).await, expected, "{size}");
        }
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_refused_in_place_and_leaves_no_memory_taken() {
        let mib = vec![b'x'; 1 << 20];
        let mut pieces: Vec<&[u8]> = vec![b"before\n{\"id\":\"a\",\"dg2\":\""];
        pieces.extend(std::iter::repeat_n(&mib[..], 35));
        pieces.push(b"\nafter");
        let seen = all(lines(&pieces, 64 << 20)).await;
        assert_eq!(seen, ["1 before", "2 Some(\"a\") PAYLOAD_TOO_LARGE", "3 after"]);
    }

    #[tokio::test]
    async fn a_line_that_finds_no_memory_is_given_up_alone() {
        let kib = vec![b'x'; 8 << 10];
        let pieces: [&[u8]; 4] = [b"{\"id\":\"big\",\"dg2\":\"", &kib, b"\nsmall\n", b""];
        let mut lines = lines(&pieces, 4 << 10);
        lines.patience = Duration::from_millis(20);
        assert_eq!(all(lines).await, ["1 Some(\"big\") UNAVAILABLE", "2 small"]);
    }

    #[tokio::test]
    async fn who_stops_sending_is_told_and_a_line_that_breaks_off_never_came() {
        let begun = || stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"one\nhal"))]);
        let silent = Body::from_stream(begun().chain(stream::pending()));
        let budget = MemoryBudget::new(1 << 20);
        let mut lines = Lines::new(silent, budget.clone(), Duration::from_millis(20));
        assert!(matches!(lines.next().await, Next::Line { number: 1, .. }));
        assert!(
            matches!(lines.next().await, Next::Stop { number: 2, error } if error.code == ErrorCode::RequestTimeout)
        );
        let broken = Body::from_stream(begun().chain(stream::iter([Err(std::io::Error::other("reset"))])));
        assert_eq!(all(Lines::new(broken, budget, Duration::from_secs(30))).await, ["1 one"]);
    }
}
