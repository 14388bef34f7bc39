//! Does a JPEG hold all of the picture that its header promises? Its entropy-coded data is read as a
//! decoder reads it (ISO/IEC 10918-1 F.2 and G.2), block by block, and nothing is computed of it. A
//! decoder completes with grey what is cut off; this tells.

use super::super::big_endian_16;
use super::ahead;
use super::bits::{Bits, Fault, Huffman};
use crate::image::ImageError;

/// What has been met of one picture so far.
pub(super) struct Census {
    frame: Option<Frame>,
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: usize,
}

struct Frame {
    progressive: bool,
    /// In MCUs.
    width: usize,
    height: usize,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    horizontal: usize,
    vertical: usize,
    /// Blocks that the picture has of it; an interleaved scan pads them to whole MCUs.
    width: usize,
    height: usize,
    /// By coefficient: the lowest bit that has come; `NOT_YET` before the first scan.
    low: [u8; 64],
    /// Which coefficients of each block are not zero, of a progressive picture: their later bits
    /// stand between the others'.
    nonzero: Vec<u64>,
}

const NOT_YET: u8 = 0xff;

/// One scan's parameters.
struct Scan {
    first: usize,
    last: usize,
    high: u8,
    low: u8,
}

impl Census {
    pub(super) fn new() -> Self {
        Self { frame: None, dc: [const { None }; 4], ac: [const { None }; 4], restart: 0 }
    }

    /// The frame header's segment. Its size keeps within the limits.
    pub(super) fn frame(&mut self, progressive: bool, segment: &[u8]) -> Result<(), ImageError> {
        const CUT: ImageError = ImageError::Truncated("JPEG frame header");
        let size = |at| big_endian_16(segment, at).map(usize::from).ok_or(CUT);
        let (height, width) = (size(1)?, size(3)?);
        let count = usize::from(*segment.get(5).ok_or(CUT)?);
        let specified: Vec<[u8; 3]> =
            segment.get(6..6 + 3 * count).ok_or(CUT)?.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect();
        let factors = |factor: u8| (usize::from(factor >> 4), usize::from(factor & 15));
        let largest = specified.iter().map(|c| factors(c[1])).fold((0, 0), |(a, b), (x, y)| (a.max(x), b.max(y)));
        if specified.iter().map(|c| factors(c[1])).any(|(x, y)| !(1..=4).contains(&x) || !(1..=4).contains(&y)) {
            return Err(corrupt("a sampling factor that is not 1 to 4"));
        }
        let (mcus_x, mcus_y) = (width.div_ceil(8 * largest.0), height.div_ceil(8 * largest.1));
        let component = |[id, factor, _]: [u8; 3]| {
            let (horizontal, vertical) = factors(factor);
            let blocks = if progressive { mcus_x * horizontal * mcus_y * vertical } else { 0 };
            Component {
                id,
                horizontal,
                vertical,
                width: (width * horizontal).div_ceil(largest.0).div_ceil(8),
                height: (height * vertical).div_ceil(largest.1).div_ceil(8),
                low: [NOT_YET; 64],
                nonzero: vec![0; blocks],
            }
        };
        let components = specified.into_iter().map(component).collect();
        self.frame = Some(Frame { progressive, width: mcus_x, height: mcus_y, components });
        Ok(())
    }

    /// A segment of Huffman tables.
    pub(super) fn tables(&mut self, mut segment: &[u8]) -> Result<(), ImageError> {
        while let Some((kind, rest)) = segment.split_first() {
            let cut = || corrupt("a Huffman table longer than its segment");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or_else(cut)?;
            let table = Huffman::new(counts, symbols).ok_or_else(|| corrupt("a Huffman table that is none"))?;
            let class = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let place =
                class.get_mut(usize::from(kind & 15)).ok_or_else(|| corrupt("a Huffman table without a place"))?;
            *place = Some(table);
            segment = rest;
        }
        Ok(())
    }

    /// A segment that sets the restart interval.
    pub(super) fn interval(&mut self, segment: &[u8]) -> Result<(), ImageError> {
        self.restart = usize::from(big_endian_16(segment, 0).ok_or_else(|| corrupt("a restart interval cut short"))?);
        Ok(())
    }

