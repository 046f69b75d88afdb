"""The record of public goods: n players who contribute or do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from loqa import _checks
from loqa.envs.base import Env
from loqa.envs.public_goods.presets import PUBLIC_GOODS_PRESETS, SCRIPTED, Payoff, obs_shape
from loqa.envs.registry import make
from loqa.games.base import SHAPED, Game, Inputs, Making, RunView
from loqa.games.conditional import answers, exact_game, outcome, view, worth
from loqa.games.registry import register


@dataclass(frozen=True)
class PublicGoodsSettings:
    """Public goods.

    Attributes:
        num_players: n, 2 to 8.
        num_levels: K, levels of a contribution.
        episode_length: T, steps in an episode.
        payoffs: "public-goods" (the pot times `factor` is shared by all) or "n-ipd" (who gives pays
            `cost`, the others share `benefit`).
        factor, benefit, cost: of the payoffs; by default the game's.
        obs: "count" (own level and the sum of the others': states, of which an actor may have a table) or
            "joint" (everybody's level).
    """

    num_players: int = 3
    num_levels: int = 2
    episode_length: _checks.Count = 50
    payoffs: Literal["public-goods", "n-ipd"] = "n-ipd"
    factor: float | None = None
    benefit: float | None = None
    cost: float | None = None
    obs: Literal["count", "joint"] = "count"

    def __post_init__(self) -> None:
        _checks.check_fields(self)
        self.obs_shape()
        self.payoff()

    def payoff(self) -> Payoff:
        """What the levels are worth."""
        preset = next(iter(PUBLIC_GOODS_PRESETS[self.payoffs].values()))
        return preset.payoff(
            self.num_players, self.num_levels, self.factor, self.benefit, self.cost
        )

    def obs_shape(self) -> tuple[int, ...]:
        """Of one player's observation."""
        return obs_shape(self.obs, self.num_players, self.num_levels)


def _make_env(settings: PublicGoodsSettings, making: Making) -> Env:
    return make(
        settings.payoffs,
        **vars(making),
        num_players=settings.num_players,
        num_levels=settings.num_levels,
        episode_length=settings.episode_length,
        factor=settings.factor,
        benefit=settings.benefit,
        cost=settings.cost,
        obs="index" if settings.obs == "count" else settings.obs,
    )


def _inputs(settings: PublicGoodsSettings) -> Inputs:
    shape = settings.obs_shape()
    observes = "states" if settings.obs == "count" else "features"
    return Inputs(observes, prod(shape), settings.num_levels, shape)


def _player(name: str) -> str:
    return _checks.one_of("fixed", name, SCRIPTED)


def _headline(config: Any) -> tuple[str, Sequence[str]]:
    game: PublicGoodsSettings = config.env
    shown = ["payoffs", "num_players", "num_levels", "actor", "critic"]
    said = f"{game.payoffs} of {game.num_players} players, {game.num_levels} levels"
    return f"{said}; actor {config.actor}, critic {config.critic}", shown


def _numbers(run: RunView) -> dict[str, Any]:
    """Answers and what they are worth, of memory-1 players of two levels; of further agents, which learn
    independently, the answers."""
    settings: PublicGoodsSettings = run.config.env
    if settings.num_levels != 2:
        return {}
    tables = [agent.memory1() for agent in run.agents]
    found: dict[str, Any] = {}
    for seat, table in enumerate(tables):
        if table is not None:
            found[f"p_cooperate_{seat}" if seat else "p_cooperate"] = answers(table)
    discount = run.config.learning.gamma
    if len(tables) == 1 and tables[0] is not None and discount < 1:
        game = exact_game(*settings.payoff(), settings.num_players, discount)
        found |= worth(game, tables[0])
    return found


def _metrics(run: RunView) -> dict[str, Any]:
    return {**_numbers(run), "self_play": run.self_play()}


def _adapted(settings: PublicGoodsSettings) -> dict[str, Any]:
    # With more players somebody trembles more often, and who is to answer one defector learns to bear it.
    rates = {2: 0.1, 3: 0.1, 4: 0.05, 5: 0.05, 6: 0.02, 7: 0.01, 8: 0.01}
    network = (
        {"actor": "mlp", "actor_lr": 5e-3, "critic_lr": 1e-2} if settings.obs == "joint" else {}
    )
    return {"exploration": rates[settings.num_players], **network}


PUBLIC_GOODS = register(
    Game(
        name="public-goods",
        env_name="public-goods",
        kin=tuple(PUBLIC_GOODS_PRESETS)[1:],
        settings=PublicGoodsSettings,
        make_env=_make_env,
        inputs=_inputs,
        headline=_headline,
        metrics=_metrics,
        summary=_metrics,
        adapted=_adapted,
        player=_player,
        view=lambda: view,
        outcome=outcome,
        figures="loqa.plotting.public_goods",
        defaults={
            "iterations": 500,
            "actor_lr": 2e-2,
            "critic_lr": 3e-2,
            **SHAPED,
            "dice_discount": 0.7,
            "critic_target": "returns",
            "critic_warmup": 50,
            "evaluate_every": 10,
        },
    )
)
