"""The image networks in PyTorch: names and shapes of their state dicts, and what they compute from weights that are a formula.

    python scripts/oracles/cifar_networks.py    writes crates/kd-core/tests/golden/cifar_networks.json

Names are those of the checkpoints of RepDistiller, mdistiller and ReviewKD, so that `load_state_dict(strict=True)` of either side's
file works. `forward` returns the logits and every tap by name.
"""

import hashlib
import json
import pathlib

import numpy
import torch
import torch.nn.functional as F
from torch import nn

BATCH, PROJECTIONS = 4, 2


def conv(cin, cout, k, stride=1, groups=1, bias=False):
    return nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups, bias=bias)


def pool(x):
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Basic(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(cin, cout, 3, stride), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = conv(cout, cout, 3), nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return y + (x if self.downsample is None else self.downsample(x))


class Bottleneck(nn.Module):
    def __init__(self, cin, inner, stride):
        super().__init__()
        cout = 4 * inner
        self.conv1, self.bn1 = conv(cin, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, cout, 1), nn.BatchNorm2d(cout)
        self.shortcut = nn.Sequential()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return self.bn3(self.conv3(y)) + self.shortcut(x)


class Stages(nn.Module):
    """A stem, stages of blocks that end in a sum, each rectified outside of the block, and a classifier called `head`."""

    def __init__(self, stem, kernel, stages, head, classes=100):
        super().__init__()
        self.conv1, self.bn1 = conv(3, stem, kernel), nn.BatchNorm2d(stem)
        for i, blocks in enumerate(stages, 1):
            setattr(self, f"layer{i}", nn.ModuleList(blocks))
        self.count, self.head = len(stages), head
        setattr(self, head, nn.Linear(self.last(), classes))

    def last(self):
        block = getattr(self, f"layer{self.count}")[-1]
        return getattr(block, "bn3", None).num_features if hasattr(block, "bn3") else block.bn2.num_features

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        taps = {"stem": x}
        for i in range(1, self.count + 1):
            for block in getattr(self, f"layer{i}"):
                before = block(x)
                x = F.relu(before)
            taps |= {f"stage{i}.pre": before, f"stage{i}": x}
        taps["last"] = x
        taps["pooled"] = pool(taps["last"])
        return getattr(self, self.head)(taps["pooled"]), taps


def resnet(depth, width=1):
    n, stem = (depth - 2) // 6, 16 if width == 1 else 32
    widths = [16 * width, 32 * width, 64 * width]
    stages, cin = [], stem
    for i, cout in enumerate(widths):
        stages.append([Basic(cin if j == 0 else cout, cout, 2 if i > 0 and j == 0 else 1) for j in range(n)])
        cin = cout
    return Stages(stem, 3, stages, "fc")


def resnet50():
    stages, cin = [], 64
    for i, n in enumerate([3, 4, 6, 3]):
        inner = 64 << i
        stages.append([Bottleneck(cin if j == 0 else 4 * inner, inner, 2 if i > 0 and j == 0 else 1) for j in range(n)])
        cin = 4 * inner
    return Stages(64, 3, stages, "linear")


class Wide(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(cin), conv(cin, cout, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(cout), conv(cout, cout, 3)
        if cin != cout:
            self.convShortcut = conv(cin, cout, 1, stride)

    def forward(self, x, active):
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (self.convShortcut(active) if hasattr(self, "convShortcut") else x)


class WideResNet(nn.Module):
    def __init__(self, depth, width, classes=100):
        super().__init__()
        self.conv1, cin = conv(3, 16, 3), 16
        for i in (1, 2, 3):
            cout = (16 * width) << (i - 1)
            blocks = [Wide(cin if j == 0 else cout, cout, 2 if i > 1 and j == 0 else 1) for j in range((depth - 4) // 6)]
            group = nn.Module()
            group.layer = nn.ModuleList(blocks)
            setattr(self, f"block{i}", group)
            cin = cout
        self.bn1, self.fc = nn.BatchNorm2d(cin), nn.Linear(cin, classes)

    def forward(self, x):
        x = self.conv1(x)
        taps = {"stem": x}
        for i in (1, 2, 3):
            for j, block in enumerate(getattr(self, f"block{i}").layer):
                before = block.bn1(x)
                if j == 0 and i > 1:
                    taps[f"stage{i - 1}.pre"] = before
                x = block(x, F.relu(before))
            taps[f"stage{i}"] = x
        taps["stage3.pre"] = self.bn1(x)
        taps["last"] = F.relu(taps["stage3.pre"])
        taps["pooled"] = pool(taps["last"])
        return self.fc(taps["pooled"]), taps


class Vgg(nn.Module):
    LAYERS = {8: [1] * 5, 11: [1, 1, 2, 2, 2], 13: [2] * 5, 16: [2, 2, 3, 3, 3], 19: [2, 2, 4, 4, 4]}

    def __init__(self, depth, classes=100):
        super().__init__()
        cin = 3
        for i, (n, cout) in enumerate(zip(self.LAYERS[depth], [64, 128, 256, 512, 512])):
            layers = []
            for _ in range(n):
                layers += [conv(cin, cout, 3, bias=True), nn.BatchNorm2d(cout), nn.ReLU()]
                cin = cout
            setattr(self, f"block{i}", nn.Sequential(*layers[:-1]))
        self.classifier = nn.Linear(512, classes)

    def forward(self, x):
        taps = {}
        for i in range(5):
            if 1 <= i <= 3:
                x = F.max_pool2d(x, 2)
            before = getattr(self, f"block{i}")(x)
            x = F.relu(before)
            taps |= {"stem": x} if i == 0 else {f"stage{i}.pre": before, f"stage{i}": x}
        taps["last"] = x
        taps["pooled"] = pool(taps["last"])
        return self.classifier(taps["pooled"]), taps


class Inverted(nn.Module):
    def __init__(self, cin, cout, t, stride):
        super().__init__()
        inner, self.residual = cin * t, stride == 1 and cin == cout
        self.conv = nn.Sequential(
            conv(cin, inner, 1), nn.BatchNorm2d(inner), nn.ReLU(),
            conv(inner, inner, 3, stride, inner), nn.BatchNorm2d(inner), nn.ReLU(),
            conv(inner, cout, 1), nn.BatchNorm2d(cout))

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    GROUPS = [(1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)]

    def __init__(self, classes=100):
        super().__init__()
        self.conv1 = nn.Sequential(conv(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())
        cin, self.blocks = 16, nn.ModuleList()
        for t, cout, n, stride in self.GROUPS:
            self.blocks.append(nn.Sequential(*[Inverted(cin if i == 0 else cout, cout, t, stride if i == 0 else 1) for i in range(n)]))
            cin = cout
        self.conv2 = nn.Sequential(conv(cin, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(1280, classes))

    def forward(self, x):
        x = self.conv1(x)
        taps = {"stem": x}
        for i, group in enumerate(self.blocks):
            x = group(x)
            if i in (1, 2, 4, 6):
                taps[f"stage{len(taps)}"] = x
        taps["last"] = self.conv2(x)
        taps["pooled"] = pool(taps["last"])
        return self.classifier(taps["pooled"]), taps


def shuffle(x, groups):
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class Shuffle1(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        own = cout - cin if stride == 2 else cout
        inner, self.groups, self.stride = own // 4, 1 if cin == 24 else 3, stride
        self.conv1, self.bn1 = conv(cin, inner, 1, groups=self.groups), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride, inner), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, own, 1, groups=3), nn.BatchNorm2d(own)

    def forward(self, x):
        y = shuffle(F.relu(self.bn1(self.conv1(x))), self.groups)
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1) if self.stride == 2 else y + x


class ShuffleNetV1(Stages):
    def __init__(self):
        stages, cin = [], 24
        for cout, n in [(240, 4), (480, 8), (960, 4)]:
            stages.append([Shuffle1(cin, cout, 2)] + [Shuffle1(cout, cout, 1) for _ in range(n - 1)])
            cin = cout
        super().__init__(24, 1, stages, "linear")


class Down2(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        half = cout // 2
        self.conv1, self.bn1 = conv(cin, cin, 3, 2, cin), nn.BatchNorm2d(cin)
        self.conv2, self.bn2 = conv(cin, half, 1), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv(cin, half, 1), nn.BatchNorm2d(half)
        self.conv4, self.bn4 = conv(half, half, 3, 2, half), nn.BatchNorm2d(half)
        self.conv5, self.bn5 = conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x):
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = F.relu(self.bn3(self.conv3(x)))
        right = F.relu(self.bn5(self.conv5(self.bn4(self.conv4(right)))))
        return None, shuffle(torch.cat([left, right], 1), 2)


class Basic2(nn.Module):
    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.conv1, self.bn1 = conv(half, half, 1), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = conv(half, half, 3, 1, half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv(half, half, 1), nn.BatchNorm2d(half)

    def forward(self, x):
        kept, y = x.chunk(2, 1)
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(y)))))
        y = self.bn3(self.conv3(y))
        return torch.cat([kept, y], 1), shuffle(torch.cat([kept, F.relu(y)], 1), 2)


class ShuffleNetV2(nn.Module):
    def __init__(self, classes=100):
        super().__init__()
        self.conv1, self.bn1, cin = conv(3, 24, 1), nn.BatchNorm2d(24), 24
        for i, (cout, n) in enumerate([(116, 3), (232, 7), (464, 3)], 1):
            setattr(self, f"layer{i}", nn.ModuleList([Down2(cin, cout)] + [Basic2(cout) for _ in range(n)]))
            cin = cout
        self.conv2, self.bn2 = conv(464, 1024, 1), nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        taps = {"stem": x}
        for i in (1, 2, 3):
            for block in getattr(self, f"layer{i}"):
                before, x = block(x)
            taps |= {f"stage{i}.pre": before, f"stage{i}": x}
        taps["last"] = F.relu(self.bn2(self.conv2(x)))
        taps["pooled"] = pool(taps["last"])
        return self.linear(taps["pooled"]), taps


NETWORKS = {
    **{f"resnet{d}": lambda d=d: resnet(d) for d in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{d}x4": lambda d=d: resnet(d, 4) for d in (8, 32)},
    **{f"wrn-{d}-{w}": lambda d=d, w=w: WideResNet(d, w) for d, w in ((16, 1), (16, 2), (40, 1), (40, 2))},
    **{f"vgg{d}": lambda d=d: Vgg(d) for d in Vgg.LAYERS},
    "mobilenet-v2": MobileNetV2,
    "shufflenet-v1": ShuffleNetV1,
    "shufflenet-v2": ShuffleNetV2,
    "resnet50": resnet50,
}


def noise(shape, purpose, seed=0):
    """Numbers in [-1, 1) that any language can make: a hash of the index, of 32 bits, in integers."""
    purpose = int.from_bytes(hashlib.sha256(f"{purpose}/{seed}".encode()).digest()[:4], "little")
    h = numpy.arange(int(numpy.prod(shape)), dtype=numpy.uint32) * numpy.uint32(0x9E3779B1) ^ numpy.uint32(purpose)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h = (h ^ (h >> numpy.uint32(shift))) * numpy.uint32(factor)
    h ^= h >> numpy.uint32(16)
    return torch.from_numpy(h.astype(numpy.float64) / 2.0**31 - 1.0).reshape(shape)


def formula(name, shape):
    """The value of a parameter or running statistic, in float64."""
    u = noise(shape, name)
    kind = name.rsplit(".", 1)[-1]
    if len(shape) == 4:
        return u * (6.0 / (shape[1] * shape[2] * shape[3])) ** 0.5
    if len(shape) == 2:
        return u * (3.0 / shape[1]) ** 0.5
    return {"weight": 1.0 + 0.3 * u, "bias": 0.2 * u, "running_mean": 0.2 * u, "running_var": 1.5 + 0.5 * u}[kind]


def with_formula_weights(network):
    state = network.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            state[name] = formula(name, tuple(value.shape)).float()
    network.load_state_dict(state, strict=True)
    return network


def sketch(x, name):
    """The norm of a tensor, and its products with a few fixed vectors of noise."""
    x = x.detach().double().flatten()
    return [x.norm().item()] + [(x * noise(x.shape, name, seed + 1)).sum().item() for seed in range(PROJECTIONS)]


def sketches(logits, taps):
    return {name: sketch(value, name) for name, value in {"logits": logits, **taps}.items()}


def main():
    torch.manual_seed(0)
    golden = {"torch": torch.__version__, "batch": BATCH, "networks": {}}
    images = 1.5 * noise((BATCH, 3, 32, 32), "images")
    for name, make in NETWORKS.items():
        # In float64, so that the rounding of this side does not count.
        network = with_formula_weights(make()).double()
        with torch.no_grad():
            evaluated = sketches(*network.eval()(images))
            trained = sketches(*network.train()(images))
        state = network.state_dict()
        moved = torch.cat([v.flatten() for n, v in sorted(state.items()) if n.endswith(("running_mean", "running_var"))])
        golden["networks"][name] = {
            "state": {n: list(v.shape) for n, v in state.items()},
            "parameters": sum(p.numel() for p in network.parameters()),
            "evaluate": evaluated,
            "train": trained,
            "running": sketch(moved, "running"),
        }
    path = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/cifar_networks.json"
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
