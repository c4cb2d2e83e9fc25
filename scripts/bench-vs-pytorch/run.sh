#!/usr/bin/env bash
# Times our training steps against PyTorch on this machine, by turns. See README.md beside this file.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$here/.venv

# Help is no reason to install PyTorch.
for argument in "$@"; do
    if [[ $argument == -h || $argument == --help ]]; then
        exec python3 "$here/compare.py" --help
    fi
done

python=${BENCH_PYTHON:-}
if [[ -z $python ]]; then
    python=$venv/bin/python
    # The stamp is written last, so an installation that was cut off starts again.
    if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
        # Bad arguments fail before the long installation.
        python3 "$here/compare.py" --check "$@"
        python3 -m venv --clear "$venv"
        "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
        cp "$here/requirements.txt" "$venv/installed.txt"
    fi
fi
exec "$python" "$here/compare.py" --root "$root" "$@"
