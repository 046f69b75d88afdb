"""Tables of benchmarks/bench_kernels.py: medians in microseconds."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

Result = dict[str, Any]
OWN = ("copy", "kernel", "loqa")


def microseconds(result: Result) -> float:
    return float(result["stats"]["median"]) * 1e6


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(cells) + " |" for cells in [heads, *rows]]
    return [lines[0], "|---|" + "---:|" * (len(heads) - 1), *lines[1:]]


def speed(results: list[Result]) -> list[str]:
    """One table for each kernel and direction: a row a shape, a column a contender."""
    groups: dict[tuple[str, str], dict[tuple[int, int], dict[str, Result]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for result in results:
        about = result["extra_info"]
        rows = groups[about["kernel"], about["mode"]]
        rows[tuple(about["shape"])][about["contender"]] = result
    lines = []
    for (kernel, mode), rows in groups.items():
        others = dict.fromkeys(name for row in rows.values() for name in row if name not in OWN)
        heads = ["[T, B]", "copy", "kernel", "GB/s", "share of copy", "call", *others]
        cells = [
            [f"{steps}, {batch}", *own_cells(row), *(ratio_cell(row, name) for name in others)]
            for (steps, batch), row in rows.items()
        ]
        lines += [f"`{kernel}`, {mode}", "", *table(heads, cells), ""]
    return lines


def own_cells(row: dict[str, Result]) -> list[str]:
    copy, kernel, call = (microseconds(row[name]) for name in OWN)
    rate = row["kernel"]["extra_info"]["bytes"] / kernel / 1e3
    return [f"{copy:,.1f}", f"{kernel:,.1f}", f"{rate:.0f}", f"{copy / kernel:.2f}", f"{call:,.1f}"]


def ratio_cell(row: dict[str, Result], name: str) -> str:
    """Microseconds, and how many times our call's."""
    if name not in row:
        return ""
    time = microseconds(row[name])
    return f"{time:,.0f} ({time / microseconds(row['loqa']):.1f}x)"


def overhead(results: list[Result]) -> list[str]:
    times: dict[str, dict[str, str]] = defaultdict(dict)
    for result in results:
        about = result["extra_info"]
        times[about["kernel"]][about["mode"]] = f"{microseconds(result):.1f}"
    modes = list(next(iter(times.values())))
    rows = [[f"`{kernel}`", *(row[mode] for mode in modes)] for kernel, row in times.items()]
    return ["Host overhead: a call on [1, 1]", "", *table(["", *modes], rows), ""]


def fusion(results: list[Result]) -> list[str]:
    forms: dict[str, dict[int, str]] = defaultdict(dict)
    for result in results:
        about = result["extra_info"]
        forms[about["form"]][about["shape"][1]] = f"{microseconds(result):,.0f}"
    batches = list(next(iter(forms.values())))
    heads = ["opponent's values by", *(f"[50, {batch}]" for batch in batches)]
    rows = [[form, *(row[batch] for batch in batches)] for form, row in forms.items()]
    title = "Shaping term of LOQA's actor loss, forward and backward"
    return [title, "", *table(heads, rows), ""]


def tables(results: dict[str, Any]) -> str:
    kinds: dict[str, list[Result]] = {"contender": [], "overhead": [], "form": []}
    for result in results["benchmarks"]:
        about = result["extra_info"]
        kind = next(kind for kind in ("overhead", "form", "contender") if kind in about)
        kinds[kind].append(result)
    parts = (speed, "contender"), (overhead, "overhead"), (fusion, "form")
    lines = [line for make, kind in parts if kinds[kind] for line in make(kinds[kind])]
    return "\n".join(lines).strip()
