"""Golden trajectories of small Transformers: encoder states, logits, the first step's gradients and the losses of ten steps of Adam.

    python scripts/oracles/transformer_trajectory.py    writes crates/kd-translation/tests/golden/transformer_trajectory.safetensors

The network is written here from Vaswani et al. 2017 with the names and the positions of fairseq, out of PyTorch's tensor functions, and all
is computed in float64 from weights that are a formula, rounded once to float32. The file holds the PyTorch version in its metadata.

The loss is that of fairseq's first `label_smoothed_cross_entropy`, per word: (1 - eps) * nll + (eps / V) * sum_v(-log p_v).
"""

import dataclasses
import json
import math
import pathlib
import struct

import torch
import torch.nn.functional as F

from cifar_networks import formula

PAD, BOS, EOS, FIRST_WORD = 0, 1, 2, 4
STEPS, SMOOTHING = 10, 0.1
PEAK, WARM_UP, INITIAL = 5e-3, 4, 1e-7
# Words of source and target of each pair, without beginning and end: the batches that the steps take in turn.
LENGTHS = [[(6, 4), (3, 7), (1, 2)], [(5, 5), (2, 3), (4, 1), (7, 6)]]


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a network is made of: of each half its layers, width, feed-forward units and heads."""

    source_vocabulary: int
    target_vocabulary: int
    encoder: tuple
    decoder: tuple
    pre_norm: bool = False


NETWORKS = {
    "post-norm": Shape(50, 46, (2, 32, 64, 4), (2, 32, 64, 4)),
    "pre-norm": Shape(50, 46, (2, 32, 64, 4), (2, 32, 64, 4), pre_norm=True),
    "narrow-decoder": Shape(50, 46, (2, 32, 64, 4), (1, 16, 32, 4)),
}


def shapes(network):
    """The shape of each parameter, by fairseq's names; three tables of word vectors."""
    made = {}

    def dense(name, inputs, outputs):
        made[f"{name}.weight"], made[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name, width):
        made[f"{name}.weight"], made[f"{name}.bias"] = (width,), (width,)

    def attention(name, width, memory):
        for part, inputs in [("q_proj", width), ("k_proj", memory), ("v_proj", memory), ("out_proj", width)]:
            dense(f"{name}.{part}", inputs, width)
        norm(f"{name}_layer_norm", width)

    encoder_width, decoder_width = network.encoder[1], network.decoder[1]
    for half, (layers, width, hidden, _) in [("encoder", network.encoder), ("decoder", network.decoder)]:
        for i in range(layers):
            attention(f"{half}.layers.{i}.self_attn", width, width)
            if half == "decoder":
                attention(f"{half}.layers.{i}.encoder_attn", width, encoder_width)
            dense(f"{half}.layers.{i}.fc1", width, hidden)
            dense(f"{half}.layers.{i}.fc2", hidden, width)
            norm(f"{half}.layers.{i}.final_layer_norm", width)
        if network.pre_norm:
            norm(f"{half}.layer_norm", width)
    made["encoder.embed_tokens.weight"] = (network.source_vocabulary, encoder_width)
    made["decoder.embed_tokens.weight"] = (network.target_vocabulary, decoder_width)
    made["decoder.output_projection.weight"] = (network.target_vocabulary, decoder_width)
    return made


def positions(length, width):
    """fairseq's SinusoidalPositionalEmbedding, counted from 0: all sines, then all cosines."""
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float64) * -(math.log(10000) / (half - 1)))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def normalised(p, name, xs):
    return F.layer_norm(xs, xs.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)


def dense(p, name, xs):
    return xs @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def attention(p, name, queries, memory, heads, seen):
    """`seen` is true where a query may look, broadcast to [batch, heads, queries, keys]."""

    def split(xs):
        return xs.unflatten(-1, (heads, -1)).transpose(1, 2)

    q, k, v = (split(dense(p, f"{name}.{part}", xs)) for part, xs in [("q_proj", queries), ("k_proj", memory), ("v_proj", memory)])
    scores = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).masked_fill(~seen, -math.inf)
    mixed = torch.softmax(scores, -1) @ v
    return dense(p, f"{name}.out_proj", mixed.transpose(1, 2).flatten(2))


def around(p, network, norm, xs, block):
    if network.pre_norm:
        return xs + block(normalised(p, norm, xs))
    return normalised(p, norm, xs + block(xs))


def feed_forward(p, network, layer, xs):
    block = lambda x: dense(p, f"{layer}.fc2", F.relu(dense(p, f"{layer}.fc1", x)))
    return around(p, network, f"{layer}.final_layer_norm", xs, block)


def embedded(p, name, ids, width):
    return math.sqrt(width) * p[name][ids] + positions(ids.shape[1], width)


