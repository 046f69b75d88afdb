"""Puts results of one benchmark that were measured in several runs into one file.

    python benchmarks/merge.py RESULTS... MERGED

Refuses results of different machines, commits or versions. What is compared with each other must
come from one run: every name may occur once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(*paths: str) -> None:
    *parts, merged = paths
    first, *others = (json.loads(Path(part).read_text()) for part in parts)
    names = [benchmark["fullname"] for benchmark in first["benchmarks"]]
    for part, other in zip(parts[1:], others, strict=True):
        for key in ("commit_info", "versions"):
            if other[key] != first[key]:
                raise SystemExit(f"{part}: {key} is {other[key]}, not {first[key]}")
        machine, load = dict(other["machine_info"]), "load_at_the_end"
        first["machine_info"][load] = max(first["machine_info"][load], machine[load])
        if machine | {load: 0} != first["machine_info"] | {load: 0}:
            raise SystemExit(f"{part}: was measured on another machine")
        first["benchmarks"] += other["benchmarks"]
        names += [benchmark["fullname"] for benchmark in other["benchmarks"]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SystemExit(f"measured twice: {', '.join(twice)}")
    Path(merged).write_text(json.dumps(first, indent=4) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
