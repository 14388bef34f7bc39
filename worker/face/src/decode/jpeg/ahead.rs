//! Reading ahead: whole MCUs of a sequential scan, read in four places of the data at once.
//!
//! What comes next in entropy-coded data is only known behind what comes first, so a single reader waits for memory at every
//! code. Four of them wait together. Three begin in the middle, where nobody knows whether an MCU begins; wrong beginnings
//! soon fall into step, for Huffman codes are short. A reader counts from where the one before it meets one of the places at
//! which it saw an MCU begin, and not from anywhere else: what comes out is what one reader would have counted. What
//! is odd in any way is left to that one reader ([`super::entropy`]), and so are the last bytes.

use super::bits::{END_OF_BLOCK, Huffman, SHORT_BITS, coefficient, has_ff};
use crate::wipe::Wiped;

/// Readers at once.
const LANES: usize = 4;
/// Less data is not worth the tables.
const WORTHWHILE: usize = 8 << 10;
/// Blocks of an MCU (ISO/IEC 10918-1 B.2.3).
const MOST_BLOCKS: usize = 10;
/// Beginnings of MCUs that a reader remembers for the one before it.
const REMEMBERED: usize = 31;
/// Pairs of steps between two looks at where a reader is.
const STRIDE: usize = 2;
/// Bytes at the end that are left alone: enough for the steps between two looks, and for most MCUs.
const REST: usize = 512;

/// How far the data was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Whole MCUs.
    pub(super) mcus: usize,
    /// The byte of the file that the next one begins in ...
    pub(super) byte: usize,
    /// ... and how many of its bits belong to the one before.
    pub(super) bits: u32,
}

/// Reads as many of the `mcus` whose data begins at `at` as can be read fast and without a doubt. `blocks` are the tables of
/// each block of an MCU, for DC and AC.
pub(super) fn read(bytes: &[u8], at: usize, blocks: &[(&Huffman, &Huffman)], mcus: usize) -> Place {
    let start = Place { mcus: 0, byte: at, bits: 0 };
    let Some(data) = Unstuffed::of(bytes, at) else { return start };
    let Some(tables) = Tables::of(blocks) else { return start };
    let end = 8 * (data.bytes.len() - REST);
    let starts: [usize; LANES] = std::array::from_fn(|lane| end / LANES * lane / 8 * 8);
    let mut lanes: [Lane; LANES] =
        std::array::from_fn(|lane| Lane::new(starts[lane], starts.get(lane + 1).copied().unwrap_or(end), tables.first));
    let seen = data.bytes.as_slice();
    let all_on_the_way = |lanes: &[Lane]| lanes.iter().all(|lane| lane.at < lane.limit);
    while all_on_the_way(&lanes) && lanes.iter().any(|lane| lane.mcus < REMEMBERED) {
        for lane in &mut lanes {
            lane.stride::<true>(seen, &tables);
        }
    }
    while all_on_the_way(&lanes) {
        for lane in &mut lanes {
            lane.stride::<false>(seen, &tables);
        }
    }
    while lanes.iter().any(|lane| lane.at < lane.limit) {
        for lane in lanes.iter_mut().filter(|lane| lane.at < lane.limit) {
            lane.stride::<true>(seen, &tables);
        }
    }
    // From here on one of them after the other, from one beginning of an MCU to the next.
    let (first, others) = lanes.split_at_mut(1);
    let [reader] = first else { return start };
    if reader.restarts > 0 || !reader.finish(seen, &tables) {
        return start;
    }
    let (mut read, mut reader) = (reader.mcus, reader);
    for next in others {
        let before = (reader.mcus, reader.restarts);
        if !next.finish(seen, &tables) {
            break;
        }
        let met = reader.meet(next, seen, &tables);
        if reader.restarts != before.1 || !reader.between() {
            return start;
        }
        read += reader.mcus - before.0;
        let Some(met) = met else { break };
        read += next.mcus - met;
        reader = next;
    }
    if read > mcus {
        return start;
    }
    let byte = reader.at / 8;
    Place { mcus: read, byte: at + byte + data.stuffed_before(byte), bits: (reader.at % 8) as u32 }
}

/// The data up to the next marker, without the zeros behind each 0xff.
struct Unstuffed {
    bytes: Wiped<u8>,
    /// Where it has a 0xff.
    full: Vec<u32>,
}

