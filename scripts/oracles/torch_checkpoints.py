"""Small PyTorch checkpoints of every kind that is about, and what they hold.

    python scripts/oracles/torch_checkpoints.py    writes crates/kd-core/tests/golden/torch_checkpoints/

`FILE.pth` are the checkpoints; `expected.json` lists, for each file, the names, shapes, dtypes and values of the network in it.
Values are formulas that are exact in half precision too.
"""

import argparse
import collections
import json
import pathlib

import numpy
import torch

ROOT = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/torch_checkpoints"


def ramp(shape, start=0, dtype=torch.float32):
    n = 1
    for side in shape:
        n *= side
    return ((torch.arange(n, dtype=torch.float64) * 3 + start) % 31 - 15).reshape(shape).to(dtype)


def state(prefix=""):
    weights = collections.OrderedDict()
    weights["conv1.weight"] = ramp((4, 3, 3, 3), 1)
    weights["bn1.weight"] = ramp((4,), 2)
    weights["bn1.bias"] = ramp((4,), 3)
    weights["bn1.running_mean"] = ramp((4,), 4)
    weights["bn1.running_var"] = ramp((4,), 5)
    weights["bn1.num_batches_tracked"] = torch.tensor(391)
    weights["fc.weight"] = ramp((2, 4), 6)
    named = collections.OrderedDict((prefix + name, value) for name, value in weights.items())
    # What `Module.state_dict` sets on its result.
    named._metadata = collections.OrderedDict([("", {"version": 1}), ("bn1", {"version": 2})])
    return named


def optimizer():
    parameter = torch.nn.Parameter(ramp((4, 3)))
    sgd = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.sum().backward()
    sgd.step()
    return sgd.state_dict()


def views():
    whole = ramp((40,))
    return {
        "head": whole[:4],
        "tail": whole[30:],
        "transposed": whole[6:18].reshape(3, 4).t(),
        "every_other": whole[1:13:2],
        "inner": ramp((4, 5, 6))[1:3, :, 2:5],
        "channels_last": ramp((2, 3, 4, 5)).to(memory_format=torch.channels_last),
        "repeated": ramp((3, 1)).expand(3, 4),
        "again": whole[:4],
        "parameter": torch.nn.Parameter(ramp((2, 3))),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }


def dtypes():
    kinds = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.uint8]
    made = {str(kind).removeprefix("torch."): ramp((3, 3), 15 if kind == torch.uint8 else 0, kind) for kind in kinds}
    made["uint8"] = (torch.arange(9) * 29 % 256).reshape(3, 3).to(torch.uint8)
    made["bool"] = ramp((3, 3)) > 0
    return made


def files():
    namespace = argparse.Namespace(arch="resnet20", lr=0.05, milestones=[150, 180, 210])
    yield "teacher", {"epoch": 240, "model": state(), "accuracy": torch.tensor(74.25), "optimizer": optimizer()}, {}
    yield "teacher_old", {"epoch": 240, "model": state(), "accuracy": torch.tensor(74.25), "optimizer": optimizer()}, {"old": True}
    yield "last", {"opt": namespace, "model": state(), "best_acc": numpy.float64(74.25)}, {}
    yield "last_old", {"opt": namespace, "model": state(), "best_acc": numpy.float64(74.25)}, {"old": True}
    yield "imagenet", {"epoch": 100, "arch": "resnet18", "state_dict": state("module."), "best_prec1": 71.5}, {"protocol": 4}
    student = {**state("module.student."), **state("module.teacher."), "module.abfs.0.conv1.0.weight": ramp((2, 2, 1, 1))}
    yield "distilled", student, {"protocol": 5}
    yield "views", views(), {}
    yield "views_old", views(), {"old": True}
    yield "dtypes", dtypes(), {}
    yield "dtypes_old", dtypes(), {"old": True}
    yield "module", torch.nn.Linear(2, 2), {}


def listed(value):
    values = value.detach().to(torch.float64).flatten().tolist()
    return {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch."), "values": values}


def network(saved):
    """The rule of the reader, said again."""
    if not isinstance(saved, dict):
        return None
    weights = saved.get("model", saved.get("state_dict", saved))
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    if any(name.startswith("student.") for name in weights):
        weights = {name.removeprefix("student."): value for name, value in weights.items() if name.startswith("student.")}
    return {name: listed(value) for name, value in weights.items() if not name.endswith("num_batches_tracked")}


def main():
    ROOT.mkdir(parents=True, exist_ok=True)
    expected = {"torch": torch.__version__, "files": {}}
    for name, saved, how in files():
        options = {"pickle_protocol": how.get("protocol", 2), "_use_new_zipfile_serialization": "old" not in how}
        torch.save(saved, ROOT / f"{name}.pth", **options)
        expected["files"][name] = network(saved)
    (ROOT / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
