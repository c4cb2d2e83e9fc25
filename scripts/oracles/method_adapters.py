"""Terms of the methods with trained adapters, and their gradients, from the formulas, in float64.

    python scripts/oracles/method_adapters.py    writes crates/kd-core/tests/golden/method_adapters.json

Features and adapters are formulas of their names (`noise` and `formula` in cifar_networks.py). A gradient is kept as its norm and its
products with a few fixed vectors.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

from cifar_networks import formula, noise, sketch

BATCH = 3
# resnet8 and resnet8x4: channels and sides of the stages.
STUDENT, TEACHER = [(16, 32), (32, 16), (64, 8)], [(64, 32), (128, 16), (256, 8)]


def features(who, shape):
    return noise((BATCH, *shape), who)


def leaf(x):
    return x.clone().requires_grad_(True)


def variable(name, shape):
    return leaf(0.2 * noise(shape, name) if name.endswith(("log_scale", "bias")) else formula(name, shape))


def record(value, leaves):
    value.backward()
    return {"value": value.item(), "grads": {name: sketch(x.grad, name) for name, x in leaves.items()}}


def vid(eps=1e-5):
    """Per stage: three 1x1 convolutions without bias, ReLU between them, and a log-scale a channel."""
    leaves, total = {}, 0
    for i, ((cs, side), (ct, _)) in enumerate(zip(STUDENT, TEACHER), 1):
        x = leaves[f"student.stage{i}"] = leaf(features(f"student.stage{i}", (cs, side, side)))
        t = features(f"teacher.stage{i}", (ct, side, side))
        for j, cin in zip((0, 2, 4), (cs, ct, ct)):
            w = leaves[f"method.stage{i}.regressor.{j}.weight"] = variable(f"method.stage{i}.regressor.{j}.weight", (ct, cin, 1, 1))
            x = F.conv2d(x if j == 0 else F.relu(x), w)
        a = leaves[f"method.stage{i}.log_scale"] = variable(f"method.stage{i}.log_scale", (ct,))
        variance = ((1 + a.exp()).log() + eps).view(1, -1, 1, 1)
        total = total + (0.5 * ((x - t) ** 2 / variance + variance.log())).mean()
    return record(total, leaves)


def cc(width=128):
    """A linear embedding of either's pooled vector; the products of the distances of neighbours."""
    leaves, embedded = {}, {}
    for who, name, features_of in (("student", "embed_s", STUDENT), ("teacher", "embed_t", TEACHER)):
        channels = features_of[-1][0]
        x = features(f"{who}.pooled", (channels,))
        if who == "student":
            x = leaves["student.pooled"] = leaf(x)
        w = leaves[f"method.{name}.weight"] = variable(f"method.{name}.weight", (width, channels))
        b = leaves[f"method.{name}.bias"] = variable(f"method.{name}.bias", (width,))
        embedded[who] = x @ w.t() + b
    d = (embedded["student"] - embedded["teacher"]).abs()
    return record((d[:-1] * d[1:]).sum(1).mean(), leaves)


def main():
    golden = {"torch": torch.__version__, "batch": BATCH, "vid": vid(), "cc": cc()}
    path = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/method_adapters.json"
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
