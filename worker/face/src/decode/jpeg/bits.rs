//! The bits of entropy-coded JPEG data (ISO/IEC 10918-1 F.2.2), and the Huffman codes in them.

/// Why a code could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The data ends inside it.
    Missing,
    /// No code begins with these bits, or it makes no sense there.
    Corrupt,
}

/// Reads bits up to the next marker; byte stuffing is taken out on the way.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// From the top; below `count` bits there are zeros.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0 }
    }

    /// Where the marker stands that ended the data, or the first byte that was not needed.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes on at another byte, behind its first `bits` bits, at most 7.
    pub(super) fn go_to(&mut self, byte: usize, bits: u32) -> Result<(), Fault> {
        *self = Self::new(self.bytes, byte);
        self.skip(bits)
    }

    /// Skips `count` bits, at most 16.
    #[inline]
    pub(super) fn skip(&mut self, count: u32) -> Result<(), Fault> {
        self.take(count).map(|_| ())
    }

    /// The next `count` bits, at most 16.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Fault> {
        if self.count < count {
            self.fill();
        }
        let value = (self.buffer >> 32 >> (32 - count)) as u32;
        self.consume(count)?;
        Ok(value)
    }

    /// The next symbol of a table.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, Fault> {
        if self.count < 16 {
            self.fill();
        }
        let next = (self.buffer >> 48) as u16;
        let (symbol, length) =
            table.lookup(next).ok_or(if self.count < 16 { Fault::Missing } else { Fault::Corrupt })?;
        self.consume(length)?;
        Ok(symbol)
    }

    /// Skips the 63 AC coefficients of a sequential block.
    #[inline]
    pub(super) fn skip_ac(&mut self, table: &Huffman) -> Result<(), Fault> {
        let mut at = 1u32;
        while at < 64 {
            if self.count < 32 {
                self.fill();
            }
            let missing = if self.count < 16 { Fault::Missing } else { Fault::Corrupt };
            let (symbol, length) = table.lookup((self.buffer >> 48) as u16).ok_or(missing)?;
            let (bits, run) = coefficient(symbol);
            self.consume(length + bits)?;
            at += run;
        }
        // An end of block passes 64 by far; a run that passes it by a little is a lie.
        if at == 64 || at > END_OF_BLOCK { Ok(()) } else { Err(Fault::Corrupt) }
    }

    /// Goes on behind a restart marker, which must come next.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Fault> {
        while self.bytes.get(self.at).zip(self.bytes.get(self.at + 1)) == Some((&0xff, &0xff)) {
            self.at += 1;
        }
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<2>()) {
            // What is left in the buffer is padding.
            Some([0xff, marker]) if *marker == 0xd0 + number % 8 && self.count < 32 => {
                *self = Self::new(self.bytes, self.at + 2);
                Ok(())
            }
            Some([0xff, 0xd0..=0xd7]) | None => Err(Fault::Corrupt),
            Some([0xff, _]) => Err(Fault::Missing),
            Some(_) => Err(Fault::Corrupt),
        }
    }

    #[inline]
    fn consume(&mut self, count: u32) -> Result<(), Fault> {
        self.count = self.count.checked_sub(count).ok_or(Fault::Missing)?;
        self.buffer <<= count;
        Ok(())
    }

    #[inline]
    fn fill(&mut self) {
        if let Some(chunk) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_be_bytes(*chunk);
            if !has_ff(word) {
                let whole = (64 - self.count) / 8;
                let word = word & (u64::MAX << (64 - 8 * whole));
                self.buffer |= word >> self.count;
                self.at += whole as usize;
                self.count += 8 * whole;
                return;
            }
        }
        self.fill_slowly();
    }

    #[cold]
    fn fill_slowly(&mut self) {
        while self.count <= 56 {
            let Some(byte) = self.bytes.get(self.at) else { return };
            if *byte == 0xff {
                if self.bytes.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.buffer |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
        }
    }
}

