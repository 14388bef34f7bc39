//! Runs a TensorFlow Lite graph as libtorch operations on a whole batch.
//!
//! Pictures are kept as batch, channel, row, column over channels-last memory; whatever a
//! RESHAPE makes of them is kept in the graph's own order.

use std::collections::{HashMap, HashSet};

use tch::{Device, Kind, Tensor};

use super::channels_last;
use crate::error::EngineError;
use crate::pack::tflite::{self, Activation, Kind as Op, Window};

/// A graph on a device.
pub(crate) struct Graph {
    device: Device,
    steps: Vec<Step>,
    input: usize,
    outputs: Vec<(usize, Vec<usize>)>,
    slots: usize,
}

struct Step {
    action: Action,
    inputs: Vec<usize>,
    output: usize,
    /// Values that nobody needs after this step.
    done_with: Vec<usize>,
    /// Which of the inputs may be overwritten with the result.
    overwrites: Option<usize>,
}

enum Action {
    Convolution {
        weights: Tensor,
        biases: Tensor,
        groups: i64,
        stride: [i64; 2],
        dilation: [i64; 2],
        /// Rows, columns.
        padding: [i64; 2],
        /// Zeros to lay around first: left, right, top, bottom.
        surround: Option<[i64; 4]>,
        relu: bool,
    },
    MaxPool {
        kernel: [i64; 2],
        stride: [i64; 2],
        padding: [i64; 2],
        relu: bool,
    },
    Add {
        relu: bool,
    },
    Relu,
    /// Innermost dimension first, as libtorch wants it.
    Pad([i64; 6]),
    Reshape(Vec<i64>),
    Concatenate(i64),
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Picture,
    Plain,
}

struct Value {
    tensor: Tensor,
    layout: Layout,
}

impl Graph {
    pub(crate) fn build(from: &tflite::Graph, device: Device) -> Result<Self, EngineError> {
        let mut last_use: HashMap<usize, usize> = HashMap::new();
        for (index, operation) in from.operations.iter().enumerate() {
            for input in &operation.inputs {
                last_use.insert(*input, index);
            }
        }
        // What RESHAPE returns may be the same memory under another shape.
        let reshaped: HashSet<usize> = from
            .operations
            .iter()
            .filter(|operation| matches!(operation.kind, Op::Reshape))
            .flat_map(|operation| operation.inputs.iter().copied().chain([operation.output]))
            .collect();
        let mut steps = Vec::with_capacity(from.operations.len());
        for (index, operation) in from.operations.iter().enumerate() {
            let mut inputs = operation.inputs.clone();
            if !matches!(operation.kind, Op::Add { .. } | Op::Concatenate { .. }) {
                // The others have one value; what follows it are constants.
                inputs.truncate(1);
            }
            let done_with: Vec<usize> = inputs
                .iter()
                .copied()
                .filter(|input| last_use.get(input) == Some(&index))
                .filter(|input| !from.outputs.contains(input))
                .collect();
            let action = Action::build(from, operation, device)?;
            let ours = |value: &usize| {
                let elsewhere = inputs.iter().filter(|other| *other == value).count() > 1;
                done_with.contains(value) && !elsewhere && !from.inputs.contains(value) && !reshaped.contains(value)
            };
            let overwrites = match action {
                Action::Add { .. } | Action::Relu => inputs.iter().position(ours),
                _ => None,
            };
            steps.push(Step { action, inputs, output: operation.output, done_with, overwrites });
        }
        let input = *from.inputs.first().ok_or_else(|| mistake("no input"))?;
        let outputs = from.outputs.iter().map(|output| (*output, from.shapes[*output].clone())).collect();
        Ok(Self { device, steps, input, outputs, slots: from.shapes.len() })
    }

