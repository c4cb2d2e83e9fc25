"""Losses of newer distillation methods on logits and their gradients, from the formulas, in float64.

    python scripts/oracles/newer_losses.py    writes crates/kd-core/tests/golden/newer_losses.json

Written naively, with loops over cases, classes and pairs of classes where the formula has a sum over them, so that it shares no trick with
the code it checks. Inputs and cases are those of `distillation_losses.py`.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

from distillation_losses import Input, case, non_target_class, target_class

OUT = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/newer_losses.json"


def kl(p, q):
    """Of two vectors of probabilities."""
    return sum(a * (a / b).log() for a, b in zip(p, q))


def softened_kl(s, t, temperature):
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    return temperature**2 * torch.stack([kl(*row) for row in zip(p, q)]).mean()


def standardised(z):
    return torch.stack([(row - row.mean()) / (1e-7 + row.std()) for row in z])


def standardised_kl(s, t, temperature):
    return softened_kl(standardised(s), standardised(t), temperature)


def standardised_target_class(s, t, labels, temperature):
    return target_class(standardised(s), standardised(t), labels, temperature)


def standardised_non_target_class(s, t, labels, temperature):
    return non_target_class(standardised(s), standardised(t), labels, temperature)


def correlation(a, b):
    """Pearson's, of two vectors, with DIST's constant in the denominator."""
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt() + 1e-8)


def inter_class(s, t, temperature):
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    return temperature**2 * (1 - torch.stack([correlation(q[i], p[i]) for i in range(len(p))]).mean())


def intra_class(s, t, temperature):
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    return temperature**2 * (1 - torch.stack([correlation(q[:, c], p[:, c]) for c in range(p.shape[1])]).mean())


def transformed(t, exponent):
    """The teacher's probabilities to a power, and by case what they add up to."""
    powers = F.softmax(t, 1) ** exponent
    return powers, powers.sum(1)


def transformed_teacher(s, t, exponent):
    powers, sums = transformed(t, exponent)
    q = F.softmax(s, 1)
    return torch.stack([kl(powers[i] / sums[i], q[i]) for i in range(len(s))]).mean()


def weighted_transformed_teacher(s, t, exponent):
    powers, sums = transformed(t, exponent)
    q = F.softmax(s, 1)
    return torch.stack([sums[i] * kl(powers[i] / sums[i], q[i]) for i in range(len(s))]).mean()


def perception(z):
    columns = [(column - column.mean()) / (column.var(unbiased=False) + 1e-5).sqrt() for column in z.t()]
    return torch.stack(columns, 1)


def perception_divergence(s, t, temperature):
    return softened_kl(perception(s), perception(t), temperature) / temperature**2


def soft_cross_entropy(s, t, temperature):
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    return torch.stack([-sum(a * b.log() for a, b in zip(*row)) for row in zip(p, q)]).mean()


def logit_differences(s, t, weights):
    total = 0
    for i in range(len(s)):
        for j in range(s.shape[1]):
            for k in range(s.shape[1]):
                d = (t[i, j] - t[i, k]) - (s[i, j] - s[i, k])
                total = total + weights[i, j] * weights[i, k] * d**2 / 4
    return total / sum(weights[i].sum() ** 2 for i in range(len(s)))


def weighted_logit_differences(s, t, weights_temperature, exponent):
    return logit_differences(s, t, F.softmax(t / weights_temperature, 1) ** exponent)


def sample_confidence(s, t, labels, temperature):
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    total = 0
    for i, y in enumerate(labels):
        a, b = p[i].max(), q[i, y]
        total = total + a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log()
    return total * temperature**2 / len(labels)


def masked_correlation(s, t, labels, temperature):
    total = 0
    for i, y in enumerate(labels):
        below = [c for c in range(s.shape[1]) if t[i, c] < t[i, y]]
        if below:
            total = total + kl(F.softmax(t[i, below] / temperature, 0), F.softmax(s[i, below] / temperature, 0))
    return total * temperature**2 / len(labels)


def normalised_temperature(s, t, temperature):
    total = 0
    for a, b in zip(s, t):
        own, other = temperature * a.std(), temperature * b.std()
        total = total + other**2 * kl(F.softmax(b / other, 0), F.softmax(a / own, 0))
    return total / len(s)


def trusted_labels(s, t, labels):
    p, q = F.softmax(t, 1), F.softmax(s, 1)
    return -torch.stack([p[i, y] * q[i, y].log() for i, y in enumerate(labels)]).mean()


def other_classes(s, t, labels, temperature):
    total = 0
    for i, y in enumerate(labels):
        others = [c for c in range(s.shape[1]) if c != y]
        total = total - (F.softmax(t[i, others] / temperature, 0) * F.log_softmax(s[i, others] / temperature, 0)).sum()
    return total * temperature**2 / len(labels)


def alpha_beta(s, t, alpha, beta, temperature):
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    n = alpha + beta
    inside = p**alpha * q**beta - alpha / n * p**n - beta / n * q**n
    return (-inside.sum(1) / (alpha * beta)).mean()


def entropy(z, temperature):
    p = F.softmax(z / temperature, 1)
    return torch.stack([-sum(a * a.log() for a in row) for row in p])


def entropy_weighted_kl(s, t, temperature, entropy_temperature, bound):
    weights = (entropy(t, entropy_temperature) / 2 * (1 + entropy(s, entropy_temperature) / bound)).detach()
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    return torch.stack([w * temperature**2 * kl(a, b) for w, a, b in zip(weights, p, q)]).mean()


