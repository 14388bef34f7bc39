//! Blocks whose coefficients all come at once (ISO/IEC 10918-1 F.2).

use super::bits::{Bits, Fault};
use super::coefficients::Coefficients;
use super::huffman::{END, Huffman};
use super::idct::PLACES;
use super::lanes::{Lanes, Work, vectorised};
use super::scan::{Block, Mcus};

/// Reads `mcus` into the rows of `store` that begin with that of the `row`th MCU.
pub(super) fn mcus(
    blocks: &[Block<'_>],
    mcus: &Mcus,
    row: usize,
    store: &mut [Coefficients],
    predictions: &mut [i32; 4],
    bits: &mut Bits<'_>,
) -> Result<(), Fault> {
    if mcus.fresh {
        *predictions = [0; 4];
    }
    vectorised(Reading { blocks, mcus, row, store, predictions, bits })
}

struct Reading<'w, 't, 'b> {
    blocks: &'w [Block<'t>],
    mcus: &'w Mcus,
    row: usize,
    store: &'w mut [Coefficients],
    predictions: &'w mut [i32; 4],
    bits: &'w mut Bits<'b>,
}

impl Work for Reading<'_, '_, '_> {
    type Output = Result<(), Fault>;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Result<(), Fault> {
        // In registers meanwhile.
        let mut bits = *self.bits;
        for mcu in self.mcus.begin..self.mcus.end {
            for part in self.blocks {
                let (Some(dc), Some(ac)) = (part.dc, part.ac) else { return Err(Fault::Corrupt) };
                let (row, column) = (self.row * part.down + part.row, mcu * part.across + part.column);
                let place = self.store.get_mut(part.component).and_then(|store| store.block_mut(row, column));
                let Some((values, nonzero)) = place else { return Err(Fault::Corrupt) };
                let last = block(dc, ac, &mut self.predictions[part.component & 3], values, &mut bits)?;
                *nonzero = u64::MAX >> (63 - (last & 63));
            }
        }
        *self.bits = bits;
        Ok(())
    }
}

/// Reads a block; answers the place in the zigzag of its last coefficient.
#[inline(always)]
fn block(
    dc: &Huffman,
    ac: &Huffman,
    prediction: &mut i32,
    values: &mut [i16; 64],
    bits: &mut Bits<'_>,
) -> Result<u32, Fault> {
    *values = [0; 64];
    bits.refill();
    let entry = bits.find(dc)?;
    *prediction = prediction.wrapping_add(bits.take_value(entry));
    values[0] = *prediction as i16;
    let mut at = 0u32;
    'refill: loop {
        bits.refill();
        // Twice what the short codes take with their values is there.
        for _ in 0..2 {
            let mut entry = ac.short(bits.peek());
            let mut next = at + entry.run();
            if next >= 63 {
                // The last coefficient, an end, a code that takes a closer look or makes no sense.
                bits.refill();
                entry = bits.find(ac)?;
                next = at + entry.run();
                if next >= END {
                    bits.pass(entry.code());
                    break 'refill;
                }
                if next > 63 {
                    bits.pass(entry.total());
                    return Err(bits.nonsense());
                }
                values[usize::from(PLACES[(next & 63) as usize] & 63)] = bits.take_value(entry) as i16;
                at = next;
                if at == 63 {
                    break 'refill;
                }
                continue 'refill;
            }
            values[usize::from(PLACES[(next & 63) as usize] & 63)] = bits.take_value(entry) as i16;
            at = next;
        }
    }
    bits.check()?;
    Ok(at)
}
