//! A picture that comes scan by scan.

use super::bits::Reader;
use super::coefficients::Coefficients;
use super::frame::Frame;
use super::rows::Rows;
use super::scan::Scan;
use super::tables::{Tables, corrupt};
use crate::image::{ImageError, RgbImage};

/// What has come of it so far.
pub(super) struct Picture {
    frame: Frame,
    parts: Vec<Part>,
    /// All coefficients of each component, unless they all come in one scan.
    coefficients: Vec<Coefficients>,
    /// The pixels, if they do.
    rows: Option<Rows>,
}

/// What has come of a component.
#[derive(Clone, Copy)]
struct Part {
    /// Its quantization table as it was when the first scan came.
    quantization: Option<[i16; 64]>,
    /// By coefficient, in the zigzag: the lowest bit that has come; `NOT_YET` before the first scan.
    low: [u8; 64],
}

const NOT_YET: u8 = 0xff;

impl Picture {
    pub(super) fn new(frame: Frame) -> Self {
        let parts = vec![Part { quantization: None, low: [NOT_YET; 64] }; frame.components.len()];
        Self { frame, parts, coefficients: Vec::new(), rows: None }
    }

    /// Reads a scan whose header is `segment` and whose data begins at `at`; answers where it ends.
    pub(super) fn scan(
        &mut self,
        tables: &Tables,
        segment: &[u8],
        bytes: &[u8],
        at: usize,
    ) -> Result<usize, ImageError> {
        let scan = Scan::read(&self.frame, tables, segment)?;
        for member in &scan.members {
            let (component, part) = (&self.frame.components[member.index], &mut self.parts[member.index]);
            if !self.frame.progressive && part.low[0] != NOT_YET {
                return Err(corrupt("two scans of one component"));
            }
            if part.quantization.is_none() {
                part.quantization = tables.quantization.get(component.table).copied().flatten();
            }
            if part.quantization.is_none() {
                return Err(corrupt("a component without its quantization table"));
            }
            part.low[scan.first as usize..=scan.last as usize].fill(scan.low as u8);
        }
        let mut reader = Reader::new(bytes, at);
        let frame = &self.frame;
        if !frame.progressive && scan.members.len() == frame.components.len() {
            let mut rows = self.rows(tables)?;
            let mut store = self.store(1);
            scan.pass_on(frame, &mut store, &mut reader, |row, store| rows.push(row, store, 0))?;
            self.rows = Some(rows);
        } else {
            if self.coefficients.is_empty() {
                self.coefficients = self.store(frame.down);
            }
            scan.store(&self.frame, &mut self.coefficients, &mut reader)?;
        }
        Ok(reader.position())
    }

    /// After the last scan: the picture, if every bit of every coefficient has come.
    pub(super) fn finish(mut self, tables: &Tables) -> Result<RgbImage, ImageError> {
        if self.parts.iter().any(|part| part.low.iter().any(|low| *low != 0)) {
            return Err(ImageError::Truncated("JPEG without its last scans"));
        }
        match self.rows.take() {
            Some(rows) => rows.finish(),
            None => {
                let mut rows = self.rows(tables)?;
                for row in 0..self.frame.down {
                    rows.push(row, &self.coefficients, row);
                }
                rows.finish()
            }
        }
    }

    /// For as many rows of MCUs.
    fn store(&self, rows: usize) -> Vec<Coefficients> {
        let components = self.frame.components.iter();
        components.map(|component| Coefficients::new(component.stride, rows * component.vertical)).collect()
    }

    fn rows(&self, tables: &Tables) -> Result<Rows, ImageError> {
        let quantization: Option<Vec<[i16; 64]>> = self.parts.iter().map(|part| part.quantization).collect();
        let quantization = quantization.ok_or_else(|| corrupt("a component without its quantization table"))?;
        Ok(Rows::new(&self.frame, tables.colour(&self.frame), &quantization))
    }
}
