"""Losses of the newer methods on features and their gradients, from the formulas, in float64.

    python scripts/oracles/newer_features.py    writes crates/kd-core/tests/golden/newer_features.json

Written naively, with loops over images and cells where the formula has a sum over them, so that it shares no trick with the code it checks.
`cases` are losses; the other entries are terms of methods with adapters, as in method_adapters.py.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

from cifar_networks import formula
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


def main():
    golden = {"torch": torch.__version__, "cases": itrd() + sdd() + cat_kd() + nd(), "itrd": itrd_terms(), "nd": nd_terms()}
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