def encode(p, network, source):
    layers, width, _, heads = network.encoder
    seen = (source != PAD)[:, None, None, :]
    xs = embedded(p, "encoder.embed_tokens.weight", source, width)
    for i in range(layers):
        layer = f"encoder.layers.{i}"
        own = lambda x: attention(p, f"{layer}.self_attn", x, x, heads, seen)
        xs = around(p, network, f"{layer}.self_attn_layer_norm", xs, own)
        xs = feed_forward(p, network, layer, xs)
    return normalised(p, "encoder.layer_norm", xs) if network.pre_norm else xs


def decode(p, network, states, source, target):
    layers, width, _, heads = network.decoder
    seen, past = (source != PAD)[:, None, None, :], torch.ones(target.shape[1], target.shape[1]).tril().bool()
    xs = embedded(p, "decoder.embed_tokens.weight", target, width)
    for i in range(layers):
        layer = f"decoder.layers.{i}"
        own = lambda x: attention(p, f"{layer}.self_attn", x, x, heads, past)
        read = lambda x: attention(p, f"{layer}.encoder_attn", x, states, heads, seen)
        xs = around(p, network, f"{layer}.self_attn_layer_norm", xs, own)
        xs = around(p, network, f"{layer}.encoder_attn_layer_norm", xs, read)
        xs = feed_forward(p, network, layer, xs)
    xs = normalised(p, "decoder.layer_norm", xs) if network.pre_norm else xs
    return xs @ p["decoder.output_projection.weight"].T


def batch(network, number):
    """Source, decoder input and wanted words of a batch, padded behind the end."""

    def words(row, side, count):
        vocabulary = (network.source_vocabulary, network.target_vocabulary)[side] - FIRST_WORD
        return [FIRST_WORD + (7 * i * i + 5 * i + 3 * row + 11 * number + 2 * side) % vocabulary for i in range(count)]

    def padded(sentences):
        longest = max(map(len, sentences))
        return torch.tensor([s + [PAD] * (longest - len(s)) for s in sentences])

    sources = [words(row, 0, s) for row, (s, _) in enumerate(LENGTHS[number])]
    targets = [words(row, 1, t) for row, (_, t) in enumerate(LENGTHS[number])]
    return padded([s + [EOS] for s in sources]), padded([[BOS] + t for t in targets]), padded([t + [EOS] for t in targets])


def smoothed(logits, wanted):
    counts = wanted != PAD
    surprise = -torch.log_softmax(logits[counts], -1)
    nll = surprise.gather(1, wanted[counts][:, None])[:, 0]
    return ((1 - SMOOTHING) * nll + SMOOTHING * surprise.mean(1)).mean()


def rate(done):
    return INITIAL + done * (PEAK - INITIAL) / WARM_UP if done < WARM_UP else PEAK * math.sqrt(WARM_UP / done)


def trajectory(network, leaves, weights):
    """Golden tensors of ten steps on `leaves`, of which `weights` makes the network's parameters."""
    adam = torch.optim.Adam(leaves.values(), betas=(0.9, 0.98), eps=1e-8)
    golden, losses = {}, []
    for step in range(STEPS):
        source, target, wanted = batch(network, step % len(LENGTHS))
        p = weights()
        states = encode(p, network, source)
        logits = decode(p, network, states, source, target)
        loss = smoothed(logits, wanted)
        adam.zero_grad()
        loss.backward()
        if step == 0:
            golden |= {"states": states, "logits": logits}
            golden |= {f"gradients/{name}": leaf.grad for name, leaf in leaves.items()}
            golden = {name: tensor.detach().clone() for name, tensor in golden.items()}
        for group in adam.param_groups:
            group["lr"] = rate(step)
        adam.step()
        losses.append(loss.item())
    return golden | {"losses": torch.tensor(losses, dtype=torch.float64)}


def write(path, tensors):
    """A safetensors file: losses as they are, the others rounded to float32."""
    header, data = {"__metadata__": {"torch": torch.__version__}}, b""
    for name, tensor in sorted(tensors.items()):
        wide = name.endswith("losses")
        array = tensor.detach().to(torch.float64 if wide else torch.float32).contiguous().numpy().tobytes()
        offsets = [len(data), len(data) + len(array)]
        header[name] = {"dtype": "F64" if wide else "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += array
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def main():
    golden = {}
    for case, network in NETWORKS.items():
        leaves = {name: formula(name, shape).float().double().requires_grad_() for name, shape in shapes(network).items()}
        found = trajectory(network, leaves, lambda: leaves)
        print(case, found["losses"].tolist())
        golden |= {f"{case}/{name}": tensor for name, tensor in found.items()}
    write(pathlib.Path(__file__).parents[2] / "crates/kd-translation/tests/golden/transformer_trajectory.safetensors", golden)


if __name__ == "__main__":
    main()