impl Unstuffed {
    fn of(bytes: &[u8], at: usize) -> Option<Self> {
        let from = bytes.get(at..).filter(|from| from.len() >= WORTHWHILE && u32::try_from(8 * from.len()).is_ok())?;
        let mut out = Wiped::with_capacity(from.len());
        let mut full = Vec::with_capacity(from.len() / 128);
        let mut rest = from;
        loop {
            let found = find_ff(rest);
            let (plain, behind) = rest.split_at(found.unwrap_or(rest.len()));
            out.extend_from_slice(plain);
            match behind {
                [0xff, 0, behind @ ..] => {
                    full.push(out.len() as u32);
                    out.push(0xff);
                    rest = behind;
                }
                _ => break,
            }
        }
        (out.len() >= WORTHWHILE).then_some(Self { bytes: out, full })
    }

    fn stuffed_before(&self, at: usize) -> usize {
        self.full.partition_point(|full| (*full as usize) < at)
    }
}

fn find_ff(bytes: &[u8]) -> Option<usize> {
    let words = bytes.chunks_exact(8);
    let whole = words.clone().position(|word| word.try_into().is_ok_and(|word| has_ff(u64::from_ne_bytes(word))));
    let from = 8 * whole.unwrap_or(words.len());
    bytes.get(from..)?.iter().position(|byte| *byte == 0xff).map(|at| from + at)
}

/// What the next bits mean, for every state that a reader may be in: at the beginning of each of an MCU's blocks, and inside
/// it. An entry tells of as many codes as its bits hold: how many bits they take with their values, whether the last of them
/// ends the block, and how many coefficients they stand for: too many where that takes a closer look.
struct Tables<'a> {
    blocks: &'a [(&'a Huffman, &'a Huffman)],
    entries: Box<[u16; ENTRIES]>,
    /// By state: the next one, inside the block and behind it.
    next: [[State; 2]; 2 * (1 << STATE_BITS)],
    first: State,
}

/// A state's number, twice the block's and one more inside it; whether an MCU begins with it; where its entries are.
#[derive(Clone, Copy, Default)]
struct State(u32);

const STATE_BITS: u32 = 4;
const STATES: u32 = 2 * (1 << STATE_BITS) - 1;
const BEGINS: u32 = 8;

impl State {
    fn number(self) -> usize {
        (self.0 & STATES) as usize
    }
}

impl<'a> Tables<'a> {
    fn of(blocks: &'a [(&'a Huffman, &'a Huffman)]) -> Option<Self> {
        if blocks.is_empty() || blocks.len() > MOST_BLOCKS {
            return None;
        }
        let mut entries = Box::new([CLOSER; ENTRIES]);
        let mut known: Vec<(&Huffman, &Huffman)> = Vec::with_capacity(4);
        let mut places = [0; MOST_BLOCKS];
        for ((dc, ac), place) in blocks.iter().zip(&mut places) {
            let same = known.iter().position(|(d, a)| std::ptr::eq(*d, *dc) && std::ptr::eq(*a, *ac));
            *place = same.unwrap_or(known.len()) << (SHORT_BITS + 1);
            if same.is_none() {
                known.push((dc, ac));
                let (begin, within) =
                    entries.get_mut(*place..)?.get_mut(..2 << SHORT_BITS)?.split_at_mut(1 << SHORT_BITS);
                for (bits, (begin, within)) in begin.iter_mut().zip(within).enumerate() {
                    (*begin, *within) = (beginning(dc, ac, bits), inside(ac, bits, 0, 0));
                }
            }
        }
        let state = |block: usize, inside: usize| {
            let entries = places[block] + (inside << SHORT_BITS);
            State((2 * block + inside) as u32 | (entries as u32) << (BEGINS + 1))
        };
        let mut next = [[State::default(); 2]; 2 * (1 << STATE_BITS)];
        for block in 0..blocks.len() {
            let behind = (block + 1) % blocks.len();
            let begins = if behind == 0 { 1 << BEGINS } else { 0 };
            let after = [state(block, 1), State(state(behind, 0).0 | begins)];
            (next[2 * block], next[2 * block + 1]) = (after, after);
        }
        Some(Self { blocks, entries, next, first: state(0, 0) })
    }
}

