//! TensorFlow Lite models of nine operators, with 16-bit weights behind DEQUANTIZE.

mod flatbuffer;

use std::collections::HashMap;

use crate::error::{ModelError, ModelFault};
use flatbuffer::{Result, Table, fault};

/// More than any model of this kind has.
const MAX_ITEMS: usize = 4_096;
/// Largest tensor, in values.
const MAX_VALUES: usize = 1 << 24;

/// A model as a list of operations over numbered tensors (batch, row, column, channel).
pub(crate) struct Graph {
    /// Shape of each tensor, by number.
    pub(crate) shapes: Vec<Vec<usize>>,
    pub(crate) names: Vec<String>,
    /// Weights and biases, by tensor.
    pub(crate) constants: HashMap<usize, Vec<f32>>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
}

/// One step.
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<usize>,
    pub(crate) output: usize,
}

/// What a step does.
pub(crate) enum Kind {
    Convolution {
        window: Window,
        activation: Activation,
    },
    Depthwise {
        window: Window,
        activation: Activation,
    },
    MaxPool {
        kernel: [usize; 2],
        window: Window,
        activation: Activation,
    },
    Add {
        activation: Activation,
    },
    Relu,
    /// Zeros before and after, for each of batch, row, column, channel.
    Pad {
        amounts: [[usize; 2]; 4],
    },
    Reshape,
    Concatenate {
        axis: usize,
    },
}

/// How a window moves: rows, then columns.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Padded so that the output is the input divided by the stride, rounded up.
    pub(crate) same: bool,
}

/// What is applied to an operation's result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
}

mod schema {
    pub(super) const ADD: i32 = 0;
    pub(super) const CONCATENATION: i32 = 2;
    pub(super) const CONV_2D: i32 = 3;
    pub(super) const DEPTHWISE_CONV_2D: i32 = 4;
    pub(super) const DEQUANTIZE: i32 = 6;
    pub(super) const MAX_POOL_2D: i32 = 17;
    pub(super) const RELU: i32 = 19;
    pub(super) const RESHAPE: i32 = 22;
    pub(super) const PAD: i32 = 34;

    pub(super) const FLOAT32: i8 = 0;
    pub(super) const FLOAT16: i8 = 1;
    pub(super) const INT32: i8 = 2;
}

/// Reads the whole file.
pub(crate) fn read(bytes: &[u8]) -> Result<Graph> {
    let model = Table::root(bytes, "TFL3")?;
    let codes = model
        .tables(1, "operator codes")?
        .iter()
        // Codes below 127 are stored twice: in a byte, and in a wider field of newer writers.
        .map(|code| Ok(i32::from(code.i8(0, 0)?).max(code.i32(3, 0)?)))
        .collect::<Result<Vec<i32>>>()?;
    let subgraphs = model.tables(2, "subgraphs")?;
    let [subgraph] = subgraphs[..] else {
        return unexpected(&model, "subgraphs", subgraphs.len(), 1);
    };
    let buffers = model.tables(4, "buffers")?;
    let tensors = subgraph.tables(0, "tensors")?;
    let operators = subgraph.tables(3, "operators")?;
    for count in [buffers.len(), tensors.len(), operators.len()] {
        if count > MAX_ITEMS {
            return unexpected(&subgraph, "items", count, format!("at most {MAX_ITEMS}"));
        }
    }

    let mut parser = Parser {
        buffers,
        tensors: Vec::with_capacity(tensors.len()),
        graph: Graph {
            shapes: Vec::with_capacity(tensors.len()),
            names: Vec::with_capacity(tensors.len()),
            constants: HashMap::new(),
            operations: Vec::with_capacity(operators.len()),
            inputs: Vec::new(),
            outputs: Vec::new(),
        },
    };
    for table in tensors {
        parser.tensor(table)?;
    }
    parser.graph.inputs = parser.references(&subgraph, 1, "inputs")?;
    parser.graph.outputs = parser.references(&subgraph, 2, "outputs")?;
    for table in operators {
        let code = codes.get(table.u32(0, 0)? as usize).copied();
        let code = code.ok_or(fault(table.offset(), ModelFault::Malformed("operator code")))?;
        parser.operator(table, code)?;
    }
    Ok(parser.graph)
}

