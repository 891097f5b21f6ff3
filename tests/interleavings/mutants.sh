#!/usr/bin/env bash
# Breaks src/storage/memory/ in each of the ways that mutants/ holds, or those that are named, one at a time, and shows which races
# find it. Fails if one is found by none. Takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
git diff --quiet -- src/storage/memory || { echo "src/storage/memory/ has changes that are not committed"; exit 1; }
[ $# -gt 0 ] || set -- tests/interleavings/mutants/*.patch
log=$(mktemp)
applied=
restore() { [ -z "$applied" ] || git apply -R "$applied"; applied=; }
trap 'restore; rm -f "$log"' EXIT
races() { cargo test --quiet --manifest-path tests/interleavings/Cargo.toml "$@" >"$log" 2>&1; }
survived=0
for patch; do
    git apply "$patch"
    applied=$patch
    races --no-run || { echo "$patch does not compile"; cat "$log"; exit 1; }
    name=$(basename "$patch" .patch)
    if races; then
        echo "$name is found by none"
        survived=1
    else
        echo "$name is found by $(sed -n 's/^    \([a-z]*::[a-z_0-9]*\)$/\1/p' "$log" | sort -u | paste -sd ' ')"
    fi
    restore
done
exit $survived
