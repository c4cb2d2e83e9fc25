"""Reads event files back with TensorBoard and compares them with the table of epochs of each cell.

    cargo run -p hinton-mnist -- report --to page.html --tensorboard EVENTS
    python scripts/check-tensorboard.py EVENTS FOLDER...

Each FOLDER has cells, `<cell>/epochs.csv`: `runs/<paper>`, or `results/<paper>/<data>-<preset>/cells`. Needs `tensorboard` from PyPI
(seen with 2.21.0). Ends with 1 where a number is missing, left over or another one.
"""

import csv
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def float32(number):
    return struct.unpack("f", struct.pack("f", number))[0]


def table_of_epochs(path):
    """The finite numbers of a table of epochs: {column: [(row from 1, value)]}, without the first column."""
    rows = list(csv.DictReader(path.open()))
    columns = {}
    for number, row in enumerate(rows, start=1):
        for name, text in list(row.items())[1:]:
            try:
                value = float(text)
            except (TypeError, ValueError):
                continue
            if math.isfinite(value):
                columns.setdefault(name, []).append((number, float32(value)))
    return columns


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    events, folders = pathlib.Path(sys.argv[1]), [pathlib.Path(folder) for folder in sys.argv[2:]]
    files = sorted(events.rglob("events.out.tfevents.*"))
    wrong = 0
    for file in files:
        cell = file.name.rsplit(".", 1)[1]
        table = next((f / cell / "epochs.csv" for f in folders if (f / cell / "epochs.csv").exists()), None)
        if table is None:
            print(f"{file}: no epochs.csv of {cell}")
            wrong += 1
            continue
        read = EventAccumulator(str(file.parent), size_guidance={"scalars": 0}).Reload()
        found = {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
        if found != table_of_epochs(table):
            print(f"{file}: differs from {table}")
            wrong += 1
    print(f"{len(files)} runs, {wrong} wrong")
    sys.exit(1 if wrong or not files else 0)


main()
