#!/usr/bin/env bash
# Builds and links every program with CUDA and cuDNN on a machine that has neither a GPU nor a toolkit: the toolkit comes from PyPI.
# Nothing is run on a device; scripts/on-gpu.sh is for a machine that has one.
#
#   scripts/check-cuda.sh             # toolkit, then link every program and test
#   scripts/check-cuda.sh --check     # type-check alone
#
# Needs x86-64 Linux, Python 3 with venv, 4 GB below target/cuda, and 20 minutes or so on two cores the first time.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never
command=(build)
case ${1:-} in
"") ;;
--check) command=(check) ;;
*)
    echo "expected nothing or --check, got $1" >&2
    exit 2
    ;;
esac

folder=$PWD/target/cuda
toolkit=$folder/toolkit
# nvcc of 13.3 and later is refused by cudarc 0.19, which Candle 0.11 uses.
packages=(nvidia-cuda-nvcc==13.0.* nvidia-cuda-crt==13.0.* nvidia-nvvm==13.0.* nvidia-cuda-runtime==13.0.* nvidia-cuda-cccl==13.0.*
    nvidia-curand==10.4.* nvidia-cublas==13.0.* nvidia-cuda-nvrtc==13.0.* nvidia-cudnn-cu13)
# The last thing that is made, so that an installation that was cut off starts again.
if [ "$(cat "$folder/installed" 2>/dev/null)" != "${packages[*]}" ]; then
    rm -rf "$folder/venv" "$toolkit"
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
    site=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
    mkdir -p "$toolkit"
    cp -rs "$site"/cu13/. "$toolkit"
    cp -rs "$site"/cudnn/include/. "$toolkit/include"
    cp -rs "$site"/cudnn/lib/. "$toolkit/lib"
    [ -e "$toolkit/lib64" ] || ln -s lib "$toolkit/lib64"
    # Libraries are named with their versions; a linker looks for the plain name.
    for library in "$toolkit"/lib/lib*.so.*; do
        plain=${library%%.so.*}.so
        [ -e "$plain" ] || ln -s "$(basename "$library")" "$plain"
    done
    # The driver's library comes with a driver. A program only has to find its name.
    echo | cc -shared -x c - -Wl,-soname,libcuda.so.1 -o "$toolkit/lib/libcuda.so"
    echo "${packages[*]}" > "$folder/installed"
fi

export CUDA_PATH=$toolkit CUDA_HOME=$toolkit CUDA_TOOLKIT_ROOT_DIR=$toolkit PATH=$toolkit/bin:$PATH
export CUDARC_CUDA_VERSION=13000 CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} CARGO_TARGET_DIR=$folder/build
# The stub of the driver has no symbols.
export RUSTFLAGS="-C link-arg=-Wl,--unresolved-symbols=ignore-all"
programs=(hinton-mnist reviewkd-cifar weight-distill kd-recipes bench-steps)
crates=("${programs[@]}" kd-kernels)
features=$(printf '%s/cuda,' "${crates[@]}")$(printf '%s/cudnn,' "${crates[@]}")
# One command: with other packages Candle has other features, and its CUDA kernels would be compiled again.
cargo "${command[@]}" --locked $(printf -- '-p %s ' "${crates[@]}") --features "${features%,}" --bins --test on_device
echo "cargo ${command[*]}: ${programs[*]} and the test of every op, with cuda and cudnn, compute capability $CUDA_COMPUTE_CAP"
