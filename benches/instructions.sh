#!/usr/bin/env bash
# Counts the instructions of each operation with valgrind. The counts do not depend on the load of the machine.
#
#   benches/instructions.sh                 prints the counts
#   benches/instructions.sh --record        writes them to benches/instructions.txt
#   benches/instructions.sh --check         fails if a count is more than 3 % above benches/instructions.txt
#   benches/instructions.sh --profile OP    prints the instructions of the typed form by function
#
# Only the function `measured` of benches/peers is counted. Its inputs are made before. The counts depend on the compiler, and
# a little on the machine, because libraries choose code by the features of the processor. (valgrind 3.19 has no SHA
# instructions, so SHA-256 always runs its portable code here.) Runs differ by far less than 3 %, because hash tables are
# seeded at random. After an intended change, record the counts again.
set -euo pipefail
cd "$(dirname "$0")/.."
record=benches/instructions.txt
operations=400
subjects=(typed http floor)
ops=(authorize code refresh client-credentials bearer)

command -v valgrind >/dev/null || { echo "valgrind is not installed (Debian: apt-get install valgrind)"; exit 1; }
cargo build --quiet --release --manifest-path benches/peers/Cargo.toml
target=$(cargo metadata --format-version 1 --no-deps --manifest-path benches/peers/Cargo.toml |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

callgrind() { # operation, subject
    valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*peers::rounds::measured*' \
        --callgrind-out-file="$work/$1.$2" "$target/release/peers" --count "$1" "$2" "$operations" 2>"$work/log" >/dev/null ||
        { cat "$work/log"; exit 1; }
}

count() { # operation, subject: instructions per operation
    callgrind "$1" "$2"
    awk -v n=$operations '/^(summary|totals):/ { total = $2 } END { printf "%d", total / n }' "$work/$1.$2"
}

if [ "${1:-}" = --profile ]; then
    callgrind "${2:?an operation}" "${3:-typed}"
    callgrind_annotate --inclusive=no --threshold=95 "$work/$2.${3:-typed}"
    exit
fi

counts() {
    for op in "${ops[@]}"; do
        for subject in "${subjects[@]}"; do
            printf '%-20s %-8s %8d\n' "$op" "$subject" "$(count "$op" "$subject")"
        done
    done
}

case "${1:-}" in
--record)
    {
        echo "# Instructions per operation; made by: benches/instructions.sh --record"
        echo "# $(rustc --version), $(valgrind --version), $(uname -m)"
        counts
    } | tee "$work/record"
    mv "$work/record" "$record"
    ;;
--check)
    failed=0
    counts >"$work/now"
    while read -r op subject now; do
        before=$(awk -v op="$op" -v subject="$subject" '$1 == op && $2 == subject { print $3 }' "$record")
        [ -n "$before" ] || { echo "$op $subject: no recorded count; run with --record"; failed=1; continue; }
        change=$(awk -v now="$now" -v before="$before" 'BEGIN { printf "%+.1f", 100 * (now - before) / before }')
        printf '%-20s %-8s %8d, recorded %8d: %s %%\n' "$op" "$subject" "$now" "$before" "$change"
        if [ "$((now * 100))" -gt "$((before * 103))" ]; then failed=1; fi
    done <"$work/now"
    [ "$failed" = 0 ] || { echo "a count is more than 3 % above its record; if this is intended, run with --record"; exit 1; }
    ;;
"") counts ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 1
    ;;
esac
