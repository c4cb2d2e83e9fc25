"""The searches of `bench_steps` in CTranslate2, in float32, with the weights and sentences that `bench_steps WORKLOAD --export` wrote.

    python ctranslate2_search.py --list
    python ctranslate2_search.py WORKLOAD --networks DIR --threads N --warmup W --steps S

DIR has a folder for each workload. The translations have to be ours, so that both sides are known to do the same work.
"""

import argparse
import json
import pathlib
import resource
import statistics
import sys
import tempfile
import time

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec
from safetensors import safe_open

WORKLOADS = ["translation-teacher-search", "translation-tiny-search"]
WARMUP, STEPS = 1, 5
BEAM, PENALTY = 4, 1
POSITIONS = 1024
# Rounding may turn the order of hypotheses that are about equally likely.
FEWEST_ALIKE = 0.95


class Weights:
    """The tensors of a network's file by name."""

    def __init__(self, path):
        with safe_open(path, "numpy") as file:
            self.about = json.loads(file.metadata()["kd"])
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}

    def linear(self, spec, *names):
        """One layer, or several with the same input as one."""
        spec.weight = np.concatenate([self.tensors[f"{name}.weight"] for name in names])
        spec.bias = np.concatenate([self.tensors[f"{name}.bias"] for name in names])

    def norm(self, spec, name):
        spec.gamma, spec.beta = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]

    def own(self, spec, name):
        self.linear(spec.linear[0], *(f"{name}.self_attn.{part}_proj" for part in "qkv"))
        self.linear(spec.linear[1], f"{name}.self_attn.out_proj")
        self.norm(spec.layer_norm, f"{name}.self_attn_layer_norm")

    def source(self, spec, name):
        self.linear(spec.linear[0], f"{name}.encoder_attn.q_proj")
        self.linear(spec.linear[1], *(f"{name}.encoder_attn.{part}_proj" for part in "kv"))
        self.linear(spec.linear[2], f"{name}.encoder_attn.out_proj")
        self.norm(spec.layer_norm, f"{name}.encoder_attn_layer_norm")

    def feed_forward(self, spec, name):
        self.linear(spec.linear_0, f"{name}.fc1")
        self.linear(spec.linear_1, f"{name}.fc2")
        self.norm(spec.layer_norm, f"{name}.final_layer_norm")


def positions(width):
    rates = np.exp(np.arange(width // 2) * -(np.log(10000) / (width // 2 - 1)))
    angles = np.arange(POSITIONS)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


def converted(weights, folder):
    """Writes the network as CTranslate2 reads it."""
    about = weights.about
    spec = TransformerSpec.from_config((about["encoder"]["layers"], about["decoder"]["layers"]), about["encoder"]["heads"], pre_norm=False)
    for half, tables in [("encoder", spec.encoder.embeddings[0]), ("decoder", spec.decoder.embeddings)]:
        tables.weight = weights.tensors[f"{half}.embed_tokens.weight"]
        layers = getattr(spec, half)
        layers.position_encodings.encodings = positions(about[half]["width"])
        for i, layer in enumerate(layers.layer):
            name = f"{half}.layers.{i}"
            weights.own(layer.self_attention, name)
            weights.feed_forward(layer.ffn, name)
            if half == "decoder":
                weights.source(layer.attention, name)
    spec.decoder.projection.weight = weights.tensors["decoder.output_projection.weight"]
    words = ["<pad>", "<s>", "</s>", "<unk>", *(str(i) for i in range(4, about["source-vocabulary"]))]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.validate()
    spec.save(str(folder))


def lines(path):
    return [line.split() for line in path.read_text().splitlines()]


def timed(network, threads, warmup, steps):
    sources = [[*words, "</s>"] for words in lines(network / "sources.txt")]
    ours = lines(network / "translations.txt")
    length = len(ours[0])
    options = {"beam_size": BEAM, "length_penalty": PENALTY, "max_batch_size": len(sources)}
    with tempfile.TemporaryDirectory() as folder:
        converted(Weights(network / "network.safetensors"), folder)
        translator = ctranslate2.Translator(folder, device="cpu", compute_type="float32", inter_threads=1, intra_threads=threads)

    def search(length):
        found = translator.translate_batch(sources, min_decoding_length=length, max_decoding_length=length, **options)
        return [result.hypotheses[0] for result in found]

    times = []
    for _ in range(warmup + steps):
        start = time.perf_counter()
        # Ours takes one more step, in which each sentence is cut off, and gives the best before it.
        search(length + 1)
        times.append((time.perf_counter() - start) * 1e3)
    theirs = search(length)
    alike = sum(a == b for a, b in zip(ours, theirs)) / len(ours)
    if alike < FEWEST_ALIKE:
        sys.exit(f"ctranslate2_search: expected our translations, got {alike:.0%} of them")
    return statistics.median(times[warmup:]), alike


def main():
    parser = argparse.ArgumentParser(description="Time one search in CTranslate2 on the CPU.")
    parser.add_argument("workload", nargs="?", choices=WORKLOADS)
    parser.add_argument("--list", action="store_true", help="name the workloads and their usual step counts")
    parser.add_argument("--networks", type=pathlib.Path, metavar="DIR", help="a folder for each workload, as bench_steps exports it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=WARMUP)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    if args.list:
        for name in WORKLOADS:
            print(json.dumps({"workload": name, "warmup": WARMUP, "steps": STEPS}))
        return
    if not (args.workload and args.networks):
        parser.error("expected a workload and --networks")
    step_ms, alike = timed(args.networks / args.workload, args.threads, args.warmup, args.steps)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"workload": args.workload, "step_ms": round(step_ms, 4), "peak_mb": round(peak_mb, 1), "alike": round(alike, 4)}))


if __name__ == "__main__":
    main()
