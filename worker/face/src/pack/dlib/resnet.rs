//! The 29-convolution residual network that turns a face chip into 128 numbers.

use super::reader::{Reader, Result};

/// Side of the square chip, in pixels.
pub(crate) const INPUT: usize = 150;
/// Length of an embedding.
pub(crate) const OUTPUT: usize = 128;
/// Channels before the last layer.
pub(crate) const FEATURES: usize = 256;

/// A convolution with the affine layer behind it folded in.
pub(crate) struct Convolution {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    /// Out, in, row, column.
    pub(crate) weights: Vec<f32>,
    pub(crate) biases: Vec<f32>,
}

/// One residual block: two convolutions, and a shortcut that may halve the picture.
pub(crate) struct Block {
    pub(crate) halves: bool,
    pub(crate) first: Convolution,
    pub(crate) second: Convolution,
}

/// The network's weights, from image to embedding.
pub(crate) struct ResNet {
    /// Subtracted from R, G and B before they are divided by 256.
    pub(crate) mean: [f32; 3],
    pub(crate) stem: Convolution,
    pub(crate) blocks: Vec<Block>,
    /// FEATURES rows of OUTPUT columns.
    pub(crate) projection: Vec<f32>,
}

/// (channels, halves) of each block, from the image's side.
const BLOCKS: [(usize, bool); 14] = [
    (32, false),
    (32, false),
    (32, false),
    (64, true),
    (64, false),
    (64, false),
    (64, false),
    (128, true),
    (128, false),
    (128, false),
    (256, true),
    (256, false),
    (256, false),
    (256, true),
];

const STEM: usize = 32;

/// The layers above the innermost one, from the image's side, as the file nests them.
enum Layer {
    Affine,
    Relu,
    MaxPool,
    /// A tag or a skip: a mark without contents.
    Mark,
    Conv(Shape),
    AveragePool {
        window: i64,
        stride: i64,
    },
    AddPrevious,
    Project,
}

