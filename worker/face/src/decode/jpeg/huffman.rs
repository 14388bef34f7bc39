//! Huffman tables (ISO/IEC 10918-1 annex C), laid out for a reader that does not branch.

/// Bits of the codes that are found at once.
const SHORT_BITS: u32 = 10;

/// What the next bits mean. From the top, a byte each: how many coefficients on the next value is ([`Entry::run`]); how
/// many bits the value has; how many the code has; how many both have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

/// A run that no run is: the block (or band of it) ends here. The low bits tell for how many more (G.1.2.2).
pub(super) const END: u32 = 128;
/// No code of at most `SHORT_BITS`.
const CLOSER: Entry = Entry(64 << 24);

impl Entry {
    /// A DC code stands for the size of a difference (F.1.2.1).
    fn dc(symbol: u8, length: u32) -> Option<Self> {
        (symbol < 16).then(|| Self::new(0, symbol.into(), length))
    }

    /// An AC code stands for zeros and the size of the value behind them, or for an end (F.1.2.2, G.1.2.2).
    fn ac(symbol: u8, length: u32) -> Self {
        let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let run = if size == 0 && zeros < 15 { END | zeros } else { zeros + 1 };
        Self::new(run, size, length)
    }

    fn new(run: u32, size: u32, length: u32) -> Self {
        Self(run << 24 | size << 16 | length << 8 | (length + size))
    }

    /// How many coefficients on the value is: 1 for the next one; from [`END`] on there is none.
    #[inline(always)]
    pub(super) fn run(self) -> u32 {
        self.0 >> 24
    }

    /// Bits of the value.
    #[inline(always)]
    pub(super) fn size(self) -> u32 {
        self.0 >> 16 & 0xff
    }

    /// Bits of the code.
    #[inline(always)]
    pub(super) fn code(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// Bits of both.
    #[inline(always)]
    pub(super) fn total(self) -> u32 {
        self.0 & 0xff
    }
}

/// A table.
pub(super) struct Huffman {
    short: [Entry; 1 << SHORT_BITS],
    /// By length: the first code that is too large for it, in 16 bits from the top.
    ends: [u32; 17],
    /// By length: what to add to a code for the place of its symbol.
    places: [i32; 17],
    entries: Vec<Entry>,
}

impl Huffman {
    /// Of the numbers of codes of each length and their symbols; `None` when that is no code.
    pub(super) fn new(dc: bool, counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self { short: [CLOSER; 1 << SHORT_BITS], ends: [0; 17], places: [0; 17], entries: Vec::new() };
        let most = SHORT_BITS as usize;
        let (mut code, mut place) = (0u32, 0i32);
        for (length, count) in (1usize..).zip(counts) {
            table.places[length] = place - code as i32;
            for _ in 0..*count {
                let symbol = *symbols.get(usize::try_from(place).ok()?)?;
                let bits = length as u32;
                let entry = if dc { Entry::dc(symbol, bits)? } else { Entry::ac(symbol, bits) };
                table.entries.push(entry);
                if length <= most {
                    let first = (code as usize) << (most - length);
                    table.short.get_mut(first..first + (1 << (most - length)))?.fill(entry);
                }
                code += 1;
                place += 1;
            }
            // More codes than there are numbers of that length, or one of ones alone, which no table may have.
            if *count > 0 && code >= 1 << length || table.entries.len() > 256 {
                return None;
            }
            table.ends[length] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// What bits begin with, looking at the first of them only: either that, or an entry whose run is 64, beyond any
    /// block, and short of [`END`].
    #[inline(always)]
    pub(super) fn short(&self, bits: u64) -> Entry {
        self.short[(bits >> (64 - SHORT_BITS)) as usize]
    }

    /// What bits begin with; `None` where no code stands for anything.
    #[inline(always)]
    pub(super) fn find(&self, bits: u64) -> Option<Entry> {
        let short = self.short(bits);
        if short != CLOSER { Some(short) } else { self.long(bits) }
    }

    #[cold]
    #[inline(never)]
    fn long(&self, bits: u64) -> Option<Entry> {
        let next = (bits >> 48) as u32;
        let length = (1..17).find(|length| next < self.ends[*length])?;
        let place = (next >> (16 - length)) as i32 + self.places[length];
        self.entries.get(usize::try_from(place).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_codes_of_a_length_and_too_few_symbols_are_no_table() {
        let mut counts = [0u8; 16];
        counts[1] = 5;
        assert!(Huffman::new(true, &counts, &[1, 2, 3, 4, 5]).is_none());
        counts[1] = 4;
        assert!(Huffman::new(true, &counts, &[1, 2, 3, 4]).is_none(), "ones alone");
        counts[1] = 3;
        assert!(Huffman::new(true, &counts, &[1, 2]).is_none());
        assert!(Huffman::new(true, &counts, &[1, 2, 3]).is_some());
        assert!(Huffman::new(true, &counts, &[1, 2, 16]).is_none(), "no difference has sixteen bits");
        assert!(Huffman::new(false, &counts, &[1, 2, 16]).is_some());
        assert!(Huffman::new(true, &[255; 16], &[0; 256]).is_none());
    }

    #[test]
    fn short_and_long_codes_are_found_and_what_is_none_is_not() {
        // 0, 10, 110, and one of fourteen bits: 11100000000000.
        let mut counts = [0u8; 16];
        (counts[0], counts[1], counts[2], counts[13]) = (1, 1, 1, 1);
        let ac = Huffman::new(false, &counts, &[0x00, 0x23, 0xf0, 0x31]).unwrap();
        let find = |bits: u64, length: u32| ac.find(bits << (64 - length));
        let parts = |entry: Entry| (entry.run(), entry.size(), entry.code(), entry.total());
        assert_eq!(find(0, 1).map(parts), Some((END, 0, 1, 1)));
        assert_eq!(find(0b10, 2).map(parts), Some((3, 3, 2, 5)));
        assert_eq!(find(0b110, 3).map(parts), Some((16, 0, 3, 3)));
        assert_eq!(find(0b11_1000_0000_0000, 14).map(parts), Some((4, 1, 14, 15)));
        assert_eq!(find(0b11_1000_0000_0001, 14), None);
        assert_eq!(find(0xffff, 16), None);
        assert_eq!(ac.short(u64::MAX).run(), 64);
        let dc = Huffman::new(true, &counts, &[0, 15, 9, 11]).unwrap();
        assert_eq!(dc.find(0b10 << 62).map(parts), Some((0, 15, 2, 17)));
    }
}
