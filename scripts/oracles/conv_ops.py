"""Golden values of kd-kernels' ops on images: values and gradients of convolution, batch normalisation, pooling, upsampling and shuffle.

Writes crates/kd-kernels/tests/golden/conv_ops.json. All in float64; the upstream gradient of a result is g(its shape, 1.9, 0.3).
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parents[2] / "crates/kd-kernels/tests/golden/conv_ops.json"

torch.set_num_threads(1)


def g(shape, a, b):
    """sin(a·i + b) over the row-major index i, as float64."""
    n = math.prod(shape)
    return torch.tensor([math.sin(a * i + b) for i in range(n)], dtype=torch.float64).reshape(shape)


def flat(t):
    return [float(format(x, ".12g")) for x in t.detach().flatten().tolist()]


def case(f, shapes, **options):
    """Value and gradients of f; input i is g(shape, 0.7 + 0.2·i, 0.1 + i)."""
    inputs = [g(s, 0.7 + 0.2 * i, 0.1 + i).requires_grad_(True) for i, s in enumerate(shapes)]
    y = f(*inputs)
    grads = torch.autograd.grad((y * g(y.shape, 1.9, 0.3)).sum(), inputs)
    shapes = [list(s) for s in shapes]
    return {"shapes": shapes, **options, "value": flat(y), "grads": [flat(x) for x in grads]}


def convolutions():
    out = []
    for x, w, bias, stride, padding, groups in [
        ((2, 3, 6, 5), (4, 3, 3, 3), False, 1, 1, 1),
        ((2, 4, 7, 8), (6, 4, 3, 3), True, 2, 1, 1),
        ((1, 4, 5, 5), (6, 2, 1, 1), True, 1, 0, 2),
        ((2, 3, 6, 6), (3, 1, 3, 3), False, 2, 1, 3),
        ((1, 2, 8, 8), (3, 2, 5, 5), False, 3, 2, 1),
    ]:
        shapes = [x, w] + ([(w[0],)] if bias else [])
        f = lambda x, w, b=None: F.conv2d(x, w, b, stride=stride, padding=padding, groups=groups)
        out.append(case(f, shapes, stride=stride, padding=padding, groups=groups))
    return out


def batch_norms():
    """Inputs x, weight, bias and, with `residual`, a residual. Running mean g((c,), 0.5, 0.2), running variance 1 + that squared."""
    out = []
    for shape, training, residual, relu in [
        ((3, 4, 3, 3), True, False, True),
        ((3, 4, 3, 3), True, True, True),
        ((7, 5), True, False, False),
        ((3, 4, 3, 3), False, True, True),
        ((2, 3, 2, 4), False, False, False),
    ]:
        c = (shape[1],)
        mean, var = g(c, 0.5, 0.2), 1 + g(c, 0.5, 0.2) ** 2

        def f(x, w, b, r=None):
            y = F.batch_norm(x, mean, var, w, b, training=training, momentum=0.1, eps=1e-5)
            y = y if r is None else y + r
            return F.relu(y) if relu else y

        made = case(f, [shape, c, c] + ([shape] if residual else []), training=training, residual=residual, relu=relu)
        out.append({**made, "mean": flat(mean), "var": flat(var)})
    return out


def poolings():
    out = []
    for kernel, stride, padding in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 3, 0), (2, 1, 1)]:
        options = dict(kernel=kernel, stride=stride, padding=padding)
        args = (kernel, stride, padding)
        shapes = [(2, 2, 7, 6)]
        out.append(case(lambda x: F.max_pool2d(x, *args), shapes, op="max", **options))
        for include in [False, True]:
            f = lambda x: F.avg_pool2d(x, *args, count_include_pad=include)
            out.append(case(f, shapes, op="avg", count_include_pad=include, **options))
    return out


def upsamplings():
    sizes = [((2, 2, 3, 4), (9, 12)), ((1, 3, 2, 2), (10, 6)), ((1, 2, 4, 4), (8, 8)), ((1, 2, 3, 5), (4, 7)), ((1, 1, 6, 6), (4, 3))]
    return [case(lambda x: F.interpolate(x, size=size, mode="nearest"), [shape], size=list(size)) for shape, size in sizes]


def shuffles():
    return [case(lambda x: F.channel_shuffle(x, groups), [(2, 6, 2, 3)], groups=groups) for groups in [1, 2, 3, 6]]


def main():
    golden = {
        "torch": torch.__version__,
        "conv2d": convolutions(),
        "batch_norm": batch_norms(),
        "pool": poolings(),
        "upsample": upsamplings(),
        "shuffle": shuffles(),
    }
    OUT.write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
