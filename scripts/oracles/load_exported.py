"""Loads exported networks into PyTorch with strict=True, and compares their logits.

    cargo run -p kd-core --example export_networks -- FOLDER
    python scripts/oracles/load_exported.py FOLDER

Needs numpy beside PyTorch; the files are read here, so that no further package is needed (`safetensors.torch.load_file` does the same).
"""

import json
import pathlib
import sys

import torch

from cifar_networks import NETWORKS

DTYPES = {"F32": torch.float32, "I64": torch.int64}


def load_file(path):
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, about in header.items():
        first, end = about["data_offsets"]
        values = torch.frombuffer(data[start + first : start + end], dtype=DTYPES[about["dtype"]])
        tensors[name] = values.reshape(about["shape"])
    return tensors


def main():
    folder = pathlib.Path(sys.argv[1])
    worst = 0.0
    for name, make in NETWORKS.items():
        network = make()
        network.load_state_dict(load_file(folder / f"{name}.safetensors"), strict=True)
        seen = load_file(folder / f"{name}.seen.safetensors")
        with torch.no_grad():
            logits = network.eval()(seen["images"])[0]
        gap = ((logits - seen["logits"]).norm() / logits.norm()).item()
        worst = max(worst, gap)
        print(f"{name:14} {len(network.state_dict()):4} entries, logits differ by {gap:.1e} of their norm")
    if worst > 1e-4:
        sys.exit(f"expected logits within 1e-4 of their norm, got {worst:.1e}")


if __name__ == "__main__":
    main()