/// Two tables for each pair of Huffman tables, of which there are four at most.
const ENTRIES: usize = 8 << SHORT_BITS;
/// Where an entry has its parts: the length lies below.
const END: u32 = 5;
const RUN: u32 = 6;
/// More coefficients than a block has.
const CLOSER: u16 = 64 << RUN;

/// The entry of a block's first bits.
fn beginning(dc: &Huffman, ac: &Huffman, bits: usize) -> u16 {
    match dc.short(bits) {
        Some((size @ 0..=15, length)) => inside(ac, bits, length + u32::from(size), 1),
        _ => CLOSER,
    }
}

/// The entry of bits inside a block, of which `used` are known to stand for `run` coefficients.
fn inside(ac: &Huffman, bits: usize, mut used: u32, mut run: u32) -> u16 {
    while used < SHORT_BITS {
        let Some((symbol, length)) = ac.short((bits << used) & ((1 << SHORT_BITS) - 1)) else { break };
        if used + length > SHORT_BITS {
            break;
        }
        let (value, count) = coefficient(symbol);
        if count == END_OF_BLOCK {
            return (run << RUN | 1 << END | (used + length)) as u16;
        }
        if run + count > 63 {
            break;
        }
        (used, run) = (used + length + value, run + count);
    }
    if used == 0 { CLOSER } else { (run << RUN | used) as u16 }
}

/// One reader.
struct Lane {
    /// In bits.
    at: usize,
    limit: usize,
    state: State,
    /// Coefficients of the block so far.
    coefficients: u32,
    /// MCUs read.
    mcus: usize,
    /// Where MCUs began, the first ones.
    begins: [u32; REMEMBERED + 1],
    /// How often it met what no code stands for, and began anew behind it.
    restarts: usize,
    first: State,
}

impl Lane {
    fn new(at: usize, limit: usize, first: State) -> Self {
        Self { at, limit, state: first, coefficients: 0, mcus: 0, begins: [0; REMEMBERED + 1], restarts: 0, first }
    }

    /// A few steps, so that what changes stays in registers meanwhile.
    #[inline(always)]
    fn stride<const REMEMBER: bool>(&mut self, data: &[u8], tables: &Tables<'_>) {
        let Self { mut at, mut state, mut coefficients, mut mcus, .. } = *self;
        for _ in 0..STRIDE {
            // Of the 57 bits that are there, a step takes 26 at most, and looks at no more than are left then.
            let mut bits = look(data, at);
            for _ in 0..2 {
                let place = (state.0 >> (BEGINS + 1)) as usize + (bits >> (64 - SHORT_BITS)) as usize;
                let entry = u32::from(tables.entries[place % ENTRIES]);
                let sum = coefficients + (entry >> RUN);
                if sum > 63 {
                    (self.at, self.state, self.coefficients, self.mcus) = (at, state, coefficients, mcus);
                    return self.step_slowly(data, tables);
                }
                let (length, end) = (entry & 31, entry >> END & 1);
                at += length as usize;
                bits <<= length;
                coefficients = if end == 1 { 0 } else { sum };
                state = tables.next[state.number()][end as usize];
                if REMEMBER {
                    self.begins[mcus.min(REMEMBERED)] = at as u32;
                }
                mcus += (state.0 >> BEGINS & 1) as usize;
            }
        }
        (self.at, self.state, self.coefficients, self.mcus) = (at, state, coefficients, mcus);
    }

    fn advance(&mut self, length: u32, coefficients: u32, end: usize, tables: &Tables<'_>) {
        self.at += length as usize;
        self.coefficients = coefficients;
        self.state = tables.next[self.state.number()][end];
        if self.state.0 >> BEGINS & 1 == 1 {
            self.begins[self.mcus.min(REMEMBERED)] = self.at as u32;
            self.mcus += 1;
        }
    }

    /// One code.
    #[cold]
    #[inline(never)]
    fn step_slowly(&mut self, data: &[u8], tables: &Tables<'_>) {
        let next = (look(data, self.at) >> 48) as u16;
        let Some((dc, ac)) = tables.blocks.get(self.state.number() / 2) else { return self.restart() };
        if self.state.number().is_multiple_of(2) {
            match dc.lookup(next) {
                Some((size @ 0..=15, length)) => self.advance(length + u32::from(size), 1, 0, tables),
                _ => self.restart(),
            }
            return;
        }
        let Some((symbol, length)) = ac.lookup(next) else { return self.restart() };
        let (value, count) = coefficient(symbol);
        let coefficients = self.coefficients + count;
        if coefficients > 64 && count != END_OF_BLOCK {
            return self.restart();
        }
        let end = usize::from(coefficients >= 64);
        self.advance(length + value, if end == 1 { 0 } else { coefficients }, end, tables);
    }

