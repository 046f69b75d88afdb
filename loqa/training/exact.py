"""Runs in exact games: a configuration of parts, and the run directory that comes of it."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor

from loqa import _checks
from loqa._checks import Count, Range
from loqa.algos.exact.chain import num_players, state_names
from loqa.algos.exact.games import ExactGame, game
from loqa.algos.exact.learn import LEARNERS, UPDATES, USUAL_POLICIES, ExactResult, learn
from loqa.algos.exact.policies import PolicySettings
from loqa.algos.exact.reciprocity import applies, is_tit_for_tat, reciprocity
from loqa.games.answers import STATES, strategy_name
from loqa.storage.files import WriteError, append_line, write_json
from loqa.storage.tensor_file import load_tensors, save_tensors
from loqa.training.config import made_of, types_of
from loqa.training.run_directory import POLICIES, RunDirectory
from loqa.training.stopping import StopRequest, TrainingError

_FORMAT = "loqa exact policies"
_LEARNED = ("self_play", "lone_defector", "best_response_gain", "tolerates", "errors_to_return")


@dataclass(frozen=True)
class StageGame:
    """What is played.

    Attributes:
        stage_game: whose payoffs and discount hold (`--game` for short), unless others are given.
        payoff: to me for CC, CD, DC, DD, of three players CCC, CCD, CDC and so on, own action first; of an
            asymmetric game those of the first player, then those of the second and so on.
        factor: f of public goods: who cooperates pays 1, the pot times f is shared.
        gamma: the discount.
        steps: of a game; none is a game without end, 1 is played once.
        num_players: 2 to 8; other than 2 in public-goods and n-ipd, with LOQA.
    """

    stage_game: Literal[
        "ipd", "matching-pennies", "chicken", "stag-hunt", "hawk-dove", "public-goods", "n-ipd"
    ] = "ipd"
    payoff: tuple[float, ...] | None = None
    factor: float | None = None
    gamma: float | None = None
    steps: int | None = None
    num_players: int = 2

    def __post_init__(self) -> None:
        _checks.check_fields(self)
        self.made()

    def made(self) -> ExactGame:
        """The game; ValueError for a value out of range, or two that do not go together."""
        payoff: Any = self.payoff
        if payoff is not None and self.num_players == 2:
            if len(payoff) not in (4, 8):
                raise ValueError(
                    f"payoff must be 4 numbers, or 8 of two players, got {len(payoff)}"
                )
            if len(payoff) == 8:
                payoff = np.reshape(payoff, (2, 2, 2))
        given = {**vars(self), "payoff": payoff}
        return game(given.pop("stage_game"), discount=given.pop("gamma"), **given)


@dataclass(frozen=True)
class ExactLoop(_checks.Checked):
    """How much, and where.

    Attributes:
        seed: of everything random; a run is a function of its configuration.
        runs: N, independent pairs of players, in one batch.
        updates: of each; of M-FOS meta-episodes.
        num_threads: of torch. Matrices of 4 x 4 gain nothing from a second one.
        log_every: updates between two lines of metrics.jsonl.
    """

    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    runs: Count = 1000
    updates: Count = 200
    num_threads: Annotated[int, Range(1, 1024)] = 1
    log_every: Count = 10


@dataclass(frozen=True)
class NoPolicies:
    """M-FOS chooses logits: its policies have no settings."""


@dataclass(frozen=True)
class ExactConfig:
    """The configuration of a run in an exact game, by parts; every field has a flat name of its own."""

    game: ClassVar[str] = "matrix"

    algo: str = "lola"
    env: StageGame = field(default_factory=StageGame)
    learning: Any = field(default_factory=LEARNERS["lola"])
    policies: PolicySettings | NoPolicies = field(default_factory=PolicySettings)
    loop: ExactLoop = field(default_factory=ExactLoop)

    @classmethod
    def of(cls, algo: str = "lola", **fields: Any) -> Self:
        """The defaults of an algorithm with some fields changed.

        Raises:
            ValueError, TypeError: an unknown algorithm or field (the nearest is given), or a bad value.
        """
        kinds = cls.kinds(algo)
        _checks.known_settings(f"an exact run of {algo}", fields, types_of(tuple(kinds.values())))
        usual = {"updates": UPDATES[algo], "log_every": 1 if algo in ("pola", "mfos") else 10}
        if algo == "mfos":
            usual["runs"] = 1
        values = {**usual, **USUAL_POLICIES.get(algo, {}), **fields}
        return cls(algo=algo, **{part: made_of(kind, values) for part, kind in kinds.items()})

    @staticmethod
    def kinds(algo: str) -> dict[str, type[Any]]:
        """The dataclass of each part."""
        learning = LEARNERS[_checks.one_of("algo", algo, LEARNERS)]
        policies = NoPolicies if algo == "mfos" else PolicySettings
        return {"env": StageGame, "learning": learning, "policies": policies, "loop": ExactLoop}

    @classmethod
    def field_types(cls, algo: str) -> dict[str, Any]:
        """Type of each field."""
        return {"algo": str, **types_of(tuple(cls.kinds(algo).values()))}

    def to_dict(self) -> dict[str, Any]:
        """Every field, as values that JSON can hold."""
        flat: dict[str, Any] = {"exact": True, "algo": self.algo}
        for part in (self.env, self.learning, self.policies, self.loop):
            flat |= dataclasses.asdict(part)
        return flat

    @property
    def name(self) -> str:
        """For a run directory."""
        players = "" if self.env.num_players == 2 else f"-{self.env.num_players}players"
        return f"exact-{self.env.stage_game}{players}-{self.algo}-seed{self.loop.seed}"


def train_exact(
    config: ExactConfig,
    out: str | Path | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Learns in an exact game and writes a run directory: config.json, metrics.jsonl, summary.json and
    checkpoints/policies.safetensors.

    Args:
        config: for example `ExactConfig.of("lola", runs=100)`.
        out: the directory; the first free name below runs/ by default.
        report: called with each line of metrics.

    Returns:
        The summary that is also written to summary.json, and "out". "status" is "finished" or "interrupted"
        (Ctrl-C: the update comes to its end and everything is saved). "reward", "p_cooperate" and
        "found_tit_for_tat" are arrays over runs, [player][run]; "strategies" are counts. Of LOQA, one
        policy in every seat, there is one player; "self_play", "lone_defector", "best_response_gain",
        "tolerates" and "errors_to_return" are [run] and "kinds" are counts, see
        `loqa.algos.exact.reciprocity`.

    Raises:
        FileExistsError, OSError: the directory holds a run already, or cannot be written.
        TrainingError: parameters are no longer finite, or the disk is full.
    """
    path = None if out is None else Path(out)
    with RunDirectory.create(path, config, config.name) as run, StopRequest() as stop:
        started = time.perf_counter()
        loop = config.loop
        done = 0

        def watch(update: int, p_cooperate: Tensor, rewards: Tensor) -> bool:
            nonlocal done
            done = update
            if update and (update % loop.log_every == 0 or update == loop.updates):
                seconds = time.perf_counter() - started
                line = {"iteration": update, "env_steps": 0, "seconds": seconds}
                line |= _numbers(p_cooperate, rewards)
                append_line(run.metrics_file, line)
                if report is not None:
                    report(line)
            return stop.requested

        try:
            policies = config.policies if isinstance(config.policies, PolicySettings) else None
            how = {name: value for name, value in vars(loop).items() if name != "log_every"}
            result = learn(config.env.made(), config.learning, policies, watch=watch, **how)
            found = {"p_cooperate": result.p_cooperate, "rewards": result.rewards}
            save_tensors(run.path / POLICIES, {**result.parameters, **found}, {"format": _FORMAT})
            summary = {
                "status": "finished" if done == loop.updates else "interrupted",
                **{"game": config.game, "exact": True, "stage_game": config.env.stage_game},
                **{"algo": config.algo, "seed": loop.seed, "device": "cpu", "runs": loop.runs},
                **{"iterations": done, "seconds": time.perf_counter() - started},
                **_summary(config, result),
            }
            write_json(run.summary_file, summary)
        except (FloatingPointError, WriteError) as error:
            raise TrainingError(str(error)) from error
        return {**summary, "out": str(run.path)}


