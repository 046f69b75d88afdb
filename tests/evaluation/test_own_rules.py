"""A game of a user's own: its players meet by the rules of matches in its record."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import loqa
from loqa.envs.base import EnvSpec
from loqa.games import registry
from loqa.games.base import Game, Inputs
from loqa.games.matches import MatchRules


class Hoard:
    """Who takes more than the mean of all gets the difference."""

    def __init__(self, num_envs: int, players: int) -> None:
        self.num_envs, self.device = num_envs, torch.device("cpu")
        self.spec = EnvSpec(name="hoard", num_players=players, num_actions=3, obs_shape=(1,),
                            episode_length=4, discount=1.0)  # fmt: skip

    def reset(self, seed: int | None = None) -> torch.Tensor:
        return torch.zeros(self.num_envs, self.spec.num_players, 1)

    def step(self, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        taken = actions.float()
        rewards = taken - taken.mean(1, keepdim=True)
        over = torch.zeros(self.num_envs, dtype=torch.bool)
        return self.reset(), rewards, over, over


class HoardMatches(MatchRules[Any]):
    settings = ("num_players",)

    def make(self, num_envs: int, **settings: Any) -> Hoard:
        return Hoard(num_envs, self.num_players(settings))

    def num_players(self, settings: Any) -> int:
        return settings.get("num_players", 2)


class Takes:
    def __init__(self, amount: int) -> None:
        self.amount = amount

    def initial_state(self, batch_size: int) -> torch.Tensor:
        return torch.zeros(batch_size, 0)

    def step(self, obs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert obs.shape[1:] == (1,)
        certain = torch.nn.functional.one_hot(torch.tensor(self.amount), 3)
        return certain.log().expand(len(obs), 3), state


@pytest.fixture
def hoard(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.played()  # those of the package stay registered
    monkeypatch.setattr(registry, "_games", dict(registry._games))
    registry.register(
        Game("hoard", "hoard", type(None), lambda *_: None, lambda _: Inputs("features", 1, 3),
             matches=HoardMatches())
    )  # fmt: skip


@pytest.mark.usefixtures("hoard")
def test_players_of_an_own_game_meet() -> None:
    result = loqa.evaluate(Takes(2), Takes(0), game="hoard", episodes=4)
    assert [one.mean for one in result.total.reward] == [1, -1]
    three = loqa.evaluate(Takes(2), Takes(0), game="hoard", episodes=4, num_players=3)
    assert [one.mean for one in three.total.reward] == pytest.approx([4 / 3, -2 / 3])
    assert (three.game, len(three.seats)) == ("hoard", 3)
    table = loqa.league({"all": Takes(2), "some": Takes(1), "none": Takes(0)}, game="hoard",
                        episodes=4).matrix  # fmt: skip
    assert table.tolist() == [[0, 0.5, 1], [-0.5, 0, 0.5], [-1, -0.5, 0]]
    with pytest.raises(ValueError, match=r"always-defect plays coin_game or ipd or .*, not hoard"):
        loqa.evaluate(Takes(1), "ad", game="hoard")
    with pytest.raises(TypeError, match="matches of hoard have no setting 'height'"):
        loqa.evaluate(Takes(1), Takes(2), game="hoard", height=3)
