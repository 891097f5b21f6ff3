#!/usr/bin/env bash
# Measures requests per second of the example server (`--storage memory`) on the loopback interface. The baseline is an axum
# server that responds with constant bodies and the same headers. They run in turns, with one ratio for each pair of turns.
#
#   benches/http.sh [--quick] [--no-node]
#
# It needs curl and wrk (Debian: apt-get install wrk). With Node.js and npm, it also measures client credentials of
# oidc-provider in memory. wrk runs on the same processors as the servers, so only the ratios are meaningful.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=9 seconds=3 connections=32 node=yes
for flag in "$@"; do
    case "$flag" in
    --quick) rounds=2 seconds=1 ;;
    --no-node) node= ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 1 ;;
    esac
done

cargo build --quiet --release --example server --features axum
cargo build --quiet --release --manifest-path benches/peers/Cargo.toml --features http --bin constant
target_of() { cargo metadata --format-version 1 --no-deps "$@" | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }
example=$(target_of)/release/examples/server
peers=$(target_of --manifest-path benches/peers/Cargo.toml)/release

work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
start() { # name, command: sets address
    local log=$work/$1.log
    : >"$log"
    shift
    "$@" >"$log" 2>&1 &
    servers+=($!)
    for _ in $(seq 150); do
        address=$(sed -n 's/^listening on \(http:[^ ]*\)$/\1/p' "$log")
        [ -z "$address" ] || return 0
        sleep 0.1
    done
    cat "$log"
    exit 1
}

cat >"$work/clients.json" <<'JSON'
[{ "client_id": "machine", "client_secret": "a secret of forty-three characters of base64", "scope": "user:read",
   "grant_types": ["client_credentials", "password"], "response_types": [] }]
JSON
echo '{ "ada": "correct horse" }' >"$work/users.json"
# --legacy enables the password grant, which is the shortest way to a user's token.
start example "$example" --storage memory --listen 127.0.0.1:0 --legacy --clients "$work/clients.json" --users "$work/users.json"
example=$address
basic=$(printf '%s' 'machine:a secret of forty-three characters of base64' | base64 -w0)
curl -sf -H "Authorization: Basic $basic" -d 'grant_type=client_credentials&scope=user:read' "$example/token" >"$work/token"
bearer=$(curl -sf -H "Authorization: Basic $basic" -d 'grant_type=password&username=ada&password=correct horse&scope=user:read' \
    "$example/token" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -sf -H "Authorization: Bearer $bearer" "$example/api/me" >"$work/me"
start constant "$peers/constant" "$work/token" "$work/me"
constant=$address

cat >"$work/post.lua" <<'LUA'
wrk.method = "POST"
wrk.body = "grant_type=client_credentials&scope=user:read"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
LUA
load() { # options of wrk, url: prints requests per second; fails if a request failed
    local said
    said=$(wrk --threads 1 --connections "$connections" --duration "${seconds}s" "$@")
    if grep -qE 'Non-2xx|Socket errors' <<<"$said"; then
        echo "$said" >&2
        exit 1
    fi
    sed -n 's/^Requests\/sec: *//p' <<<"$said"
}
token() { load --script "$work/post.lua" --header "Authorization: Basic $basic" "$1/token"; }
me() { load --header "Authorization: Bearer $bearer" "$1/api/me"; }
command -v wrk >/dev/null || { echo "wrk is not installed (Debian: apt-get install wrk)"; exit 1; }
middle() { sort -g "$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

echo "$rounds rounds of $seconds s each, $connections connections kept alive, $(nproc) processors"
printf '%-8s %14s %16s %8s\n' path 'example req/s' 'constant req/s' ratio
for path in token me; do
    for _ in $(seq "$rounds"); do
        ours=$($path "$example") theirs=$($path "$constant")
        echo "$ours" >>"$work/$path.ours"
        echo "$theirs" >>"$work/$path.theirs"
        awk -v a="$ours" -v b="$theirs" 'BEGIN { print a / b }' >>"$work/$path.ratio"
    done
    printf '%-8s %14.0f %16.0f %8.2f\n' "$path" "$(middle "$work/$path.ours")" "$(middle "$work/$path.theirs")" \
        "$(middle "$work/$path.ratio")"
done

if [ -n "$node" ] && command -v npm >/dev/null; then
    cp benches/oidc-provider/* "$work"
    (cd "$work" && npm ci --silent --no-fund --no-audit)
    start node node "$work/server.mjs"
    for _ in $(seq "$rounds"); do
        ours=$(token "$example") theirs=$(token "$address")
        echo "$theirs" >>"$work/node.theirs"
        awk -v a="$ours" -v b="$theirs" 'BEGIN { print a / b }' >>"$work/node.ratio"
    done
    printf 'for comparison, client credentials of oidc-provider on Node.js: %.0f req/s; the example server serves %.1f times as many\n' \
        "$(middle "$work/node.theirs")" "$(middle "$work/node.ratio")"
fi
