"""Golden trajectory of a small multi-layer perceptron: losses of ten optimiser steps, and the first step's gradients.

    python scripts/oracles/mlp_trajectory.py    writes crates/kd-core/tests/golden/mlp_trajectory.json

Inputs are formulas, g(shape, a, b)[i] = sin(a*i + b) over the row-major index i, in float64, rounded once to float32: both
sides compute them. The losses are those of distillation at T = 4 with weight 1 and of the labels with weight 0.1.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

WIDTHS = [12, 16, 14, 5]
BATCH, STEPS, TEMPERATURE, HARD = 8, 10, 4.0, 0.1


def g(shape, a, b):
    n = 1
    for side in shape:
        n *= side
    return torch.sin(a * torch.arange(n, dtype=torch.float64) + b).reshape(shape).float()


def parameters():
    made = {}
    for i, (inner, out) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        made[f"layers.{i}.weight"] = (0.4 * g((out, inner), 0.37, 0.1 * (i + 1))).requires_grad_()
        made[f"layers.{i}.bias"] = (0.1 * g((out,), 0.91, 0.2 * (i + 1))).requires_grad_()
    return made


def logits(p, xs):
    for i in range(len(WIDTHS) - 1):
        xs = xs @ p[f"layers.{i}.weight"].T + p[f"layers.{i}.bias"]
        if i < len(WIDTHS) - 2:
            xs = F.relu(xs)
    return xs


def trajectory(make_optimizer):
    p = parameters()
    optimizer = make_optimizer(list(p.values()))
    losses, gradients = [], {}
    for step in range(STEPS):
        xs = g((BATCH, WIDTHS[0]), 0.13, 0.5 * step)
        teacher = 4 * g((BATCH, WIDTHS[-1]), 1.3, 0.3 * step)
        labels = torch.tensor([(3 * i + step) % WIDTHS[-1] for i in range(BATCH)])
        zs = logits(p, xs)
        soft = F.kl_div(F.log_softmax(zs / TEMPERATURE, 1), F.softmax(teacher / TEMPERATURE, 1), reduction="batchmean")
        loss = TEMPERATURE**2 * soft + HARD * F.cross_entropy(zs, labels)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {name: value.grad.flatten().tolist() for name, value in p.items()}
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "gradients": gradients}


def main():
    golden = {
        "torch": torch.__version__,
        "sgd": trajectory(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)),
        "adam": trajectory(lambda p: torch.optim.Adam(p, lr=0.01)),
    }
    path = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/mlp_trajectory.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
