#!/usr/bin/env bash
# Looks for memory errors and data races: kd-kernels' tests under AddressSanitizer and ThreadSanitizer, under Miri what it can interpret,
# and every kernel once under Valgrind.
#
#   scripts/check-memory.sh [valgrind] [address] [thread] [miri]     # all of them unless some are named
#
# `valgrind` needs Valgrind alone. The others need x86-64 Linux and the nightly toolchain: `rustup toolchain install nightly`. `thread` also needs the sources of the standard library,
# which it instruments (`rustup component add rust-src --toolchain nightly`), and `miri` those and Miri (`rustup component add miri`); what is
# not installed is named and passed over, and the end says so. Builds go to target/memory, a folder for each check. All dependencies are built
# anew: about 10 minutes a check on two cores, plus the tests.
#
# What the checks do not see: what assembly does to memory (the tiles of AMX, stores past the caches), and reads of memory that was not written,
# but for Valgrind, which knows no AVX-512, and Miri, which interprets the portable kernels alone.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never
target=x86_64-unknown-linux-gnu
nightly=${NIGHTLY:-nightly}
checks=("$@")
[ $# -gt 0 ] || checks=(valgrind address thread miri)
missing=()

have_nightly() { cargo "+$nightly" --version >/dev/null 2>&1; }
sources=$(rustc "+$nightly" --print sysroot 2>/dev/null || true)/lib/rustlib/src/rust/library/Cargo.lock

# The tests with each choice of kernels. Doctests are left out: they would be linked without the sanitizer.
kernels_tests() {
    for kernels in "" avx2 portable; do
        echo "== $1, KD_KERNELS=$kernels"
        KD_KERNELS=$kernels cargo "+$nightly" test --locked -p kd-kernels --lib --tests --target "$target" "${@:2}"
    done
}

for check in "${checks[@]}"; do
    export CARGO_TARGET_DIR=target/memory/$check
    case $check in
    valgrind)
        if ! command -v valgrind >/dev/null; then
            missing+=("valgrind")
            continue
        fi
        unset CARGO_TARGET_DIR
        for kernels in avx2 portable; do
            echo "== valgrind, KD_KERNELS=$kernels"
            KD_KERNELS=$kernels CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind -q --error-exitcode=9" \
                cargo test --locked -p kd-kernels --test memory -- --test-threads=1
        done
        ;;
    address)
        if ! have_nightly; then
            missing+=("address ($nightly)")
            continue
        fi
        # Candle and the kernels keep tensors and spare buffers in statics until the process ends: no leaks to look for.
        ASAN_OPTIONS=detect_leaks=0 RUSTFLAGS="-Zsanitizer=address" kernels_tests address
        ;;
    thread)
        if ! have_nightly || [ ! -e "$sources" ]; then
            missing+=("thread ($nightly, rust-src)")
            continue
        fi
        # crossbeam orders memory by fences, of which the sanitizer knows nothing, unless told so.
        RUSTFLAGS="-Zsanitizer=thread --cfg crossbeam_sanitize_thread" kernels_tests thread -Zbuild-std
        ;;
    miri)
        if [ ! -e "$sources" ] || ! cargo "+$nightly" miri --version >/dev/null 2>&1; then
            missing+=("miri (miri, rust-src)")
            continue
        fi
        # Miri has no instruction sets, so that it takes the portable kernels. crossbeam's deques turn integers into pointers, its threads are
        # alive when main ends, and its lists go from a field to the whole, which tree borrows allow and stacked borrows do not.
        MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks -Zmiri-disable-isolation" \
            cargo "+$nightly" miri test --locked -p kd-kernels --test memory -- --nocapture
        # Readers of files; kd-core has nothing unsafe of its own in them.
        MIRIFLAGS="-Zmiri-disable-isolation" cargo "+$nightly" miri test --locked -p kd-core --lib -- data::page_headers torch_checkpoint
        ;;
    *)
        echo "unknown check $check: expected valgrind, address, thread or miri" >&2
        exit 2
        ;;
    esac
done

if [ ${#missing[@]} -gt 0 ]; then
    echo "not run, for want of: ${missing[*]}" >&2
    exit 3
fi
