"""Runs each workload by turns in our bench program and in a rival, PyTorch by default, and writes the comparison. Started by run.sh.

Standard library only: it checks the arguments before anything is installed.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FEWEST_ROUNDS = 5
QUICK = {"rounds": 1, "warmup": 2, "steps": 5}
FLOOR = ["workload", "ours_ms", "gflop", "gbytes", "operations_ms", "bytes_ms", "ours_over_floor"]
# Ways in which PyTorch runs a workload of images. The fastest of the first three is what ours is compared with; the last is not float32.
FLOAT32_MODES, BFLOAT16_MODE = ["eager", "channels-last", "compile"], "bfloat16"
MODES = [*FLOAT32_MODES, BFLOAT16_MODE]
# The features of Cargo that our program needs for a device.
FEATURES = {"cpu": "", "cuda": "cuda,cudnn", "metal": "metal"}
# Each rival's program and the module whose version the machine's line states.
RIVALS = {"pytorch": ("torch_steps.py", "torch"), "ctranslate2": ("ctranslate2_search.py", "ctranslate2")}


class Failure(Exception):
    """A one-line reason to stop."""


def positive(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def parse(argv):
    parser = argparse.ArgumentParser(prog="run.sh", description="Time our training steps and searches against PyTorch, or searches against CTranslate2, by turns.")
    parser.add_argument("--workloads", metavar="A,B", help="only these (default: all that the rival's program lists)")
    parser.add_argument("--rival", choices=RIVALS, default="pytorch", help="what ours is timed against (default pytorch)")
    parser.add_argument("--modes", metavar="A,B", default=",".join(MODES), help=f"of {', '.join(MODES)}, only these, one of float32 at least (default: all)")
    parser.add_argument("--rounds", type=positive, help=f"rounds a workload, at least {FEWEST_ROUNDS} (default {FEWEST_ROUNDS})")
    parser.add_argument("--threads", type=positive, default=os.cpu_count() or 1, help="threads on both sides (default: all cores)")
    parser.add_argument("--device", default="cpu", help="device on both sides: cpu (the default), cuda, cuda:N or metal")
    parser.add_argument("--quick", action="store_true", help="one round of a few steps: shows that both sides run, writes no file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (default: results/bench)")
    parser.add_argument("--ours", type=Path, metavar="PROGRAM", help="time this program instead of building bench_steps")
    parser.add_argument("--root", type=Path, default=HERE.parents[1], help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.rounds and not args.quick and args.rounds < FEWEST_ROUNDS:
        parser.error(f"--rounds: expected at least {FEWEST_ROUNDS}, got {args.rounds} (use --quick to try things out)")
    args.modes = [mode for mode in MODES if mode in args.modes.split(",")] if set(args.modes.split(",")) <= set(MODES) else []
    if not set(args.modes) & set(FLOAT32_MODES):
        parser.error(f"--modes: expected some of {', '.join(MODES)}, one of float32 at least")
    kind, _, number = args.device.partition(":")
    if kind not in FEATURES or (number and not (kind == "cuda" and number.isdigit())):
        parser.error(f"--device: expected cpu, cuda, cuda:N or metal, got {args.device!r}")
    if args.rival != "pytorch" and args.device != "cpu":
        parser.error(f"--device: {args.rival} is timed on the CPU alone")
    args.rounds = args.rounds or (QUICK["rounds"] if args.quick else FEWEST_ROUNDS)
    args.out = args.out or args.root / "results" / "bench"
    return args


def capture(command, env=None):
    """Standard output of `command`; a failure names the command and its last line of output."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    except OSError as error:
        raise Failure(f"cannot start {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise Failure(f"{' '.join(str(part) for part in command)}: exit status {done.returncode}: {said}")
    return done.stdout


def columns(rival):
    common = ["workload", "ours_ms", f"{rival}_ms", "ratio", "ours_peak_mb", f"{rival}_peak_mb"]
    of_modes = ["pytorch_mode", *(f"{mode.replace('-', '_')}_ms" for mode in MODES), "bfloat16_ratio"]
    return common + (of_modes if rival == "pytorch" else [])


def registry(rival):
    """The workloads of the rival's side in its order: name to warmup, steps and modes."""
    lines = capture([sys.executable, HERE / RIVALS[rival][0], "--list"]).splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["workload"]: (row["warmup"], row["steps"], row.get("modes", [])) for row in rows}


def modes_of(args, known, name):
    """The modes in which the rival is timed; none where it has one way alone."""
    return [mode for mode in known[name][2] if mode in args.modes]


def check_compiler(args, known, names):
    """Fails where a workload would be compiled and there is nothing to compile it with."""
    compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
    if any("compile" in modes_of(args, known, name) for name in names) and not any(c and shutil.which(c) for c in compilers):
        raise Failure("mode compile: expected a C++ compiler (g++ or clang++), found none; leave the mode out with --modes")


