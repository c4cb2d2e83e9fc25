"""Golden values of losses on features: activation boundaries, factor transfer, flow of solution procedure, overhaul, contrastive representation.

    python scripts/oracles/transfer_losses.py    writes crates/kd-core/tests/golden/transfer_losses.json

Written from the formulas of the papers. All in float64. `losses` holds values and the gradients of the student's maps; `crd` ten steps of two
embeddings against two memories that move, with the negatives listed.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parents[2] / "crates/kd-core/tests/golden/transfer_losses.json"

torch.set_num_threads(1)


def g(shape, a, b):
    """sin(a·i + b) over the row-major index i, as float64."""
    n = math.prod(shape)
    return torch.tensor([math.sin(a * i + b) for i in range(n)], dtype=torch.float64).reshape(shape)


def flat(t):
    return [float(format(x, ".12g")) for x in t.detach().flatten().tolist()]


def case(f, student, teacher, **options):
    """Value of f and its gradients by the student's maps. Student's map i is g(shape, 0.7 + 0.2·i, 0.1 + i), the teacher's g(shape, 1.3 + 0.2·i, 0.5 + i)."""
    s = [g(shape, 0.7 + 0.2 * i, 0.1 + i).requires_grad_(True) for i, shape in enumerate(student)]
    t = [g(shape, 1.3 + 0.2 * i, 0.5 + i) for i, shape in enumerate(teacher)]
    y = f(*s, *t)
    shapes = {"student": [list(x) for x in student], "teacher": [list(x) for x in teacher]}
    return {**shapes, **options, "value": y.item(), "grads": [flat(x) for x in torch.autograd.grad(y, s)]}


def activation_boundary(margin):
    def loss(s, t):
        on, off = (t > 0).double(), (t <= 0).double()
        below, above = (s <= margin).double(), (s > -margin).double()
        return (((s + margin) ** 2 * off * above + (s - margin) ** 2 * on * below).sum()) / s.shape[0]

    return loss


def to_smaller(s, t):
    size = min(s.shape[2], t.shape[2])
    return F.adaptive_avg_pool2d(s, size), F.adaptive_avg_pool2d(t, size)


def factor_transfer(power, norm):
    def factor(x):
        return F.normalize((x**power).mean(dim=1).flatten(1), dim=1)

    def loss(s, t):
        s, t = to_smaller(s, t)
        return ((factor(s) - factor(t)).abs() ** norm).mean()

    return loss


def flow(x, y):
    x, y = to_smaller(x, y)
    return torch.einsum("bihw,bjhw->bij", x, y) / (x.shape[2] * x.shape[3])


def solution_flow(s1, s2, t1, t2):
    return ((flow(s1, s2) - flow(t1, t2)) ** 2).mean()


def overhaul(s, t):
    margins = -0.4 * g((s.shape[1],), 0.5, 0.3).abs().reshape(1, -1, 1, 1)
    t = F.adaptive_avg_pool2d(t, s.shape[2])
    loss = (s - margins) ** 2 * ((s > margins) & (t <= margins)).double()
    loss = loss + (s - t) ** 2 * ((s > t) & (t > margins) & (t <= 0)).double()
    loss = loss + (s - t) ** 2 * (t > 0).double()
    return loss.mean(dim=0).sum()


def margins():
    weight, bias = 0.9 * g((12,), 0.7, 0.2), g((12,), 1.1, 0.4)
    s = weight.abs()
    below = torch.special.ndtr(-bias / s)
    density = torch.exp(-0.5 * (bias / s) ** 2) / math.sqrt(2 * math.pi)
    return flat(torch.where(below > 1e-3, bias - s * density / below, -3 * s))


def losses():
    small, large, deep = (2, 3, 4, 4), (2, 3, 8, 8), (2, 5, 4, 4)
    out = {"activation_boundary": [], "factor_transfer": [], "solution_flow": [], "overhaul": []}
    for margin in [1.0, 0.3]:
        out["activation_boundary"].append(case(activation_boundary(margin), [small], [small], margin=margin))
    for power, norm, student, teacher in [(2, 1, small, deep), (2, 2, large, deep), (3, 1, small, small), (2, 3, deep, large)]:
        out["factor_transfer"].append(case(factor_transfer(power, norm), [student], [teacher], power=power, norm=norm))
    for student, teacher in [([large, deep], [large, deep]), ([small, deep], [large, (2, 5, 16, 16)])]:
        out["solution_flow"].append(case(solution_flow, student, teacher))
    for student, teacher in [(small, small), (small, large)]:
        out["overhaul"].append(case(overhaul, [student], [teacher]))
    return out


