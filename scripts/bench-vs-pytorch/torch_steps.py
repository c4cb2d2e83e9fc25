"""The PyTorch side: times one training step (or one evaluation pass) of one workload on the CPU.

    python torch_steps.py WORKLOAD --threads N --warmup W --steps S [--mode M]    one JSON line: workload, step_ms, peak_mb
    python torch_steps.py --list                                                  one JSON line a workload: workload, warmup, steps, modes

`step_ms` is the median over the S timed steps, `peak_mb` the peak resident memory of this process in MiB. Written as a
careful PyTorch user would write it; where PyTorch has several idioms for one thing, the faster one that was measured is
used and the choice is recorded in README.md.

A workload is a function that prepares its data and model and returns the step: a function without arguments. It takes
nothing, or the mode to run in where it is registered with some. To add one, write it here under `@workload(...)` and
under the same name in the Rust program.
"""

import argparse
import json
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

import torch_images
import torch_translation

REGISTRY = {}


def workload(name, warmup, steps, modes=()):
    """Registers `build` as the workload `name`, with the number of untimed and timed steps of one process and the modes that it takes."""

    def register(build):
        REGISTRY[name] = (build, warmup, steps, list(modes))
        return build

    return register


TRAIN_IMAGES = 60_000
EVAL_IMAGES = 10_000
SIDE = 28
CLASSES = 10
BATCH = 100
EVAL_BATCH = 1000
JITTER = 2
MAX_NORM = 3.87
TEMPERATURE = 20.0


def random_images(count):
    """`count` flat images of random bytes, (count, 784) u8. The time of a dense step does not depend on the pixels."""
    return torch.randint(0, 256, (count, SIDE * SIDE), dtype=torch.uint8)


class Batches:
    """Endless shuffled batches of row numbers: a new permutation each epoch, the last incomplete batch dropped."""

    def __init__(self, count, batch):
        self.count, self.batch, self.at = count, batch, count
        self.order = None

    def next(self):
        if self.at + self.batch > self.count:
            self.order, self.at = torch.randperm(self.count), 0
        rows = self.order[self.at : self.at + self.batch]
        self.at += self.batch
        return rows


class Jitter:
    """Gathers a batch, each image shifted by whole pixels drawn uniformly from -2..=2 on both axes, zero filled.

    The images are padded once; a shift is then a choice of origin, so a batch is two gathers.
    """

    def __init__(self, images):
        wide = SIDE + 2 * JITTER
        padded = F.pad(images.view(-1, SIDE, SIDE), (JITTER,) * 4)
        self.padded = padded.reshape(len(images), wide * wide)
        inside = (torch.arange(SIDE)[:, None] * wide + torch.arange(SIDE)).reshape(-1)
        span = torch.arange(2 * JITTER + 1)
        origins = (span[:, None] * wide + span).reshape(-1)
        self.columns = origins[:, None] + inside

    def batch(self, rows):
        shifts = torch.randint(0, len(self.columns), (len(rows),))
        return self.padded[rows].gather(1, self.columns[shifts]).float().div_(255)


