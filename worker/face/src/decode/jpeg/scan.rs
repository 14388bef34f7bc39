//! A scan (ISO/IEC 10918-1 B.2.3): its header, and the order of its blocks.

use super::bits::{Bits, Fault, Reader};
use super::coefficients::Coefficients;
use super::frame::Frame;
use super::huffman::Huffman;
use super::tables::{Tables, corrupt};
use super::{progressive, sequential};
use crate::image::ImageError;

/// A scan's header.
pub(super) struct Scan<'t> {
    pub(super) members: Vec<Member<'t>>,
    /// Which coefficients, by place in the zigzag.
    pub(super) first: u32,
    pub(super) last: u32,
    /// Successive approximation: the bit that came before, and the one that comes now.
    pub(super) high: u32,
    pub(super) low: u32,
    restart: usize,
}

/// A component of a scan, and its tables.
pub(super) struct Member<'t> {
    pub(super) index: usize,
    pub(super) dc: Option<&'t Huffman>,
    pub(super) ac: Option<&'t Huffman>,
}

impl<'t> Scan<'t> {
    pub(super) fn read(frame: &Frame, tables: &'t Tables, segment: &[u8]) -> Result<Self, ImageError> {
        const CUT: ImageError = ImageError::Truncated("JPEG scan header");
        let count = usize::from(*segment.first().ok_or(CUT)?);
        let named = segment.get(1..1 + 2 * count).ok_or(CUT)?;
        let &[first, last, bits] = segment.get(1 + 2 * count..4 + 2 * count).ok_or(CUT)? else { return Err(CUT) };
        let (first, last, high, low) = (u32::from(first), u32::from(last), bits >> 4, bits & 15);
        // B.2.3; no larger shift leaves a bit of a coefficient (G.1.1.1.2).
        if segment.len() != 4 + 2 * count || first > 63 || last > 63 || high > 13 || low > 13 {
            return Err(corrupt("a scan header that cannot be"));
        }
        // A sequential scan has all coefficients, whatever its header says.
        let (first, last, high, low) = if frame.progressive { (first, last, high, low) } else { (0, 63, 0, 0) };
        let one_kind = !frame.progressive || (first == 0) == (last == 0);
        if first > last || !one_kind || (first > 0 && count != 1) {
            return Err(corrupt("a scan of coefficients that cannot be"));
        }
        if count == 0 || count > 4 {
            return Err(corrupt("a scan without components"));
        }
        let mut members: Vec<Member<'_>> = Vec::with_capacity(count);
        for pair in named.as_chunks::<2>().0 {
            let index = frame.components.iter().position(|component| component.id == pair[0]);
            let index = index.ok_or_else(|| corrupt("a scan of a component that the picture lacks"))?;
            if members.iter().any(|member| member.index == index) {
                return Err(corrupt("a scan of one component twice"));
            }
            let member = Member {
                index,
                dc: tables.dc.get(usize::from(pair[1] >> 4)).and_then(Option::as_deref),
                ac: tables.ac.get(usize::from(pair[1] & 15)).and_then(Option::as_deref),
            };
            let (wants_dc, wants_ac) = (first == 0 && high == 0, last > 0);
            if (wants_dc && member.dc.is_none()) || (wants_ac && member.ac.is_none()) {
                return Err(corrupt("a scan without its Huffman tables"));
            }
            members.push(member);
        }
        Ok(Self { members, first, last, high: high.into(), low: low.into(), restart: tables.restart })
    }

    /// MCUs, across and down.
    fn size(&self, frame: &Frame) -> (usize, usize) {
        match self.members.as_slice() {
            // Alone, a component has only the blocks that the picture has.
            [one] => frame.components.get(one.index).map_or((0, 0), |component| component.blocks()),
            _ => (frame.across, frame.down),
        }
    }