    /// Counts a scan whose header is `segment` and whose data begins at `at`; answers where it ends.
    pub(super) fn scan(&mut self, segment: &[u8], bytes: &[u8], at: usize) -> Result<usize, ImageError> {
        const CUT: ImageError = ImageError::Truncated("JPEG scan header");
        let frame = self.frame.as_mut().ok_or_else(|| corrupt("a scan before the frame header"))?;
        let count = usize::from(*segment.first().ok_or(CUT)?);
        let named = segment.get(1..1 + 2 * count).ok_or(CUT)?;
        let &[first, last, bits] = segment.get(1 + 2 * count..4 + 2 * count).ok_or(CUT)? else { return Err(CUT) };
        let scan = if frame.progressive {
            Scan { first: first.into(), last: last.into(), high: bits >> 4, low: bits & 15 }
        } else {
            Scan { first: 0, last: 63, high: 0, low: 0 }
        };
        let one_kind = !frame.progressive || (scan.first == 0) == (scan.last == 0);
        if scan.first > scan.last || scan.last > 63 || !one_kind || (scan.first > 0 && count != 1) {
            return Err(corrupt("a scan of coefficients that cannot be"));
        }
        if count == 0 || count > 4 {
            return Err(corrupt("a scan without components"));
        }
        let mut members = Vec::with_capacity(count);
        for pair in named.chunks_exact(2) {
            let index = frame.components.iter().position(|component| component.id == pair[0]);
            let index = index.ok_or_else(|| corrupt("a scan of a component that the picture lacks"))?;
            if members.iter().any(|member: &Member<'_>| member.index == index) {
                return Err(corrupt("a scan of one component twice"));
            }
            let member = Member {
                index,
                dc: self.dc.get(usize::from(pair[1] >> 4)).and_then(Option::as_ref),
                ac: self.ac.get(usize::from(pair[1] & 15)).and_then(Option::as_ref),
            };
            let (wants_dc, wants_ac) = (scan.first == 0 && scan.high == 0, scan.last > 0);
            if (wants_dc && member.dc.is_none()) || (wants_ac && member.ac.is_none()) {
                return Err(corrupt("a scan without its Huffman tables"));
            }
            members.push(member);
        }
        let mut bits = Bits::new(bytes, at);
        let ahead = frame.read_ahead(&members, self.restart, bytes, at);
        let counted = bits.go_to(ahead.byte, ahead.bits);
        match counted.and_then(|()| frame.read(&scan, &members, self.restart, ahead.mcus, &mut bits)) {
            Ok(()) => {}
            Err(Fault::Missing) => return Err(ImageError::Truncated("JPEG with less picture than its size")),
            Err(Fault::Corrupt) => return Err(corrupt("JPEG data that no code stands for")),
        }
        for member in &members {
            if let Some(component) = frame.components.get_mut(member.index) {
                component.low[scan.first..=scan.last].fill(scan.low);
            }
        }
        Ok(bits.position())
    }

    /// After the last scan: whether every bit of every coefficient has come.
    pub(super) fn finish(&self) -> Result<(), ImageError> {
        let components = self.frame.iter().flat_map(|frame| &frame.components);
        for component in components {
            if component.low.iter().any(|low| *low != 0) {
                return Err(ImageError::Truncated("JPEG without its last scans"));
            }
        }
        Ok(())
    }
}

/// A component of a scan, and its tables.
struct Member<'a> {
    index: usize,
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
}

