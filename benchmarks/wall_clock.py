"""Draws time against grid size from the results that are kept: on the CPU and on a GPU.

    python benchmarks/wall_clock.py

Reads benchmarks/results/train_coin_boards.json and gpu_boards.json, draws figures/wall_clock.png.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loqa.envs.coin_game.thresholds import THRESHOLDS
from loqa.plotting.coin_wall_clock import Times, draw_wall_clock

HERE = Path(__file__).parent


def results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text())
    return found


def on_cpu(view: str, series: str) -> list[Times]:
    """The default's runs on a CPU, or those with another view ("absolute, ")."""
    return [
        Times(series, (run["height"], run["width"]), run["seconds_to_threshold"],
              run["seconds_to_threshold_for_good"]["strong"])
        for run in results("train_coin_boards")["training"]
        if run["name"] == f"{view}{run['height']}x{run['width']}"
    ]  # fmt: skip


def main() -> None:
    times = on_cpu("", "one CPU core")
    on_gpu = results("gpu_boards")
    name = on_gpu["machine_info"]["gpu"].removeprefix("NVIDIA ")
    for run in on_gpu["lines"]:
        first = {key: run[key] and run[key][1] for key in THRESHOLDS}
        side = run["board"]
        times.append(Times(f"one {name}", (side, side), first, run["held"] and run["held"][1]))
    times += on_cpu("absolute, ", "one CPU core, absolute planes")
    draw_wall_clock(times, HERE / "figures" / "wall_clock.png")


if __name__ == "__main__":
    main()
