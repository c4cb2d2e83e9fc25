#!/usr/bin/env bash
# Builds every binary for CUDA on a machine without a GPU: makes a toolkit from NVIDIA's wheels on PyPI, and links with `cuda,cudnn`.
# That the programs run, only a machine with a GPU can show: scripts/on-gpu.sh.
#
#   scripts/check-cuda.sh [--check]      # --check: types only, no linking
#
# Needs x86-64 Linux, Python 3 with venv, a C++ compiler that nvcc 13 takes (GCC to 15), 8 GB of disk under target/cuda and the network
# on the first run. COMPUTE_CAP=80 builds for another generation than 90 (H100). A cold build takes some 10 minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

subcommand=(build)
case ${1:-} in
"") ;;
--check) subcommand=(check) ;;
*)
    echo "unknown argument $1: expected --check or none" >&2
    exit 2
    ;;
esac
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "expected x86-64 Linux, for which the wheels are, found $(uname -sm)" >&2
    exit 2
fi

folder=$PWD/target/cuda
# cudarc 0.19 refuses nvcc 13.3 and later.
wheels=(nvidia-cuda-nvcc==13.0.* nvidia-cuda-crt==13.0.* nvidia-nvvm==13.0.* nvidia-cuda-runtime==13.0.* nvidia-cuda-cccl==13.0.*
    nvidia-curand==10.4.* nvidia-cublas==13.0.* nvidia-cuda-nvrtc==13.0.* nvidia-cudnn-cu13)
# The stamp is written last: an installation that was cut off starts again.
if [ "$(cat "$folder/installed.txt" 2>/dev/null)" != "${wheels[*]}" ]; then
    python3 -m venv --clear "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "${wheels[@]}"
    printf '%s\n' "${wheels[*]}" >"$folder/installed.txt"
fi
site=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
toolkit=$site/cu13

# What an installed toolkit has and the wheels lack: lib64, names without a version, and the driver's library, which comes with a GPU.
ln -sfn lib "$toolkit/lib64"
for part in "$toolkit/lib" "$site/cudnn/lib"; do
    for library in "$part"/lib*.so.*; do
        ln -sfn "$library" "$toolkit/lib/$(basename "${library%%.so.*}").so"
    done
done
for header in "$site"/cudnn/include/*.h; do
    ln -sfn "$header" "$toolkit/include/$(basename "$header")"
done
echo | cc -shared -x c -Wl,-soname,libcuda.so.1 -o "$toolkit/lib/libcuda.so" -

export CUDA_PATH=$toolkit CUDA_HOME=$toolkit CUDA_TOOLKIT_ROOT_DIR=$toolkit PATH=$toolkit/bin:$PATH
export CUDARC_CUDA_VERSION=13000 CUDA_COMPUTE_CAP=${COMPUTE_CAP:-90} CARGO_TARGET_DIR=$folder/target
# The stub of the driver's library defines nothing.
export RUSTFLAGS="-C link-arg=-Wl,--unresolved-symbols=ignore-all -L $toolkit/lib"
for binary in hinton-mnist reviewkd-cifar weight-distill kd-recipes; do
    cargo "${subcommand[@]}" --locked -p "$binary" --features cuda,cudnn
    [ "${subcommand[*]}" = check ] || "$CARGO_TARGET_DIR/debug/$binary" --help >/dev/null || echo "$binary: linked, but not started: it needs the driver's library"
done
