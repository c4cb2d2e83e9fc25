"""What Pillow makes of an image by each operation of a strong view, at three strengths.

    python scripts/oracles/rand_augment.py    writes crates/kd-core/tests/golden/rand_augment.json

The image is a formula of integers: byte i of its three planes, row-major, is (31·i² + 97·i + 13) mod 251. Needs pillow alone.
"""

import json
import pathlib

import PIL
from PIL import Image, ImageEnhance, ImageOps

OUT = pathlib.Path(__file__).parents[2] / "crates/kd-core/tests/golden/rand_augment.json"
ROWS, COLS = 18, 20


def moved(*matrix):
    return lambda image, v: image.transform(image.size, Image.AFFINE, tuple(m(v) if callable(m) else m for m in matrix))


def itself(v):
    return v


OPERATIONS = {
    "AutoContrast": (lambda image, _: ImageOps.autocontrast(image), (0.0,)),
    "Brightness": (lambda image, v: ImageEnhance.Brightness(image).enhance(v), (0.05, 0.5, 0.9)),
    "Colour": (lambda image, v: ImageEnhance.Color(image).enhance(v), (0.05, 0.5, 0.9)),
    "Contrast": (lambda image, v: ImageEnhance.Contrast(image).enhance(v), (0.05, 0.5, 0.9)),
    "Equalise": (lambda image, _: ImageOps.equalize(image), (0.0,)),
    "Identity": (lambda image, _: image, (0.0,)),
    "Posterise": (lambda image, v: ImageOps.posterize(image, max(1, int(v))), (4.0, 5.9, 7.2)),
    "Rotate": (lambda image, v: image.rotate(v), (-30.0, -7.3, 21.9)),
    "Sharpness": (lambda image, v: ImageEnhance.Sharpness(image).enhance(v), (0.05, 0.5, 0.9)),
    "ShearX": (moved(1, itself, 0, 0, 1, 0), (-0.3, 0.11, 0.29)),
    "ShearY": (moved(1, 0, 0, itself, 1, 0), (-0.3, 0.11, 0.29)),
    "Solarise": (lambda image, v: ImageOps.solarize(image, v), (0.0, 100.4, 200.0)),
    "TranslateX": (moved(1, 0, lambda v: v * COLS, 0, 1, 0), (-0.3, 0.11, 0.29)),
    "TranslateY": (moved(1, 0, 0, 0, 1, lambda v: v * ROWS), (-0.3, 0.11, 0.29)),
}


def planes(image):
    return b"".join(band.tobytes() for band in image.split())


def main():
    size = ROWS * COLS
    data = bytes((31 * i * i + 97 * i + 13) % 251 for i in range(3 * size))
    bands = [Image.frombytes("L", (COLS, ROWS), data[k * size : (k + 1) * size]) for k in range(3)]
    image = Image.merge("RGB", bands)
    cases = []
    for name, (operation, strengths) in OPERATIONS.items():
        for strength in strengths:
            # Low contrast first, so that stretching does something.
            before = image.point(lambda v: 40 + v // 2) if name == "AutoContrast" else image
            cases.append({"operation": name, "strength": strength, "image": planes(operation(before, strength)).hex()})
    golden = {"pillow": PIL.__version__, "rows": ROWS, "cols": COLS, "cases": cases}
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
