"""Trains resnet20 on CIFAR-100 in PyTorch, alone or with distillation at the logits: an accuracy to hold ours against.

    python scripts/oracles/train_cifar.py > alone.csv
    python scripts/oracles/train_cifar.py --teacher resnet56.pth --checkpoint kd.pt > kd.csv

The defaults are the recipe of preset `laptop` of reviewkd-cifar. Prints CSV, one line an epoch; what it does goes to standard error. With
`--checkpoint` a run that was cut off goes on after its last whole epoch and prints the earlier lines again. Images come from the Hugging
Face cache (HF_HUB_CACHE, HF_HOME), where the hub's Parquet files of uoft-cs/cifar100 have to lie, or from `--data DIR`, which holds
`train` and `test` of the Python archive or `train.bin` and `test.bin` of the binary one.
"""

import argparse
import io
import os
import pathlib
import pickle
import sys
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn

from cifar_networks import NETWORKS

COLUMNS = ["epoch", "learning_rate", "train_loss", "train_accuracy", "test_accuracy", "seconds"]
SIDE, PADDING, CHUNK = 32, 4, 500
NORMALISATIONS = {
    "crd": ([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]),
    "reviewkd": ([v / 255 for v in (125.3, 123.0, 113.9)], [v / 255 for v in (63.0, 62.1, 66.7)]),
}
# What a checkpoint has to have in common with the run that goes on from it.
RECIPE = ["student", "teacher_arch", "teacher", "seed", "epochs", "decay_after", "decay_late", "batch_size", "learning_rate", "momentum",
          "weight_decay", "hard_weight", "soft_weight", "temperature", "normalisation", "limit"]  # fmt: skip


def parse():
    parser = argparse.ArgumentParser(description="Train a network on CIFAR-100, alone or with a teacher.")
    parser.add_argument("--student", choices=NETWORKS, default="resnet20", metavar="ARCH")
    parser.add_argument("--teacher", type=pathlib.Path, metavar="FILE", help="a checkpoint, names as RepDistiller's; without it the student learns alone")
    parser.add_argument("--teacher-arch", choices=NETWORKS, default="resnet56", metavar="ARCH")
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR", help="a folder of the official files instead of the hub's cache")
    parser.add_argument("--checkpoint", type=pathlib.Path, metavar="FILE", help="written after each epoch, and gone on from where it exists")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="torch.compile: faster, needs a C++ compiler; rounds differently")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N training images (0: all)")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--decay-after", type=int, nargs="*", default=[15, 18, 21], metavar="N", help="epochs after which the rate drops to a tenth")
    parser.add_argument("--decay-late", action="store_true", help="each drop an epoch later, as in ReviewKD's program, which counts from 0")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.9, help="Nesterov's")
    parser.add_argument("--weight-decay", type=float, default=5e-4, help="on every parameter")
    parser.add_argument("--hard-weight", type=float, default=0.1, help="of the cross-entropy beside a teacher; alone it is 1")
    parser.add_argument("--soft-weight", type=float, default=0.9, help="of T^2 times the divergence from the teacher")
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--normalisation", choices=NORMALISATIONS, default="crd")
    return parser.parse_args()


def hub_files():
    home = pathlib.Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = pathlib.Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    repo = cache / "datasets--uoft-cs--cifar100"
    ref = repo / "refs/refs/convert/parquet"
    if not ref.is_file():
        sys.exit(f"train_cifar: expected CIFAR-100 in the hub's cache, found no {ref}; set HF_HOME or give --data DIR")
    snapshot = repo / "snapshots" / ref.read_text().strip()
    return [snapshot / "cifar100" / part / "0000.parquet" for part in ("train", "test")]


def from_parquet(path):
    import pyarrow.parquet
    from PIL import Image

    table = pyarrow.parquet.read_table(path, columns=["img", "fine_label"])
    images = [numpy.asarray(Image.open(io.BytesIO(row["bytes"].as_py()))) for row in table["img"]]
    return numpy.stack(images).transpose(0, 3, 1, 2), numpy.array(table["fine_label"])


def from_folder(folder, part):
    binary, pickled = folder / f"{part}.bin", folder / part
    if binary.is_file():
        # The group, the class and the pixels.
        records = numpy.frombuffer(binary.read_bytes(), numpy.uint8).reshape(-1, 2 + 3 * SIDE * SIDE)
        return records[:, 2:], records[:, 1]
    if pickled.is_file():
        made = pickle.loads(pickled.read_bytes(), encoding="latin1")
        return made["data"], numpy.array(made["fine_labels"])
    sys.exit(f"train_cifar: --data: expected {binary} or {pickled}, found neither")


def load(folder):
    """Images [n, 3, 32, 32] of bytes and their classes, of the training set and of the test set."""
    sets = [from_folder(folder, part) for part in ("train", "test")] if folder else [from_parquet(path) for path in hub_files()]
    sets = [(torch.from_numpy(x.reshape(-1, 3, SIDE, SIDE).copy()), torch.from_numpy(y.astype(numpy.int64))) for x, y in sets]
    if [len(x) for x, _ in sets] != [50_000, 10_000]:
        sys.exit(f"train_cifar: expected 50000 and 10000 images, got {len(sets[0][0])} and {len(sets[1][0])}")
    return sets


