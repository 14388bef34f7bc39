//! Blocks whose coefficients come in bands and bit by bit (ISO/IEC 10918-1 G.2).

use super::bits::{Bits, Fault};
use super::coefficients::Coefficients;
use super::huffman::{END, Huffman};
use super::idct::PLACES;
use super::lanes::{Lanes, Work, vectorised};
use super::scan::{Block, Mcus, Scan};

/// What goes on from one MCU to the next.
#[derive(Default)]
pub(super) struct State {
    predictions: [i32; 4],
    /// Blocks whose band ended with that of an earlier one.
    ended: u32,
}

/// Reads `mcus` into `store`, which holds whole components.
pub(super) fn mcus(
    scan: &Scan<'_>,
    blocks: &[Block<'_>],
    mcus: &Mcus,
    store: &mut [Coefficients],
    state: &mut State,
    bits: &mut Bits<'_>,
) -> Result<(), Fault> {
    if mcus.fresh {
        *state = State::default();
    }
    vectorised(Reading { scan, blocks, mcus, store, state, bits })
}

struct Reading<'w, 't, 'b> {
    scan: &'w Scan<'t>,
    blocks: &'w [Block<'t>],
    mcus: &'w Mcus,
    store: &'w mut [Coefficients],
    state: &'w mut State,
    bits: &'w mut Bits<'b>,
}

impl Work for Reading<'_, '_, '_> {
    type Output = Result<(), Fault>;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Result<(), Fault> {
        let Self { scan, blocks, mcus, store, state, bits: outer } = self;
        // In registers meanwhile.
        let mut bits = *outer;
        match (scan.first, scan.high) {
            (0, 0) => each(
                blocks,
                mcus,
                store,
                #[inline(always)]
                |part, values, nonzero| {
                    let prediction = &mut state.predictions[part.component & 3];
                    bits.refill();
                    let entry = bits.find(part.dc.ok_or(Fault::Corrupt)?)?;
                    *prediction = prediction.wrapping_add(bits.take_value(entry));
                    values[0] = (*prediction << scan.low) as i16;
                    *nonzero |= 1;
                    bits.check()
                },
            )?,
            (0, _) => each(
                blocks,
                mcus,
                store,
                #[inline(always)]
                |_, values, _| {
                    if !bits.has(1) {
                        bits.refill();
                    }
                    values[0] |= (bits.take(1) << scan.low) as i16;
                    bits.check()
                },
            )?,
            (_, high) => {
                let [part] = blocks else { return Err(Fault::Corrupt) };
                let (ac, store) = (part.ac.ok_or(Fault::Corrupt)?, store.get_mut(part.component));
                let (values, nonzero) = store.ok_or(Fault::Corrupt)?.row_mut(mcus.row);
                let (values, nonzero) = (values.get_mut(mcus.begin..mcus.end), nonzero.get_mut(mcus.begin..mcus.end));
                let blocks = values.ok_or(Fault::Corrupt)?.iter_mut().zip(nonzero.ok_or(Fault::Corrupt)?);
                let mut ended = state.ended;
                if high == 0 {
                    for (values, nonzero) in blocks {
                        if ended > 0 {
                            ended -= 1;
                            continue;
                        }
                        ended = first_bits(scan, ac, values, nonzero, &mut bits)?;
                    }
                } else {
                    for (values, nonzero) in blocks {
                        ended = later_bit(scan, ac, values, nonzero, ended, &mut bits)?;
                    }
                }
                state.ended = ended;
            }
        }
        *outer = bits;
        Ok(())
    }
}

/// Every block of some MCUs.
#[inline(always)]
fn each<'t>(
    blocks: &[Block<'t>],
    mcus: &Mcus,
    store: &mut [Coefficients],
    mut read: impl FnMut(&Block<'t>, &mut [i16; 64], &mut u64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for mcu in mcus.begin..mcus.end {
        for part in blocks {
            let (row, column) = (mcus.row * part.down + part.row, mcu * part.across + part.column);
            let place = store.get_mut(part.component).and_then(|store| store.block_mut(row, column));
            let (values, nonzero) = place.ok_or(Fault::Corrupt)?;
            read(part, values, nonzero)?;
        }
    }
    Ok(())
}