    /// The same graph over the same weights, for another thread.
    pub(crate) fn share(&self) -> Self {
        let step = |step: &Step| Step {
            action: step.action.share(),
            inputs: step.inputs.clone(),
            output: step.output,
            done_with: step.done_with.clone(),
            overwrites: step.overwrites,
        };
        Self { steps: self.steps.iter().map(step).collect(), outputs: self.outputs.clone(), ..*self }
    }

    /// Runs a batch (N x rows x columns x channels) and returns the outputs in the graph's
    /// order, their first dimension N.
    pub(crate) fn forward(&self, batch: &Tensor) -> Result<Vec<Tensor>, EngineError> {
        let count = *batch.size().first().unwrap_or(&0);
        let mut values: Vec<Option<Value>> = Vec::new();
        values.resize_with(self.slots, || None);
        values[self.input] =
            Some(Value { tensor: batch.f_to_device(self.device)?.f_permute([0, 3, 1, 2])?, layout: Layout::Picture });
        for step in &self.steps {
            let inputs = step
                .inputs
                .iter()
                .map(|input| values[*input].as_ref().ok_or_else(|| mistake("a value is used before it is made")))
                .collect::<Result<Vec<_>, _>>()?;
            let result = match step.overwrites {
                Some(position) => step.action.run_over(inputs[position], &inputs)?,
                None => step.action.run(&inputs, count)?,
            };
            for value in &step.done_with {
                values[*value] = None;
            }
            values[step.output] = Some(result);
        }
        self.outputs
            .iter()
            .map(|(output, shape)| {
                let value = values[*output].take().ok_or_else(|| mistake("an output is never made"))?;
                let tensor = value.plain()?;
                let fits = tensor.size().iter().skip(1).copied().eq(shape.iter().skip(1).map(|d| *d as i64));
                if fits { Ok(tensor) } else { Err(mistake("an output has another shape than declared")) }
            })
            .collect()
    }
}

impl Value {
    /// The tensor in the graph's own order.
    fn plain(&self) -> Result<Tensor, EngineError> {
        Ok(match self.layout {
            Layout::Plain => self.tensor.shallow_clone(),
            Layout::Picture => self.tensor.f_permute([0, 2, 3, 1])?,
        })
    }
}

impl Action {
    fn build(graph: &tflite::Graph, operation: &tflite::Operation, device: Device) -> Result<Self, EngineError> {
        let input = &graph.shapes[*operation.inputs.first().ok_or_else(|| mistake("an operation without inputs"))?];
        Ok(match &operation.kind {
            Op::Convolution { window, activation } | Op::Depthwise { window, activation } => {
                let depthwise = matches!(operation.kind, Op::Depthwise { .. });
                let [filter, bias] = operation.inputs[1..] else {
                    return Err(mistake("a convolution without weights"));
                };
                let (&[a, rows, columns, b], &[_, height, width, channels]) = (&graph.shapes[filter][..], &input[..])
                else {
                    return Err(mistake("a convolution that is not two-dimensional"));
                };
                let raw = graph.constants.get(&filter);
                let biases = graph.constants.get(&bias);
                let (Some(raw), Some(biases)) = (raw, biases) else {
                    return Err(mistake("a convolution without weights"));
                };
                // Filters are stored out-row-column-in, or 1-row-column-out when depthwise.
                let shape = [a as i64, rows as i64, columns as i64, b as i64];
                let order = if depthwise { [3, 0, 1, 2] } else { [0, 3, 1, 2] };
                let outputs = if depthwise { b } else { a };
                let fits =
                    biases.len() == outputs && if depthwise { a == 1 && b % channels == 0 } else { b == channels };
                if !fits {
                    return Err(mistake("a convolution whose weights do not fit its input"));
                }
                let weights = Tensor::f_from_slice(raw)?.f_reshape(shape)?.f_permute(order)?;
                let size = weights.size();
                let weights = channels_last(&super::values(&weights)?, [size[0], size[1], size[2], size[3]])?;
                let (padding, surround) = paddings([height, width], [rows, columns], window);
                Self::Convolution {
                    weights: weights.f_to_device(device)?,
                    biases: Tensor::f_from_slice(biases)?.f_to_device(device)?,
                    groups: if depthwise { channels as i64 } else { 1 },
                    stride: window.stride.map(|v| v as i64),
                    dilation: window.dilation.map(|v| v as i64),
                    padding,
                    surround,
                    relu: *activation == Activation::Relu,
                }
            }
            Op::MaxPool { kernel, window, activation } => {
                let &[_, height, width, _] = &input[..] else {
                    return Err(mistake("pooling that is not two-dimensional"));
                };
                let (padding, surround) = paddings([height, width], *kernel, window);
                if surround.is_some() {
                    return Err(mistake("pooling with unequal padding"));
                }
                Self::MaxPool {
                    kernel: kernel.map(|v| v as i64),
                    stride: window.stride.map(|v| v as i64),
                    padding,
                    relu: *activation == Activation::Relu,
                }
            }
            Op::Add { activation } => Self::Add { relu: *activation == Activation::Relu },
            Op::Relu => Self::Relu,
            Op::Pad { amounts } => {
                let [batch, rows, columns, channels] = amounts.map(|[a, b]| [a as i64, b as i64]);
                if batch != [0, 0] {
                    return Err(mistake("padding of the batch"));
                }
                Self::Pad([columns[0], columns[1], rows[0], rows[1], channels[0], channels[1]])
            }
            Op::Reshape => Self::Reshape(graph.shapes[operation.output].iter().skip(1).map(|d| *d as i64).collect()),
            Op::Concatenate { axis } => Self::Concatenate(*axis as i64),
        })
    }

