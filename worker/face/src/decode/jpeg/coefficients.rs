//! The coefficients of a component's blocks, quantized, in the order of [`super::idct::PLACES`].

/// Of all of its blocks, or of those of one row of MCUs. Wiped when dropped, as far as it was written: what a header
/// promised and the data did not hold costs nothing.
pub(super) struct Coefficients {
    values: Vec<i16>,
    /// For each block, by place in the zigzag: which coefficients may be other than zero.
    nonzero: Vec<u64>,
    stride: usize,
    written: usize,
}

impl Coefficients {
    pub(super) fn new(stride: usize, rows: usize) -> Self {
        let blocks = stride * rows;
        Self { values: vec![0; 64 * blocks], nonzero: vec![0; blocks], stride, written: 0 }
    }

    /// A row of blocks.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> (&[[i16; 64]], &[u64]) {
        let blocks = row * self.stride..(row + 1) * self.stride;
        let values = self.values.as_chunks::<64>().0;
        (values.get(blocks.clone()).unwrap_or_default(), self.nonzero.get(blocks).unwrap_or_default())
    }

    /// A row of blocks, to be written.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, row: usize) -> (&mut [[i16; 64]], &mut [u64]) {
        let blocks = row * self.stride..(row + 1) * self.stride;
        self.written = self.written.max(blocks.end);
        let values = self.values.as_chunks_mut::<64>().0;
        (values.get_mut(blocks.clone()).unwrap_or_default(), self.nonzero.get_mut(blocks).unwrap_or_default())
    }

    /// A block, to be written.
    #[inline(always)]
    pub(super) fn block_mut(&mut self, row: usize, column: usize) -> Option<(&mut [i16; 64], &mut u64)> {
        let at = row * self.stride + column;
        self.written = self.written.max(at + 1);
        Some((self.values.as_chunks_mut::<64>().0.get_mut(at)?, self.nonzero.get_mut(at)?))
    }
}

impl Drop for Coefficients {
    fn drop(&mut self) {
        let written = self.written.min(self.nonzero.len());
        self.values[..64 * written].fill(0);
        self.nonzero[..written].fill(0);
        // Without it, writing what nobody reads again would be optimised away.
        zeroize::optimization_barrier(self.values.as_slice());
        zeroize::optimization_barrier(self.nonzero.as_slice());
    }
}
