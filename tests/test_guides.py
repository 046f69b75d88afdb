"""The code of the README and of the site's pages is run, in order, with fewer iterations; what they promise
is looked at. Trainings at full length are the benchmarks'."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import torch

from loqa.algos import registry as algorithms

DOCS = pages.ROOT / ".docs"
GUIDES = DOCS / "guides"
IPD = {"seed=3)": "seed=3, iterations=2, batch_size=8)"}
# What makes a page's Python shorter.
REPLACED: dict[str, dict[str, str]] = {
    "README.md": IPD | {"iterations=200": "iterations=2, batch_size=8", "4096": "16"},
    "training.md": IPD,
    "own_environment.md": {
        '"iterations": 200': '"iterations": 130, "batch_size": 64, "evaluation_episodes": 64'
    },
    "networks.md": {"batch_size=64": "batch_size=8, opponents=2, evaluation_episodes=8"},
    "sweeps.md": {
        'softmax_temperature": [3, 26]': 'softmax_temperature": [3, 26], "iterations": [2]',
        "seed=seed, **fields": "seed=seed, iterations=2, **fields",
        "(100, 101, 102)": "(100,)",
        "n_trials=20": "n_trials=2",
    },
    "other_libraries.md": {
        "UPDATES = 64, 50, 0.96, 60": "UPDATES = 64, 50, 0.96, 40",
        "200_000": "3_200",
    },
    "own_policy.md": {"episodes=200": "episodes=8"},
    "many_players.md": {
        "iterations=500": "iterations=2, batch_size=8",
        "num_envs=1000": "num_envs=50",
    },
    "continuous_actions.md": {
        "seed=1": "seed=1, iterations=2, batch_size=8",
        "episodes=200": "episodes=8",
    },
    "unknown_values.md": {"seed=1)": "seed=1, iterations=2, batch_size=8)"},
    "evaluation.md": {"episodes=256": "episodes=8", "random_memory1(100)": "random_memory1(5)"},
    "simulator.md": {"4096": "16", "8192": "16"},
    "gpu.md": {"65536": "16"},
}
LOOKED_AT = (
    "own_environment.md",
    "sweeps.md",
    "other_libraries.md",
    "native_game.md",
    "own_algorithm.md",
)
PAGES = [pages.ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if pages.blocks(page.read_text()) and page.name not in LOOKED_AT]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own; algorithms of a page are known to that page alone."""
    monkeypatch.chdir(tmp_path)
    algorithms.names()  # those of the package stay known
    monkeypatch.setattr(algorithms, "_known", dict(algorithms._known))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages.run(page, monkeypatch, REPLACED.get(page.name))


def test_own_environment(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """In fewer episodes too, LOQA earns twice what the naive learner does, who empties the lake."""
    said = pages.run(GUIDES / "own_environment.md", monkeypatch, REPLACED["own_environment.md"])
    naive, shaper = (sum(said[name]["self_play"]) / 2 for name in ("naive", "shaper"))
    assert naive < (0.28 + 1.25) / 2  # nearer to what emptying earns than to what sparing does
    assert shaper > 2 * naive
    assert capsys.readouterr().out.startswith("[")
    # The table of the text: what fixed choices earn.
    for actions, earned in {
        (0, 0): (1.25, 1.25),
        (1, 1): (0.28, 0.28),
        (1, 0): (0.78, 0.26),
    }.items():
        assert _earned(said["Fishery"], actions) == pytest.approx(earned, abs=0.005)


def test_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's recipe too, where it is installed."""
    said = pages.run(GUIDES / "sweeps.md", monkeypatch, REPLACED["sweeps.md"])
    assert [len(row.runs) for row in said["table"].settings.rows] == [2, 2]
    assert Path("runs/temperature/report.html").exists()
    if find_spec("optuna") is None:
        pytest.skip("optuna is not installed: its recipe was not run")
    assert set(said["study"].best_params) == {"actor_lr", "shaping_weight"}


def test_other_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """In fewer updates than the page has PPO comes near to what cooperation pays."""
    said = pages.run(GUIDES / "other_libraries.md", monkeypatch, REPLACED["other_libraries.md"])
    assert said["paid"].mean() > -1.3
    if find_spec("torchrl"):
        assert said["reward"] < -1.9
        # In both seats, at the end of each episode.
        assert said["played"]["next", "agents", "truncated"].sum() == 64 * 2
    if find_spec("stable_baselines3"):
        assert np.mean(said["earned"]) <= -1
    missing = [name for name in ("stable_baselines3", "torchrl") if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed, their recipes were not run: {', '.join(missing)}")


def test_own_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        pages.run(GUIDES / "own_algorithm.md", monkeypatch)["summary"]["strategy"]
        == "always-defect"
    )


def test_native_game(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python runs; the C++ is what the header says."""
    said = pages.run(GUIDES / "native_game.md", monkeypatch)
    assert said["env"].get_state()["t"].tolist() == [20] * 1000
    text = (GUIDES / "native_game.md").read_text()
    shown = re.findall(r"^```cpp\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    header = (pages.ROOT / "csrc" / "games" / "public_goods.h").read_text()
    assert len(shown) == 4
    assert all(part in header for part in shown)


def _earned(kind: Any, actions: tuple[int, int]) -> list[float]:
    env = kind(1, 0, "cpu")
    env.reset()
    paid = [env.step(torch.tensor([actions]))[1][0] for _ in range(env.spec.episode_length)]
    mean: list[float] = torch.stack(paid).mean(0).tolist()
    return mean