    fn restart(&mut self) {
        let restarts = self.restarts + 1;
        *self = Self { restarts, ..Self::new(self.at + 1, self.limit, self.first) };
    }

    /// Goes on to where an MCU begins; false when it comes to what no code stands for, or to the end.
    fn finish(&mut self, data: &[u8], tables: &Tables<'_>) -> bool {
        let restarts = self.restarts;
        while !self.between() {
            if self.at + 64 > 8 * data.len() {
                return false;
            }
            self.step_slowly(data, tables);
        }
        self.restarts == restarts
    }

    fn between(&self) -> bool {
        self.coefficients == 0 && self.state.number() == 0
    }

    /// Goes on to a place where `next` saw an MCU begin; answers how many `next` had read there.
    fn meet(&mut self, next: &Self, data: &[u8], tables: &Tables<'_>) -> Option<usize> {
        let begins = &next.begins[..next.mcus.min(REMEMBERED)];
        let last = *begins.last()? as usize;
        while self.at <= last {
            if let Ok(met) = begins.binary_search(&(self.at as u32)) {
                return Some(met + 1);
            }
            let (mcus, restarts) = (self.mcus, self.restarts);
            while self.mcus == mcus {
                self.step_slowly(data, tables);
                if self.restarts > restarts || self.at + 64 > 8 * data.len() {
                    return None;
                }
            }
        }
        None
    }
}

