"""Networks of images in PyTorch: training steps, evaluation passes and whole distillation steps, each in several modes.

A mode is a way to run the same step: `eager`; `channels-last`; `compile`, which is channels-last through torch.compile; and `bfloat16`,
channels-last under autocast. The networks and the parts of ReviewKD are those of the oracles that check ours.
"""

import functools
import itertools
import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracles"))
from cifar_networks import NETWORKS  # noqa: E402
from review import Review, hcl  # noqa: E402

MODES = ["eager", "channels-last", "compile", "bfloat16"]
CLASSES, BATCHES = 100, 4
EVALUATED, EVALUATED_AT_ONCE = 2000, 200
LARGER = {"resnet32x4", "wrn-40-2", "vgg13"}
DISTILLED = 128
STAGES = ["stage1", "stage2", "stage3"]


def in_layout(mode, x):
    return x.to(memory_format=torch.contiguous_format if mode == "eager" else torch.channels_last)


def network(name, mode):
    return in_layout(mode, NETWORKS[name]())


def in_mode(mode, f, frozen=False):
    """`f` as the mode runs it. `frozen`: it trains nothing and its weights stay, so that the compiler may fold batch-norms into them."""
    if mode == "compile":
        return torch.compile(f, dynamic=False, options={"freezing": True} if frozen else None)
    if mode == "bfloat16":
        return torch.autocast(torch.get_default_device().type, torch.bfloat16)(f)
    return f


def ready(mode, size, more=lambda labels: ()):
    """Batches in memory, in turn: images, labels and what `more` makes of the labels."""
    labels = [torch.randint(0, CLASSES, (size,)) for _ in range(BATCHES)]
    return itertools.cycle([(in_layout(mode, torch.randn(size, 3, 32, 32)), ys, *more(ys)) for ys in labels])


def training_step(loss, modules, batches, after=None):
    """A step of SGD on every parameter. `loss` takes a batch and returns the loss, and with `after` also what that is called with at the end."""
    parameters = [p for module in modules for p in module.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)

    def step():
        batch = next(batches)
        optimiser.zero_grad(set_to_none=True)
        value, *rest = loss(*batch) if after else (loss(*batch),)
        value.backward()
        optimiser.step()
        if after:
            after(*batch, *rest)

    return step


def training(name, mode):
    model = network(name, mode).train()
    loss = in_mode(mode, lambda xs, ys: F.cross_entropy(model(xs)[0], ys))
    return training_step(loss, [model], ready(mode, 64 if name in LARGER else 128))


def evaluation(name, mode):
    """A pass of 2,000 images without a graph, errors counted."""
    images, labels = in_layout(mode, torch.randn(EVALUATED, 3, 32, 32)), torch.randint(0, CLASSES, (EVALUATED,))
    model = network(name, mode).eval().requires_grad_(False)
    logits = in_mode(mode, lambda xs: model(xs)[0], frozen=True)
    parts = list(zip(images.split(EVALUATED_AT_ONCE), labels.split(EVALUATED_AT_ONCE)))
    # Frozen weights are folded under no_grad; inference_mode would keep the compiler from it.
    quiet = torch.no_grad if mode == "compile" else torch.inference_mode

    def step():
        with quiet():
            return int(sum((logits(xs).argmax(1) != ys).sum() for xs, ys in parts))

    return step


def watched(name, mode, taps, batch_statistics=False):
    """A frozen teacher: its logits and taps, without a graph."""
    model = network(name, mode).train(batch_statistics).requires_grad_(False)

    def outputs(xs):
        logits, all_taps = model(xs)
        return [logits] + [all_taps[tap] for tap in taps]

    run = in_mode(mode, outputs, frozen=not batch_statistics)

    def quietly(xs):
        with torch.no_grad():
            return run(xs)

    return quietly


def distillation(mode, teacher, student, loss, adapters=(), more=lambda labels: (), after=None):
    """A step with `loss(student's outputs, teacher's outputs, labels, what `more` makes)`."""
    student = network(student, mode).train()
    of_student = in_mode(mode, lambda xs, theirs, *batch: loss(student(xs), theirs, *batch))
    batches = ready(mode, DISTILLED, more)
    return training_step(lambda xs, *batch: of_student(xs, teacher(xs), *batch), [student, *adapters], batches, after)


def kd(mode):
    """0.1 of the cross-entropy and 0.9 of T^2 KL at T = 4; the teacher in evaluation mode."""

    def loss(ours, theirs, ys):
        soft = F.kl_div(F.log_softmax(ours[0] / 4, 1), F.softmax(theirs[0] / 4, 1), reduction="batchmean") * 16
        return 0.1 * F.cross_entropy(ours[0], ys) + 0.9 * soft

    return distillation(mode, watched("resnet56", mode, []), "resnet20", loss)


def attention(x):
    return F.normalize(x.square().mean(1).flatten(1))


def at(mode):
    """Attention transfer of three stages, weight 1000; the teacher in evaluation mode."""

    def loss(ours, theirs, ys):
        gaps = [F.mse_loss(attention(ours[1][tap]), attention(map)) for tap, map in zip(STAGES, theirs[1:])]
        return F.cross_entropy(ours[0], ys) + 1000 * sum(gaps)

    return distillation(mode, watched("resnet56", mode, STAGES), "resnet20", loss)


