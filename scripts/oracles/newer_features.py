"""Losses of the newer methods on features and their gradients, from the formulas, in float64.

    python scripts/oracles/newer_features.py    writes crates/kd-core/tests/golden/newer_features.json

Written naively, with loops over images and cells where the formula has a sum over them, so that it shares no trick with the code it checks.
`cases` are losses; `alignments` of classes' features; `itrd`, `nd` and `wkd_f` terms of methods with adapters, as in method_adapters.py; `heads` resnet8 with another head, as in
cifar_networks.py, and `simkd` and `norm` the gradients of all its parameters by those methods' losses.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from torch import nn

from cifar_networks import conv, formula, noise, pool, resnet, sketch, sketches
from distillation_losses import Input, case, non_target_class, target_class
from method_adapters import STUDENT, TEACHER, features, leaf, record, variable

OUT = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/newer_features.json"


def feature_correlation(s, t, alpha):
    """The standard deviation has b - 1, the mean of the products b."""
    total = 0
    for x, y in zip(s.t(), t.t()):
        c = ((x - x.mean()) / x.std() * ((y - y.mean()) / y.std())).mean()
        total = total + (c - 1).abs() ** (2 * alpha)
    return total.log2()


def mutual_information(s, t):
    s, t = F.normalize(s), F.normalize(t)
    of_student = s @ s.t()
    joint = of_student * (t @ t.t())
    return (of_student / of_student.trace()).pow(2).sum() - (joint / joint.trace()).pow(2).sum()


def itrd():
    es, et = Input((4, 16), 0.31, 0.2), Input((4, 24), 0.23, 0.7)
    et16 = Input((4, 24), 0.23, 0.7, columns=16)
    batch_s, batch_t = Input((9, 12), 0.77, 0.1, 2.0), Input((9, 12), 0.41, 0.3, 5.0)
    cases = [case(feature_correlation, s, t, alpha=a) for s, t, a in ((es, et16, 1.01), (es, et16, 1.5), (batch_s, batch_t, 1.01), (batch_s, batch_t, 0.7))]
    return cases + [case(mutual_information, s, t) for s, t in ((es, et16), (es, et), (batch_s, batch_t))]


def cells(x, grids):
    """[b, n, c]: means of windows, which overlap or repeat as in PyTorch's adaptive pooling."""
    return torch.cat([F.adaptive_avg_pool2d(x, side).flatten(2) for side in grids], 2).transpose(1, 2)


def over_cells(s, t, ws, wt, bs=None, bt=None, *, part, grids, labels, complementary, temperature=4.0):
    """The loss of each cell of each image by itself; the first cell is the whole image."""
    s, t = F.linear(cells(s, grids), ws, bs), F.linear(cells(t, grids), wt, bt)
    parts = {"kl": lambda s, t, y: temperature**2 * (F.softmax(t / temperature, 1) * (F.log_softmax(t / temperature, 1) - F.log_softmax(s / temperature, 1))).sum(),
             "target": lambda s, t, y: target_class(s, t, y, temperature),
             "non_target": lambda s, t, y: non_target_class(s, t, y, temperature)}
    total = 0
    for i, y in enumerate(labels):
        right = [row.argmax() == y for row in t[i]]
        for j, here in enumerate(right):
            weight = 1.0 if here == right[0] else complementary
            total = total + weight * parts[part](s[i, j : j + 1], t[i, j : j + 1], y.reshape(1))
    return total / (s.shape[0] * s.shape[1])


def sdd():
    labels = torch.tensor([2, 0, 7, 9])
    fs, ft = Input((4, 6, 8, 8), 0.013, 0.2), Input((4, 6, 8, 8), 0.017, 0.9)
    w = Input((10, 6), 0.37, 0.2, 0.5)
    # Another width and size of the teacher's map, and biases; of the student's map a grid repeats pixels.
    small, wide = Input((4, 6, 2, 2), 0.37, 0.2, 2.0), Input((4, 9, 4, 4), 0.23, 0.9, 2.0)
    ws, wt, bs, bt = Input((10, 6), 0.91, 0.4, 2.0), Input((10, 9), 0.53, 0.3, 3.0), Input((10,), 0.7, 0.1), Input((10,), 1.3, 0.5)
    cases = []
    for part, complementary in (("kl", 2.0), ("target", 2.0), ("non_target", 3.0)):
        options = {"part": part, "labels": labels, "complementary": complementary}
        cases += [case(over_cells, fs, ft, w, w, trained=(0, 2), grids=grids, **options) for grids in ([1, 2], [1, 2, 4])]
        cases += [case(over_cells, small, wide, ws, wt, bs, bt, trained=(0, 2, 4), grids=[1, 2, 3, 4], **options)]
    return cases


