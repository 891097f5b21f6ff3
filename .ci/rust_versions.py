"""Reads `cargo metadata` from the standard input and says which Rust the dependencies need."""

import json
import sys


def number(version):
    return [int(part) for part in version.split(".")[:2]]


packages = json.load(sys.stdin)["packages"]
match sys.argv[1:]:
    case ["of", name]:
        print(".".join(map(str, number(next(p["rust_version"] for p in packages if p["name"] == name)))))
    case ["within", oldest, tree]:
        used = {tuple(line.split()[:2]) for line in open(tree)}
        found = [p for p in packages if (p["name"], "v" + p["version"]) in used]
        newer = [(p["name"], p["rust_version"]) for p in found if number(p["rust_version"] or "1.0") > number(oldest)]
        print(f"{len(found)} dependencies, of which need a newer Rust than {oldest}: {newer}")
        sys.exit(len(found) < 20 or len(newer) > 0)
