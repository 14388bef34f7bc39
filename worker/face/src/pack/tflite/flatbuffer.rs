//! As much of the FlatBuffers wire format as a model file needs. Every offset is checked.

use crate::error::{ModelError, ModelFault};

pub(super) type Result<T> = std::result::Result<T, ModelError>;

/// A table at `at`: fields are found through its vtable and may be absent.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    vtable: usize,
    vtable_len: usize,
}

impl<'a> Table<'a> {
    /// The root table, after checking the file identifier.
    pub(super) fn root(bytes: &'a [u8], identifier: &'static str) -> Result<Self> {
        if slice(bytes, 4, 4, "file identifier")? != identifier.as_bytes() {
            return Err(fault(4, ModelFault::Malformed("file identifier")));
        }
        Self::at(bytes, follow(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Result<Self> {
        // The vtable lies at a signed distance before (or after) the table.
        let distance = i64::from(i32_at(bytes, at)?);
        let vtable = i64::try_from(at)
            .ok()
            .and_then(|at| at.checked_sub(distance))
            .and_then(|v| usize::try_from(v).ok())
            .ok_or(fault(at, ModelFault::Malformed("table")))?;
        let vtable_len = usize::from(u16_at(bytes, vtable)?);
        slice(bytes, vtable, vtable_len, "vtable")?;
        Ok(Self { bytes, at, vtable, vtable_len })
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    fn field(&self, index: usize) -> Result<Option<usize>> {
        let slot = 4 + 2 * index;
        if slot + 2 > self.vtable_len {
            return Ok(None);
        }
        let distance = usize::from(u16_at(self.bytes, self.vtable + slot)?);
        Ok((distance != 0).then_some(self.at + distance))
    }

    pub(super) fn i8(&self, index: usize, default: i8) -> Result<i8> {
        match self.field(index)? {
            None => Ok(default),
            Some(at) => Ok(slice(self.bytes, at, 1, "byte")?[0] as i8),
        }
    }

    pub(super) fn i32(&self, index: usize, default: i32) -> Result<i32> {
        match self.field(index)? {
            None => Ok(default),
            Some(at) => i32_at(self.bytes, at),
        }
    }

    pub(super) fn u32(&self, index: usize, default: u32) -> Result<u32> {
        Ok(self.i32(index, default as i32)? as u32)
    }

    pub(super) fn table(&self, index: usize) -> Result<Option<Table<'a>>> {
        match self.field(index)? {
            None => Ok(None),
            Some(at) => Self::at(self.bytes, follow(self.bytes, at)?).map(Some),
        }
    }

    /// A vector of tables; empty when absent.
    pub(super) fn tables(&self, index: usize, what: &'static str) -> Result<Vec<Table<'a>>> {
        let Some((start, count)) = self.vector(index, 4, what)? else {
            return Ok(Vec::new());
        };
        (0..count).map(|item| Self::at(self.bytes, follow(self.bytes, start + 4 * item)?)).collect()
    }

    pub(super) fn i32s(&self, index: usize, what: &'static str) -> Result<Vec<i32>> {
        let Some((start, count)) = self.vector(index, 4, what)? else {
            return Ok(Vec::new());
        };
        (0..count).map(|item| i32_at(self.bytes, start + 4 * item)).collect()
    }

    pub(super) fn bytes(&self, index: usize, what: &'static str) -> Result<&'a [u8]> {
        match self.vector(index, 1, what)? {
            None => Ok(&[]),
            Some((start, count)) => slice(self.bytes, start, count, what),
        }
    }

    /// Start and length of a vector that lies wholly inside the file.
    fn vector(&self, index: usize, item: usize, what: &'static str) -> Result<Option<(usize, usize)>> {
        let Some(field) = self.field(index)? else {
            return Ok(None);
        };
        let at = follow(self.bytes, field)?;
        let count = i32_at(self.bytes, at)? as u32 as usize;
        let start = at + 4;
        let fits =
            count.checked_mul(item).and_then(|size| size.checked_add(start)).is_some_and(|end| end <= self.bytes.len());
        if !fits {
            let count = count as u64;
            return Err(fault(at, ModelFault::Count { what, count }));
        }
        Ok(Some((start, count)))
    }
}

pub(super) fn fault(offset: usize, fault: ModelFault) -> ModelError {
    ModelError { offset, fault }
}

fn follow(bytes: &[u8], at: usize) -> Result<usize> {
    let distance = i32_at(bytes, at)? as u32 as usize;
    at.checked_add(distance).filter(|target| *target < bytes.len()).ok_or(fault(at, ModelFault::Truncated("offset")))
}

fn slice<'a>(bytes: &'a [u8], at: usize, length: usize, what: &'static str) -> Result<&'a [u8]> {
    at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or(fault(at, ModelFault::Truncated(what)))
}

fn i32_at(bytes: &[u8], at: usize) -> Result<i32> {
    let raw = slice(bytes, at, 4, "integer")?;
    Ok(i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let raw = slice(bytes, at, 2, "short integer")?;
    Ok(u16::from_le_bytes([raw[0], raw[1]]))
}
