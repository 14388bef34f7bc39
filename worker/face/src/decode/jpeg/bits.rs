//! The bits of entropy-coded data (ISO/IEC 10918-1 F.2.2), from one marker to the next.

use super::huffman::{Entry, Huffman};
use crate::wipe::Wiped;

/// Why a code could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The data ends inside it.
    Missing,
    /// No code begins with these bits, or it makes no sense there.
    Corrupt,
}

/// Zeros behind the data: more than the bits of any block, so that its end has to be looked for but once a block.
const PADDING: usize = 512;

/// The data of a scan, one interval between two markers after the other.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The interval without the zeros behind each 0xff, and with `PADDING` behind it.
    interval: Wiped<u8>,
    length: usize,
    /// Where the interval begins in the file, and where the marker stands that ends it.
    begin: usize,
    stop: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The byte of the interval that is to be loaded next ...
    at: usize,
    /// ... and what is loaded, from the top: `count` bits are sure to be there, and those that follow may be, too.
    buffer: u64,
    count: u32,
}

impl<'a> Reader<'a> {
    /// Reads the data that begins at `at`.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        let rest = bytes.len().saturating_sub(at);
        let interval = Wiped::zeros(rest + PADDING);
        let mut reader = Self { bytes, interval, length: 0, begin: at, stop: at, state: State::default() };
        reader.load(at);
        reader
    }

    /// The bits that come next; [`Self::set`] says how many of them were taken.
    #[inline(always)]
    pub(super) fn bits(&self) -> Bits<'_> {
        Bits { data: &self.interval, end: 8 * self.length, state: self.state }
    }

    pub(super) fn set(&mut self, position: Position) {
        self.state = position.0;
    }

    /// Goes on behind a restart marker, which must come next.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Fault> {
        let left = (8 * self.length).saturating_sub(self.state.consumed());
        let mut at = self.stop;
        while self.bytes.get(at..).is_some_and(|rest| rest.starts_with(&[0xff, 0xff])) {
            at += 1;
        }
        match self.bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()) {
            // What is left is padding.
            Some([0xff, marker]) if *marker == 0xd0 + number % 8 && left < 32 => {
                self.load(at + 2);
                Ok(())
            }
            Some([0xff, 0xd0..=0xd7]) => Err(Fault::Corrupt),
            _ => Err(Fault::Missing),
        }
    }

    /// Where in the file the first byte lies of which nothing was needed.
    pub(super) fn position(&self) -> usize {
        let consumed = self.state.consumed().div_ceil(8);
        if consumed >= self.length {
            return self.stop;
        }
        (0..consumed).fold(self.begin, |at, _| at + if self.bytes.get(at) == Some(&0xff) { 2 } else { 1 })
    }

    /// Copies the interval that begins at `begin`, up to the next marker.
    fn load(&mut self, begin: usize) {
        let from = self.bytes.get(begin..).unwrap_or_default();
        let to = self.interval.as_mut_slice();
        let (mut at, mut length) = (0, 0);
        loop {
            while let (Some(from), Some(to)) = (
                from.get(at..).and_then(|from| from.first_chunk::<8>()),
                to.get_mut(length..).and_then(|to| to.first_chunk_mut::<8>()),
            ) {
                if has_ff(u64::from_ne_bytes(*from)) {
                    break;
                }
                *to = *from;
                (at, length) = (at + 8, length + 8);
            }
            let Some(byte) = from.get(at) else { break };
            let stuffed = *byte == 0xff;
            if stuffed && from.get(at + 1) != Some(&0) {
                break;
            }
            if let Some(to) = to.get_mut(length) {
                *to = *byte;
            }
            (at, length) = (at + if stuffed { 2 } else { 1 }, length + 1);
        }
        if let Some(padding) = to.get_mut(length..length + PADDING) {
            padding.fill(0);
        }
        (self.begin, self.stop, self.length) = (begin, begin + at, length);
        self.state = State::default();
    }
}

/// How far an interval was read.
#[derive(Clone, Copy)]
pub(super) struct Position(State);

/// Whether one of the eight bytes is 0xff.
fn has_ff(word: u64) -> bool {
    (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 != 0
}

impl State {
    #[inline(always)]
    fn consumed(&self) -> usize {
        (8 * self.at).wrapping_sub(self.count as usize)
    }
}

/// The bits of one interval. Nothing is checked while they are taken: behind the end there are zeros, and
/// [`Bits::check`] tells whether some of them were taken.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// In bits.
    end: usize,
    state: State,
}