    /// Reads the coefficients of all of its MCUs into `store`, which holds whole components.
    pub(super) fn store(
        &self,
        frame: &Frame,
        store: &mut [Coefficients],
        reader: &mut Reader<'_>,
    ) -> Result<(), ImageError> {
        let blocks = self.blocks(frame);
        if !frame.progressive {
            let mut predictions = [0; 4];
            return self.each_row(frame, reader, |mcus, bits| {
                sequential::mcus(&blocks, &mcus, mcus.row, store, &mut predictions, bits)
            });
        }
        let mut state = progressive::State::default();
        self.each_row(frame, reader, |mcus, bits| progressive::mcus(self, &blocks, &mcus, store, &mut state, bits))
    }

    /// Reads them one row of MCUs after the other, each of which is handed on in `store`, which holds no more than that.
    pub(super) fn pass_on(
        &self,
        frame: &Frame,
        store: &mut [Coefficients],
        reader: &mut Reader<'_>,
        mut row: impl FnMut(usize, &[Coefficients]),
    ) -> Result<(), ImageError> {
        let blocks = self.blocks(frame);
        let mut predictions = [0; 4];
        self.each_row(frame, reader, |mcus, bits| {
            sequential::mcus(&blocks, &mcus, 0, store, &mut predictions, bits)?;
            if mcus.last {
                row(mcus.row, store);
            }
            Ok(())
        })
    }

    /// The blocks of an MCU.
    fn blocks(&self, frame: &Frame) -> Vec<Block<'t>> {
        let alone = self.members.len() == 1;
        let mut blocks = Vec::with_capacity(10);
        for member in &self.members {
            let Some(component) = frame.components.get(member.index) else { continue };
            let (across, down) = if alone { (1, 1) } else { (component.horizontal, component.vertical) };
            for block in 0..across * down {
                blocks.push(Block {
                    component: member.index,
                    dc: member.dc,
                    ac: member.ac,
                    across,
                    down,
                    column: block % across,
                    row: block / across,
                });
            }
        }
        blocks
    }

    /// Has `read` take all MCUs, in pieces that no restart and no end of a row divides.
    fn each_row(
        &self,
        frame: &Frame,
        reader: &mut Reader<'_>,
        mut read: impl FnMut(Mcus, &mut Bits<'_>) -> Result<(), Fault>,
    ) -> Result<(), ImageError> {
        let (width, height) = self.size(frame);
        let mut until_restart = if self.restart > 0 { self.restart } else { usize::MAX };
        let (mut restarts, mut fresh) = (0u8, true);
        let mut all = || {
            for row in 0..height {
                let mut begin = 0;
                while begin < width {
                    if until_restart == 0 {
                        reader.restart(restarts)?;
                        restarts = restarts.wrapping_add(1);
                        (until_restart, fresh) = (self.restart, true);
                    }
                    let end = begin.saturating_add(until_restart).min(width);
                    let mut bits = reader.bits();
                    read(Mcus { row, begin, end, last: end == width, fresh }, &mut bits)?;
                    let position = bits.position();
                    reader.set(position);
                    until_restart -= end - begin;
                    (begin, fresh) = (end, false);
                }
            }
            Ok(())
        };
        all().map_err(|fault| match fault {
            Fault::Missing => ImageError::Truncated("JPEG with less picture than its size"),
            Fault::Corrupt => corrupt("JPEG data that no code stands for"),
        })
    }
}

/// MCUs of one row that follow one another without a restart.
pub(super) struct Mcus {
    pub(super) row: usize,
    pub(super) begin: usize,
    pub(super) end: usize,
    /// The row ends with them.
    pub(super) last: bool,
    /// A restart interval begins with them.
    pub(super) fresh: bool,
}

/// A block of each MCU.
#[derive(Clone, Copy)]
pub(super) struct Block<'t> {
    pub(super) component: usize,
    pub(super) dc: Option<&'t Huffman>,
    pub(super) ac: Option<&'t Huffman>,
    /// Blocks of the component in an MCU.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Which of them it is.
    pub(super) column: usize,
    pub(super) row: usize,
}