IMAGES, BATCH, NEGATIVES, WIDTH, TEMPERATURE, MOMENTUM, EPSILON, RATE = 40, 6, 8, 8, 0.07, 0.5, 1e-7, 0.02
STUDENT, TEACHER = 5, 7


def crd():
    """Ten steps. Image i is of class i mod 4; a step's images and negatives are formulas, listed for the reader of the file."""
    start = {
        "student.weight": 0.4 * g((WIDTH, STUDENT), 0.37, 0.1),
        "student.bias": 0.1 * g((WIDTH,), 0.91, 0.2),
        "teacher.weight": 0.4 * g((WIDTH, TEACHER), 0.53, 0.3),
        "teacher.bias": 0.1 * g((WIDTH,), 1.07, 0.4),
    }
    leaves = {name: value.clone().requires_grad_(True) for name, value in start.items()}
    memories = {"student": 0.6 * g((IMAGES, WIDTH), 0.23, 0.7), "teacher": 0.6 * g((IMAGES, WIDTH), 0.41, 1.1)}
    normalisers, steps = {}, []
    for step in range(10):
        images = [(7 * i + 11 * step) % IMAGES for i in range(BATCH)]
        others = [[j for j in range(IMAGES) if j % 4 != image % 4] for image in images]
        negatives = [[row[(7 * k + 3 * i + 2 * step) % len(row)] for k in range(1, 1 + NEGATIVES)] for i, row in enumerate(others)]
        assert all(len(set(row)) == NEGATIVES for row in negatives)
        at = torch.tensor([[image, *row] for image, row in zip(images, negatives)])
        features = {"student": g((BATCH, STUDENT), 0.13, 0.5 * step), "teacher": g((BATCH, TEACHER), 0.29, 0.3 * step)}
        embeddings, terms = {}, {}
        for side in ["student", "teacher"]:
            x = F.linear(features[side], leaves[f"{side}.weight"], leaves[f"{side}.bias"])
            embeddings[side] = x / x.pow(2).sum(dim=1, keepdim=True).sqrt()
        for side, other in [("student", "teacher"), ("teacher", "student")]:
            rows = memories[other][at]
            scores = torch.exp(torch.bmm(rows, embeddings[side].unsqueeze(2)).squeeze(2) / TEMPERATURE)
            if side not in normalisers:
                normalisers[side] = scores.mean().item() * IMAGES
            p = scores / normalisers[side]
            noise = NEGATIVES / IMAGES
            kept = torch.log(p[:, 0] / (p[:, 0] + noise + EPSILON)).sum()
            rejected = torch.log(noise / (p[:, 1:] + noise + EPSILON)).sum()
            terms[side] = -(kept + rejected) / BATCH
        grads = torch.autograd.grad(sum(terms.values()), list(leaves.values()))
        with torch.no_grad():
            for side, memory in memories.items():
                moved = MOMENTUM * memory[images] + (1 - MOMENTUM) * embeddings[side]
                memory[images] = moved / moved.norm(dim=1, keepdim=True)
            for leaf, grad in zip(leaves.values(), grads):
                leaf -= RATE * grad
        made = {"images": images, "negatives": negatives, "losses": [terms["student"].item(), terms["teacher"].item()]}
        steps.append({**made, "grads": {name: flat(grad) for name, grad in zip(leaves, grads)}} if step in (0, 9) else made)
    return {
        "normalisers": [normalisers["student"], normalisers["teacher"]],
        "steps": steps,
        "memories": [flat(memories["student"]), flat(memories["teacher"])],
        "adapters": {name: flat(leaf) for name, leaf in leaves.items()},
    }


def main():
    golden = {"torch": torch.__version__, "losses": losses(), "margins": margins(), "crd": crd()}
    OUT.write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