def class_activation(s, t, side, normalised):
    s, t = F.adaptive_avg_pool2d(s, side), F.adaptive_avg_pool2d(t, side)
    if normalised:
        s, t = F.normalize(s, dim=(2, 3)), F.normalize(t, dim=(2, 3))
    return F.mse_loss(s, t)


def cat_kd():
    fs, ft = Input((4, 6, 8, 8), 0.013, 0.2), Input((4, 6, 8, 8), 0.017, 0.9)
    small, tall = Input((3, 5, 2, 2), 0.37, 0.2), Input((3, 5, 8, 8), 0.23, 0.9)
    pairs = [(fs, ft, 2), (small, tall, 2), (small, tall, 4)]
    return [case(class_activation, s, t, side=side, normalised=n) for n in (False, True) for s, t, side in pairs]


def norm_and_direction(s, t, centres, labels):
    total = 0
    for x, y, c in zip(s, t, centres[labels]):
        total = total + 1 - torch.dot(x, c / c.norm()) / max(x.norm(), y.norm())
    return total / len(s)


def nd():
    es, et16 = Input((4, 16), 0.31, 0.2), Input((4, 24), 0.23, 0.7, columns=16)
    # Centres that are the teacher's features, for labels of four classes.
    four = case(norm_and_direction, es, et16, et16, labels=torch.tensor([2, 0, 3, 1]))
    others = ((Input((4, 16), 0.31, 0.2, 7.0), et16), (Input((4, 16), 0.9, 0.4), et16))
    centres, labels = Input((10, 16), 0.57, 0.3), torch.tensor([2, 0, 7, 9])
    return [four] + [case(norm_and_direction, s, t, centres, labels=labels) for s, t in others]


def itrd_terms():
    """Both terms, the student's pooled vector embedded to the teacher's width."""
    width, cin = TEACHER[-1][0], STUDENT[-1][0]
    leaves = {"student.pooled": leaf(features("student.pooled", (cin,)))}
    for name, shape in (("method.embed.weight", (width, cin)), ("method.embed.bias", (width,))):
        leaves[name] = variable(name, shape)
    x, w, b = leaves.values()
    s, t = x @ w.t() + b, features("teacher.pooled", (width,))
    return record(feature_correlation(s, t, 1.01) + mutual_information(s, t), leaves)


def nd_terms():
    """Cross-entropy of logits of 0, and norm and direction behind batch-norm and a dense layer, to the teacher's width."""
    width, cin = TEACHER[-1][0], STUDENT[-1][0]
    leaves = {"student.pooled": leaf(features("student.pooled", (cin,)))}
    for name, shape in (("0.weight", (cin,)), ("0.bias", (cin,)), ("2.weight", (width, cin)), ("2.bias", (width,))):
        leaves[f"method.nd.{name}"] = leaf(formula(f"method.nd.{name}", shape))
    x, gain, shift, w, b = leaves.values()
    s = F.batch_norm(x, None, None, gain, shift, training=True, eps=1e-5) @ w.t() + b
    centres = formula("method.nd.centres", (10, width))
    return record(math.log(10) + norm_and_direction(s, features("teacher.pooled", (width,)), centres, torch.tensor([0, 1, 2])), leaves)


def class_correlation(s, t, temperature):
    s, t = F.softmax(s / temperature, 1), F.softmax(t / temperature, 1)
    return (t.t() @ t - s.t() @ s).pow(2).sum() / s.shape[1]


def batch_correlation(s, t, temperature):
    s, t = F.softmax(s / temperature, 1), F.softmax(t / temperature, 1)
    return (t @ t.t() - s @ s.t()).pow(2).sum() / s.shape[0]


def multi_level():
    zs, zt = Input((4, 10), 0.7, 0.1, 3.0), Input((4, 10), 1.3, 0.5, 4.0)
    return [case(f, zs, zt, temperature=t) for f in (class_correlation, batch_correlation) for t in (4.0, 1.0, 6.0)]


