"""Tables of benchmarks/bench_kernels.py.

Medians; GB/s of loqa on bytes that must move; share: loqa's over the copy's rate of the same run.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any


def microseconds(result: dict[str, Any]) -> float:
    return float(result["stats"]["median"]) * 1e6


def tables(results: dict[str, Any]) -> str:
    lines: list[str] = []
    groups: dict[tuple[str, str], dict[tuple[int, int], dict[str, Any]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    overhead = {}
    for result in results["benchmarks"]:
        about = result["extra_info"]
        if "shape" in about:
            rows = groups[about["kernel"], about["mode"]]
            rows[tuple(about["shape"])][about["contender"]] = result
        elif about.get("mode") == "host overhead":
            overhead[about["kernel"]] = microseconds(result)
    for (kernel, mode), rows in groups.items():
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        heads = ["[T, B]", *(f"{name}, us" for name in names), "GB/s", "share of copy"]
        lines += ["", f"`{kernel}`, {mode}", "", "| " + " | ".join(heads) + " |"]
        lines.append("|---|" + "---:|" * (len(heads) - 1))
        for shape, row in rows.items():
            ours = row.get("loqa")
            cells = []
            for name in names:
                if name not in row:
                    cells.append("")
                elif ours is None or name in ("loqa", "copy"):
                    cells.append(f"{microseconds(row[name]):,.1f}")
                else:
                    times = microseconds(row[name]) / microseconds(ours)
                    cells.append(f"{microseconds(row[name]):,.0f} ({times:.1f}x)")
            rate = ours["extra_info"]["bytes"] / microseconds(ours) / 1e3 if ours else 0.0
            share = (
                microseconds(row["copy"]) / microseconds(ours) if ours and "copy" in row else 0.0
            )
            cells += [f"{rate:.1f}", f"{share:.2f}"]
            lines.append(f"| {shape[0]}, {shape[1]} | " + " | ".join(cells) + " |")
    if overhead:
        lines += ["", "Host overhead of a call without autograd, microseconds: "]
        lines[-1] += ", ".join(f"`{name}` {value:.1f}" for name, value in overhead.items()) + "."
    return "\n".join(lines)