def learnt_temperature(s, t, theta, least, span):
    """The temperature's gradient is not reversed here."""
    temperature = least + span * torch.sigmoid(theta)
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    return (temperature**2 * torch.stack([kl(*row) for row in zip(p, q)]).mean()).sum()


def transport(s, t, wave, labels, temperature, regularisation, iterations, costs=None):
    """Image by image, with the true class cut out of logits and costs; `costs` where they are no formula of `wave`."""
    costs = 1 - (-wave.abs()).exp() if costs is None else costs
    total = 0
    for i, y in enumerate(labels):
        others = [c for c in range(s.shape[1]) if c != y]
        cost = costs[others][:, others]
        kernel = (-cost / regularisation).exp()
        p, q = F.softmax(s[i, others] / temperature, 0), F.softmax(t[i, others] / temperature, 0)
        u = torch.full_like(p, 1 / len(others))
        for _ in range(iterations):
            v = q / (kernel.t() @ u + 1e-8)
            u = p / (kernel @ v + 1e-8)
        total = total + (torch.diag(u) @ kernel @ torch.diag(v) * cost).sum()
    return total / len(labels)


def gram_direction(s, t, ridge):
    def gram(z):
        z = torch.stack([row / row.norm() for row in z])
        return z @ z.t()

    gaps = (gram(s) - gram(t)) / s.shape[1]
    inverse = torch.linalg.inv(torch.cov(gaps.t()) + ridge * torch.eye(len(s), dtype=s.dtype))
    return torch.stack([(d @ inverse @ d).sqrt() for d in gaps]).mean()


def main():
    zs, zt = Input((4, 10), 0.7, 0.1, 3.0), Input((4, 10), 1.3, 0.5, 4.0)
    wide_s, wide_t = Input((7, 13), 0.9, 0.4, 5.0), Input((7, 13), 0.53, 0.2, 8.0)
    labels, wide_labels = torch.tensor([2, 0, 7, 9]), torch.tensor([12, 3, 0, 5, 5, 8, 1])
    two = ((zs, zt, labels), (wide_s, wide_t, wide_labels))

    cases = [case(standardised_kl, s, t, temperature=x) for s, t, _ in two for x in (2.0, 4.0)]
    for loss in (standardised_target_class, standardised_non_target_class):
        cases += [case(loss, s, t, labels=y, temperature=2.0) for s, t, y in two]
    for loss in (inter_class, intra_class):
        cases += [case(loss, s, t, temperature=x) for s, t, _ in two for x in (4.0, 1.0)]
    for loss in (transformed_teacher, weighted_transformed_teacher):
        cases += [case(loss, s, t, exponent=x) for s, t, _ in two for x in (0.1, 0.7, 1.5)]
    cases += [case(perception_divergence, s, t, temperature=x) for s, t, _ in two for x in (4.0, 1.0)]
    cases += [case(soft_cross_entropy, s, t, temperature=x) for s, t, _ in two for x in (4.0, 1.0)]
    cases += [case(weighted_logit_differences, s, t, weights_temperature=4.0, exponent=x) for s, t, _ in two for x in (0.1, 1.0, 0.0)]
    cases += [case(sample_confidence, s, t, labels=y, temperature=x) for s, t, y in two for x in (1.0, 2.5)]
    cases += [case(masked_correlation, s, t, labels=y, temperature=x) for s, t, y in two for x in (4.0, 2.5)]
    cases += [case(normalised_temperature, s, t, temperature=x) for s, t, _ in two for x in (2.0, 0.7)]
    cases += [case(trusted_labels, s, t, labels=y) for s, t, y in two]
    cases += [case(other_classes, s, t, labels=y, temperature=x) for s, t, y in two for x in (1.0, 2.5)]
    cases += [case(alpha_beta, s, t, alpha=a, beta=b, temperature=4.0) for s, t, _ in two for a, b in ((0.8, 0.3), (0.3, 1.2))]
    for s, t, _ in two:
        bounds = (math.log(s.value.shape[1]), float(s.value.shape[1]))
        cases += [case(entropy_weighted_kl, s, t, temperature=4.0, entropy_temperature=3.0, bound=x) for x in bounds]
    theta = Input((1,), 0.0, math.pi / 2)
    cases += [case(learnt_temperature, s, t, theta, trained=(0, 2), least=1.0, span=x) for s, t, _ in two for x in (20.0, 5.0)]
    # Costs that differ by direction, and those of which the value is known.
    steps = torch.arange(10, dtype=torch.float64)
    known = 1 - (-(steps[:, None] - steps[None]).abs() / 10).exp() + 1e-8
    options = {"regularisation": 0.05, "iterations": 10}
    cases += [case(transport, zs, zt, Input((1,), 0.0, 0.0), labels=labels, temperature=8.0, costs=known, **options)]
    for s, t, y in two:
        k = s.value.shape[1]
        cases += [case(transport, s, t, Input((k, k), 0.83, 0.2, 0.9), labels=y, temperature=x, **options) for x in (8.0, 1.0)]
    cases += [case(transport, zs, zt, Input((10, 10), 0.83, 0.2, 0.9), labels=labels, temperature=4.0, regularisation=0.2, iterations=3)]
    cases += [case(gram_direction, s, t, ridge=x) for s, t, _ in two for x in (0.1, 0.001)]
    OUT.write_text(json.dumps({"torch": torch.__version__, "cases": cases}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