/// Whether one of the eight bytes is 0xff.
pub(super) fn has_ff(word: u64) -> bool {
    (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 != 0
}

/// Bits of the codes that are found at once.
pub(super) const SHORT_BITS: u32 = 10;
/// An end of block, as a run that no run is.
pub(super) const END_OF_BLOCK: u32 = 128;

/// Bits that follow an AC symbol, and how many coefficients it stands for.
pub(super) fn coefficient(symbol: u8) -> (u32, u32) {
    match symbol {
        0xf0 => (0, 16),
        _ if symbol & 15 == 0 => (0, END_OF_BLOCK),
        _ => (u32::from(symbol & 15), u32::from(symbol >> 4) + 1),
    }
}

/// A Huffman table (ISO/IEC 10918-1 annex C).
pub(super) struct Huffman {
    /// By the first bits: length and symbol of a code that fits; 0 where none does.
    short: [u16; 1 << SHORT_BITS],
    /// By length: the first code that is too large for it, in 16 bits from the top.
    ends: [u32; 17],
    /// By length: what to add to a code for the place of its symbol.
    places: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// Of the numbers of codes of each length and their symbols; `None` when that is no code.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self { short: [0; 1 << SHORT_BITS], ends: [0; 17], places: [0; 17], symbols: symbols.to_vec() };
        let most = SHORT_BITS as usize;
        let (mut code, mut place) = (0u32, 0i32);
        for (length, count) in (1usize..).zip(counts) {
            table.places[length] = place - code as i32;
            for _ in 0..*count {
                let symbol = *symbols.get(usize::try_from(place).ok()?)?;
                if length <= most {
                    let first = (code as usize) << (most - length);
                    let entry = (length as u16) << 8 | u16::from(symbol);
                    table.short.get_mut(first..first + (1 << (most - length)))?.fill(entry);
                }
                code += 1;
                place += 1;
            }
            // More codes than there are numbers of that length.
            if code > 1 << length {
                return None;
            }
            table.ends[length] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// The symbol whose code the 16 bits begin with, and the code's length.
    #[inline]
    pub(super) fn lookup(&self, next: u16) -> Option<(u8, u32)> {
        if let Some(found) = self.short(usize::from(next >> (16 - SHORT_BITS))) {
            return Some(found);
        }
        let most = SHORT_BITS as usize;
        let length = (most + 1..17).find(|length| u32::from(next) < self.ends[*length])?;
        let place = i32::from(next >> (16 - length)) + self.places[length];
        Some((*self.symbols.get(usize::try_from(place).ok()?)?, length as u32))
    }

    /// The same of SHORT_BITS bits, where they hold a whole code.
    #[inline]
    pub(super) fn short(&self, first: usize) -> Option<(u8, u32)> {
        let short = *self.short.get(first)?;
        (short != 0).then_some((short as u8, u32::from(short >> 8)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 00, 01, 100, 1010 and one of ten bits.
    fn table() -> Huffman {
        let mut counts = [0u8; 16];
        (counts[1], counts[2], counts[3], counts[9]) = (2, 1, 1, 1);
        Huffman::new(&counts, &[0x00, 0x11, 0xf0, 0x02, 0x23]).unwrap()
    }

    #[test]
    fn symbols_come_by_their_codes_and_stuffing_is_taken_out() {
        // 00 01 100 1010 | 1011000000 | then ones.
        let bits = [0b0001_1001, 0b0101_0110, 0b0000_0111, 0xff, 0x00, 0xff, 0xd9];
        let mut reader = Bits::new(&bits, 0);
        let table = table();
        for symbol in [0x00, 0x11, 0xf0, 0x02, 0x23] {
            assert_eq!(reader.symbol(&table), Ok(symbol));
        }
        assert_eq!(reader.take(11), Ok(0b111_1111_1111));
        assert_eq!(reader.take(1), Err(Fault::Missing));
        assert_eq!(reader.position(), 5);
    }

    #[test]
    fn bits_that_begin_no_code_are_corrupt_and_missing_ones_are_missing() {
        let table = table();
        assert_eq!(Bits::new(&[0xfe, 0xfe, 0xfe, 0xfe], 0).symbol(&table), Err(Fault::Corrupt));
        assert_eq!(Bits::new(&[], 0).symbol(&table), Err(Fault::Missing));
        assert_eq!(Bits::new(&[0xfe], 0).symbol(&table), Err(Fault::Missing));
    }

    #[test]
    fn too_many_codes_of_a_length_and_too_few_symbols_are_no_table() {
        let mut counts = [0u8; 16];
        counts[0] = 3;
        assert!(Huffman::new(&counts, &[1, 2, 3]).is_none());
        counts[0] = 2;
        assert!(Huffman::new(&counts, &[1]).is_none());
        assert!(Huffman::new(&counts, &[1, 2]).is_some());
        assert!(Huffman::new(&[255; 16], &[0; 256]).is_none());
    }

    #[test]
    fn a_word_with_ff_is_found_wherever_it_lies() {
        assert!(!has_ff(0xfefe_fefe_7f80_0001) && !has_ff(0) && has_ff(u64::MAX));
        for byte in 0..8 {
            assert!(has_ff(0xff << (8 * byte)) && !has_ff(0xfe << (8 * byte)) && !has_ff(0x7f << (8 * byte)));
        }
    }
}