struct Parser<'a> {
    buffers: Vec<Table<'a>>,
    /// Type and buffer of each tensor.
    tensors: Vec<(i8, usize)>,
    graph: Graph,
}

impl<'a> Parser<'a> {
    fn tensor(&mut self, table: Table<'a>) -> Result<()> {
        let mut shape = Vec::new();
        let mut values = 1usize;
        for dimension in table.i32s(0, "shape")? {
            let dimension = usize::try_from(dimension).unwrap_or(0);
            values = values.saturating_mul(dimension);
            shape.push(dimension);
        }
        if values == 0 || values > MAX_VALUES || shape.len() > 4 {
            return unexpected(&table, "tensor shape", format!("{shape:?}"), "1 to 2^24 values");
        }
        if table.table(6)?.is_some() {
            return Err(unsupported(&table, "sparse tensor"));
        }
        let kind = table.i8(1, 0)?;
        if !matches!(kind, schema::FLOAT32 | schema::FLOAT16 | schema::INT32) {
            return Err(unsupported(&table, format!("tensor type {kind}")));
        }
        let name = table.bytes(3, "tensor name")?;
        self.tensors.push((kind, table.u32(2, 0)? as usize));
        self.graph.shapes.push(shape);
        self.graph.names.push(String::from_utf8_lossy(name).into_owned());
        Ok(())
    }

    fn operator(&mut self, table: Table<'a>, code: i32) -> Result<()> {
        let inputs = self.references(&table, 1, "operator inputs")?;
        let outputs = self.references(&table, 2, "operator outputs")?;
        let [output] = outputs[..] else {
            return unexpected(&table, "operator outputs", outputs.len(), 1);
        };
        if code == schema::DEQUANTIZE {
            let [input] = inputs[..] else {
                return unexpected(&table, "operator inputs", inputs.len(), 1);
            };
            let values = self.floats(&table, input)?;
            if self.graph.shapes[input] != self.graph.shapes[output] {
                return Err(fault(table.offset(), ModelFault::Malformed("dequantised shape")));
            }
            self.graph.constants.insert(output, values);
            return Ok(());
        }
        let (kind, wanted) = match code {
            schema::CONV_2D | schema::DEPTHWISE_CONV_2D => {
                let options = options(&table)?;
                let depthwise = code == schema::DEPTHWISE_CONV_2D;
                // A depthwise convolution has its multiplier before the activation.
                let (activation, dilation) = if depthwise { (4, 5) } else { (3, 4) };
                let window = Window {
                    stride: [size(&options, 2, 0)?, size(&options, 1, 0)?],
                    dilation: [size(&options, dilation + 1, 1)?, size(&options, dilation, 1)?],
                    same: same_padding(&options)?,
                };
                let activation = fused(&options, activation)?;
                let kind = if depthwise {
                    Kind::Depthwise { window, activation }
                } else {
                    Kind::Convolution { window, activation }
                };
                (kind, 3)
            }
            schema::MAX_POOL_2D => {
                let options = options(&table)?;
                let window = Window {
                    stride: [size(&options, 2, 0)?, size(&options, 1, 0)?],
                    dilation: [1, 1],
                    same: same_padding(&options)?,
                };
                let kernel = [size(&options, 4, 0)?, size(&options, 3, 0)?];
                let activation = fused(&options, 5)?;
                (Kind::MaxPool { kernel, window, activation }, 1)
            }
            schema::ADD => {
                let activation = match table.table(4)? {
                    Some(options) => fused(&options, 0)?,
                    None => Activation::None,
                };
                (Kind::Add { activation }, 2)
            }
            schema::RELU => (Kind::Relu, 1),
            schema::PAD => {
                let amounts = self.paddings(&table, inputs.get(1).copied())?;
                (Kind::Pad { amounts }, 2)
            }
            // The new shape is the output's own.
            schema::RESHAPE => (Kind::Reshape, inputs.len().clamp(1, 2)),
            schema::CONCATENATION => {
                let options = options(&table)?;
                let rank = self.graph.shapes[output].len();
                let axis = usize::try_from(options.i32(0, 0)?).unwrap_or(usize::MAX);
                if axis == 0 || axis >= rank || fused(&options, 1)? != Activation::None {
                    return Err(unsupported(&table, "concatenation"));
                }
                (Kind::Concatenate { axis }, inputs.len())
            }
            other => return Err(unsupported(&table, format!("operator {other}"))),
        };
        if inputs.len() != wanted || inputs.is_empty() {
            return unexpected(&table, "operator inputs", inputs.len(), wanted);
        }
        if matches!(kind, Kind::Convolution { .. } | Kind::Depthwise { .. }) {
            for constant in &inputs[1..] {
                self.constant(&table, *constant)?;
            }
        }
        self.graph.operations.push(Operation { kind, inputs, output });
        Ok(())
    }

