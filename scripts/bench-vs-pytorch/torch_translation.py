"""Translation in PyTorch: training steps of Transformers and of weight distillation's generator, and beam search with cached keys.

Networks are PyTorch's own layers. Where these do not reach (weights that are computed at every step, caches), their tensors are used with
`functional_call` and `scaled_dot_product_attention`.
"""

import dataclasses
import functools
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY, PAIRS, WORDS, BATCHES = 6000, 64, 16, 4
BEAM, WRITTEN = 4, 24
PAD, BOS, FIRST_WORD = 0, 1, 4
DROPOUT, SMOOTHING = 0.1, 0.1


@dataclasses.dataclass(frozen=True)
class Half:
    layers: int
    width: int
    hidden: int
    heads: int = 4


BASE = Half(6, 256, 1024)
DECODERS = {"teacher": BASE, "tiny": Half(1, 128, 512), "small": Half(2, 256, 1024)}


class FastDropout(nn.Module):
    """Inverted dropout with a mask from `rand_like`, as in `torch_steps.py`."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, xs):
        if not self.training:
            return xs
        return xs * (torch.rand_like(xs) >= self.rate).to(xs.dtype).mul_(1 / (1 - self.rate))


def with_fast_dropout(module):
    for name, child in module.named_children():
        setattr(module, name, FastDropout(child.p)) if isinstance(child, nn.Dropout) else with_fast_dropout(child)
    return module


class Words(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, width, padding_idx=PAD)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        half = torch.exp(torch.arange(width // 2) * -(math.log(10000) / (width // 2 - 1)))
        angles = torch.arange(1024)[:, None] * half
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], 1))
        self.dropout = nn.Dropout(DROPOUT)
        self.scale = width**0.5

    def forward(self, ids, offset=0):
        return self.dropout(torch.add(self.positions[offset : offset + ids.shape[1]], self.table(ids), alpha=self.scale))


class Transformer(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.source, self.target = Words(encoder.width), Words(decoder.width)
        options = {"dropout": DROPOUT, "batch_first": True}
        self.encoder = nn.ModuleList(nn.TransformerEncoderLayer(encoder.width, encoder.heads, encoder.hidden, **options) for _ in range(encoder.layers))
        self.decoder = nn.ModuleList(nn.TransformerDecoderLayer(decoder.width, decoder.heads, decoder.hidden, **options) for _ in range(decoder.layers))
        if decoder.width != encoder.width:
            memory = {"kdim": encoder.width, "vdim": encoder.width}
            for layer in self.decoder:
                layer.multihead_attn = nn.MultiheadAttention(decoder.width, decoder.heads, **options, **memory)
        self.output = nn.Linear(decoder.width, VOCABULARY, bias=False)
        nn.init.normal_(self.output.weight, std=decoder.width**-0.5)
        with_fast_dropout(self)

    def encode(self, source):
        xs = self.source(source)
        for layer in self.encoder:
            xs = layer(xs)
        return xs

    def forward(self, source, target, causal):
        memory, xs = self.encode(source), self.target(target)
        for layer in self.decoder:
            xs = layer(xs, memory, tgt_mask=causal, tgt_is_causal=True)
        return self.output(xs)


def sentences(count):
    return torch.randint(FIRST_WORD, VOCABULARY, (count, WORDS))


def adam(parameters):
    return torch.optim.Adam(parameters, lr=7e-4, betas=(0.9, 0.98), eps=1e-8, fused=True)


def steps(logits, optimiser, autocast=False):
    """Steps on ready batches without padding, for which no mask of padding is needed; forward in bfloat16 where PyTorch casts to it, or not."""
    batches = itertools.cycle([(sentences(PAIRS), sentences(PAIRS), sentences(PAIRS)) for _ in range(BATCHES)])
    causal = nn.Transformer.generate_square_subsequent_mask(WORDS)

    def step():
        source, target, wanted = next(batches)
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            flat = logits(source, target, causal).flatten(0, 1)
            loss = F.cross_entropy(flat, wanted.flatten(), label_smoothing=SMOOTHING, ignore_index=PAD)
        loss.backward()
        optimiser.step()

    return step


def training(name, autocast=False):
    model = Transformer(BASE, DECODERS[name]).train()
    return steps(model, adam(model.parameters()), autocast)


class Generator(nn.Module):
    """The released form of weight distillation for TINY: the weights of `student` as functions of those of `teacher`.

    The encoder, of the teacher's shape, is W * tanh(theta) + B, its packed projections whole. Decoder weights mix the teacher's layers first,
    which makes the other maps cheaper, and keep queries, keys and values apart.
    """

    def __init__(self, teacher, student):
        super().__init__()
        self.parameters_of, self.constants = nn.ParameterDict(), {}
        shapes = {name: weight.shape for name, weight in student.named_parameters()}
        self.names = list(shapes)
        with torch.no_grad():
            for name, shape in shapes.items():
                if name.startswith(("encoder.", "source.")):
                    self.constants[name] = teacher.get_parameter(name).tanh()
                    self.bend(name, shape)
                elif name.startswith("decoder."):
                    for part, (wanted, instances) in self.parts(name, shape, teacher).items():
                        self.map(part, wanted, torch.stack(instances))
                else:
                    table = teacher.get_parameter(name).clone()
                    self.constants[name] = table
                    self.xavier(f"{name}/input", table.shape[1], shape[1])
                    if name.startswith("target."):
                        self.bend(name, shape)

    def new(self, name, value):
        self.parameters_of[name.replace(".", "/")] = nn.Parameter(value)

    def get(self, name):
        return self.parameters_of[name.replace(".", "/")]

    def xavier(self, name, inputs, outputs):
        self.new(name, nn.init.xavier_normal_(torch.empty(inputs, outputs)))

    def bend(self, name, shape):
        self.new(f"{name}/scale", torch.ones(shape))
        self.new(f"{name}/shift", torch.zeros(shape))

    def map(self, name, shape, theta):
        self.constants[name] = theta
        self.xavier(f"{name}/output", theta.shape[1], shape[0])
        if len(shape) == 2:
            self.xavier(f"{name}/input", theta.shape[2], shape[1])
        self.xavier(f"{name}/mix", len(theta), len(theta))
        self.new(f"{name}/layers", torch.full((len(theta),), 1 / len(theta)))
        self.bend(name, shape)

    @staticmethod
    def parts(name, shape, teacher):
        """The classes that a tensor of the student holds, with their shapes and the teacher's instances."""
        layers, rest = teacher.decoder, name.split(".", 2)[2]
        block, _, tensor = rest.rpartition(".")
        if tensor in ("in_proj_weight", "in_proj_bias"):
            part = (shape[0] // 3, *shape[1:])
            chunks = [layer.get_parameter(rest).chunk(3) for layer in layers]
            return {f"{name}/{i}": (part, [chunk[i] for chunk in chunks]) for i in range(3)}
        if tensor in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            i = "qkv".index(tensor[0])
            return {name: (shape, [layer.get_parameter(f"{block}.in_proj_weight").chunk(3)[i] for layer in layers])}
        return {name: (shape, [layer.get_parameter(rest) for layer in layers])}

    def bent(self, name, z):
        return torch.addcmul(self.get(f"{name}/shift"), self.get(f"{name}/scale"), z)

    def mapped(self, name):
        theta = self.constants[name]
        z = (self.get(f"{name}/mix") @ self.get(f"{name}/layers")) @ theta.flatten(1)
        z = self.get(f"{name}/output").T @ z.view(theta.shape[1:])
        if theta.dim() == 3:
            z = z @ self.get(f"{name}/input")
        return self.bent(name, torch.tanh(z))

    def weight(self, name):
        if name.startswith(("encoder.", "source.")):
            return self.bent(name, self.constants[name])
        if name.startswith("target."):
            return self.bent(name, torch.tanh(self.constants[name] @ self.get(f"{name}/input")))
        if name.startswith("output."):
            return self.constants[name] @ self.get(f"{name}/input")
        if name.endswith(("in_proj_weight", "in_proj_bias")):
            return torch.cat([self.mapped(f"{name}/{i}") for i in range(3)])
        return self.mapped(name)

    def forward(self):
        return {name: self.weight(name) for name in self.names}


def generator(autocast=False):
    student = Transformer(BASE, DECODERS["tiny"]).train()
    made = Generator(Transformer(BASE, BASE), student)
    logits = lambda *batch: torch.func.functional_call(student, made(), batch)
    return steps(logits, adam(made.parameters()), autocast)


class Cache:
    """A decoder that goes on by one word at a time: keys and values of earlier words and of the source are kept, [rows, heads, words, width]."""

    def __init__(self, model, memory):
        self.model, self.own, self.words = model, [None] * len(model.decoder), 0
        self.source = [[self.heads(a, self.project(a, i, memory)) for i in (1, 2)] for a in (layer.multihead_attn for layer in model.decoder)]

    @staticmethod
    def heads(attention, xs):
        return xs.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)

    @staticmethod
    def project(attention, i, xs):
        weights = attention.in_proj_weight
        weight = weights.chunk(3)[i] if weights is not None else getattr(attention, f"{'qkv'[i]}_proj_weight")
        return F.linear(xs, weight, attention.in_proj_bias.chunk(3)[i])

    def step(self, words):
        """Logits after one more word of each hypothesis, [sentences * beam, vocabulary]."""
        xs = self.model.target(words[:, None], self.words)
        rows, _, width = xs.shape
        for i, layer in enumerate(self.model.decoder):
            a, b = layer.self_attn, layer.multihead_attn
            q, k, v = (self.heads(a, xs) for xs in F.linear(xs, a.in_proj_weight, a.in_proj_bias).chunk(3, -1))
            if self.own[i] is not None:
                k, v = (torch.cat([old, new], 2) for old, new in zip(self.own[i], (k, v)))
            self.own[i] = [k, v]
            xs = layer.norm1(xs + a.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))
            # The hypotheses of a sentence are queries of one row.
            q = self.heads(b, self.project(b, 0, xs).view(-1, BEAM, width))
            mixed = F.scaled_dot_product_attention(q, *self.source[i]).transpose(1, 2).reshape(rows, 1, width)
            xs = layer.norm2(xs + b.out_proj(mixed))
            xs = layer.norm3(xs + layer.linear2(F.relu(layer.linear1(xs), inplace=True)))
        self.words += 1
        return self.model.output(xs[:, 0])

    def select(self, rows):
        self.own = [[xs.index_select(0, rows) for xs in pair] for pair in self.own]


