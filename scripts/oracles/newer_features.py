"""Losses of the newer methods on features and their gradients, from the formulas, in float64.

    python scripts/oracles/newer_features.py    writes crates/kd-core/tests/golden/newer_features.json

Written naively, with loops over images and cells where the formula has a sum over them, so that it shares no trick with the code it checks.
`cases` are losses; the other entries are terms of methods with adapters, as in method_adapters.py.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

from distillation_losses import Input, case
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


def itrd_terms():
    """Both terms, the student's pooled vector embedded to the teacher's width."""
    width, cin = TEACHER[-1][0], STUDENT[-1][0]
    leaves = {"student.pooled": leaf(features("student.pooled", (cin,)))}
    for name, shape in (("method.embed.weight", (width, cin)), ("method.embed.bias", (width,))):
        leaves[name] = variable(name, shape)
    x, w, b = leaves.values()
    s, t = x @ w.t() + b, features("teacher.pooled", (width,))
    return record(feature_correlation(s, t, 1.01) + mutual_information(s, t), leaves)


def main():
    golden = {"torch": torch.__version__, "cases": itrd(), "itrd": itrd_terms()}
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
