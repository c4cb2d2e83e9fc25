"""Golden values of kd-kernels' ops on sequences: values and gradients of layer normalisation, attention, embedding, losses and feed-forward.

Writes crates/kd-kernels/tests/golden/transformer_ops.json. All in float64; the upstream gradient of a result is g(its shape, 1.9, 0.3).
Dropout has no counterpart here, since its mask comes from the workspace's own stream; the tests compare it with the twins.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parents[2] / "crates/kd-kernels/tests/golden/transformer_ops.json"

torch.set_num_threads(1)


def g(shape, a, b):
    """sin(a·i + b) over the row-major index i, as float64."""
    n = math.prod(shape)
    return torch.tensor([math.sin(a * i + b) for i in range(n)], dtype=torch.float64).reshape(shape)


def flat(t):
    return [float(format(x, ".12g")) for x in t.detach().flatten().tolist()]


def case(f, shapes, **options):
    """Value and gradients of f; input i is g(shape, 0.7 + 0.2·i, 0.1 + i)."""
    inputs = [g(s, 0.7 + 0.2 * i, 0.1 + i).requires_grad_(True) for i, s in enumerate(shapes)]
    y = f(*inputs)
    grads = torch.autograd.grad((y * g(y.shape, 1.9, 0.3)).sum(), inputs)
    shapes = [list(s) for s in shapes]
    return {"shapes": shapes, **options, "value": flat(y), "grads": [flat(x) for x in grads]}


def layer_norms():
    """Inputs x, gain, bias, and with `residual` what is added to x before."""
    out = []
    for shape, residual in [((2, 3, 8), False), ((5, 33), False), ((2, 3, 8), True)]:
        d = shape[-1:]
        f = lambda x, w, b, r=0.0: F.layer_norm(x + r, d, w, b, 1e-5)
        out.append(case(f, [shape, d, d] + ([shape] if residual else []), residual=residual))
    return out


def attentions():
    out = []
    for b, tq, tk, d, d_v, heads, causal, lengths in [
        (2, 5, 5, 8, 8, 2, False, None),
        (2, 5, 5, 8, 8, 2, True, None),
        (3, 4, 7, 6, 12, 3, False, [7, 3, 1]),
        (2, 6, 6, 4, 4, 1, True, [4, 6]),
        (2, 3, 5, 4, 4, 2, True, [5, 4]),
        (3, 1, 9, 8, 4, 2, False, [2, 9, 5]),
    ]:

        def f(q, k, v):
            split = lambda t, n: t.reshape(b, n, heads, -1).transpose(1, 2)
            seen = torch.ones(b, 1, tq, tk, dtype=torch.bool)
            if causal:
                seen &= torch.ones(tq, tk, dtype=torch.bool).tril(tk - tq)
            if lengths is not None:
                seen &= (torch.arange(tk)[None] < torch.tensor(lengths)[:, None])[:, None, None]
            y = F.scaled_dot_product_attention(split(q, tq), split(k, tk), split(v, tk), attn_mask=seen)
            return y.transpose(1, 2).reshape(b, tq, d_v)

        shapes = [(b, tq, d), (b, tk, d), (b, tk, d_v)]
        out.append(case(f, shapes, heads=heads, causal=causal, lengths=lengths))
    return out


def embeddings():
    """Inputs table and, with `positions`, positions."""
    out = []
    for ids, v, d, scale, positions, padding in [
        ([[1, 0, 3], [3, 3, 4]], 5, 4, 2.0, 3, None),
        ([[1, 0, 3], [3, 3, 4]], 5, 4, 2.0, 4, 3),
        ([[2, 2], [0, 6], [6, 1]], 7, 3, 1.0, None, 0),
    ]:

        def f(table, p=None):
            y = scale * F.embedding(torch.tensor(ids), table, padding_idx=padding)
            return y if p is None else y + p[: len(ids[0])]

        shapes = [(v, d)] + ([(positions, d)] if positions else [])
        out.append(case(f, shapes, ids=ids, scale=scale, padding=padding))
    return out


def cross_entropies():
    out = []
    for n, v, epsilon, ignore, targets in [
        (4, 7, 0.1, None, [0, 6, 3, 3]),
        (5, 40, 0.1, 1, [0, 1, 39, 1, 7]),
        (3, 11, 0.0, 0, [0, 5, 10]),
    ]:
        y = torch.tensor(targets)
        skip = -100 if ignore is None else ignore

        def f(z):
            return F.cross_entropy(z, y, label_smoothing=epsilon, ignore_index=skip, reduction="sum")

        logits = case(f, [(n, v)], epsilon=epsilon, ignore=ignore, targets=targets)
        nll = F.cross_entropy(g((n, v), 0.7, 0.1), y, ignore_index=skip, reduction="sum")
        projected = case(lambda h, table: f(h @ table.T), [(n, 6), (v, 6)])
        out.append({"logits": logits, "nll": float(nll), "projected": projected})
    return out


def soft_cross_entropies():
    """The teacher's logits are g(the shape, 1.3, 0.5) times 3."""
    out = []
    for n, v, counts in [(4, 7, None), (5, 40, [True, False, True, True, False])]:
        weights = torch.ones(n) if counts is None else torch.tensor(counts).double()
        q = F.softmax(3 * g((n, v), 1.3, 0.5), -1)
        f = lambda z: (F.cross_entropy(z, q, reduction="none") * weights).sum()
        out.append(case(f, [(n, v)], counts=counts))
    return out


def feed_forwards():
    f = lambda x, w1, b1, w2, b2: F.linear(F.relu(F.linear(x, w1, b1)), w2, b2)
    return [case(f, [(2, 3, 4), (9, 4), (9,), (5, 9), (5,)])]


def main():
    golden = {
        "torch": torch.__version__.split("+")[0],
        "layer_norm": layer_norms(),
        "attention": attentions(),
        "embedding": embeddings(),
        "cross_entropy": cross_entropies(),
        "soft_cross_entropy": soft_cross_entropies(),
        "feed_forward": feed_forwards(),
    }
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
