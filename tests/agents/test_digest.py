"""The digest of a policy is one of the data that decides what it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import loqa
from loqa.agents.actor_critic import build_agent
from loqa.agents.digest import digest
from loqa.agents.policy import HeadPolicy, MFOSPolicy
from loqa.evaluation.mcts import mcts_best_response
from loqa.evaluation.players import as_player
from loqa.games.coin_matches import Centred


class MachineLike:
    """A memory-1 player of one's own."""

    def __init__(self, vector: list[float]) -> None:
        self.vector = np.array(vector)

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, 0)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.from_numpy(self.vector)[obs]
        return torch.stack([p, 1 - p], -1).log(), state


class Said(MachineLike):
    def contents(self) -> tuple[Any, ...]:
        return (self.vector,)


VALUES: list[Any] = [
    None, True, 1, 1.0, "1", b"1", (), (1,), [1, 2], (1, (2,)), ((1,), 2), {"a": 1}, {"b": 1}, {"a": 2},
    torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0]), torch.tensor([[1.0, 2.0]]), torch.tensor([1, 2]),
    torch.tensor([1.0, 2.0]).bfloat16(), torch.tensor(1.0), torch.empty(0), np.array([1, 2]),
    np.array([1.0, 2.0]), np.float32(1), np.array(["a"]),
]  # fmt: skip


def test_unlike_data_unlike_digests() -> None:
    digests = [digest(value) for value in VALUES]
    assert len(set(digests)) == len(VALUES)
    assert digests == [digest(value) for value in VALUES]
    strided = torch.arange(4.0).reshape(2, 2).T
    assert digest(strided) == digest(strided.contiguous())


def test_the_same_in_another_process() -> None:
    """Whatever Python's hashes of texts are."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_digest as t; "
        "print([t.digest(value) for value in t.VALUES], t.as_player(t.agent()).digest)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True,
            env={**__import__("os").environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: 1, np.array([None])])
def test_what_is_no_data_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"contents must be numbers, .*, got "):
        digest(value)


def agent(kind: str = "mlp", **settings: Any) -> Any:
    made = build_agent(kind, "mlp", 36, 4, generator=torch.Generator().manual_seed(0), **settings)
    return made


def test_networks_of_the_package() -> None:
    first = as_player(agent())
    assert first.unknown == ""
    assert as_player(agent()).digest == first.digest
    changed = agent()
    with torch.no_grad():
        changed.actor.linear_end.bias[0] += 1
    others = [
        changed,
        agent("gru"),
        agent("mlp", actor_hidden=8),
        agent("cnn", obs_shape=(4, 3, 3)),
    ]
    others += [Centred(agent()), HeadPolicy(agent("gru").actor), MFOSPolicy(3, 3)]
    digests = {as_player(one).digest for one in others}
    assert len(digests) == len(others)
    assert first.digest not in digests
    assert not any(as_player(one).unknown for one in others)


def test_a_head_of_ones_own_is_not_known() -> None:
    class Head(torch.nn.Linear):
        pass

    made = agent()
    made.actor.linear_end = Head(16, 4)
    assert "Agent has no contents()" in as_player(made).unknown
    assert "Centred has no contents()" in as_player(Centred(made)).unknown


def test_a_search_is_whom_it_plays() -> None:
    found = [mcts_best_response(name, guide="ad", seed=seed)
             for name, seed in (("ac", 0), ("ac", 0), ("ac", 1), ("ad", 0))]  # fmt: skip
    assert found[0].digest == found[1].digest
    assert len({one.digest for one in found}) == 3


def test_policies_of_ones_own_are_played_anew(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"game": "ipd", "episodes": 20, "out": tmp_path}
    for p, expected in ((1.0, -3), (0.0, -2)):
        with pytest.warns(UserWarning, match="each time: one: MachineLike has no contents()"):
            league = loqa.league({"one": MachineLike([p] * 5), "ad": "ad"}, **settings)
        assert league.matrix[0, 1] == expected
        assert list(league.not_stored) == ["one"]
        assert stored(tmp_path) == [["ad", "ad"]]
    # Unlike in what they seem to be made of, they are unlike players, though nothing says so for sure.
    ones, zeros = (as_player(MachineLike([p] * 5), "one") for p in (1.0, 0.0))
    assert ones.digest != zeros.digest == as_player(MachineLike([0.0] * 5), "one").digest
    # Two of them by one name are two players.
    pair = [as_player(MachineLike([p] * 5), "same") for p in (1.0, 0.0)]
    both = loqa.league(pair, game="ipd", episodes=20)
    assert both.names == ("same", "same (2)")
    np.testing.assert_allclose(both.matrix, [[-1, -3], [0, -2]])


def test_policies_that_say_what_they_are_made_of_are_stored(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"game": "ipd", "episodes": 20, "out": tmp_path}
    policy = Said([1.0] * 5)
    player = as_player(policy)
    assert loqa.league([player, "ad"], **settings).matrix[0, 1] == -3
    known = stored(tmp_path)
    assert ["Said", "always-defect"] in known
    loqa.league([as_player(Said([1.0] * 5)), "ad"], **settings)
    assert stored(tmp_path) == known
    policy.vector[:] = 0.0  # after the player was made
    assert loqa.league([player, "ad"], **settings).matrix[0, 1] == -2


def stored(directory: Path) -> list[list[str]]:
    lines = (directory / "seatings.jsonl").read_text().splitlines()
    return [json.loads(line)["names"] for line in lines]
