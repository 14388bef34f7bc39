//! From a component's samples to as many as the picture has columns, as libjpeg does it: triangles ("fancy") where a
//! component has half of the columns, of the rows or of both, repetition elsewhere.

/// How a component is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// It has every sample.
    Whole,
    /// Triangles across.
    Across,
    /// Triangles down.
    Down,
    /// Triangles in both directions.
    Both,
    /// Every sample so many times across and down.
    Repeat(usize, usize),
}

impl Method {
    /// Of a component of `width` columns that stand for `across` times as many, and each of its rows for `down`.
    pub(super) fn of(across: usize, down: usize, width: usize) -> Self {
        match (across, down) {
            (1, 1) => Self::Whole,
            (2, 1) if width > 2 => Self::Across,
            (1, 2) => Self::Down,
            (2, 2) if width > 2 => Self::Both,
            _ => Self::Repeat(across, down),
        }
    }

    /// Whether the row beside counts.
    pub(super) fn takes_neighbour(self) -> bool {
        matches!(self, Self::Down | Self::Both)
    }
}

/// Room for a row's sums of two rows, with one more at either end.
pub(super) type Sums = crate::wipe::Wiped<u16>;

/// One row of the picture, from the nearest row of the component and the one beside it, which lies below where `below`.
/// `out` has room for `near` enlarged.
#[inline(always)]
pub(super) fn row(method: Method, near: &[u8], beside: &[u8], below: bool, sums: &mut Sums, out: &mut [u8]) {
    match method {
        Method::Whole => {}
        Method::Across => {
            pad(near.iter().map(|near| u16::from(*near)), sums);
            triangles::<2>(sums, [1, 2], out);
        }
        Method::Down => {
            let half = if below { 2 } else { 1 };
            for ((out, near), beside) in out.iter_mut().zip(near).zip(beside) {
                *out = ((3 * u16::from(*near) + u16::from(*beside) + half) >> 2) as u8;
            }
        }
        Method::Both => {
            pad(near.iter().zip(beside).map(|(near, beside)| 3 * u16::from(*near) + u16::from(*beside)), sums);
            triangles::<4>(sums, [8, 7], out);
        }
        Method::Repeat(across, _) => {
            for (out, near) in out.chunks_mut(across.max(1)).zip(near) {
                out.fill(*near);
            }
        }
    }
}

/// With the first and the last once more: the triangle's outer end at an edge.
#[inline(always)]
fn pad(values: impl ExactSizeIterator<Item = u16>, sums: &mut Sums) {
    let count = values.len();
    let Some(within) = sums.get_mut(1..count + 1) else { return };
    for (sum, value) in within.iter_mut().zip(values) {
        *sum = value;
    }
    if let [first, .., last] = *within {
        sums[0] = first;
        sums[count + 1] = last;
    }
}

/// Two samples for each: three quarters of it and a quarter of the one before or behind.
#[inline(always)]
fn triangles<const SHIFT: u32>(sums: &[u16], halves: [u16; 2], out: &mut [u8]) {
    let pairs = out.as_chunks_mut::<2>().0;
    let count = pairs.len().min(sums.len().saturating_sub(2));
    let (before, at, behind) = (&sums[..count], &sums[1..count + 1], &sums[2..count + 2]);
    for (((pair, before), at), behind) in pairs.iter_mut().zip(before).zip(at).zip(behind) {
        let left = (3 * at + before + halves[0]) >> SHIFT;
        let right = (3 * at + behind + halves[1]) >> SHIFT;
        // Both bytes at once: no shuffling.
        *pair = (left | right << 8).to_le_bytes();
    }
}