/// G.1.2.2: the first scan of a band. Answers how many blocks more have ended.
#[inline(always)]
fn first_bits(
    scan: &Scan<'_>,
    table: &Huffman,
    values: &mut [i16; 64],
    nonzero: &mut u64,
    bits: &mut Bits<'_>,
) -> Result<u32, Fault> {
    let mut at = scan.first - 1;
    let mut ended = 0;
    while at < scan.last {
        bits.refill();
        let entry = bits.find(table)?;
        if entry.run() >= END {
            bits.pass(entry.code());
            let more = entry.run() & 15;
            ended = (1 << more) - 1 + bits.take(more);
            break;
        }
        at += entry.run();
        if entry.size() == 0 {
            // Sixteen zeros.
            bits.pass(entry.code());
            continue;
        }
        if at > scan.last {
            bits.pass(entry.total());
            return Err(bits.nonsense());
        }
        values[kept(at)] = (bits.take_value(entry) << scan.low) as i16;
        *nonzero |= 1 << at;
    }
    bits.check()?;
    Ok(ended)
}

/// G.1.2.3: one more bit of a band. Coefficients that are not zero have a bit each, between the codes for those that
/// become so. `ended` blocks have nothing but the former.
#[inline(always)]
fn later_bit(
    scan: &Scan<'_>,
    table: &Huffman,
    values: &mut [i16; 64],
    nonzero: &mut u64,
    mut ended: u32,
    bits: &mut Bits<'_>,
) -> Result<u32, Fault> {
    let band = u64::MAX >> (63 - scan.last);
    let mut at = scan.first;
    while ended == 0 && at <= scan.last {
        bits.refill();
        let entry = bits.find(table)?;
        bits.pass(entry.code());
        if entry.run() >= END {
            let more = entry.run() & 15;
            ended = (1 << more) + bits.take(more);
            break;
        }
        let value = match entry.size() {
            0 => 0,
            1 => (2 * bits.take(1) as i32 - 1) << scan.low,
            _ => return Err(bits.nonsense()),
        };
        // The place of the value: behind as many zeros.
        let mut zeros = !*nonzero & band & (u64::MAX << at);
        for _ in 1..entry.run() {
            zeros &= zeros.wrapping_sub(1);
        }
        let place = zeros.trailing_zeros();
        let before = if place > 63 { u64::MAX } else { (1 << place) - 1 };
        correct(*nonzero & band & (u64::MAX << at) & before, scan.low, values, bits);
        if value != 0 {
            if place > 63 {
                return Err(bits.nonsense());
            }
            values[kept(place)] = value as i16;
            *nonzero |= 1 << place;
        }
        at = place + 1;
    }
    if ended > 0 {
        if at <= scan.last {
            correct(*nonzero & band & (u64::MAX << at), scan.low, values, bits);
        }
        ended -= 1;
    }
    bits.check()?;
    Ok(ended)
}

/// Takes a bit for each of some coefficients; set ones take them further from zero.
#[inline(always)]
fn correct(mut which: u64, low: u32, values: &mut [i16; 64], bits: &mut Bits<'_>) {
    while which != 0 {
        if !bits.has(1) {
            bits.refill();
        }
        let value = &mut values[kept(which.trailing_zeros())];
        let bit = (bits.take(1) << low) as i16;
        if *value & bit == 0 {
            *value = if *value < 0 { value.wrapping_sub(bit) } else { value.wrapping_add(bit) };
        }
        which &= which - 1;
    }
}

#[inline(always)]
fn kept(at: u32) -> usize {
    usize::from(PLACES[(at & 63) as usize] & 63)
}