class Contrast(nn.Module):
    """CRD's two embeddings and memories. A memory is multiplied as a whole and the scores picked out, which takes a fraction of the
    time of picking 16,385 rows of it for each image first."""

    EXAMPLES, NEGATIVES, WIDTH, TEMPERATURE, MOMENTUM = 50_000, 16_384, 128, 0.07, 0.5

    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = nn.Linear(student, self.WIDTH), nn.Linear(teacher, self.WIDTH)
        bound = (self.WIDTH / 3) ** -0.5
        for name in ("student_memory", "teacher_memory"):
            self.register_buffer(name, F.normalize(torch.empty(self.EXAMPLES, self.WIDTH).uniform_(-bound, bound)))
        # The published program takes the mean of the first batch; any constant costs the same.
        self.z = float(self.EXAMPLES)

    def side(self, anchor, memory, picked):
        chance = self.NEGATIVES / self.EXAMPLES
        scores = (anchor @ memory.T).gather(1, picked).float().div(self.TEMPERATURE).exp() / self.z
        own, others = scores[:, :1], scores[:, 1:]
        right = (own / (own + chance + 1e-7)).log().sum()
        return -(right + (chance / (others + chance + 1e-7)).log().sum()) / len(anchor)

    def forward(self, student, teacher, picked):
        s, t = F.normalize(self.student(student)), F.normalize(self.teacher(teacher))
        return self.side(s, self.teacher_memory, picked) + self.side(t, self.student_memory, picked), s, t

    @torch.no_grad()
    def remember(self, rows, student, teacher):
        for memory, now in ((self.student_memory, student), (self.teacher_memory, teacher)):
            memory[rows] = F.normalize(self.MOMENTUM * memory[rows] + (1 - self.MOMENTUM) * now.float())


def picks(labels):
    """The rows of a batch, and for each image its own row and 16,384 others of other classes, without replacement; row i is of class i % 100."""
    rows = torch.randperm(Contrast.EXAMPLES // CLASSES)[: len(labels)] * CLASSES + labels
    everything = torch.arange(Contrast.EXAMPLES)
    picked = []
    for row, label in zip(rows, labels):
        others = everything[everything % CLASSES != label]
        picked.append(torch.cat([row[None], others[torch.randperm(len(others))[: Contrast.NEGATIVES]]]))
    return rows, torch.stack(picked)


def crd(mode):
    """0.8 of CRD with 16,384 negatives out of 50,000, which are ready with the images, as data workers draw them; the teacher in evaluation mode."""
    contrast = Contrast(64, 64)

    def loss(ours, theirs, ys, rows, picked):
        value, s, t = contrast(ours[1]["pooled"], theirs[1], picked)
        return F.cross_entropy(ours[0], ys) + 0.8 * value, s.detach(), t.detach()

    def after(xs, ys, rows, picked, s, t):
        contrast.remember(rows, s, t)

    return distillation(mode, watched("resnet56", mode, ["pooled"]), "resnet20", loss, [contrast], picks, after)


def review(teacher, student, channels, weight, mode):
    """ReviewKD past its warm-up; the teacher with statistics of the batch, as in the official program."""
    taps, sides = [*STAGES, "pooled"], [32, 16, 8, 1]
    fusions = in_layout(mode, Review(channels, channels, sides, sides)).train()

    def maps(values):
        return [x if x.dim() == 4 else x[:, :, None, None] for x in values]

    def loss(ours, theirs, ys):
        reviewed = fusions(maps(ours[1][tap] for tap in taps))
        return F.cross_entropy(ours[0], ys) + weight * sum(hcl(a, b) for a, b in zip(reviewed, maps(theirs[1:])))

    before = [f"{stage}.pre" for stage in STAGES] + ["pooled"]
    return distillation(mode, watched(teacher, mode, before, batch_statistics=True), student, loss, [fusions])


TRAINED = [
    "resnet20", "resnet56", "resnet8x4", "resnet32x4", "wrn-16-2", "wrn-40-2", "vgg8", "vgg13",
    "mobilenet-v2", "shufflenet-v1", "shufflenet-v2",
]  # fmt: skip


def register(workload):
    for name in TRAINED:
        workload(f"{name}-step", warmup=2, steps=5, modes=MODES)(functools.partial(training, name))
    for name in ["resnet56", "wrn-40-2"]:
        workload(f"{name}-evaluation", warmup=1, steps=3, modes=MODES)(functools.partial(evaluation, name))
    steps = {
        "kd": kd,
        "at": at,
        "crd": crd,
        "review": functools.partial(review, "resnet56", "resnet20", [16, 32, 64, 64], 0.6),
        "review-wrn": functools.partial(review, "wrn-40-2", "wrn-16-2", [32, 64, 128, 128], 5.0),
    }
    for name, build in steps.items():
        workload(f"{name}-step", warmup=2, steps=5, modes=MODES)(build)
