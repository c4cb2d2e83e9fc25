"""Losses of distillation methods and their gradients, from the formulas, in float64.

    python scripts/oracles/distillation_losses.py    writes crates/kd-core/tests/golden/distillation_losses.json

Written naively, with loops over pairs where the formula has a sum over pairs, so that it shares no trick with the code it checks.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

OUT = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/distillation_losses.json"

torch.set_num_threads(1)


def wave(shape, a, b, scale=1.0):
    """scale · sin(a·i + b) over the row-major index i."""
    n = math.prod(shape)
    return scale * torch.tensor([math.sin(a * i + b) for i in range(n)], dtype=torch.float64).reshape(shape)


class Input:
    """A formula; of its columns only the first `columns`, rows `equal` made equal to row 0, rows `zero` set to 0."""

    def __init__(self, shape, a, b, scale=1.0, columns=None, equal=(), zero=()):
        self.spec = {"shape": list(shape), "a": a, "b": b, "scale": scale, "columns": columns, "equal": list(equal), "zero": list(zero)}
        x = wave(shape, a, b, scale)
        if columns:
            x = x[:, :columns].clone()
        for row in equal:
            x[row] = x[0]
        for row in zero:
            x[row] = 0
        self.value = x


def same_size(s, t):
    if s.shape[2] > t.shape[2]:
        return F.adaptive_avg_pool2d(s, t.shape[2:]), t
    return s, F.adaptive_avg_pool2d(t, s.shape[2:])


def attention_transfer(s, t):
    s, t = same_size(s, t)

    def attention(x):
        return F.normalize(x.pow(2).mean(1).flatten(1))

    return (attention(s) - attention(t)).pow(2).mean()


def similarity_preserving(s, t):
    def rows(x):
        x = x.flatten(1)
        return F.normalize(x @ x.t())

    return (rows(s) - rows(t)).pow(2).sum() / len(s) ** 2


def correlation_congruence(s, t):
    d = (s - t).abs()
    return torch.stack([(d[i] * d[i + 1]).sum() for i in range(len(s) - 1)]).mean()


def variational_information(mean, log_scale, t):
    variance = (F.softplus(log_scale) + 1e-5).view(1, -1, 1, 1)
    return (0.5 * ((mean - t) ** 2 / variance + variance.log())).mean()


def distances(x):
    """Zero between a vector and itself, and 1e-6 between two equal ones, whose gradient is 0."""
    rows = []
    for i in range(len(x)):
        squares = [((x[i] - x[j]) ** 2).sum().clamp(min=1e-12) for j in range(len(x))]
        rows.append(torch.stack([torch.zeros_like(q) if i == j else q.sqrt() for j, q in enumerate(squares)]))
    d = torch.stack(rows)
    return d / d[d > 0].mean()


def relational_distance(s, t):
    return F.smooth_l1_loss(distances(s), distances(t))


def unit(x):
    """F.normalize, but that a row of zeros has the gradient 0, not 1e12."""
    length = x.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-12, x / length.clamp(min=1e-12), torch.zeros_like(x))


def relational_angle(s, t):
    def cosines(x):
        out = []
        for i in range(len(x)):
            e = unit(x - x[i])
            out.append(e @ e.t())
        return torch.stack(out)

    return F.smooth_l1_loss(cosines(s), cosines(t))


def relational(s, t):
    return 25 * relational_distance(s, t) + 50 * relational_angle(s, t)


def probabilistic_transfer(s, t, eps=1e-7):
    def neighbourhoods(x):
        x = x / (x.pow(2).sum(1, keepdim=True).sqrt() + eps)
        p = (x @ x.t() + 1) / 2
        return p / p.sum(1, keepdim=True)

    q, p = neighbourhoods(s), neighbourhoods(t)
    return (p * ((p + eps) / (q + eps)).log()).mean()


def neuron_selectivity(s, t):
    s, t = same_size(s, t)
    s, t = F.normalize(s.flatten(2), dim=2), F.normalize(t.flatten(2), dim=2)

    def kernel(x, y):
        return torch.stack([((x[:, i] * y[:, j]).sum(1) ** 2).mean() for i in range(x.shape[1]) for j in range(y.shape[1])]).mean()

    return kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)


def hint(s, t):
    return F.mse_loss(s, t)


def target_class(s, t, labels, temperature):
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    total = 0
    for i, y in enumerate(labels):
        p_y, q_y = p[i, y], q[i, y]
        p_other, q_other = (torch.cat([x[i, :y], x[i, y + 1 :]]).sum() for x in (p, q))
        total = total + p_y * (p_y / q_y).log() + p_other * (p_other / q_other).log()
    return total * temperature**2 / len(labels)


def non_target_class(s, t, labels, temperature):
    total = 0
    for i, y in enumerate(labels):
        s_i, t_i = (torch.cat([x[i, :y], x[i, y + 1 :]]) / temperature for x in (s, t))
        p = F.softmax(t_i, 0)
        total = total + (p * (F.log_softmax(t_i, 0) - F.log_softmax(s_i, 0))).sum()
    return total * temperature**2 / len(labels)


def decoupled(s, t, labels, temperature):
    return target_class(s, t, labels, temperature) + 8 * non_target_class(s, t, labels, temperature)


def flat(x):
    return [float(format(v, ".10g")) for v in x.flatten().tolist()]


def case(loss, *inputs, trained=(0,), **options):
    """The value, and the gradients with respect to the inputs that are trained."""
    leaves = [x.value.clone().requires_grad_(i in trained) for i, x in enumerate(inputs)]
    value = loss(*leaves, **options)
    value.backward()
    return {
        "loss": loss.__name__,
        "inputs": [x.spec for x in inputs],
        "trained": list(trained),
        "options": {k: v.tolist() if torch.is_tensor(v) else v for k, v in options.items()},
        "value": value.item(),
        "grads": [flat(leaves[i].grad) for i in trained],
    }


def main():
    zs, zt = Input((4, 10), 0.7, 0.1, 3.0), Input((4, 10), 1.3, 0.5, 4.0)
    fs, ft = Input((4, 6, 8, 8), 0.013, 0.2), Input((4, 6, 8, 8), 0.017, 0.9)
    ftw = Input((4, 9, 4, 4), 0.019, 0.4)
    es, et = Input((4, 16), 0.31, 0.2), Input((4, 24), 0.23, 0.7)
    et16 = Input((4, 24), 0.23, 0.7, columns=16)
    small, tall = Input((3, 5, 4, 4), 0.37, 0.2), Input((3, 7, 8, 8), 0.23, 0.9)
    five = Input((6,), 0.0, math.pi / 2, math.log(math.exp(5.0 - 1e-5) - 1.0))
    scales = Input((6,), 1.1, 0.3, 4.0)
    batch_s, batch_t = Input((9, 12), 0.77, 0.1, 2.0), Input((9, 20), 0.41, 0.3, 5.0)
    twins = Input((6, 7), 0.77, 0.1, 2.0, equal=(2, 5))
    twins_t = Input((6, 5), 0.41, 0.3, equal=(2,))
    dead_s, dead_t = Input((5, 4, 2, 2), 0.9, 0.1), Input((5, 3, 2, 2), 0.7, 0.4, zero=(1,))
    labels = torch.tensor([2, 0, 7, 9])
    sure = Input((4, 10), 0.7, 0.1, 30.0)

    of_maps = (attention_transfer, neuron_selectivity, similarity_preserving)
    of_vectors = (relational_distance, relational_angle, relational, probabilistic_transfer)
    cases = [case(loss, s, t) for loss in of_maps for s, t in ((fs, ftw), (small, tall), (dead_s, dead_t))]
    cases += [case(loss, s, t) for loss in of_vectors for s, t in ((es, et), (batch_s, batch_t), (twins, twins_t))]
    cases += [case(correlation_congruence, s, t, trained=(0, 1)) for s, t in ((es, et16), (twins, Input((6, 7), 0.41, 0.3)))]
    cases += [case(variational_information, fs, a, ft, trained=(0, 1)) for a in (five, scales)]
    cases += [case(hint, fs, ft)]
    for loss in (target_class, non_target_class, decoupled):
        cases += [case(loss, s, zt, labels=labels, temperature=t) for s, t in ((zs, 4.0), (zs, 1.0), (sure, 2.5))]
    OUT.write_text(json.dumps({"torch": torch.__version__, "cases": cases}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