/// The next 64 bits, of which 57 are there; zeros behind the end.
#[inline(always)]
fn look(data: &[u8], at: usize) -> u64 {
    match data.get(at / 8..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(chunk) => u64::from_be_bytes(*chunk) << (at % 8),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::Bits;
    use super::*;

    /// Random numbers (xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }
    }

    /// A table by its codes' lengths, and each symbol's code.
    struct Codes {
        table: Huffman,
        codes: Vec<(u8, u32, u32)>,
    }

    fn codes(symbols: &[(u8, usize)]) -> Codes {
        let mut counts = [0u8; 16];
        let mut sorted = symbols.to_vec();
        sorted.sort_by_key(|(_, length)| *length);
        let (mut code, mut before) = (0u32, 0);
        let mut codes = Vec::new();
        for (symbol, length) in &sorted {
            counts[length - 1] += 1;
            code <<= length - before;
            codes.push((*symbol, code, *length as u32));
            (code, before) = (code + 1, *length);
        }
        let symbols: Vec<u8> = sorted.iter().map(|(symbol, _)| *symbol).collect();
        Codes { table: Huffman::new(&counts, &symbols).unwrap(), codes }
    }

    /// Of blocks that end early, go on to the last coefficient, skip sixteen, and have codes of every length.
    fn tables() -> [Codes; 4] {
        let dc = codes(&[(0, 2), (3, 2), (5, 3), (8, 3), (11, 14)]);
        let ac = codes(&[(0x00, 3), (0x01, 2), (0x12, 3), (0x04, 4), (0x23, 5), (0xf0, 11), (0x0a, 13), (0xe1, 16)]);
        let other_dc = codes(&[(0, 1), (2, 2), (7, 9)]);
        let other_ac = codes(&[(0x00, 1), (0x01, 3), (0x31, 4), (0xf0, 12)]);
        [dc, ac, other_dc, other_ac]
    }

    /// Entropy-coded data of `mcus` MCUs, stuffed and ended by a marker.
    fn data(dice: &mut Dice, blocks: &[(&Codes, &Codes)], mcus: usize) -> Vec<u8> {
        let mut out = Writer::default();
        for _ in 0..mcus {
            for (dc, ac) in blocks {
                let (size, code, length) = dc.codes[dice.below(dc.codes.len() as u64) as usize];
                out.put(code, length);
                out.put(dice.below(1 << size) as u32, size.into());
                let mut at = 1;
                while at < 64 {
                    let (symbol, code, length) = ac.codes[dice.below(ac.codes.len() as u64) as usize];
                    let (value, run) = coefficient(symbol);
                    if run != END_OF_BLOCK && at + run > 64 {
                        continue;
                    }
                    out.put(code, length);
                    out.put(dice.below(1 << value) as u32, value);
                    at += run;
                }
            }
        }
        out.put(0x7f, 7);
        out.bytes.extend([0xff, 0xd9]);
        out.bytes
    }

    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        buffer: u64,
        count: u32,
    }

    impl Writer {
        fn put(&mut self, value: u32, length: u32) {
            self.buffer = self.buffer << length | u64::from(value);
            self.count += length;
            while self.count >= 8 {
                self.count -= 8;
                let byte = (self.buffer >> self.count) as u8;
                self.bytes.push(byte);
                if byte == 0xff {
                    self.bytes.push(0);
                }
            }
        }
    }

    /// What one reader finds behind as many MCUs: the next bits, or why there are none.
    fn one_by_one(bytes: &[u8], blocks: &[(&Huffman, &Huffman)], mcus: usize) -> String {
        let mut bits = Bits::new(bytes, 0);
        for _ in 0..mcus {
            for (dc, ac) in blocks {
                let size = bits.symbol(dc).unwrap();
                bits.skip(size.into()).unwrap();
                bits.skip_ac(ac).unwrap();
            }
        }
        following(bits)
    }

    fn following(mut bits: Bits<'_>) -> String {
        (0..20).map(|_| format!("{:?} ", bits.take(16))).collect()
    }

    fn check(bytes: &[u8], blocks: &[(&Huffman, &Huffman)], mcus: usize) -> usize {
        let place = read(bytes, 0, blocks, mcus);
        let mut bits = Bits::new(bytes, 0);
        bits.go_to(place.byte, place.bits).unwrap();
        assert_eq!(following(bits), one_by_one(bytes, blocks, place.mcus));
        assert!(place.mcus <= mcus);
        place.mcus
    }

    #[test]
    fn four_readers_count_what_one_counts() {
        let [a, b, c, d] = &tables();
        let grey = vec![(a, b)];
        let full = vec![(a, b), (c, d), (c, d)];
        let halved = vec![(a, b), (a, b), (a, b), (a, b), (c, d), (c, d)];
        let four = vec![(a, b), (c, d), (a, d), (c, b)];
        for (kind, pairs) in [grey, full, halved, four].iter().enumerate() {
            let blocks: Vec<(&Huffman, &Huffman)> = pairs.iter().map(|(dc, ac)| (&dc.table, &ac.table)).collect();
            for seed in 1..6 {
                let mut dice = Dice(seed * 77 + kind as u64);
                let mcus = 9_000 / pairs.len();
                let bytes = data(&mut dice, pairs, mcus);
                let read = check(&bytes, &blocks, mcus);
                assert!(read * 10 > mcus * 9, "layout {kind}, seed {seed}: {read} of {mcus}");
            }
        }
    }

    #[test]
    fn of_damaged_data_they_count_no_more_than_one_would() {
        let [a, b, c, d] = &tables();
        let pairs = [(a, b), (c, d), (c, d)];
        let blocks = pairs.map(|(dc, ac)| (&dc.table, &ac.table));
        let mut dice = Dice(5);
        let whole = data(&mut dice, &pairs, 3_000);
        for round in 0..200 {
            let mut bytes = whole.clone();
            for _ in 0..=round % 4 {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] = dice.below(256) as u8;
            }
            check(&bytes, &blocks, 3_000);
            // More data than MCUs, and less.
            check(&bytes, &blocks, 1_000);
            bytes.truncate(dice.below(whole.len() as u64) as usize);
            check(&bytes, &blocks, 3_000);
        }
    }

    #[test]
    fn tables_without_codes_and_data_without_end_do_no_harm() {
        let empty = Huffman::new(&[0; 16], &[]).unwrap();
        let [a, b, ..] = &tables();
        for bytes in [vec![0u8; 40_000], vec![0xfe; 40_000], vec![0xff; 40_000]] {
            for blocks in [vec![(&empty, &empty)], vec![(&a.table, &empty)], vec![(&a.table, &b.table); 10]] {
                assert!(read(&bytes, 0, &blocks, 100_000).mcus <= 100_000);
            }
            assert_eq!(read(&bytes, 0, &[], 7).mcus, 0);
            assert_eq!(read(&bytes, 50_000, &[(&a.table, &b.table)], 7).mcus, 0);
        }
    }
}
