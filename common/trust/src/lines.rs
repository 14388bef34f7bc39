//! Lines of bounded length from a stream of any length.

use std::io::{self, BufRead, Read as _};

/// Reads lines and counts them; ends are LF or CR LF.
pub(crate) struct Lines<R> {
    reader: R,
    number: u64,
    octets: u64,
    longest: usize,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line, without its end.
    Read,
    /// The stream's end.
    End,
    /// More octets than a line may have.
    TooLong,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `longest` octets.
    pub fn new(reader: R, longest: usize) -> Lines<R> {
        Lines { reader, number: 0, octets: 0, longest }
    }

    /// The number of the line read last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Octets read since this was last asked.
    pub fn progress(&mut self) -> u64 {
        std::mem::take(&mut self.octets)
    }

    /// Replaces `line` by the next one.
    pub fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        self.append(line)
    }

    /// Appends the next line if it begins with a space, without that space: a folded line (RFC 2849). The bound is on the
    /// whole.
    pub fn folded(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        if self.reader.fill_buf()?.first() != Some(&b' ') {
            return Ok(Line::End);
        }
        self.reader.consume(1);
        self.octets += 1;
        match self.append(line)? {
            // A space was there, so the line was.
            Line::End => Ok(Line::Read),
            read => Ok(read),
        }
    }

    fn append(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        let before = line.len();
        // One for the end, and one more to see that there is too much.
        let room = self.longest.saturating_sub(before) as u64 + 2;
        let read = self.reader.by_ref().take(room).read_until(b'\n', line)?;
        if read == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        self.octets += read as u64;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.len() > before && line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if line.len() > self.longest { Ok(Line::TooLong) } else { Ok(Line::Read) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_kinds_are_read_and_joined_where_folded() {
        let mut lines = Lines::new(&b"one\r\n two\n  three\n\nfour"[..], 20);
        let mut line = Vec::new();
        assert_eq!(lines.next(&mut line).unwrap(), Line::Read);
        assert_eq!(line, b"one");
        assert_eq!(lines.folded(&mut line).unwrap(), Line::Read);
        assert_eq!(lines.folded(&mut line).unwrap(), Line::Read);
        assert_eq!(line, b"onetwo three");
        assert_eq!(lines.folded(&mut line).unwrap(), Line::End);
        assert_eq!((lines.next(&mut line).unwrap(), line.len()), (Line::Read, 0));
        assert_eq!(lines.next(&mut line).unwrap(), Line::Read);
        assert_eq!((line.as_slice(), lines.number()), (&b"four"[..], 5));
        assert_eq!(lines.next(&mut line).unwrap(), Line::End);
    }

    #[test]
    fn a_line_without_end_is_given_up_and_not_kept() {
        let mut lines = Lines::new(io::BufReader::new(io::repeat(b'x')), 1000);
        let mut line = Vec::new();
        assert_eq!(lines.next(&mut line).unwrap(), Line::TooLong);
        assert!(line.len() <= 1002, "{}", line.len());
        let exact = [&[b'x'; 1000][..], b"\r\n"].concat();
        assert_eq!(Lines::new(&exact[..], 1000).next(&mut line).unwrap(), Line::Read);
    }

    #[test]
    fn folding_counts_towards_the_bound() {
        let text = format!("start\n{}", " yyyyyyyyyy\n".repeat(100));
        let mut lines = Lines::new(text.as_bytes(), 100);
        let mut line = Vec::new();
        lines.next(&mut line).unwrap();
        let end = std::iter::repeat_with(|| lines.folded(&mut line).unwrap()).find(|read| *read != Line::Read);
        assert_eq!(end, Some(Line::TooLong));
    }
}