def search(name):
    """64 sentences, a beam of 4 and 24 steps, in which no hypothesis ends."""
    model = Transformer(BASE, DECODERS[name]).eval()
    source = sentences(PAIRS)
    first_rows = torch.arange(PAIRS)[:, None] * BEAM

    @torch.inference_mode()
    def step():
        cache = Cache(model, model.encode(source))
        words, scores = torch.full((PAIRS * BEAM,), BOS), torch.full((PAIRS, BEAM), -math.inf)
        scores[:, 0] = 0
        written = torch.empty(PAIRS * BEAM, 0, dtype=torch.long)
        for _ in range(WRITTEN):
            likely = F.log_softmax(cache.step(words), -1).view(PAIRS, BEAM, VOCABULARY)
            scores, best = (likely + scores[:, :, None]).flatten(1).topk(BEAM)
            rows, words = (first_rows + best // VOCABULARY).flatten(), (best % VOCABULARY).flatten()
            cache.select(rows)
            written = torch.cat([written[rows], words[:, None]], 1)
        return written.tolist()

    return step


def register(workload):
    for name in DECODERS:
        workload(f"translation-{name}-step", warmup=2, steps=7)(functools.partial(training, name))
    workload("translation-generator-step", warmup=2, steps=7)(generator)
    for name in DECODERS:
        workload(f"translation-{name}-step-bfloat16", warmup=2, steps=7)(functools.partial(training, name, autocast=True))
    workload("translation-generator-step-bfloat16", warmup=2, steps=7)(functools.partial(generator, autocast=True))
    for name in ["teacher", "tiny"]:
        workload(f"translation-{name}-search", warmup=1, steps=5)(functools.partial(search, name))