    /// Makes sure that a weight is known, reading it if it is stored as 32-bit floats.
    fn constant(&mut self, user: &Table<'_>, tensor: usize) -> Result<()> {
        if !self.graph.constants.contains_key(&tensor) {
            let values = self.floats(user, tensor)?;
            self.graph.constants.insert(tensor, values);
        }
        Ok(())
    }

    fn floats(&self, user: &Table<'_>, tensor: usize) -> Result<Vec<f32>> {
        let (kind, raw) = self.stored(user, tensor)?;
        let values: Vec<f32> = match kind {
            schema::FLOAT16 => raw.chunks_exact(2).map(|b| half_to_single(u16::from_le_bytes([b[0], b[1]]))).collect(),
            schema::FLOAT32 => raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            _ => return Err(unsupported(user, "integer weights")),
        };
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(fault(user.offset(), ModelFault::Malformed("weights")))
        }
    }

    fn paddings(&self, user: &Table<'_>, tensor: Option<usize>) -> Result<[[usize; 2]; 4]> {
        let malformed = fault(user.offset(), ModelFault::Malformed("padding"));
        let tensor = tensor.ok_or(malformed.clone())?;
        let (kind, raw) = self.stored(user, tensor)?;
        if kind != schema::INT32 || raw.len() != 32 {
            return Err(malformed);
        }
        let mut out = [[0; 2]; 4];
        for (slot, b) in out.iter_mut().flatten().zip(raw.chunks_exact(4)) {
            let value = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            *slot = usize::try_from(value).ok().filter(|value| *value <= MAX_ITEMS).ok_or(malformed.clone())?;
        }
        Ok(out)
    }

    /// The bytes behind a constant tensor: exactly as many as its shape and type say.
    fn stored(&self, user: &Table<'_>, tensor: usize) -> Result<(i8, &'a [u8])> {
        let malformed = fault(user.offset(), ModelFault::Malformed("constant"));
        let (kind, buffer) = *self.tensors.get(tensor).ok_or(malformed.clone())?;
        let raw = self.buffers.get(buffer).ok_or(malformed)?.bytes(0, "buffer")?;
        let width = if kind == schema::FLOAT16 { 2 } else { 4 };
        let expected = self.graph.shapes[tensor].iter().product::<usize>() * width;
        if raw.len() != expected {
            return unexpected(user, "buffer size", raw.len(), expected);
        }
        Ok((kind, raw))
    }

    /// Tensor numbers; an absent optional input (-1) is not supported by any operator here.
    fn references(&self, table: &Table<'_>, index: usize, what: &'static str) -> Result<Vec<usize>> {
        let count = self.graph.shapes.len();
        table
            .i32s(index, what)?
            .into_iter()
            .map(|reference| {
                usize::try_from(reference)
                    .ok()
                    .filter(|reference| *reference < count)
                    .ok_or(fault(table.offset(), ModelFault::Malformed(what)))
            })
            .collect()
    }
}

