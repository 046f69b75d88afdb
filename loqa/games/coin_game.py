"""The Coin Game's record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from loqa import _checks
from loqa._checks import Count, Range
from loqa._native import core
from loqa.agents.canonical import MOST_CELLS
from loqa.algos.trajectory import Trajectory
from loqa.envs.base import Env
from loqa.envs.coin_game.presets import COIN_PRESETS, SCRIPTED_COIN_PLAYERS
from loqa.envs.coin_game.statistics import coin_statistics
from loqa.envs.coin_game.thresholds import THRESHOLDS, reached, score
from loqa.envs.registry import make
from loqa.games.base import Game, Inputs, Making, RunView
from loqa.games.coin_matches import CoinMatches
from loqa.games.coin_view import CoinView, outcome
from loqa.games.registry import register
from loqa.games.view import mean

STATISTICS = ("other_share", "own_pickups", "other_pickups", "easy_misses", "near_passes")
"""Of `loqa.envs.coin_game.statistics.CoinStatistics`, in self-play, mean of both players."""


@dataclass(frozen=True)
class CoinSettings:
    """The Coin Game.

    Attributes:
        rules: whose, see `loqa.envs.coin_game.presets`: "loqa24", or "mfos22" (a coin of each colour at all
            times, and the last rewards are seen).
        episode_length: T, steps in an episode.
        height: of the board, in cells.
        width: of the board, in cells.
        num_players: A, players of a game.
        egocentric: a player sees the board with itself in the middle. The board is a torus, where it
            stands does not matter: H x W times fewer states.
        canonical: networks see each egocentric board in its canonical image, one of the 8 (4 of a board that
            is not square) that turns and mirrors make of it, with actions named as in the image: up to 8
            times fewer states (`loqa.agents.canonical`).
    """

    rules: Literal["loqa24", "mfos22"] = "loqa24"
    episode_length: Count = 50
    height: Annotated[int, Range(1, 255)] = 3
    width: Annotated[int, Range(1, 255)] = 3
    num_players: int = 2
    egocentric: bool = False
    canonical: bool = False

    def __post_init__(self) -> None:
        _checks.check_fields(self)
        most = COIN_PRESETS[self.rules].max_players
        _checks.integer(f"num_players by rules {self.rules}", self.num_players, 2, most)
        if self.height * self.width <= self.num_players:
            raise ValueError(
                f"the board needs {self.num_players + 1} cells or more, "
                f"got {self.height} x {self.width}"
            )
        if not self.canonical:
            return
        if not self.egocentric or COIN_PRESETS[self.rules].history:
            raise ValueError(
                "canonical images are of egocentric boards by rules loqa24, got "
                f"egocentric {self.egocentric} and rules {self.rules}"
            )
        if self.height * self.width > MOST_CELLS:
            raise ValueError(
                f"canonical images are of boards of at most {MOST_CELLS} cells, "
                f"got {self.height} x {self.width}"
            )


def _make_env(settings: CoinSettings, making: Making) -> Env:
    core.keep_freed_memory()
    if COIN_PRESETS[settings.rules].history:  # numbers that are no places
        obs, obs_dtype = "planes", torch.float32
    else:
        last = math.prod(_board(settings)) - 1
        types = (torch.uint8, torch.int16, torch.int32)
        obs, obs_dtype = "cells", next(one for one in types if last <= torch.iinfo(one).max)
    given = {**vars(making), **vars(settings), "obs": obs, "obs_dtype": obs_dtype}
    del given["canonical"]  # networks see to it
    return make("coin-game", preset=given.pop("rules"), check_actions=False, **given)


def _inputs(settings: CoinSettings) -> Inputs:
    planes = _board(settings)
    view = "egocentric" if settings.egocentric else "absolute"
    if settings.rules != "loqa24":
        view += f" of {settings.rules}"
    moves = COIN_PRESETS[settings.rules].moves if settings.canonical else ()
    return Inputs("features", math.prod(planes), 4, planes, view, moves=moves)


def _board(settings: CoinSettings) -> tuple[int, int, int]:
    """Planes, height and width."""
    players = settings.num_players
    history = players + 1 if COIN_PRESETS[settings.rules].history else 0
    return 2 * players + history, settings.height, settings.width


def _measure(played: Trajectory, settings: CoinSettings) -> dict[str, Tensor]:
    if played.num_players != 2:
        return {}
    preset = COIN_PRESETS[settings.rules]
    measured = coin_statistics(
        played.obs, played.actions, played.rewards,
        board=None if preset.history else (settings.height, settings.width),
        moves=preset.moves if settings.egocentric else None,
    )  # fmt: skip
    found = {name: getattr(measured, name).mean() for name in STATISTICS}
    return {**found, "own_coin_share": 1 - found["other_share"]}


def _evaluated(evaluation: dict[str, Any]) -> dict[str, Any]:
    return {"own_coin_share": evaluation.get("statistics", {}).pop("own_coin_share", None)}


def _no_threshold(settings: CoinSettings) -> str:
    if settings.rules != "loqa24":
        return f"the thresholds are of rules loqa24, got rules {settings.rules}"
    if settings.num_players != 2:  # among three who defect nobody earns less than they ask for
        return f"the thresholds are of two players, got num_players {settings.num_players}"
    return ""


def _reached(evaluation: Mapping[str, Any], settings: CoinSettings) -> Sequence[str]:
    if _no_threshold(settings):
        return ()
    own, against = mean(evaluation["self_play"]), evaluation["vs_always_defect"][0]
    return reached(own, against, settings.height, settings.width)


def _answers(evaluation: Mapping[str, Any], settings: CoinSettings) -> bool:
    if _no_threshold(settings):
        return True
    _, least = THRESHOLDS["strong"]
    return score(evaluation["vs_always_defect"][0], settings.height, settings.width) >= least


def _adapted(settings: CoinSettings) -> dict[str, Any]:
    """Steering towards 85% of what players earn who always cooperate: one coin in the time that all of
    them need for a way to another cell. Of rules with more coins no such target is known.

    Towards 95% or all of it the weight stays high, and agents on 3 x 3 that had come to cooperate
    retaliated without end after 900 iterations. Once they cooperate it takes little weight to stay so,
    and self-play pays more than it is steered to.
    """
    if settings.rules != "loqa24":
        return {}
    cells = [min(i, settings.height - i) + min(j, settings.width - j)
             for i in range(settings.height) for j in range(settings.width)]  # fmt: skip
    way = sum(cells) / (len(cells) - 1)
    target = 0.85 / (settings.num_players * way)
    # A weight moves as fast on every board while nothing is earned.
    return {"self_play_target": round(target, 4), "steering_rate": round(0.015 / target, 4)}


def _headline(config: Any) -> tuple[str, Sequence[str]]:
    shown = ["height", "width"]
    text = f"board {config.height} x {config.width}"
    if config.rules != "loqa24":
        text += f", rules of {config.rules}"
        shown.append("rules")
    if config.others.meets == "past":
        text += f", {config.opponents} past agents a batch"
        shown.append("opponents")
    return text, shown


def _size(config: Any, between: str) -> str:
    return f"board{between}{config.height}x{config.width}"


def _summary(run: RunView) -> dict[str, Any]:
    return {"height": run.config.env.height, "width": run.config.env.width}


COIN = register(
    Game(
        name="coin",
        env_name="coin_game",
        headline=_headline,
        joined={"height": _size, "width": _size},
        view=CoinView,
        outcome=outcome,
        gains_from_threads=True,
        figures="loqa.plotting.coin_game",
        film="loqa.envs.coin_game.film",
        matches=CoinMatches(),
        settings=CoinSettings,
        make_env=_make_env,
        inputs=_inputs,
        player=lambda name: _checks.one_of("fixed", name, SCRIPTED_COIN_PLAYERS),
        against={"vs_always_cooperate": "always-cooperate", "vs_always_defect": "always-defect"},
        measure=_measure,
        evaluated=_evaluated,
        thresholds=tuple(THRESHOLDS),
        no_threshold=_no_threshold,
        reached=_reached,
        answers=_answers,
        adapted=_adapted,
        summary=_summary,
        before={
            "egocentric": False,
            "canonical": False,
            "rules": "loqa24",
            "anneal_once": "at_once",
        },
        defaults={
            "iterations": 1500,
            "batch_size": 1024,
            "gamma": 0.99,
            "clip_norm": 1.0,
            "dice_discount": 0.97,
            "softmax_temperature": 26.0,
            "stop_normaliser_gradient": True,
            "advantage": "gae",
            "advantage_baseline": "none",
            "critic_target": "lambda",
            "entropy_bonus": 0.1,
            "actor_lr": 5e-3,
            "checkpoint_every": 100,
            "meets": "past",
            "early_opponents": 0.25,
            "actor": "gru",
            "critic": "gru",
            "actor_hidden": 64,
            "critic_hidden": 64,
            "anneal": 1400,
            "anneal_once": "answers",
            "entropy_final": 0.015,
            "actor_lr_final": 1e-3,
            "critic_lr_final": 1e-2,
            "egocentric": True,
            "evaluate_every": 10,
        },
        presets={
            "default": {},
            "paper": {
                "iterations": 10_000,
                "batch_size": 512,
                "opponents": 512,
                "actor_hidden": 128,
                "actor_lr": 1e-3,
                "critic_lr": 1e-2,
                "anneal": 0,
                "gamma": 0.96,
                "self_play_target": None,
                "early_opponents": 0.0,
                "egocentric": False,
                "dice_discount": 0.9,
                "softmax_temperature": 1.0,
                "stop_normaliser_gradient": False,
                "advantage": "td0",
                "advantage_gradient": True,
                "critic_target": "sarsa",
            },
        },
    )
)
