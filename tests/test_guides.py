"""The guides' Python is run, in order, with fewer iterations; what they promise is looked at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

GUIDES = Path(__file__).parents[1] / ".docs" / "guides"


def run(name: str, **replaced: str) -> dict[str, Any]:
    """The names that a guide's blocks leave; `replaced` are texts in their place, each found once or more."""
    text = (GUIDES / name).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert blocks, name
    names: dict[str, Any] = {"__name__": "guide"}
    for old, new in replaced.items():
        assert any(old in block for block in blocks), old
        blocks = [block.replace(old, new) for block in blocks]
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{name}, block {number}", "exec"), names)
    return names


def test_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """In fewer episodes too, LOQA earns twice what the naive learner does, who empties the lake."""
    monkeypatch.chdir(tmp_path)
    shorter = {
        '"iterations": 200': '"iterations": 130, "batch_size": 64, "evaluation_episodes": 64'
    }
    said = run("own_environment.md", **shorter)
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


def test_native_game() -> None:
    """The Python runs; the C++ is what the header says."""
    said = run("native_game.md")
    assert said["env"].get_state()["t"].tolist() == [20] * 1000
    text = (GUIDES / "native_game.md").read_text()
    shown = re.findall(r"^```cpp\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    header = (GUIDES.parents[1] / "csrc" / "games" / "public_goods.h").read_text()
    assert len(shown) == 3
    assert all(part in header for part in shown)


def _earned(kind: Any, actions: tuple[int, int]) -> list[float]:
    env = kind(1, 0, "cpu")
    env.reset()
    paid = [env.step(torch.tensor([actions]))[1][0] for _ in range(env.spec.episode_length)]
    mean: list[float] = torch.stack(paid).mean(0).tolist()
    return mean