fn options<'a>(table: &Table<'a>) -> Result<Table<'a>> {
    table.table(4)?.ok_or(fault(table.offset(), ModelFault::Malformed("operator options")))
}

/// A stride, size or dilation: small and positive.
fn size(options: &Table<'_>, index: usize, default: i32) -> Result<usize> {
    usize::try_from(options.i32(index, default)?)
        .ok()
        .filter(|value| (1..=64).contains(value))
        .ok_or(fault(options.offset(), ModelFault::Malformed("window")))
}

fn same_padding(options: &Table<'_>) -> Result<bool> {
    match options.i8(0, 0)? {
        0 => Ok(true),
        1 => Ok(false),
        other => Err(unsupported(options, format!("padding {other}"))),
    }
}

fn fused(options: &Table<'_>, index: usize) -> Result<Activation> {
    match options.i8(index, 0)? {
        0 => Ok(Activation::None),
        1 => Ok(Activation::Relu),
        other => Err(unsupported(options, format!("activation {other}"))),
    }
}

fn unsupported(table: &Table<'_>, what: impl Into<String>) -> ModelError {
    fault(table.offset(), ModelFault::Unsupported(what.into()))
}

fn unexpected<T>(table: &Table<'_>, what: &'static str, found: impl ToString, expected: impl ToString) -> Result<T> {
    Err(fault(
        table.offset(),
        ModelFault::Unexpected { what, found: found.to_string(), expected: expected.to_string() },
    ))
}

/// IEEE 754 binary16 to binary32.
fn half_to_single(half: u16) -> f32 {
    let sign = if half & 0x8000 != 0 { -1.0 } else { 1.0 };
    let exponent = i32::from((half >> 10) & 0x1f);
    let fraction = f32::from(half & 0x03ff);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers_widen_exactly() {
        for (half, single) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
            (0x0000, 0.0),
        ] {
            assert_eq!(half_to_single(half), single, "{half:04x}");
        }
        assert!(half_to_single(0x7e00).is_nan());
    }

    /// The real detector, or `None` after saying why not.
    fn detector() -> Option<Vec<u8>> {
        let models = match std::env::var_os("PROOFMILL_MODELS") {
            Some(folder) => std::path::PathBuf::from(folder),
            None => std::path::Path::new(&std::env::var_os("HOME")?).join(".cache/proofmill/models"),
        };
        let path = models.join("proofmill-open-1/face_detection_short_range.tflite");
        match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                println!("skipped: {}: {error} (cargo xtask setup fetches it)", path.display());
                None
            }
        }
    }

    #[test]
    fn the_detector_reads_as_a_graph_of_the_eight_operators_that_run() {
        let Some(bytes) = detector() else { return };
        let graph = read(&bytes).unwrap();
        assert_eq!(graph.shapes[graph.inputs[0]], [1, 128, 128, 3]);
        assert_eq!(graph.outputs.len(), 2);
        let convolutions = graph
            .operations
            .iter()
            .filter(|o| matches!(o.kind, Kind::Convolution { .. } | Kind::Depthwise { .. }))
            .count();
        assert!(convolutions > 30 && graph.constants.len() >= 2 * convolutions);
    }

    #[test]
    fn a_detector_cut_anywhere_is_refused() {
        let Some(bytes) = detector() else { return };
        for cut in (0..bytes.len()).step_by(997) {
            assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_detector_with_flipped_bytes_is_refused_or_read_but_never_panics() {
        let Some(bytes) = detector() else { return };
        // The structure lies at both ends, the weights between them.
        let structure = (0..2_000).chain(bytes.len() - 40_000..bytes.len());
        let mut refused = 0;
        for at in structure.step_by(17) {
            let mut other = bytes.clone();
            other[at] ^= 0xff;
            refused += usize::from(read(&other).is_err());
        }
        assert!(refused > 300, "{refused}");
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        assert!(read(&[]).is_err());
        assert!(read(b"\x10\0\0\0TFL2 something else").is_err());
        assert!(read(&[0xff; 64]).is_err());
    }
}
