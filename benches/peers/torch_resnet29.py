#!/usr/bin/env python3
"""The embedder of the default model pack in PyTorch, to measure our forward pass against.

Reads dlib_face_recognition_resnet_model_v1.dat by itself, builds the same network (29 convolutions with their
affine layers folded in) and measures it eagerly and compiled, in single and half
precision, in both memory layouts, at several batch sizes. One JSON line for each, the best of each mode at the end.

    torch_resnet29.py WEIGHTS.dat [--device cuda|cpu] [--seconds 1] [--batches 1,8,32,...] [--no-compile]
                      [--check CHIPS.npz REFERENCE.json]

--check compares embeddings of reference chips with reference values instead of measuring.
"""

import argparse
import json
import struct
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as error:
    sys.exit(f"skipped: PyTorch is not installed here ({error})")

MEAN = (122.782, 117.001, 104.298)
# Channels and blocks of each stage; all but the first begin with a block that halves the picture.
STAGES = ((32, 3), (64, 3), (128, 2), (256, 2), (256, 0))


class Reader:
    """dlib's serialisation of numbers and tensors."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise ValueError("the file ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def integer(self):
        control = self.take(1)[0]
        size = control & 15
        if control & 0x70 or not 1 <= size <= 8:
            raise ValueError(f"malformed integer at byte {self.at - 1}")
        value = int.from_bytes(self.take(size), "little")
        return -value if control & 0x80 else value

    def real(self):
        mantissa, exponent = self.integer(), self.integer()
        return float(mantissa) * 2.0**exponent

    def flag(self):
        return self.take(1) == b"1"

    def string(self):
        return self.take(self.integer()).decode("ascii")

    def tensor(self):
        if self.integer() != 2:
            raise ValueError("a tensor of another version")
        shape = [self.integer() for _ in range(4)]
        count = shape[0] * shape[1] * shape[2] * shape[3]
        return torch.tensor(struct.unpack(f"<{count}f", self.take(4 * count)), dtype=torch.float32)

    def alias(self):
        if self.integer() != 1:
            raise ValueError("a tensor's shape of another version")
        return [self.integer() for _ in range(4)]


def read(path):
    """Folded convolutions in order from the picture, and the projection."""
    with open(path, "rb") as file:
        reader = Reader(file.read())
    if reader.integer() != 1 or reader.string() != "loss_metric_2":
        raise ValueError("not a network trained by dlib's metric loss")
    reader.real(), reader.real()
    # One version number for each nested layer, outermost first, then the input layer's name.
    while reader.data[reader.at + 2 : reader.at + 2 + 21] != b"input_rgb_image_sized":
        reader.integer()
    convolutions, projection = [], None

    def finish(innermost):
        for _ in range(3):
            reader.flag()
        for _ in range(3):
            reader.tensor()
        if innermost:
            reader.integer()

    assert reader.string() == "input_rgb_image_sized"
    mean = [reader.real() for _ in range(3)]
    assert [reader.integer(), reader.integer()] == [150, 150]
    innermost = True
    while projection is None:
        name = reader.string()
        if name == "con_4":
            values = reader.tensor()
            outputs, rows, columns = (reader.integer() for _ in range(3))
            stride = (reader.integer(), reader.integer())
            padding = (reader.integer(), reader.integer())
            shape = reader.alias()
            reader.alias()
            for _ in range(4):
                reader.real()
            count = shape[0] * shape[1] * shape[2] * shape[3]
            assert shape[0] == outputs and shape[2:] == [rows, columns]
            convolutions.append([values[:count].reshape(shape), values[count:], stride, padding])
        elif name == "affine_":
            values = reader.tensor()
            reader.alias(), reader.alias(), reader.integer()
            gamma, beta = values.chunk(2)
            last = convolutions[-1]
            last[0], last[1] = last[0] * gamma.reshape(-1, 1, 1, 1), last[1] * gamma + beta
        elif name in ("max_pool_2", "avg_pool_2"):
            for _ in range(6):
                reader.integer()
        elif name == "fc_2":
            outputs, inputs = reader.integer(), reader.integer()
            values = reader.tensor()
            projection = values[: outputs * inputs].reshape(inputs, outputs)
            break
        elif name not in ("relu_", "add_prev_"):
            raise ValueError(f"unexpected layer {name}")
        finish(innermost)
        innermost = False
    return mean, convolutions, projection


class Block(nn.Module):
    def __init__(self, first, second, halves):
        super().__init__()
        self.first, self.second, self.halves = first, second, halves

    def forward(self, x):
        y = self.second(F.relu(self.first(x), inplace=True))
        if not self.halves:
            return F.relu(y + x)
        z = F.avg_pool2d(x, 2, 2)
        # dlib adds unequal tensors by extending both with zeros at the end of each dimension.
        rows, columns = max(y.shape[2], z.shape[2]), max(y.shape[3], z.shape[3])
        y = F.pad(y, (0, columns - y.shape[3], 0, rows - y.shape[2]))
        z = F.pad(z, (0, columns - z.shape[3], 0, rows - z.shape[2], 0, y.shape[1] - z.shape[1]))
        return F.relu(y + z)


class ResNet29(nn.Module):
    def __init__(self, convolutions, projection):
        super().__init__()
        made = iter(self.convolution(*values) for values in convolutions)
        self.stem = next(made)
        blocks = []
        for index, (_, count) in enumerate(STAGES):
            if index > 0:
                blocks.append(Block(next(made), next(made), True))
            blocks.extend(Block(next(made), next(made), False) for _ in range(count))
        assert next(made, None) is None, "more convolutions than the network has"
        self.blocks = nn.Sequential(*blocks)
        self.projection = nn.Parameter(projection, requires_grad=False)

    @staticmethod
    def convolution(weights, biases, stride, padding):
        outputs, inputs, rows, columns = weights.shape
        layer = nn.Conv2d(inputs, outputs, (rows, columns), stride, padding)
        layer.weight, layer.bias = nn.Parameter(weights, False), nn.Parameter(biases, False)
        return layer

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x), inplace=True), 3, 2)
        return self.blocks(x).mean((2, 3)) @ self.projection


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def measure(network, batch, dtype, layout, device, seconds):
    x = torch.rand(batch, 3, 150, 150, dtype=dtype, device=device).to(memory_format=layout)
    for _ in range(3):
        network(x)
    wait(device)
    passes, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(4):
            network(x)
            passes += 1
        wait(device)
    return passes * batch / (time.perf_counter() - start)


def check(network, mean, chips, reference):
    import numpy

    chips = numpy.load(chips)
    with open(reference, encoding="utf-8") as file:
        images = json.load(file)["images"]
    worst, count = 0.0, 0
    for name, image in images.items():
        for index, face in enumerate(image["faces"]):
            key = f"{name}#{index}"
            if key not in chips:
                continue
            pixels = torch.tensor(chips[key]).float()
            x = ((pixels - torch.tensor(mean)) / 256).permute(2, 0, 1)[None]
            with torch.inference_mode():
                ours = network(x)[0]
            worst = max(worst, (ours - torch.tensor(face["embedding"])).abs().max().item())
            count += 1
    print(json.dumps({"check": "reference embeddings", "count": count, "largest_difference": worst}))
    return 0 if count > 0 and worst < 1e-4 else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--batches", default=None)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--check", nargs=2, metavar=("CHIPS", "REFERENCE"))
    options = parser.parse_args()
    mean, convolutions, projection = read(options.weights)
    if options.check:
        return check(ResNet29(convolutions, projection).eval(), mean, *options.check)

    cuda = options.device == "cuda"
    default = "32,128,256,512,1024" if cuda else "1,8,32"
    batches = [int(text) for text in (options.batches or default).split(",")]
    torch.backends.cudnn.benchmark = True
    print(json.dumps({"peer": "torch", "version": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu"}))
    best = {}
    modes = ["eager"] + ([] if options.no_compile else ["compiled"])
    for mode in modes:
        for dtype in (torch.float16, torch.float32) if cuda else (torch.float32,):
            # TF32 is PyTorch's own default for convolutions and stays on: its best is what counts.
            for layout in (torch.channels_last, torch.contiguous_format):
                if mode == "compiled" and layout == torch.contiguous_format:
                    continue
                for batch in batches:
                    network = ResNet29(convolutions, projection).eval()
                    network = network.to(options.device, dtype).to(memory_format=layout)
                    if mode == "compiled":
                        torch._dynamo.reset()
                        network = torch.compile(network, mode="max-autotune-no-cudagraphs" if not cuda else "reduce-overhead")
                    line = {"peer": "torch", "mode": mode, "dtype": str(dtype)[6:], "layout": str(layout)[6:], "batch": batch}
                    try:
                        line["faces_per_second"] = measure(network, batch, dtype, layout, options.device, options.seconds)
                        best[mode] = max(best.get(mode, 0.0), line["faces_per_second"])
                    except Exception as error:  # one variant must not cost the others their turn
                        line["error"] = str(error).splitlines()[0][:200]
                    print(json.dumps(line), flush=True)
    print(json.dumps({"peer": "torch", "best": best}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