def mlkd(standardised=False, temperatures=(4.0, 3.0, 5.0, 2.0, 6.0)):
    """The terms on two views, and the gradients of their sum by the student's logits, 0.1 of the labels' and 0.9 of the teacher's."""
    w, s = Input((4, 10), 0.7, 0.1, 3.0).value.requires_grad_(), Input((4, 10), 0.9, 0.4, 3.0).value.requires_grad_()
    wt, st, labels = Input((4, 10), 1.3, 0.5, 4.0).value, Input((4, 10), 1.1, 0.2, 4.0).value, torch.tensor([2, 0, 7, 9])

    def kd(s, t, temperature):
        if standardised:
            s, t = ((z - z.mean(1, keepdim=True)) / (1e-7 + z.std(1, keepdim=True)) for z in (s, t))
        return temperature**2 * F.kl_div(F.log_softmax(s / temperature, 1), F.softmax(t / temperature, 1), reduction="batchmean")

    p = F.softmax(wt, 1)
    sure, of_class = p.max(1).values, p.sum(0)
    c = (sure <= sure.quantile(0.5)).double().mean().item()
    c_class = (of_class <= of_class.quantile(0.5)).double().mean().item()
    terms = {
        "hard": F.cross_entropy(w, labels) + F.cross_entropy(s, labels),
        "instances": c * sum(kd(w, wt, t) for t in temperatures) + sum(kd(s, st, t) for t in temperatures[:3]) + sum(kd(w, wt, t) for t in temperatures[3:]),
        "classes": c_class * sum(class_correlation(w, wt, t) for t in temperatures),
        "batch": c * sum(batch_correlation(w, wt, t) for t in temperatures),
    }
    (0.1 * terms["hard"] + 0.9 * (terms["instances"] + terms["classes"] + terms["batch"])).backward()
    return {"terms": {n: v.item() for n, v in terms.items()}, "grads": {"first": w.grad.flatten().tolist(), "second": s.grad.flatten().tolist()}}


class Headed(nn.Module):
    """resnet8 without its classifier, and another head, for 10 classes."""

    def __init__(self, features):
        super().__init__()
        self.body = resnet(8)
        self.body.fc = nn.Identity()
        self.fc = nn.Linear(features, 10)

    def named(self):
        return {name.removeprefix("body."): p for name, p in self.named_parameters()}

    def with_formula_weights(self):
        state = {n: v if n.endswith("tracked") else formula(n.removeprefix("body."), tuple(v.shape)) for n, v in self.state_dict().items()}
        self.double().load_state_dict(state)
        return self


class Projected(Headed):
    def __init__(self):
        super().__init__(256)
        layers = [(64, 128, 1), (128, 128, 3), (128, 256, 1)]
        self.projector = nn.Sequential(*[m for i, o, k in layers for m in (conv(i, o, k), nn.BatchNorm2d(o), nn.ReLU())])

    def forward(self, x):
        last = self.projector(self.body(x)[1]["last"])
        return self.fc(pool(last)), {"last": last, "pooled": pool(last)}


class Expanded(Headed):
    def __init__(self, scale=2.5):
        super().__init__(64)
        self.expand = nn.Sequential(conv(64, 512, 1), nn.BatchNorm2d(512))
        self.reduce = nn.Sequential(conv(512, 64, 1), nn.BatchNorm2d(64))
        self.scale = scale

    def forward(self, x):
        before = self.body(x)[1]["last"]
        expanded = self.expand(before)
        last = before + self.reduce(expanded)
        return self.scale * F.layer_norm(self.fc(pool(last)), (10,), eps=1e-7), {"expanded": expanded, "last": last, "pooled": pool(last)}


def heads():
    images, out = 1.5 * noise((3, 3, 32, 32), "images"), {}
    for name, make in (("projected-256-8-2", Projected), ("expanded-256-2-2.5", Expanded)):
        network = make().with_formula_weights()
        with torch.no_grad():
            entry = {"evaluate": sketches(*network.eval()(images)), "train": sketches(*network.train()(images))}
        state = sorted((n.removeprefix("body."), v) for n, v in network.state_dict().items())
        entry["state"] = {n: list(v.shape) for n, v in state if not n.endswith("tracked")}
        entry["running"] = sketch(torch.cat([v.flatten() for n, v in state if n.endswith(("running_mean", "running_var"))]), "running")
        out[name] = entry
    return out


def trained(network, loss):
    """Value and gradients of a loss of a step of training."""
    logits, taps = network.with_formula_weights().train()(1.5 * noise((3, 3, 32, 32), "images"))
    value = loss(logits, taps)
    value.backward()
    return {"value": value.item(), "grads": {n: sketch(p.grad, n) for n, p in network.named().items() if p.grad is not None}}


def simkd():
    return trained(Projected(), lambda _, taps: F.mse_loss(taps["last"], features("teacher.last", (256, 8, 8))))


