"""Golden trajectories of image networks: losses of ten optimiser steps, and sketches of the first step's gradients.

    python scripts/oracles/conv_trajectory.py    writes crates/kd-core/tests/golden/conv_trajectory.json

Networks and noise are those of `cifar_networks.py`; all is computed in float64, and how far PyTorch's own float32 is from it stands
beside it. A gradient is kept as its norm and its products with eight vectors of noise in [-1, 1): for another gradient, the mean square of
the differences of the products, times 3, estimates the square of the distance.

A ReLU whose input is within rounding of 0 switches a whole term of the gradient on or off, in float32 of any kind. The first batch is
the one, of a few dozen, whose ReLU inputs keep farthest from 0 in units of their layer's rounding (exact zeros left out), and biases of
batch-norms keep away from 0; above it where there are depthwise convolutions, because there a channel that is off everywhere leaves the
next batch-norm no variance to divide by.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

import cifar_networks
from cifar_networks import NETWORKS, noise

# Batch and learning rate.
RECIPES = {
    "resnet20": (8, 0.02),
    "wrn-16-2": (8, 0.02),
    "vgg8": (8, 0.02),
    "mobilenet-v2": (8, 0.005),
    "shufflenet-v1": (4, 0.0005),
}
DEPTHWISE = {"mobilenet-v2", "shufflenet-v1"}
STEPS, CANDIDATES, PROJECTIONS = 10, 40, 8


def formula(name, shape, depthwise):
    """The value of a parameter or running statistic, in float64."""
    u = noise(shape, name)
    kind = name.rsplit(".", 1)[-1]
    if len(shape) > 1:
        return cifar_networks.formula(name, shape)
    if name.startswith(("fc", "linear", "classifier")):
        return 0.2 * u
    away = u.abs() + 0.5
    return {"weight": 0.4 + 0.1 * u, "bias": away if depthwise else away * torch.sign(u), "running_mean": 0 * u, "running_var": 1 + 0 * u}[kind]


def network(name, dtype):
    made = NETWORKS[name]()
    state = made.state_dict()
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            state[key] = formula(key, tuple(value.shape), name in DEPTHWISE).float()
    made.load_state_dict(state, strict=True)
    return made.to(dtype).train()


def batch(name, step, seed):
    count = RECIPES[name][0]
    images = (1.5 * noise((count, 3, 32, 32), f"images.{step}", seed)).float()
    return images, torch.tensor([(7 * i + 3 * step) % 100 for i in range(count)])


def relu_inputs(made, images):
    seen, relu = [], F.relu

    def see(x, inplace=False):
        seen.append(x.double())
        return relu(x)

    F.relu = see
    with torch.no_grad():
        made(images)
    F.relu = relu
    return seen


def margin(name, seed):
    """The smallest ReLU input in units of its layer's rounding, exact zeros left out."""
    images, _ = batch(name, 0, seed)
    smallest = torch.inf
    exact = relu_inputs(network(name, torch.float64), images.double())
    for x, rounded in zip(exact, relu_inputs(network(name, torch.float32), images)):
        size = torch.where(x == 0, torch.inf, x.abs()).min()
        smallest = min(smallest, (size / (x - rounded).square().mean().sqrt()).item())
    return smallest


def trajectory(name, seed, dtype):
    made = network(name, dtype)
    sgd = torch.optim.SGD(made.parameters(), lr=RECIPES[name][1], momentum=0.9, nesterov=True, weight_decay=5e-4)
    losses, gradients = [], {}
    for step in range(STEPS):
        images, labels = batch(name, step, seed if step == 0 else 0)
        loss = F.cross_entropy(made(images.to(dtype))[0], labels)
        sgd.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {key: value.grad.double().flatten() for key, value in made.named_parameters()}
        sgd.step()
        losses.append(loss.item())
    return losses, gradients


def sketch(name, x):
    products = [(x * noise(x.shape, name, seed + 1)).sum().item() for seed in range(PROJECTIONS)]
    return [float(f"{v:.9g}") for v in [x.norm().item()] + products]


def main():
    golden = {"torch": torch.__version__, "networks": {}}
    for name, (count, learning_rate) in RECIPES.items():
        margins = [margin(name, seed) for seed in range(CANDIDATES)]
        seed = max(range(CANDIDATES), key=lambda i: margins[i])
        losses, gradients = trajectory(name, seed, torch.float64)
        losses32, gradients32 = trajectory(name, seed, torch.float32)
        # A bias before a batch-norm has a gradient of 0, which has no relative error.
        real = [key for key, value in gradients.items() if value.norm() > 1e-9]
        golden["networks"][name] = {
            "batch": count,
            "learning_rate": learning_rate,
            "seed": seed,
            "margin": margins[seed],
            "losses": losses,
            "gradients": {key: sketch(key, value) for key, value in gradients.items()},
            "float32": {
                "loss": max(abs(a - b) / a for a, b in zip(losses, losses32)),
                "gradient": max(((gradients[key] - gradients32[key]).norm() / gradients[key].norm()).item() for key in real),
            },
        }
        print(name, seed, margins[seed], golden["networks"][name]["float32"], losses[0], losses[-1], flush=True)
    path = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/conv_trajectory.json"
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