class UniformDropout(nn.Module):
    """Inverted dropout with a mask from `rand_like`: the same function as nn.Dropout, measured faster on the CPU (README.md)."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, xs):
        if not self.training:
            return xs
        return xs * (torch.rand_like(xs) >= self.rate).to(xs.dtype).mul_(1 / (1 - self.rate))


def linear_layers(model):
    return [layer for layer in model if isinstance(layer, nn.Linear)]


def cap_row_norms(weights, cap):
    """Scales every row (the incoming weights of one unit) whose L2 norm exceeds `cap` down to `cap`, in place."""
    for weight in weights:
        weight.renorm_(2, 0, cap)


def teacher():
    return nn.Sequential(
        UniformDropout(0.2),
        nn.Linear(784, 1200),
        nn.ReLU(inplace=True),
        UniformDropout(0.5),
        nn.Linear(1200, 1200),
        nn.ReLU(inplace=True),
        UniformDropout(0.5),
        nn.Linear(1200, CLASSES),
    )


@workload("mnist-teacher-step", warmup=30, steps=200)
def mnist_teacher_step():
    """784-1200-1200-10 with dropout .2/.5/.5, jittered batch of 100, SGD with momentum, max-norm after the update."""
    jitter = Jitter(random_images(TRAIN_IMAGES))
    labels = torch.randint(0, CLASSES, (TRAIN_IMAGES,))
    batches = Batches(TRAIN_IMAGES, BATCH)
    model = teacher()
    weights = [layer.weight for layer in linear_layers(model)]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)

    def step():
        rows = batches.next()
        xs, ys = jitter.batch(rows), labels[rows]
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(xs), ys).backward()
        optimiser.step()
        with torch.no_grad():
            cap_row_norms(weights, MAX_NORM)

    return step


@workload("mnist-distillation-step", warmup=30, steps=400)
def mnist_distillation_step():
    """784-800-800-10, T^2 KL at T = 20 to stored teacher logits plus 0.1 of the hard loss, batch of 100, SGD with momentum."""
    images = random_images(TRAIN_IMAGES)
    labels = torch.randint(0, CLASSES, (TRAIN_IMAGES,))
    teacher_logits = torch.randn(TRAIN_IMAGES, CLASSES) * 5
    batches = Batches(TRAIN_IMAGES, BATCH)
    model = nn.Sequential(
        nn.Linear(784, 800), nn.ReLU(inplace=True), nn.Linear(800, 800), nn.ReLU(inplace=True), nn.Linear(800, CLASSES)
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)

    def step():
        rows = batches.next()
        xs, ys = images[rows].float().div_(255), labels[rows]
        targets = F.softmax(teacher_logits[rows] / TEMPERATURE, 1)
        optimiser.zero_grad(set_to_none=True)
        logits = model(xs)
        soft = F.kl_div(F.log_softmax(logits / TEMPERATURE, 1), targets, reduction="batchmean") * TEMPERATURE**2
        (soft + 0.1 * F.cross_entropy(logits, ys)).backward()
        optimiser.step()

    return step


@workload("mnist-evaluation", warmup=3, steps=20)
def mnist_evaluation():
    """10,000 images through 784-1200-1200-10 in batches of 1000 without a graph; a step is the whole pass, errors counted."""
    images = random_images(EVAL_IMAGES)
    labels = torch.randint(0, CLASSES, (EVAL_IMAGES,))
    model = teacher().eval()

    @torch.inference_mode()
    def step():
        errors = 0
        for xs, ys in zip(images.split(EVAL_BATCH), labels.split(EVAL_BATCH)):
            errors += (model(xs.float().div_(255)).argmax(1) != ys).sum()
        return int(errors)

    return step


torch_images.register(workload)
torch_translation.register(workload)


def peak_mb():
    """Peak resident memory of this process in MiB: VmHWM on Linux, `ru_maxrss` (bytes) on macOS."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except FileNotFoundError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def median_step_ms(step, warmup, steps):
    device = torch.get_default_device().type
    done = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(device, lambda: None)
    for _ in range(warmup):
        step()
    done()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        done()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return value


def main():
    parser = argparse.ArgumentParser(description="Time one workload in PyTorch.")
    parser.add_argument("workload", nargs="?", metavar="WORKLOAD")
    parser.add_argument("--list", action="store_true", help="name the workloads and their usual step counts")
    parser.add_argument("--mode", help="how to run a workload that has several modes (default: the first)")
    parser.add_argument("--threads", type=positive, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu (the default), cuda, cuda:N or metal; what translates runs on the CPU alone")
    parser.add_argument("--warmup", type=positive, help="untimed steps (default: the workload's)")
    parser.add_argument("--steps", type=positive, help="timed steps (default: the workload's)")
    args = parser.parse_args()
    if args.list:
        for name, (_, warmup, steps, modes) in REGISTRY.items():
            print(json.dumps({"workload": name, "warmup": warmup, "steps": steps, "modes": modes}))
        return
    if args.workload not in REGISTRY:
        sys.exit(f"torch_steps: unknown workload {args.workload!r}; expected one of {', '.join(REGISTRY)}")
    build, warmup, steps, modes = REGISTRY[args.workload]
    if args.mode and args.mode not in modes:
        sys.exit(f"torch_steps: {args.workload}: expected a mode out of {', '.join(modes) or 'none'}, got {args.mode!r}")
    torch.set_num_threads(args.threads)
    device = args.device.replace("metal", "mps")
    if device != "cpu" and args.workload.startswith("translation-"):
        sys.exit(f"torch_steps: {args.workload}: expected --device cpu, got {args.device}")
    torch.set_default_device(device)
    torch.manual_seed(0)
    step = build(args.mode or modes[0]) if modes else build()
    step_ms = median_step_ms(step, args.warmup or warmup, args.steps or steps)
    print(json.dumps({"workload": args.workload, "step_ms": round(step_ms, 4), "peak_mb": round(peak_mb(), 1)}))


if __name__ == "__main__":
    main()