    fn share(&self) -> Self {
        match self {
            Self::Convolution { weights, biases, groups, stride, dilation, padding, surround, relu } => {
                Self::Convolution {
                    weights: weights.shallow_clone(),
                    biases: biases.shallow_clone(),
                    groups: *groups,
                    stride: *stride,
                    dilation: *dilation,
                    padding: *padding,
                    surround: *surround,
                    relu: *relu,
                }
            }
            Self::MaxPool { kernel, stride, padding, relu } => {
                Self::MaxPool { kernel: *kernel, stride: *stride, padding: *padding, relu: *relu }
            }
            Self::Add { relu } => Self::Add { relu: *relu },
            Self::Relu => Self::Relu,
            Self::Pad(amounts) => Self::Pad(*amounts),
            Self::Reshape(shape) => Self::Reshape(shape.clone()),
            Self::Concatenate(axis) => Self::Concatenate(*axis),
        }
    }

    /// Addition or rectification whose result takes the place of `own`, one of `inputs`, which nobody needs any more.
    fn run_over(&self, own: &Value, inputs: &[&Value]) -> Result<Value, EngineError> {
        let mut tensor = own.tensor.shallow_clone();
        let relu = match self {
            Self::Add { relu } => {
                let Some(other) = inputs.iter().find(|input| !std::ptr::eq(**input, own)) else {
                    return Err(mistake("an addition of other than two"));
                };
                if inputs.len() != 2 || other.layout != own.layout || other.tensor.size() != tensor.size() {
                    return Err(mistake("an addition of unlike values"));
                }
                tensor = tensor.f_add_(&other.tensor)?;
                *relu
            }
            _ => true,
        };
        if relu {
            tensor = tensor.f_relu_()?;
        }
        Ok(Value { tensor, layout: own.layout })
    }