#[derive(Clone, Copy)]
struct Shape {
    outputs: usize,
    inputs: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

fn layers() -> Vec<Layer> {
    let mut out = vec![Layer::Affine, Layer::Relu, Layer::MaxPool];
    let mut inputs = STEM;
    for (outputs, halves) in BLOCKS {
        let conv = |inputs, stride: usize| {
            Layer::Conv(Shape { outputs, inputs, kernel: 3, stride, padding: if stride == 1 { 1 } else { 0 } })
        };
        out.push(Layer::Mark);
        out.push(conv(inputs, if halves { 2 } else { 1 }));
        out.extend([Layer::Affine, Layer::Relu]);
        out.push(conv(outputs, 1));
        out.push(Layer::Affine);
        if halves {
            out.extend([Layer::Mark, Layer::Mark]);
            out.push(Layer::AveragePool { window: 2, stride: 2 });
        }
        out.extend([Layer::AddPrevious, Layer::Relu]);
        inputs = outputs;
    }
    out.push(Layer::AveragePool { window: 0, stride: 1 });
    out.push(Layer::Project);
    out
}

/// Reads the whole file.
pub(crate) fn read(bytes: &[u8]) -> Result<ResNet> {
    let mut reader = Reader::new(bytes);
    reader.exactly("loss version", 1)?;
    reader.name("loss_metric_2")?;
    reader.float("margin")?;
    reader.float("distance threshold")?;

    // Each layer begins with its version and then holds everything below it: the versions come
    // first, from the loss down to the image, and the contents follow in the opposite order.
    let layers = layers();
    let mut versions = Vec::with_capacity(layers.len());
    for layer in layers.iter().rev() {
        let version = reader.int("layer version")?;
        let known = match layer {
            Layer::Mark => version == 1,
            _ => version == 1 || version == 2,
        };
        if !known {
            return reader.unexpected("layer version", version, "1 or 2");
        }
        versions.push(version);
    }

    let innermost = reader.int("innermost layer version")?;
    if !(2..=3).contains(&innermost) {
        return reader.unexpected("innermost layer version", innermost, "2 or 3");
    }
    let mean = input_layer(&mut reader)?;
    let mut convolutions =
        vec![convolution(&mut reader, Shape { outputs: STEM, inputs: 3, kernel: 7, stride: 2, padding: 0 })?];
    layer_state(&mut reader)?;
    reader.tensor("final gradient", 0)?;
    if innermost >= 3 {
        reader.exactly("sample expansion factor", 1)?;
    }

    let mut projection = Vec::new();
    for (layer, version) in layers.iter().zip(versions.iter().rev()) {
        match layer {
            Layer::Mark => continue,
            Layer::Affine => {
                let Some(last) = convolutions.last_mut() else {
                    return reader.unexpected("affine layer", "first", "behind a convolution");
                };
                fold_affine(&mut reader, last)?;
            }
            Layer::Relu => reader.name("relu_")?,
            Layer::AddPrevious => reader.name("add_prev_")?,
            Layer::MaxPool => {
                reader.name("max_pool_2")?;
                pool(&mut reader, [3, 3, 2, 2, 0, 0])?;
            }
            Layer::AveragePool { window, stride } => {
                reader.name("avg_pool_2")?;
                pool(&mut reader, [*window, *window, *stride, *stride, 0, 0])?;
            }
            Layer::Conv(shape) => convolutions.push(convolution(&mut reader, *shape)?),
            Layer::Project => projection = fully_connected(&mut reader)?,
        }
        layer_state(&mut reader)?;
        if *version == 2 {
            reader.tensor("parameter gradient", 0)?;
        }
    }
    reader.finish()?;
    Ok(assemble(mean, convolutions, projection))
}

fn assemble(mean: [f32; 3], convolutions: Vec<Convolution>, projection: Vec<f32>) -> ResNet {
    let mut rest = convolutions.into_iter();
    let mut next = || rest.next().unwrap_or_else(|| unreachable!("one for each layer read"));
    let stem = next();
    let blocks = BLOCKS.iter().map(|(_, halves)| Block { halves: *halves, first: next(), second: next() }).collect();
    ResNet { mean, stem, blocks, projection }
}

fn input_layer(reader: &mut Reader<'_>) -> Result<[f32; 3]> {
    reader.name("input_rgb_image_sized")?;
    let mean =
        [reader.float("mean red")? as f32, reader.float("mean green")? as f32, reader.float("mean blue")? as f32];
    reader.exactly("input rows", INPUT as i64)?;
    reader.exactly("input columns", INPUT as i64)?;
    Ok(mean)
}

fn convolution(reader: &mut Reader<'_>, shape: Shape) -> Result<Convolution> {
    let Shape { outputs, inputs, kernel, stride, padding } = shape;
    reader.name("con_4")?;
    let filters = outputs * inputs * kernel * kernel;
    let mut weights = reader.tensor("convolution", filters + outputs)?;
    let biases = weights.split_off(filters);
    reader.exactly("filters", outputs as i64)?;
    for _ in 0..2 {
        reader.exactly("kernel size", kernel as i64)?;
    }
    for _ in 0..2 {
        reader.exactly("stride", stride as i64)?;
    }
    for _ in 0..2 {
        reader.exactly("padding", padding as i64)?;
    }
    let kernel_size = kernel as i64;
    reader.alias("filter shape", [outputs as i64, inputs as i64, kernel_size, kernel_size])?;
    reader.alias("bias shape", [1, outputs as i64, 1, 1])?;
    multipliers(reader)?;
    Ok(Convolution { outputs, inputs, kernel, stride, padding, weights, biases })
}

fn fold_affine(reader: &mut Reader<'_>, into: &mut Convolution) -> Result<()> {
    let channels = into.outputs;
    reader.name("affine_")?;
    let gamma_beta = reader.tensor("affine", 2 * channels)?;
    for _ in 0..2 {
        reader.alias("affine shape", [1, channels as i64, 1, 1])?;
    }
    reader.exactly("affine mode", 0)?;
    let (gammas, betas) = gamma_beta.split_at(channels);
    let per_filter = into.inputs * into.kernel * into.kernel;
    for (filter, gamma) in into.weights.chunks_exact_mut(per_filter).zip(gammas) {
        for weight in filter {
            *weight *= gamma;
        }
    }
    for ((bias, gamma), beta) in into.biases.iter_mut().zip(gammas).zip(betas) {
        *bias = *bias * gamma + beta;
    }
    Ok(())
}

fn fully_connected(reader: &mut Reader<'_>) -> Result<Vec<f32>> {
    reader.name("fc_2")?;
    reader.exactly("outputs", OUTPUT as i64)?;
    reader.exactly("inputs", FEATURES as i64)?;
    let weights = reader.tensor("projection", FEATURES * OUTPUT)?;
    reader.alias("projection shape", [FEATURES as i64, OUTPUT as i64, 1, 1])?;
    // There are no biases, and their shape is empty or not by the writer's version.
    reader.exactly("alias version", 1)?;
    for _ in 0..4 {
        reader.int("projection bias shape")?;
    }
    reader.exactly("bias mode", 1)?;
    multipliers(reader)?;
    Ok(weights)
}

fn pool(reader: &mut Reader<'_>, expected: [i64; 6]) -> Result<()> {
    for value in expected {
        reader.exactly("pooling window", value)?;
    }
    Ok(())
}

/// Learning-rate and weight-decay multipliers: of use to training alone.
fn multipliers(reader: &mut Reader<'_>) -> Result<()> {
    for _ in 0..4 {
        reader.float("training multiplier")?;
    }
    Ok(())
}

/// What dlib stores about a layer's run time: three flags and two empty tensors.
fn layer_state(reader: &mut Reader<'_>) -> Result<()> {
    for _ in 0..3 {
        reader.boolean("layer flag")?;
    }
    reader.tensor("input gradient", 0)?;
    reader.tensor("cached output", 0)?;
    Ok(())
}