impl Bits<'_> {
    /// Sees to it that the next 56 bits are there.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let state = &mut self.state;
        let word = match self.data.get(state.at..state.at.wrapping_add(8)) {
            Some(chunk) => chunk.first_chunk::<8>().map_or(0, |chunk| u64::from_be_bytes(*chunk)),
            None => 0,
        };
        state.buffer |= word >> (state.count & 63);
        state.at += ((63 - (state.count & 63)) >> 3) as usize;
        state.count |= 56;
    }

    /// The next bits, from the top.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        self.state.buffer
    }

    /// Passes `count` bits, of which there must be as many since the last refill.
    #[inline(always)]
    pub(super) fn pass(&mut self, count: u32) {
        self.state.buffer = self.state.buffer.wrapping_shl(count);
        self.state.count = self.state.count.wrapping_sub(count);
    }

    /// Takes `count` bits, at most 16, under the same condition.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let value = (self.state.buffer >> 1 >> (63 - count)) as u32;
        self.pass(count);
        value
    }

    /// Takes a code and its value (F.2.2.1).
    #[inline(always)]
    pub(super) fn take_value(&mut self, entry: Entry) -> i32 {
        let bits = self.state.buffer.wrapping_shl(entry.code());
        let size = entry.size() & 15;
        let value = (bits >> 1 >> (63 - size)) as i32;
        // Values that begin with a zero are negative ones, less one.
        let negative = !((bits as i64 >> 63) as i32);
        self.pass(entry.total());
        value + (negative & (1 - (1 << size)))
    }

    /// What stands next, of a table. At most 31 bits are needed of it.
    #[inline(always)]
    pub(super) fn find(&self, table: &Huffman) -> Result<Entry, Fault> {
        table.find(self.state.buffer).ok_or_else(|| self.no_code())
    }

    /// How far they were taken.
    pub(super) fn position(&self) -> Position {
        Position(self.state)
    }

    /// Whether the next `count` bits are there.
    #[inline(always)]
    pub(super) fn has(&self, count: u32) -> bool {
        self.state.count >= count
    }

    /// Why there is nothing that the next bits stand for.
    #[cold]
    fn no_code(&self) -> Fault {
        // What the last code lacks may be what the padding does not say.
        if self.state.consumed() + 16 > self.end { Fault::Missing } else { Fault::Corrupt }
    }

    /// Why something that was read makes no sense: it was not there, or it was.
    #[cold]
    pub(super) fn nonsense(&self) -> Fault {
        if self.check().is_err() { Fault::Missing } else { Fault::Corrupt }
    }

    /// Whether everything that was taken was there.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.state.consumed() > self.end { Err(Fault::Missing) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 00, 01, 100, 1010 and one of ten bits.
    fn table() -> Huffman {
        let mut counts = [0u8; 16];
        (counts[1], counts[2], counts[3], counts[9]) = (2, 1, 1, 1);
        Huffman::new(false, &counts, &[0x00, 0x11, 0xf0, 0x02, 0x23]).unwrap()
    }

    #[test]
    fn values_come_by_their_codes_and_stuffing_is_taken_out() {
        // 00 | 01 1 | 100 | 1010 01 | 01 0 | then ones.
        let bytes = [0b0001_1100, 0b1010_0101, 0b0111_1111, 0xff, 0x00, 0xff, 0xd9];
        let reader = Reader::new(&bytes, 0);
        let mut bits = reader.bits();
        let table = table();
        let mut next = || {
            bits.refill();
            let entry = bits.find(&table).unwrap();
            (entry.run(), bits.take_value(entry))
        };
        assert_eq!([next(), next(), next()], [(128, 0), (2, 1), (16, 0)]);
        assert_eq!([next(), next()], [(1, -2), (2, -1)]);
        assert_eq!((bits.take(15), bits.check()), (0x7fff, Ok(())));
        assert_eq!((bits.take(1), bits.check()), (0, Err(Fault::Missing)));
    }

    #[test]
    fn bits_that_begin_no_code_are_corrupt_and_missing_ones_are_missing() {
        let find = |bytes: &[u8]| {
            let reader = Reader::new(bytes, 0);
            let mut bits = reader.bits();
            bits.refill();
            bits.find(&table()).map(|entry| entry.run())
        };
        assert_eq!(find(&[0xfe, 0xfe, 0xfe, 0xfe]), Err(Fault::Corrupt));
        assert_eq!(find(&[0xfe]), Err(Fault::Missing));
    }

    #[test]
    fn intervals_follow_one_another_by_their_markers() {
        let bytes =
            [1, 0xff, 0x00, 2, 0xff, 0xff, 0xd0, 3, 0xff, 0xd1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff, 0xd9];
        let mut reader = Reader::new(&bytes, 0);
        let take = |reader: &mut Reader<'_>, count: u32| {
            let mut bits = reader.bits();
            bits.refill();
            let value = bits.take(count);
            let position = bits.position();
            reader.set(position);
            value
        };
        assert_eq!(take(&mut reader, 16), 0x01ff);
        assert_eq!(reader.position(), 3);
        assert_eq!(reader.restart(1), Err(Fault::Corrupt), "another number");
        assert_eq!(reader.restart(0), Ok(()));
        assert_eq!(take(&mut reader, 8), 3);
        assert_eq!(reader.restart(1), Ok(()));
        assert_eq!(take(&mut reader, 16), 0x0405);
        assert_eq!(reader.restart(2), Err(Fault::Missing), "the end");
        assert_eq!(reader.position(), 12);
    }

    #[test]
    fn a_word_with_ff_is_found_wherever_it_lies() {
        assert!(!has_ff(0xfefe_fefe_7f80_0001) && !has_ff(0) && has_ff(u64::MAX));
        for byte in 0..8 {
            assert!(has_ff(0xff << (8 * byte)) && !has_ff(0xfe << (8 * byte)) && !has_ff(0x7f << (8 * byte)));
        }
    }
}