class Normalised:
    """Bytes to what a network sees: (x/255 - mean) / std."""

    def __init__(self, name):
        self.mean, self.std = (torch.tensor(v).view(1, 3, 1, 1) for v in NORMALISATIONS[name])

    def __call__(self, x):
        return ((x.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def shown(padded, rows, generator):
    """Images as an epoch shows them: of the zero-padded image a random cut of the old size, one in two mirrored."""
    count, span = len(rows), torch.arange(SIDE)
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count, 1), generator=generator)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator).bool()
    columns = left + torch.where(mirrored, SIDE - 1 - span, span)
    return padded[rows[:, None, None, None], torch.arange(3)[:, None, None], (top + span)[:, None, :, None], columns[:, None, None, :]]


def initialise(network):
    """Normal weights of variance 2/(k k c_out); what is not a convolution starts as PyTorch has it, as in the published networks."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def load_teacher(arch, path):
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        state = state.get(key, state)
    teacher = NETWORKS[arch]()
    teacher.load_state_dict({name.removeprefix("module."): value for name, value in state.items()}, strict=True)
    return teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def accuracy(network, images, labels, normalised):
    """Of the whole set, in percent, in evaluation mode."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        right = sum((network(normalised(x))[0].argmax(1) == y).sum().item() for x, y in zip(images.split(CHUNK), labels.split(CHUNK)))
    network.train(was_training)
    return 100 * right / len(labels)


def make_loss(args, student, teacher):
    def loss(xs, labels):
        logits = student(xs)[0]
        hard = F.cross_entropy(logits, labels)
        if teacher is None:
            return hard, logits
        with torch.no_grad():
            targets = F.softmax(teacher(xs)[0] / args.temperature, 1)
        soft = F.kl_div(F.log_softmax(logits / args.temperature, 1), targets, reduction="batchmean") * args.temperature**2
        return args.hard_weight * hard + args.soft_weight * soft, logits

    return torch.compile(loss, dynamic=False) if args.compile else loss


def rate(args, epoch):
    """Of an epoch that is counted from 0."""
    return args.learning_rate * 0.1 ** sum(epoch >= drop + args.decay_late for drop in args.decay_after)


def save(path, content):
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    os.replace(part, path)


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    recipe = {key: str(getattr(args, key)) for key in RECIPE}
    before = None
    if args.checkpoint and args.checkpoint.is_file():
        before = torch.load(args.checkpoint, weights_only=True)
        for key in RECIPE:
            if before["recipe"][key] != recipe[key]:
                sys.exit(f"train_cifar: {args.checkpoint}: expected {key} {recipe[key]}, got {before['recipe'][key]}")
    teacher = load_teacher(args.teacher_arch, args.teacher) if args.teacher else None
    (images, labels), (test_images, test_labels) = load(args.data)
    if args.limit:
        images, labels = images[: args.limit], labels[: args.limit]
    padded, normalised = F.pad(images, (PADDING,) * 4), Normalised(args.normalisation)

    torch.manual_seed(args.seed)
    student = NETWORKS[args.student]()
    initialise(student)
    student = student.to(memory_format=torch.channels_last).train()
    sgd = torch.optim.SGD(
        student.parameters(), lr=args.learning_rate, momentum=args.momentum, nesterov=args.momentum > 0, weight_decay=args.weight_decay, fused=True
    )
    rows = []
    if before:
        student.load_state_dict(before["student"], strict=True)
        sgd.load_state_dict(before["optimiser"])
        rows = before["rows"]
        print(f"going on after epoch {len(rows)}", file=sys.stderr, flush=True)
    elif teacher is not None:
        print(f"teacher: {accuracy(teacher, test_images, test_labels, normalised):.2f} % of the test set", file=sys.stderr, flush=True)
    step_loss = make_loss(args, student, teacher)

    for line in [",".join(COLUMNS), *rows]:
        print(line, flush=True)
    for epoch in range(len(rows), args.epochs):
        start, total, right = time.monotonic(), 0.0, 0
        # A function of seed and epoch, so that there is nothing to save.
        generator = torch.Generator().manual_seed(1_000_003 * args.seed + epoch)
        for group in sgd.param_groups:
            group["lr"] = rate(args, epoch)
        for number, picked in enumerate(torch.randperm(len(labels), generator=generator).split(args.batch_size)):
            loss, logits = step_loss(normalised(shown(padded, picked, generator)), labels[picked])
            if not torch.isfinite(loss):
                sys.exit(f"train_cifar: the loss is {loss.item()} in epoch {epoch + 1}, step {number + 1}")
            sgd.zero_grad(set_to_none=True)
            loss.backward()
            sgd.step()
            total += loss.item() * len(picked)
            right += (logits.argmax(1) == labels[picked]).sum().item()
        tested = accuracy(student, test_images, test_labels, normalised)
        seconds = time.monotonic() - start
        rows.append(f"{epoch + 1},{rate(args, epoch):g},{total / len(labels):.5f},{100 * right / len(labels):.3f},{tested:.2f},{seconds:.1f}")
        print(rows[-1], flush=True)
        if args.checkpoint:
            save(args.checkpoint, {"recipe": recipe, "student": student.state_dict(), "optimiser": sgd.state_dict(), "rows": rows})


if __name__ == "__main__":
    main()