    fn run(&self, inputs: &[&Value], count: i64) -> Result<Value, EngineError> {
        let [first, rest @ ..] = inputs else {
            return Err(mistake("an operation without inputs"));
        };
        let picture = |tensor| Value { tensor, layout: Layout::Picture };
        let needs_picture = || {
            if first.layout == Layout::Picture {
                Ok(())
            } else {
                Err(mistake("a picture operation on what is no picture"))
            }
        };
        Ok(match self {
            Self::Convolution { weights, biases, groups, stride, dilation, padding, surround, relu } => {
                needs_picture()?;
                let padded = match surround {
                    Some(around) => Some(first.tensor.f_constant_pad_nd(around)?),
                    None => None,
                };
                let x = padded.as_ref().unwrap_or(&first.tensor);
                let mut y = x.f_conv2d(weights, Some(biases), stride, padding, dilation, *groups)?;
                picture(if *relu { y.f_relu_()? } else { y })
            }
            Self::MaxPool { kernel, stride, padding, relu } => {
                needs_picture()?;
                let mut y = first.tensor.f_max_pool2d(kernel, stride, padding, [1, 1], false)?;
                picture(if *relu { y.f_relu_()? } else { y })
            }
            Self::Add { relu } => {
                let [second] = rest else {
                    return Err(mistake("an addition of other than two"));
                };
                if first.layout != second.layout {
                    return Err(mistake("an addition of unlike layouts"));
                }
                let mut tensor = first.tensor.f_add(&second.tensor)?;
                if *relu {
                    tensor = tensor.f_relu_()?;
                }
                Value { tensor, layout: first.layout }
            }
            Self::Relu => Value { tensor: first.tensor.f_relu()?, layout: first.layout },
            Self::Pad(amounts) => {
                needs_picture()?;
                picture(first.tensor.f_constant_pad_nd(amounts)?)
            }
            Self::Reshape(shape) => {
                let whole: Vec<i64> = std::iter::once(count).chain(shape.iter().copied()).collect();
                Value { tensor: first.plain()?.f_reshape(whole)?, layout: Layout::Plain }
            }
            Self::Concatenate(axis) => {
                let plain = inputs.iter().map(|value| value.plain()).collect::<Result<Vec<_>, _>>()?;
                Value { tensor: Tensor::f_cat(&plain, *axis)?, layout: Layout::Plain }
            }
        })
    }
}

/// Padding that the operation can do itself (rows, columns), or zeros to lay around the picture
/// first where the two sides differ.
fn paddings(size: [usize; 2], kernel: [usize; 2], window: &Window) -> ([i64; 2], Option<[i64; 4]>) {
    if !window.same {
        return ([0, 0], None);
    }
    let mut sides = [[0i64; 2]; 2];
    for d in 0..2 {
        let reach = (kernel[d] - 1) * window.dilation[d] + 1;
        let outputs = size[d].div_ceil(window.stride[d]);
        let total = ((outputs - 1) * window.stride[d] + reach).saturating_sub(size[d]);
        sides[d] = [(total / 2) as i64, (total - total / 2) as i64];
    }
    let [rows, columns] = sides;
    if rows[0] == rows[1] && columns[0] == columns[1] {
        ([rows[0], columns[0]], None)
    } else {
        ([0, 0], Some([columns[0], columns[1], rows[0], rows[1]]))
    }
}

fn mistake(what: &str) -> EngineError {
    EngineError::Config(format!("detector graph: {what}"))
}

/// The network's input from bytes: -1 to 1.
pub(crate) fn normalise(bytes: &Tensor) -> Result<Tensor, EngineError> {
    let mut x = bytes.f_to_kind(Kind::Float)?;
    let mut x = x.f_divide_scalar_(127.5)?;
    Ok(x.f_sub_scalar_(1.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_pixel_at_the_end() {
        let window = |stride| Window { stride: [stride; 2], dilation: [1, 1], same: true };
        assert_eq!(paddings([64, 64], [3, 3], &window(1)), ([1, 1], None));
        assert_eq!(paddings([128, 128], [5, 5], &window(2)), ([0, 0], Some([1, 2, 1, 2])));
        assert_eq!(paddings([64, 64], [2, 2], &window(2)), ([0, 0], None));
    }
}