def n_to_one(expanded, teacher):
    teacher = F.max_pool2d(teacher, teacher.shape[2] // expanded.shape[2])
    n = expanded.shape[1] // teacher.shape[1]
    return n * F.mse_loss(expanded, teacher.repeat(1, n, 1, 1))


def norm():
    """Half of the cross-entropy, 0.3 of the softened targets of standardised logits, and the map at weight 2 and factor 0.5."""
    labels = torch.tensor([0, 1, 2])

    def loss(logits, taps):
        teacher = 2.5 * F.layer_norm(3.0 * features("teacher.logits", (10,)), (10,), eps=1e-7)
        soft = 16 * F.kl_div(F.log_softmax(logits / 4, 1), F.softmax(teacher / 4, 1), reduction="batchmean")
        return 0.5 * F.cross_entropy(logits, labels) + 0.3 * soft + n_to_one(taps["expanded"], features("teacher.last", (256, 8, 8)))

    return trained(Expanded(), loss)


def norm_cases():
    small, wide = Input((2, 6, 4, 4), 0.37, 0.2), Input((2, 9, 2, 2), 0.23, 0.9)
    return [case(n_to_one, s, Input((2, 3, side, side), 0.53, 0.4)) for s, side in ((small, 4), (small, 8), (wide, 8))]


def gaussian_distances(s, t, grid, part):
    """Cell by cell, the means or the standard deviations over the pixels."""
    side, total = s.shape[2] // grid, 0
    for i in range(grid):
        for j in range(grid):
            rows, columns = slice(i * side, (i + 1) * side), slice(j * side, (j + 1) * side)
            x, y = (z[:, :, rows, columns].flatten(2) for z in (s, t))
            if part == "means":
                total = total + (x.mean(2) - y.mean(2)).pow(2).sum()
            else:
                total = total + ((x.var(2) + 1e-5).sqrt() - (y.var(2) + 1e-5).sqrt()).pow(2).sum()
    return total / (grid**2 * len(s))


def gaussian():
    fs, ft = Input((4, 6, 8, 8), 0.013, 0.2), Input((4, 6, 8, 8), 0.017, 0.9)
    small = Input((3, 5, 4, 4), 0.37, 0.2), Input((3, 5, 4, 4), 0.53, 0.9)
    return [case(gaussian_distances, s, t, grid=grid, part=part) for part in ("means", "deviations") for s, t, grid in ((fs, ft, 1), (fs, ft, 4), (*small, 1), (*small, 2))]


def alignments():
    """Linear centred kernel alignment of classes of 7 features and 30 vectors each, from centred kernels; the first and third are alike."""
    waves = [Input((7, 30), *numbers) for numbers in ((0.31, 0.2), (0.53, 0.9, 3.0), (0.312, 0.1, 2.0), (1.7, 0.4))]
    h = torch.eye(30, dtype=torch.float64) - 1 / 30

    def hsic(x, y):
        return torch.trace(x.t() @ x @ h @ (y.t() @ y) @ h)

    xs = [wave.value for wave in waves]
    rows = [[(hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()).item() for y in xs] for x in xs]
    return {"inputs": [wave.spec for wave in waves], "rows": rows}


def wkd_f():
    """Both distances of the last stage behind a convolution, a batch-norm and a ReLU, to the teacher's, which is rectified."""
    (cs, side), (ct, _) = STUDENT[-1], TEACHER[-1]
    leaves = {"student.stage3": leaf(features("student.stage3", (cs, side, side)))}
    for name, shape in (("0.weight", (ct, cs, 1, 1)), ("0.bias", (ct,)), ("1.weight", (ct,)), ("1.bias", (ct,))):
        leaves[f"method.features.{name}"] = leaf(formula(f"method.features.{name}", shape))
    x, w, b, gain, shift = leaves.values()
    s = F.relu(F.batch_norm(F.conv2d(x, w, b), None, None, gain, shift, training=True, eps=1e-5))
    t = F.relu(features("teacher.stage3", (ct, side, side)))
    return record(sum(gaussian_distances(s, t, 2, part) for part in ("means", "deviations")), leaves)


def main():
    golden = {"torch": torch.__version__, "cases": itrd() + sdd() + cat_kd() + nd() + norm_cases() + multi_level() + gaussian(), "alignments": alignments(), "itrd": itrd_terms(), "nd": nd_terms(), "wkd_f": wkd_f(), "heads": heads(), "simkd": simkd(), "norm": norm(), "mlkd": mlkd(), "mlkd_ls": mlkd(standardised=True, temperatures=(2.0, 3.0, 5.0, 2.0, 6.0))}
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
