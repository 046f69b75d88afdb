"""The record of public goods: n players who contribute or do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from loqa import _checks
from loqa.algos.exact import chain
from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.reciprocity import applies, reciprocity
from loqa.envs.base import Env
from loqa.envs.public_goods.presets import PUBLIC_GOODS_PRESETS, SCRIPTED, Payoff, obs_shape
from loqa.envs.registry import make
from loqa.games.base import SHAPED, Game, Inputs, Making, RunView
from loqa.games.registry import register
from loqa.games.view import Part, reward_outcome, reward_view

NAMES = {
    "contrite": "strict conditional cooperation, which returns after a lone defection",
    "grim": "strict conditional cooperation, which never forgives",
    "strict": "strict conditional cooperation",
    "threshold": "cooperation that bears a defector",
    "defection": "defection",
    "other": "none of the known kinds",
}
"""Of what was learned."""


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
        preset = _checks.preset_of(PUBLIC_GOODS_PRESETS[self.payoffs], None)
        given = self.factor, self.benefit, self.cost
        return preset.payoff(self.num_players, self.num_levels, *given)

    def obs_shape(self) -> tuple[int, ...]:
        """Of one player's observation."""
        return obs_shape(self.obs, self.num_players, self.num_levels)


def _make_env(settings: PublicGoodsSettings, making: Making) -> Env:
    given = {**vars(making), **vars(settings)}
    obs = "index" if settings.obs == "count" else settings.obs
    return make(given.pop("payoffs"), **{**given, "obs": obs})


def _inputs(settings: PublicGoodsSettings) -> Inputs:
    shape = settings.obs_shape()
    observes = "states" if settings.obs == "count" else "features"
    return Inputs(observes, prod(shape), settings.num_levels, shape)


def _headline(config: Any) -> tuple[str, Sequence[str]]:
    game: PublicGoodsSettings = config.env
    shown = ["payoffs", "num_players", "num_levels", "actor", "critic"]
    said = f"{game.payoffs} of {game.num_players} players, {game.num_levels} levels"
    return f"{said}; actor {config.actor}, critic {config.critic}", shown


def _metrics(run: RunView) -> dict[str, Any]:
    """Answers and what they are worth, of memory-1 players of two levels; of further agents, which learn
    independently, the answers."""
    settings: PublicGoodsSettings = run.config.env
    tables = [agent.memory1() if settings.num_levels == 2 else None for agent in run.agents]
    found: dict[str, Any] = {}
    for seat, table in enumerate(tables):
        if table is not None:
            found[f"p_cooperate_{seat}" if seat else "p_cooperate"] = answers(table)
    discount = run.config.learning.gamma
    if len(tables) == 1 and tables[0] is not None and discount < 1:
        game = exact_game(*settings.payoff(), settings.num_players, discount)
        found |= worth(game, tables[0])
    return {**found, "self_play": run.self_play()}


def _adapted(settings: PublicGoodsSettings) -> dict[str, Any]:
    # With more players somebody trembles more often, and who is to answer one defector learns to bear it.
    rates = {2: 0.1, 3: 0.1, 4: 0.05, 5: 0.05, 6: 0.02, 7: 0.01, 8: 0.01}
    found: dict[str, Any] = {"exploration": rates[settings.num_players]}
    if settings.obs == "joint":
        found |= {"actor": "mlp", "actor_lr": 5e-3, "critic_lr": 1e-2}
    return found


def state_names(players: int) -> list[str]:
    """In the order of the observation `index`: "start", then the own action, C who gave, and how many of the
    others gave, for three players "D0" to "D2" and "C0" to "C2"."""
    return ["start", *(f"{own}{others}" for own in "DC" for others in range(players))]


def answers(table: Tensor) -> dict[str, float]:
    """P(C) in each state, of probabilities `[S, 2]`; after own C first, the most others first."""
    found = dict(zip(state_names((len(table) - 1) // 2), table[:, 1].tolist(), strict=True))
    return {"start": found.pop("start"), **dict(reversed(found.items()))}


@cache
def exact_game(base: float, gain: float, own: float, players: int, discount: float) -> ExactGame:
    """The same game without end: C gives."""
    levels = 1 - torch.tensor(chain.actions(players).tolist(), dtype=torch.float64)
    paid = base + gain * levels[1:].sum(0) + own * levels[0]
    return ExactGame("public goods", paid.tolist(), discount, None, players)


def worth(game: ExactGame, table: Tensor) -> dict[str, Any]:
    """What a player of probabilities `table [S, 2]`, by the observation `index`, earns beside its copies.

    Returns:
        "lone_defector", the reward a step of one who never gives among its copies; "best_response_gain",
        what the best response earns more a step than one of them; "learned", see
        `loqa.algos.exact.reciprocity.Reciprocity.kinds`. Nothing where giving is not better for all, or
        where a run on a GPU has gone wrong.
    """
    if not (applies(game) and bool(table.isfinite().all())):
        return {}
    players = game.num_players
    index = [0, *(1 + (1 - lost // players) * players + players - 1 - lost % players
                  for lost in range(2 * players))]  # fmt: skip
    # Rounding can lift a probability just above 1.
    p_cooperate = table[:, 1].double().cpu().clamp(max=1)[index][chain.counted(players)]
    found = reciprocity(game, p_cooperate[None])
    return {
        "lone_defector": found.lone_defector.item(),
        "best_response_gain": found.best_response_gain.item(),
        "learned": found.kinds[0],
    }


def view(line: dict[str, Any]) -> list[Part]:
    """Answers, rewards and speed."""
    parts = [Part("P(C)", 0)] if "p_cooperate" in line else []
    for name, p in line.get("p_cooperate", {}).items():
        colour = "dodger_blue1" if p > 0.5 else "dark_orange"
        parts.append(Part(f"{name} [{colour}]{p:.2f}[/]", 3))
    return [*parts, *reward_view(line)]


def outcome(summary: dict[str, Any]) -> str:
    """What was learned, and what it earns."""
    said = []
    if "p_cooperate" in summary:
        each = ", ".join(f"{name} {p:.2f}" for name, p in summary["p_cooperate"].items())
        said.append(f"P(C) after own C or D and so many others who gave: {each}")
    said.append(reward_outcome(summary))
    if "learned" in summary:
        said.append(
            f"a lone defector earns {summary['lone_defector']:+.3f}, the best response gains "
            f"{summary['best_response_gain']:.3f}: {NAMES[summary['learned']]}"
        )
    return "\n".join(said)


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
        player=lambda name: _checks.one_of("fixed", name, SCRIPTED),
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
