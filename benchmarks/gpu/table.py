"""What a call of benchmarks/gpu.sh measured, as short tables.

    python benchmarks/gpu/table.py FOLDER

Reads the lines of JSON in FOLDER; whatever part is missing is left out.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def read(file: Path) -> list[Line]:
    """Every whole line: the last one may have been cut."""
    lines = []
    for text in file.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            print(f"{file.name}: a line that is cut: {text[:60]}")
    return lines


def parts(lines: list[Line]) -> None:
    for line in lines:
        print(f"{line['part']:24} exit code {line['exit_code']:3}  {line['seconds']:4} s")


def tests(lines: list[Line]) -> None:
    print(dict(Counter(line["outcome"] for line in lines)))
    for line in lines:
        if line["outcome"] == "failed":
            last = (line["error"].strip().splitlines() or [""])[-1]
            print(f"FAILED {line['case']}: {last[:120]}")


def smoke(lines: list[Line]) -> None:
    for line in lines:
        print(f"{line['case']:16} {'FAIL' if line['error'] else 'PASS'}  {line['seconds']} s")


def simulator(lines: list[Line]) -> None:
    print(f"{'':44}billion steps/s  share of copy")
    for line in lines:
        if "env_steps_per_second" in line:
            name = f"{line['contender']} {line['call']} {line['obs']} B = {line['num_envs']}"
            share = line.get("share_of_copy")
            shown = "" if share is None else f"{share:13.2f}"
            print(f"{name:44}{line['env_steps_per_second'] / 1e9:15.3f}{shown}")


def kernels(lines: list[Line]) -> None:
    print(f"{'':60}microseconds  share of copy")
    for line in lines:
        if "overhead" in line:
            print(
                f"{'call of ' + line['kernel'] + ' ' + line['mode']:60}{line['median'] * 1e6:12.1f}"
            )
        elif "share_of_copy" in line:
            name = f"{line['contender']} {line['kernel']} {line['mode']} {line['shape']}"
            print(f"{name:60}{line['gpu_seconds'] * 1e6:12.1f}{line['share_of_copy']:15.2f}")


def phases(lines: list[Line]) -> None:
    for line in lines:
        if "case" in line:
            keys = ("iteration", "host", "rollout", "update", "error")
            shown = {key: line[key] for key in keys if line.get(key) is not None}
            print(f"{line['case']:34}", "  ".join(f"{k} {_short(v)}" for k, v in shown.items()))


def thresholds(lines: list[Line]) -> None:
    for line in lines:
        if "case" in line:
            times = line.get("seconds_to_threshold", line.get("error"))
            print(f"{line['case']}: {times}, {line.get('iterations')} iterations")


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)[:100]


TABLES: dict[str, Callable[[list[Line]], None]] = {
    "parts": parts, "smoke": smoke, "tests": tests, "simulator": simulator, "phases": phases,
    "kernels": kernels, "thresholds": thresholds, "JAX": simulator,
}  # fmt: skip


def main(folder: str) -> None:
    for name, show in TABLES.items():
        file = Path(folder) / f"{name}.jsonl"
        if not file.exists():
            continue
        lines = read(file)
        described = [line for line in lines if "machine_info" in line]
        print(f"\n--- {name}")
        for line in described[:1]:
            machine = line["machine_info"]
            print(
                machine.get("gpu", machine["processor"]),
                line["commit_info"]["id"],
                line["versions"],
            )
        show([line for line in lines if "machine_info" not in line])


if __name__ == "__main__":
    main(*sys.argv[1:])