def load_policies(path: str | Path) -> dict[str, Tensor]:
    """What a run directory's exact run ended in: "p_cooperate" `[2, N, S]`, "rewards" `[updates, 2, N]`, and
    parameters.

    Raises:
        FileNotFoundError, FileError: it is not of an exact game, or the file is damaged.
    """
    return load_tensors(Path(path) / POLICIES, _FORMAT, "is not of a run in an exact game")[0]


def _numbers(p_cooperate: Tensor, rewards: Tensor) -> dict[str, Any]:
    """Of a line of metrics: means and standard deviations over runs, of each player."""
    found: dict[str, Any] = {
        "reward": rewards.mean(1).tolist(),
        "reward_sd": rewards.std(1, correction=0).tolist(),
    }
    states = state_names(max(2, num_players(p_cooperate.shape[-1])))
    for name, one in zip(("p_cooperate", "p_cooperate_other"), p_cooperate, strict=False):
        found[name] = dict(zip(states, one.mean(0).tolist(), strict=False))
    if p_cooperate.shape[-1] == len(STATES):
        found["tit_for_tat"] = is_tit_for_tat(p_cooperate).all(0).double().mean().item()
    return found


def _summary(config: ExactConfig, result: ExactResult) -> dict[str, Any]:
    p_cooperate, rewards = result.p_cooperate, result.rewards[-1]
    found = {f"mean_{name}": one for name, one in _numbers(p_cooperate, rewards).items()}
    found |= {"reward": rewards.tolist(), "p_cooperate": p_cooperate.tolist()}
    if p_cooperate.shape[-1] == len(STATES):
        found["found_tit_for_tat"] = result.found_tit_for_tat.tolist()
        found["strategies"] = []
        for player in found["p_cooperate"]:
            names = (strategy_name(dict(zip(STATES, one, strict=True))) for one in player)
            found["strategies"].append(dict(Counter(names).most_common()))
    if config.algo == "loqa" and applies(config.env.made()):
        # What one policy in every seat has learned.
        learned = reciprocity(config.env.made(), p_cooperate[0])
        found |= {name: getattr(learned, name).tolist() for name in _LEARNED}
        found["kinds"] = learned.counts
    return found