impl Frame {
    /// MCUs of a scan, across and down.
    fn size(&self, members: &[Member<'_>]) -> (usize, usize) {
        match members {
            // Alone, a component has only the blocks that the picture has.
            [one] => self.components.get(one.index).map_or((0, 0), |component| (component.width, component.height)),
            _ => (self.width, self.height),
        }
    }

    /// What can be read fast of a scan, if anything.
    fn read_ahead(&self, members: &[Member<'_>], restart: usize, bytes: &[u8], at: usize) -> ahead::Place {
        let nothing = ahead::Place { mcus: 0, byte: at, bits: 0 };
        if self.progressive || restart > 0 {
            return nothing;
        }
        let mut blocks = Vec::new();
        for member in members {
            let (Some(dc), Some(ac), Some(component)) = (member.dc, member.ac, self.components.get(member.index))
            else {
                return nothing;
            };
            let count = if members.len() == 1 { 1 } else { component.horizontal * component.vertical };
            blocks.extend(std::iter::repeat_n((dc, ac), count));
        }
        let (width, height) = self.size(members);
        ahead::read(bytes, at, &blocks, width * height)
    }

    /// Reads a scan, of which `known` MCUs have been read. There are no restarts then.
    fn read(
        &mut self,
        scan: &Scan,
        members: &[Member<'_>],
        restart: usize,
        known: usize,
        bits: &mut Bits<'_>,
    ) -> Result<(), Fault> {
        let mut until_restart = restart;
        let mut restarts = 0u8;
        let mut run = 0u32;
        let alone = members.len() == 1;
        let (width, height) = self.size(members);
        if width == 0 {
            return Ok(());
        }
        for row in known / width..height {
            for column in if row == known / width { known % width } else { 0 }..width {
                if restart > 0 && until_restart == 0 {
                    bits.restart(restarts)?;
                    restarts = restarts.wrapping_add(1);
                    (until_restart, run) = (restart, 0);
                }
                until_restart = until_restart.wrapping_sub(1);
                for member in members {
                    let Some(component) = self.components.get_mut(member.index) else { continue };
                    let (across, down) = if alone { (1, 1) } else { (component.horizontal, component.vertical) };
                    if !self.progressive {
                        for _ in 0..across * down {
                            sequential(member, bits)?;
                        }
                        continue;
                    }
                    let stride = self.width * component.horizontal;
                    for block in 0..across * down {
                        let (x, y) = (column * across + block % across, row * down + block / across);
                        let nonzero = component.nonzero.get_mut(y * stride + x).ok_or(Fault::Corrupt)?;
                        progressive(scan, member, nonzero, &mut run, bits)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[inline]
fn sequential(member: &Member<'_>, bits: &mut Bits<'_>) -> Result<(), Fault> {
    let (Some(dc), Some(ac)) = (member.dc, member.ac) else { return Err(Fault::Corrupt) };
    difference(dc, bits)?;
    bits.skip_ac(ac)
}

fn difference(table: &Huffman, bits: &mut Bits<'_>) -> Result<(), Fault> {
    match bits.symbol(table)? {
        size @ 0..=15 => bits.skip(size.into()),
        _ => Err(Fault::Corrupt),
    }
}

fn progressive(
    scan: &Scan,
    member: &Member<'_>,
    nonzero: &mut u64,
    run: &mut u32,
    bits: &mut Bits<'_>,
) -> Result<(), Fault> {
    match (scan.first, scan.high) {
        (0, 0) => difference(member.dc.ok_or(Fault::Corrupt)?, bits),
        (0, _) => bits.skip(1),
        (_, 0) => first_bits(scan, member.ac.ok_or(Fault::Corrupt)?, nonzero, run, bits),
        _ => later_bits(scan, member.ac.ok_or(Fault::Corrupt)?, nonzero, run, bits),
    }
}

/// G.1.2.2: the first scan of a band.
fn first_bits(
    scan: &Scan,
    table: &Huffman,
    nonzero: &mut u64,
    run: &mut u32,
    bits: &mut Bits<'_>,
) -> Result<(), Fault> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut at = scan.first;
    while at <= scan.last {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size > 0 {
            at += zeros;
            if at > scan.last {
                return Err(Fault::Corrupt);
            }
            bits.skip(size)?;
            *nonzero |= 1 << at;
            at += 1;
        } else if zeros == 15 {
            at += 16;
        } else {
            *run = (1 << zeros) - 1 + bits.take(zeros as u32)?;
            break;
        }
    }
    Ok(())
}

/// G.1.2.3: one more bit of a band. Coefficients that are not zero have a bit each, between the codes
/// for those that become so.
fn later_bits(
    scan: &Scan,
    table: &Huffman,
    nonzero: &mut u64,
    run: &mut u32,
    bits: &mut Bits<'_>,
) -> Result<(), Fault> {
    let mut at = scan.first;
    if *run == 0 {
        while at <= scan.last {
            let symbol = bits.symbol(table)?;
            let (mut zeros, size) = (usize::from(symbol >> 4), symbol & 15);
            match size {
                0 if zeros < 15 => {
                    *run = (1 << zeros) + bits.take(zeros as u32)?;
                    break;
                }
                0 => {}
                1 => bits.skip(1)?,
                _ => return Err(Fault::Corrupt),
            }
            while at <= scan.last {
                if *nonzero >> at & 1 == 1 {
                    bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size == 1 {
                if at > scan.last {
                    return Err(Fault::Corrupt);
                }
                *nonzero |= 1 << at;
            }
            at += 1;
        }
    }
    if *run > 0 {
        if at <= scan.last {
            let band = (u64::MAX << at) & (u64::MAX >> (63 - scan.last));
            for _ in 0..(*nonzero & band).count_ones() {
                bits.skip(1)?;
            }
        }
        *run -= 1;
    }
    Ok(())
}

fn corrupt(what: &str) -> ImageError {
    ImageError::Corrupt(what.to_owned())
}
