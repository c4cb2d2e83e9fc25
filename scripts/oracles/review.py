"""ReviewKD's parts (Chen, Liu, Zhao and Jia 2021) in PyTorch, and their golden values.

    python scripts/oracles/review.py    writes crates/kd-core/tests/golden/review.json

All is computed in float64. Inputs are formulas, g(shape, a, b)[i] = sin(a*i + b) over the row-major index i. A convolution's weight or
bias that stands at place p of PLACES, counted from 0, is 0.3*g(shape, 0.37, 0.1*(p + 1)) in every fusion; batch-norms start at 1 and 0, in
training mode. Gradients are those of the sum of all outputs y and r of a chain, each times g(shape, 1.9, 0.3).
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

PLACES = ["conv1.0.weight", "conv1.1.weight", "conv1.1.bias", "conv2.0.weight", "conv2.1.weight", "conv2.1.bias", "att_conv.0.weight", "att_conv.0.bias"]


def resized(x, side):
    return x if x.shape[2:] == (side, side) else F.interpolate(x, (side, side), mode="nearest")


class Fusion(nn.Module):
    """Attention-based fusion (ABF) of a level's features with the residual of the level below it.

    Returns the features brought to the teacher's shape, and this level's residual: the fused map before its second convolution. The
    names are those of the published checkpoints.
    """

    def __init__(self, cin, mid, cout, fuse):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(cin, mid, 1, bias=False), nn.BatchNorm2d(mid))
        self.conv2 = nn.Sequential(nn.Conv2d(mid, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout))
        self.att_conv = nn.Sequential(nn.Conv2d(2 * mid, 2, 1), nn.Sigmoid()) if fuse else None
        for layer in (self.conv1[0], self.conv2[0]):
            nn.init.kaiming_uniform_(layer.weight, a=1)

    def forward(self, x, residual, side, out):
        x = self.conv1(x)
        if self.att_conv is not None:
            residual = resized(residual, side)
            gates = self.att_conv(torch.cat([x, residual], 1))
            x = x * gates[:, :1] + residual * gates[:, 1:]
        x = resized(x, out)
        return self.conv2(x), x


class Review(nn.Module):
    """The fusions of a pair of networks. `forward` takes the student's taps from shallow to deep and returns maps in that order."""

    def __init__(self, cin, cout, sides, outs):
        """Channels of the student's and of the teacher's taps, and the sides of both, from shallow to deep."""
        super().__init__()
        mid, deepest = min(512, cin[-1]), len(cin) - 1
        self.abfs = nn.ModuleList(Fusion(cin[i], mid, cout[i], fuse=i < deepest) for i in range(deepest, -1, -1))
        self.sides, self.outs = sides[::-1], outs[::-1]

    def forward(self, taps):
        maps, residual = [], None
        for abf, x, side, out in zip(self.abfs, taps[::-1], self.sides, self.outs):
            y, residual = abf(x, residual, side, out)
            maps.insert(0, y)
        return maps


def hcl(student, teacher):
    """Hierarchical context loss of one level: mean squares of the maps and of their averages over 4x4, 2x2 and 1x1 parts."""
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for side in (4, 2, 1):
        if side < student.shape[2]:
            weight /= 2
            loss = loss + weight * F.mse_loss(F.adaptive_avg_pool2d(student, side), F.adaptive_avg_pool2d(teacher, side))
            total += weight
    return loss / total


def g(shape, a, b):
    return torch.sin(a * torch.arange(math.prod(shape), dtype=torch.float64) + b).reshape(shape)


def flat(x):
    return [float(f"{v:.9g}") for v in x.detach().double().flatten().tolist()]


def sums(x):
    return {"sum": x.sum().item(), "abs": x.abs().sum().item(), "squares": x.square().sum().item()}


def chain(levels):
    """Runs fusions from the deepest on: (shape of the input, its a and b, mid, cout, side, out) of each."""
    inputs, outputs, residual, made = [], {}, None, []
    for k, (shape, a, b, mid, cout, side, out) in enumerate(levels):
        abf = Fusion(shape[1], mid, cout, fuse=k > 0).double().train()
        for name, value in abf.named_parameters():
            if not name.endswith(("1.weight", "1.bias")):
                value.data = 0.3 * g(tuple(value.shape), 0.37, 0.1 * (PLACES.index(name) + 1))
        inputs.append(g(shape, a, b).requires_grad_())
        outputs[f"y{k}"], residual = abf(inputs[-1], residual, side, out)
        outputs[f"r{k}"] = residual
        made.append(abf)
    sum((x * g(tuple(x.shape), 1.9, 0.3)).sum() for x in outputs.values()).backward()
    return {
        "levels": [dict(zip(["shape", "a", "b", "mid", "out_channels", "side", "out"], level)) for level in levels],
        "outputs": {name: {"shape": list(x.shape), **sums(x), "values": flat(x)} for name, x in outputs.items()},
        "input_gradients": [flat(x.grad) for x in inputs],
        "gradients": {f"abf{k}.{name}": flat(value.grad) for k, abf in enumerate(made) for name, value in abf.named_parameters()},
        "running": {f"abf{k}.{name}": flat(v) for k, abf in enumerate(made) for name, v in abf.named_buffers() if v.is_floating_point()},
    }


def contexts():
    out = {}
    fs, ft = g((4, 6, 8, 8), 0.013, 0.2), g((4, 6, 8, 8), 0.017, 0.9)
    for side in (8, 4, 2, 1):
        x = fs[:, :, :side, :side].clone().requires_grad_()
        value = hcl(x, ft[:, :, :side, :side])
        value.backward()
        out[str(side)] = {"value": value.item(), "gradient": flat(x.grad)}
    return out


def main():
    golden = {
        "torch": torch.__version__,
        "hcl": contexts(),
        "chains": {
            "resized": chain([((2, 6, 4, 4), 0.21, 0.3, 5, 7, 4, 4), ((2, 4, 8, 8), 0.05, 0.8, 5, 3, 8, 16)]),
            "same-size": chain([((2, 3, 4, 4), 0.21, 0.3, 4, 5, 4, 4), ((2, 2, 4, 4), 0.05, 0.8, 4, 3, 4, 4)]),
        },
    }
    path = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/review.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
