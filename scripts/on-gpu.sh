#!/usr/bin/env bash
# Everything that a machine with an accelerator can say of this workspace, in one command: every op against itself on the CPU, a short run of
# each paper on the device and on the CPU, and training steps against PyTorch on the device, eager and compiled, with the memory they take.
#
#   scripts/on-gpu.sh [cuda|metal]      # cuda unless named
#
# Writes results/bench/<device>/: ops.txt, quick/<paper>/ (the same tables from both devices), and the files of scripts/bench-vs-pytorch.
# Needs, for cuda: a GPU with its driver, the CUDA toolkit (nvcc) and cuDNN; CUDA_FEATURES=cuda leaves cuDNN out. PyTorch is installed beside
# bench-vs-pytorch, or set BENCH_PYTHON. Ends with 2 where there is no device, and with 1 where a check fails; the others run all the same.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never
device=${1:-cuda}
case $device in
cuda)
    features=${CUDA_FEATURES:-cuda,cudnn}
    name=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1) || true
    [ -n "$name" ] || { echo "expected an NVIDIA GPU and its driver, found none (nvidia-smi)" >&2; exit 2; }
    command -v nvcc >/dev/null || { echo "expected the CUDA toolkit on PATH, found no nvcc" >&2; exit 2; }
    ;;
metal)
    features=metal
    [ "$(uname)" = Darwin ] || { echo "expected macOS for metal, found $(uname)" >&2; exit 2; }
    name=$(sysctl -n machdep.cpu.brand_string)
    ;;
*)
    echo "expected cuda or metal, got $device" >&2
    exit 2
    ;;
esac
out=results/bench/$(tr '[:upper:] ' '[:lower:]-' <<<"$name" | tr -cd '[:alnum:]-')
mkdir -p "$out"
failed=()

echo "== every op on $name"
if ! KD_DEVICE=$device cargo test --locked -p kd-kernels --features "$features" --test on_device -- --ignored --nocapture 2>&1 | tee "$out/ops.txt"; then
    failed+=("ops")
fi

# The same cells on both devices: their names do not depend on the device, so each has a store of its own.
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
for paper in hinton-mnist/distillation reviewkd-cifar/same-architecture weight-distill/multi30k kd-recipes/logit-regression; do
    binary=${paper%%/*} table=${paper##*/}
    for on in "$device" cpu; do
        echo "== $table on $on"
        if ! cargo run --locked -p "$binary" --features "$binary/${features//,/,$binary/}" -- run "$table" --device "$on" \
            --runs-dir "$runs/$on" --out "$out/quick/$on"; then
            failed+=("$table on $on")
        fi
    done
done

echo "== training steps against PyTorch"
workloads=mnist-teacher-step,mnist-distillation-step,resnet20-step,resnet56-step,wrn-16-2-step,kd-step,at-step,crd-step,review-step,review-wrn-step
if ! scripts/bench-vs-pytorch/run.sh --device "$device" --workloads "$workloads" --out "$out"; then
    failed+=("bench")
fi

echo "written to $out; compare the tables of $out/quick/$device and $out/quick/cpu"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
