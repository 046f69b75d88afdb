"""What each part of the Coin Game's default does: the same runs with one part changed, on any board.

    python benchmarks/coin_ablations.py FILE.jsonl [--cases REGEX] [--boards 3 5 7] [--seeds 100 101]
        [--iterations 800] [--seconds 600] [--together 12] [--device cuda]

FILE gets a line of JSON for every evaluation of every run, with the seconds since that run began. On a
GPU many runs share it: each has a stream of its own, and while the host prepares one iteration the GPU
works on others. On the CPU they run one after another.
"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from about import about, append

from loqa.agents.actor_critic import Agent
from loqa.runtime.device import current
from loqa.training.config import CoinConfig
from loqa.training.parts import MATMUL_PRECISION
from loqa.training.trainer import Trainer

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "absolute": {"egocentric": False},
    "after 400": {"anneal_once": "at_once", "anneal_after": 400},
    "after 100": {"anneal_once": "at_once", "anneal_after": 100},
    "no early opponents": {"early_opponents": 0.0},
    "centred": {"opponent_baseline": "batch"},
    "annealed in 400": {"anneal": 400},
    "meets itself": {"meets": "self"},
    "limit 5": {"steering_limit": 5.0},
    "no steering": {"self_play_target": None},
    "no annealing": {"anneal": 0},
    "weight 2.5": {"self_play_target": None, "shaping_weight": 2.5},
    "no own plane": {},
    "canonical": {"canonical": True},
}  # fmt: skip


def without_own_plane(agent: Agent, height: int, width: int) -> None:
    """Where an egocentric agent stands is always the middle: its one weight becomes 0, and stays so."""
    middle = (height // 2) * width + width // 2
    for name, weight in agent.named_parameters():
        if name.endswith("linear1.weight"):
            kept = torch.ones_like(weight)
            kept[:, middle] = 0
            with torch.no_grad():
                weight *= kept
            weight.register_hook(kept.mul)


class Run:
    """A run of one case, and the stream that it works on."""

    def __init__(self, case: str, config: CoinConfig) -> None:
        self.case, self.config, self.began = case, config, time.perf_counter()
        self.trainer = Trainer(config)
        if case == "no own plane":
            without_own_plane(self.trainer.agent, config.env.height, config.env.width)
        on_gpu = self.trainer.device.type == "cuda"
        self.stream = torch.cuda.Stream() if on_gpu else None

    def iterate(self, file: Path) -> None:
        """One iteration, and its line where it evaluates."""
        with current(self.trainer.device), self._on_stream():
            self.trainer.iterate()
            if not self.trainer.evaluates_now:
                return
            seconds = time.perf_counter() - self.began
            self.trainer.evaluate(seconds)
            self.trainer.settle()
            shown = dict(self.trainer.monitor.evaluation)
        append(file, {
            "case": self.case, "board": self.config.env.height, "seed": self.config.loop.seed,
            "iteration": self.trainer.iteration, "seconds": round(seconds, 2),
            "weight": self.trainer.monitor.shaping_weight,
            **{name: shown[name] for name in
               ("self_play", "vs_always_defect", "vs_always_cooperate", "own_coin_share")},
        })  # fmt: skip

    def _on_stream(self) -> Any:
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--cases", default=".", help="a regular expression, found in their names")
    parser.add_argument("--boards", type=int, nargs="+", default=[3, 5, 7])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--seconds", type=float, default=600.0, help="after which all stop")
    parser.add_argument("--together", type=int, default=12)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    started = time.perf_counter()
    append(options.file, about())
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision(MATMUL_PRECISION["float32"])
    named = {name: fields for name, fields in CASES.items() if re.search(options.cases, name)}
    # The schedule is that of a whole run: `--iterations` only stops it earlier.
    waiting = [
        (name, CoinConfig.of_preset(
            **{"height": side, "width": side, "seed": seed, "device": options.device, **fields}
        ))
        for (name, fields), seed, side in itertools.product(
            named.items(), options.seeds, options.boards
        )
    ]  # fmt: skip
    running: list[Run] = []
    while (waiting or running) and time.perf_counter() - started < options.seconds:
        while waiting and len(running) < options.together:
            running.append(Run(*waiting.pop(0)))
        for run in list(running):
            run.iterate(options.file)
            if run.trainer.iteration >= options.iterations:
                running.remove(run)
    print(f"{time.perf_counter() - started:.0f} s, {len(waiting) + len(running)} runs not finished")


if __name__ == "__main__":
    main()
