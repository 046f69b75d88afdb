"""Runs that a change of the code must not change: their metrics, number for number.

tests/golden/runs has the lines of metrics.jsonl, less the seconds, of the runs below. On the kind of
machine that recorded them, with the same torch, they come again bit for bit. Elsewhere matrix products
round otherwise and a draw of an action tips over sooner or later: there the first lines are compared,
within rounding. `python tests/training/test_recorded_runs.py` records them anew, where the numbers are
meant to change.
"""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import loqa
from loqa.training.trainer import make_agent

FOLDER = Path(__file__).parents[1] / "golden" / "runs"
CPUINFO = Path("/proc/cpuinfo")
RUNS: dict[str, Any] = {
    "ipd_default": ("ipd", "default", {"iterations": 60}),
    "ipd_paper": ("ipd", "paper", {"iterations": 60}),
    "ipd_gru": (
        "ipd",
        "paper",
        {"iterations": 12, "batch_size": 64, "actor": "gru", "critic": "gru", "exploration": 0.1},
    ),
    "coin_paper": ("coin", "paper", {"iterations": 12}),
    "coin_shared_5x5": (
        "coin",
        "default",
        {
            "iterations": 12,
            "algo": "naive",
            "shared_reward": True,
            "height": 5,
            "width": 5,
            "egocentric": False,
            "batch_size": 64,
            "opponents": 4,
            "actor_hidden": 8,
            "critic_hidden": 8,
            "replay_every": 2,
            "evaluate_every": 5,
            "evaluation_episodes": 64,
        },
    ),
    # Past agents, annealing and steering of the weight begin early.
    "coin_small": (
        "coin",
        "default",
        {
            "iterations": 60,
            "egocentric": False,
            "anneal_once": "at_once",
            "self_play_target": 0.295,
            "steering_rate": 0.05,
            "early_opponents": 0.25,
            "batch_size": 64,
            "opponents": 4,
            "actor_hidden": 8,
            "critic_hidden": 8,
            "replay_every": 2,
            "anneal_after": 10,
            "anneal": 40,
            "evaluate_every": 5,
            "evaluation_episodes": 64,
        },
    ),
}
SECONDS = ("seconds", "phase_seconds", "seconds_to_threshold", "seconds_to_threshold_for_good")
FIRST = 3  # lines compared on another kind of machine
WEIGHTS = json.loads((FOLDER / "weights.json").read_text()) if FOLDER.exists() else {}
"""Sums of the first weights of each run: torch's initialisers draw others in other versions."""


def machine() -> dict[str, str]:
    """What the rounding of a run depends on: torch's products go by the maker of the processor too."""
    found = re.search(r"vendor_id\s*:\s*(\w+)", CPUINFO.read_text()) if CPUINFO.exists() else None
    return {
        "torch": torch.__version__.partition("+")[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": found[1] if found else platform.machine(),
    }


def lines_of(name: str, out: Path) -> list[dict[str, Any]]:
    game, preset, fields = RUNS[name]
    config = {"ipd": loqa.IPDConfig, "coin": loqa.CoinConfig}[game]
    loqa.train(config.of_preset(preset, log_every=1, num_threads=1, **fields), out)
    lines = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    return [{name: line[name] for name in line if name not in SECONDS} for line in lines]


def close(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return all(close(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    if isinstance(wanted, float):
        return bool(found == pytest.approx(wanted, rel=1e-4, abs=1e-5))
    return bool(found == wanted)


def weights_of(name: str) -> float:
    """Of the untrained agent."""
    game, preset, fields = RUNS[name]
    agent = make_agent(
        {"ipd": loqa.IPDConfig, "coin": loqa.CoinConfig}[game].of_preset(preset, **fields)
    )
    return sum(float(value.detach().double().sum()) for value in agent.parameters())


@pytest.mark.parametrize("name", RUNS)
def test_a_run_comes_again(name: str, tmp_path: Path) -> None:
    recorded = json.loads((FOLDER / f"{name}.json").read_text())
    other = machine()["torch"] != recorded["machine"]["torch"]
    if other and weights_of(name) != pytest.approx(WEIGHTS[name], abs=1e-3):
        pytest.skip(f"torch {machine()['torch']} draws other first weights")
    found = lines_of(name, tmp_path / "run")
    assert len(found) == len(recorded["lines"]) == RUNS[name][2]["iterations"]
    if machine() == recorded["machine"]:
        for line, wanted in zip(found, recorded["lines"], strict=True):
            assert {name: line[name] for name in wanted} == wanted  # a line may say more
    else:
        for line, wanted in zip(found[:FIRST], recorded["lines"], strict=False):
            assert close(line, wanted), (line, wanted)


def main() -> None:
    import tempfile

    FOLDER.mkdir(parents=True, exist_ok=True)
    weights = {name: round(weights_of(name), 6) for name in RUNS}
    (FOLDER / "weights.json").write_text(json.dumps(weights, indent=1) + "\n")
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            lines = lines_of(name, Path(folder) / "run")
        text = ",\n".join(json.dumps(line) for line in lines)
        head = f'{{"machine": {json.dumps(machine())}, "lines": [\n'
        (FOLDER / f"{name}.json").write_text(f"{head}{text}\n]}}\n")


if __name__ == "__main__":
    main()
