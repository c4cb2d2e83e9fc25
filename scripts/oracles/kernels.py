"""Golden values of kd-kernels: softmax, losses with their gradients, and steps of the optimisers.

Writes crates/kd-kernels/tests/golden/kernels.json. Softmax and losses run in float64; optimisers in float32, as the
kernels do, and in float64.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parents[2] / "crates/kd-kernels/tests/golden/kernels.json"

torch.set_num_threads(1)


def g(shape, a, b):
    """sin(a·i + b) over the row-major index i, as float64."""
    n = math.prod(shape)
    return torch.tensor([math.sin(a * i + b) for i in range(n)], dtype=torch.float64).reshape(shape)


def flat(t):
    """The values with as many digits as their dtype holds."""
    digits = ".9g" if t.dtype == torch.float32 else ".16g"
    return [float(format(x, digits)) for x in t.detach().double().flatten().tolist()]


def value_and_grad(f, x):
    x = x.clone().requires_grad_(True)
    value = f(x)
    value.backward()
    return {"value": value.item(), "grad": flat(x.grad)}


def softmaxes():
    out = {}
    for name, shape, scale in [("rows", (4, 10), 3.0), ("wide", (3, 37), 8.0), ("rank3", (2, 3, 5), 2.0)]:
        x = scale * g(shape, 0.7, 0.1)
        up = g(shape, 1.9, 0.3)
        for op, f in [("softmax", F.softmax), ("log_softmax", F.log_softmax)]:
            leaf = x.clone().requires_grad_(True)
            y = f(leaf, dim=-1)
            (y * up).sum().backward()
            out[f"{op}/{name}"] = {"shape": list(shape), "scale": scale, "value": flat(y), "grad": flat(leaf.grad)}
    return out


def losses():
    zs, zt = 3 * g((4, 10), 0.7, 0.1), 4 * g((4, 10), 1.3, 0.5)
    labels = torch.tensor([2, 0, 7, 9])

    def kd(t):
        def f(z):
            return F.kl_div(F.log_softmax(z / t, 1), F.softmax(zt / t, 1), reduction="batchmean") * t * t

        return f

    out = {"cross_entropy": value_and_grad(lambda z: F.cross_entropy(z, labels), zs)}
    for t in [1.0, 2.5, 4.0, 20.0, 1000.0]:
        out[f"softened_kl/{t:g}"] = {"temperature": t, **value_and_grad(kd(t), zs)}
    return out


SHAPE, STEPS = (5, 7), 4


def optimisers():
    """Weights after each of STEPS steps with gradients g(SHAPE, 0.9 + 0.1·step, 0.2), from 0.5·g(SHAPE, 0.37, 0.6)."""
    cases = {
        "sgd/plain": (torch.optim.SGD, dict(lr=0.1)),
        "sgd/decay": (torch.optim.SGD, dict(lr=0.1, weight_decay=0.01)),
        "sgd/momentum": (torch.optim.SGD, dict(lr=0.05, momentum=0.9)),
        "sgd/momentum-decay": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, weight_decay=5e-4)),
        "sgd/nesterov": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True)),
        "sgd/nesterov-decay": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)),
        "adam/plain": (torch.optim.Adam, dict(lr=1e-2)),
        "adam/l2": (torch.optim.Adam, dict(lr=1e-2, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-6)),
        "adamw/default": (torch.optim.AdamW, dict(lr=1e-2)),
        "adamw/strong": (torch.optim.AdamW, dict(lr=5e-2, weight_decay=0.3, betas=(0.8, 0.95), eps=1e-6)),
    }
    out = {}
    for name, (optimiser, options) in cases.items():
        record = {"options": {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}}
        for dtype in [torch.float32, torch.float64]:
            w = (0.5 * g(SHAPE, 0.37, 0.6)).to(dtype).requires_grad_(True)
            opt = optimiser([w], foreach=False, **options)
            trajectory = []
            for step in range(STEPS):
                w.grad = g(SHAPE, 0.9 + 0.1 * step, 0.2).to(dtype)
                opt.step()
                trajectory.append(flat(w))
            key = "f32" if dtype == torch.float32 else "f64"
            record[key] = trajectory
            state = opt.state[w]
            buffers = {k: flat(v) for k, v in state.items() if torch.is_tensor(v) and v.shape == w.shape}
            record[f"{key}_state"] = buffers
        out[name] = record
    return out


def max_norm():
    w = 2 * g((6, 9), 0.37, 0.6) * torch.tensor([0.1, 0.5, 1.0, 2.0, 0.0, 5.0], dtype=torch.float64)[:, None]
    return {"cap": 1.5, "value": flat(torch.renorm(w, 2, 0, 1.5))}


def main():
    golden = {"torch": torch.__version__, "softmax": softmaxes(), "loss": losses(), "optimiser": optimisers(), "max_norm": max_norm()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