def chosen(args, known):
    if args.workloads is None:
        return list(known)
    names = [name for name in args.workloads.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        got = ", ".join(unknown) or "none"
        raise Failure(f"--workloads: expected some of {', '.join(known)}, got {got}")
    return list(dict.fromkeys(names))


def build_ours(root, features):
    """Builds the bench program and returns the path that Cargo reports for it."""
    command = ["cargo", "build", "-p", "bench-steps", "--message-format=json-render-diagnostics"]
    if features:
        command += ["--features", features]
    try:
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise Failure(f"cannot start cargo: {error.strerror}") from error
    if done.returncode != 0:
        raise Failure(f"{' '.join(command[:6])}: exit status {done.returncode}")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == "bench_steps" and message.get("executable"):
            return Path(message["executable"])
    raise Failure("cargo build: no executable bench_steps in its messages")


class DeviceMemory:
    """The most memory of a CUDA device that was in use while a command ran, in MiB, by nvidia-smi ten times a second: of all processes, so
    nothing else may run there. None of another device."""

    def __init__(self, device):
        self.device, self.peak = device, None

    def __enter__(self):
        if self.device.startswith("cuda"):
            query = ["nvidia-smi", f"--id={ordinal(self.device)}", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
            self.watch = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        if self.device.startswith("cuda"):
            self.watch.terminate()
            self.peak = max((float(line) for line in self.watch.communicate()[0].split()), default=None)


def measure(program, options, workload, counts, threads):
    """One process: the one JSON line that it prints."""
    warmup, steps = counts
    # The argument counts; the variables are for the pools that a program's libraries start on their own.
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads))
    command = [*program, workload, "--threads", threads, "--warmup", warmup, "--steps", steps, *options]
    with DeviceMemory(options[options.index("--device") + 1] if "--device" in options else "cpu") as memory:
        out = capture(command, env)
    try:
        row = json.loads(out)
        got, step_ms, peak_mb = row["workload"], float(row["step_ms"]), float(row["peak_mb"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{program[-1]} {workload}: expected one JSON line with workload, step_ms, peak_mb, got {out.strip()!r}") from error
    if got != workload or not (step_ms > 0 and peak_mb > 0):
        raise Failure(f"{program[-1]} {workload}: expected positive figures of {workload}, got {out.strip()!r}")
    if memory.peak:
        row["peak_mb"] = memory.peak
    return row


def rates(program, threads):
    """The machine's measured matrix rate and bandwidth, from our bench program."""
    return json.loads(capture([program, "machine", "--threads", threads]))


def floor(summary, work, machine):
    """What the step would take at the machine's rates. Each byte that it allocates is written once and read once at the least."""
    operations, moved = work["gflop"] / machine["gflops"] * 1e3, 2 * work["gbytes"] / machine["gbytes_per_s"] * 1e3
    ours = float(summary["ours_ms"])
    figures = [ours, work["gflop"], work["gbytes"], operations, moved, ours / max(operations, moved)]
    return dict(zip(FLOOR, [summary["workload"], *(f"{figure:.3f}" for figure in figures)]))


def rival_sides(program, rival, modes):
    """The rival's command for each side of the rounds. A workload without modes has one side, which bears the rival's name."""
    return {f"{rival}-{mode}": (program, ["--mode", mode]) for mode in modes} or {rival: (program, [])}


def compare(sides, workload, counts, args):
    """Every round of one workload. The side that goes first changes each round, so that neither always meets the warmer machine."""
    rounds, work = [], None
    for number in range(args.rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for side in order:
            row = measure(*sides[side], workload, counts, args.threads)
            step_ms, peak_mb = row["step_ms"], row["peak_mb"]
            work = row if side == "ours" else work
            rounds.append({"workload": workload, "round": number + 1, "side": side, "step_ms": step_ms, "peak_mb": peak_mb})
            print(f"{workload} round {number + 1}/{args.rounds} {side}: {step_ms:.3f} ms, {peak_mb:.0f} MiB", file=sys.stderr, flush=True)
    return rounds, work


def summarise(workload, rounds, rival, modes):
    """Medians over the rounds; `ratio` is our time over that of the rival's fastest mode in float32, so below 1 means that we take less."""

    def median(side, column):
        return statistics.median(row[column] for row in rounds if row["side"] == side)

    mode_ms = {mode: median(f"{rival}-{mode}", "step_ms") for mode in modes}
    best = min((mode for mode in modes if mode in FLOAT32_MODES), key=mode_ms.get, default=None)
    theirs_side = f"{rival}-{best}" if best else rival
    ours, theirs = median("ours", "step_ms"), median(theirs_side, "step_ms")
    peaks = [median(side, "peak_mb") for side in ("ours", theirs_side)]
    figures = [f"{ours:.3f}", f"{theirs:.3f}", f"{ours / theirs:.3f}", *(f"{peak:.0f}" for peak in peaks)]
    if rival == "pytorch":
        # A workload without modes runs in PyTorch's plain one.
        figures.append(best or "eager")
        figures += [f"{mode_ms[mode]:.3f}" if mode in mode_ms else "" for mode in MODES]
        figures.append(f"{ours / mode_ms[BFLOAT16_MODE]:.3f}" if BFLOAT16_MODE in mode_ms else "")
    return dict(zip(columns(rival), [workload, *figures]))


def cpu_model():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def accelerator(device):
    """The name of a device that is not the CPU, for the machine's line."""
    if device == "cpu":
        return ""
    if not device.startswith("cuda"):
        return f"{device}; "
    names = capture(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]).strip().splitlines()
    return f"{names[ordinal(device)]}; "


def ordinal(device):
    return int(device.partition(":")[2] or 0)


def os_name():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"] + f" ({platform.system()} {platform.release()})"
    except OSError:
        return platform.platform()


def commit(root):
    """The commit that was measured, marked when tracked files differ from it."""
    name = capture(["git", "-C", root, "rev-parse", "HEAD"]).strip()
    changed = capture(["git", "-C", root, "status", "--porcelain", "--untracked-files=no"]).strip()
    return name + ("-modified" if changed else "")


def machine(args):
    rustc = capture(["rustc", "--version"]).strip()
    module = RIVALS[args.rival][1]
    version = capture([sys.executable, "-c", f"import {module}; print({module}.__version__)"]).strip()
    # A program given by hand need not come from this commit, so the line says so.
    ours = f"; ours given as {args.ours.name}" if args.ours else ""
    return (
        f"{cpu_model()}; {os.cpu_count()} cores; {os_name()}; {rustc}; {module} {version}; "
        f"{accelerator(args.device)}threads {args.threads}; rounds {args.rounds}; commit {commit(args.root)}{ours}\n"
    )


def write_rows(path, columns, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(argv):
    args = parse(argv)
    if args.check:
        return
    known = registry(args.rival)
    names = chosen(args, known)
    check_compiler(args, known, names)
    ours = args.ours.resolve() if args.ours else build_ours(args.root, FEATURES[args.device.split(":")[0]])
    # Taken now, so that an edit during the rounds does not change what the line says was measured.
    described = None if args.quick else machine(args)
    rival = [sys.executable, HERE / RIVALS[args.rival][0]]
    machine_rates = rates(ours, args.threads)  # Of the CPU: a floor of another device would need that one's.
    rounds, summary, floors = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        if args.rival == "ctranslate2":
            # The same weights on both sides.
            for name in names:
                capture([ours, name, "--threads", args.threads, "--export", Path(folder) / name])
            rival += ["--networks", folder]
        for name in names:
            counts = (QUICK["warmup"], QUICK["steps"]) if args.quick else known[name][:2]
            modes = modes_of(args, known, name)
            sides = {"ours": ([ours], []), **rival_sides(rival, args.rival, modes)}
            if args.rival == "pytorch":
                sides = {side: (program, [*options, "--device", args.device]) for side, (program, options) in sides.items()}
            measured, work = compare(sides, name, counts, args)
            rounds += measured
            summary.append(summarise(name, measured, args.rival, modes))
            floors.append(floor(summary[-1], work, machine_rates))
    writer = csv.DictWriter(sys.stdout, columns(args.rival), lineterminator="\n")
    writer.writeheader()
    writer.writerows(summary)
    if args.quick:
        print("quick: nothing was written", file=sys.stderr)
        return
    stem = datetime.datetime.now(datetime.timezone.utc).date().isoformat() + ("" if args.rival == "pytorch" else f".{args.rival}")
    args.out.mkdir(parents=True, exist_ok=True)
    write_rows(args.out / f"{stem}.csv", columns(args.rival), summary)
    write_rows(args.out / f"{stem}.rounds.csv", list(rounds[0]), rounds)
    if args.device == "cpu":
        write_rows(args.out / f"{stem}.floor.csv", FLOOR, floors)
    measured = f"; matrix rate {machine_rates['gflops']:.0f} GFLOP/s; copy {machine_rates['gbytes_per_s']:.0f} GB/s\n"
    (args.out / f"{stem}.machine.txt").write_text(described.rstrip() + measured)
    print(f"wrote {args.out / stem}.csv, .rounds.csv, .floor.csv and .machine.txt", file=sys.stderr)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failure as failure:
        sys.exit(f"bench-vs-pytorch: {failure}")
