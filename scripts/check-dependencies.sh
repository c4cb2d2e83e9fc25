#!/usr/bin/env bash
# Fails on a dependency that nothing uses: one of a crate whose name its sources do not have as a path, and one of the workspace
# that no crate has. Needs no network and builds nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

# The names in a section of a Cargo.toml, those of single targets included.
names() {
    awk -v section="^[[](target[.].*[.])?$1[]]\$" '/^\[/ { inside = $0 ~ section } inside && /^[A-Za-z0-9_-]+[ .=]/ { sub(/[ .=].*/, ""); print }' "$2"
}

# Whether a crate's name stands in the Rust files of the places that there are: as a path, a macro or an import, not in a comment.
used() {
    local name=${1//-/_} place places=()
    shift
    # The library of md-5 has another name than its package.
    [ "$name" != md_5 ] || name=md5
    for place in "$@"; do [ ! -e "$place" ] || places+=("$place"); done
    grep -rhE --include='*.rs' "(^|[^A-Za-z0-9_])$name(::|;|!| as )" "${places[@]}" | grep -cvE '^\s*//' >/dev/null
}

found=0
complain() {
    echo "$1" >&2
    found=1
}

mapfile -t manifests < <(find crates scripts -name Cargo.toml -not -path '*/target/*' | sort)
for manifest in "${manifests[@]}"; do
    crate=$(dirname "$manifest")
    for name in $(names dependencies "$manifest"); do
        used "$name" "$crate/src" || complain "$manifest: nothing in src uses $name"
    done
    for name in $(names dev-dependencies "$manifest"); do
        used "$name" "$crate"/{src,tests,benches,examples} || complain "$manifest: no test, bench or example uses $name"
    done
    for name in $(names build-dependencies "$manifest"); do
        used "$name" "$crate/build.rs" || complain "$manifest: build.rs does not use $name"
    done
done
for name in $(names workspace.dependencies Cargo.toml); do
    grep -qE "^$name[ .=]" "${manifests[@]}" || complain "Cargo.toml: no crate has the dependency $name"
done
exit $found
