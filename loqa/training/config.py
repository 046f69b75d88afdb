"""Training configurations: plain frozen dataclasses, and their presets by name."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from loqa import _checks
from loqa._device import check_name
from loqa.algos.loqa import LOQASettings
from loqa.envs.coin_game.thresholds import THRESHOLDS
from loqa.envs.matrix_game.presets import as_payoff

MATMUL_PRECISION = {"float32": "highest", "tf32": "high", "bfloat16": "medium"}
"""What `torch.set_float32_matmul_precision` calls them."""

NOT_LEARNED = frozenset({"time_limit", "num_threads", "log_every", "checkpoint_every", "wandb"})
"""Fields that change neither what is learned nor which numbers are drawn."""
RESUMABLE = NOT_LEARNED | {"iterations", "device"}
"""Fields that may change when a run goes on."""


def docstring(kind: type) -> str:
    """The docstring of a class without its indentation, in every version of Python; "" under `-OO`.

    Python 3.13 strips the indentation when it compiles, older ones keep it. Without a docstring a
    dataclass makes one of its signature, which explains nothing.
    """
    return "" if sys.flags.optimize > 1 else inspect.cleandoc(kind.__doc__ or "")


@dataclass(frozen=True)
class TrainConfig(LOQASettings):
    """What every training run has.

    Attributes:
        preset: named settings that the other fields started from.
        algo: "loqa", or "naive" (the same learner without shaping).
        shared_reward: every player is paid the mean of all players' rewards.
        seed: of everything random; a run is a function of its configuration.
        iterations: updates.
        time_limit: seconds of training after which the run, or its resumption, ends early; None is
            no limit.
        batch_size: B, episodes in an iteration.
        episode_length: T, steps in an episode.
        num_threads: threads of torch and of the simulator. One is fastest for the prisoner's dilemma; the
            Coin Game's default takes a third less time with two, if both cores are free, and much
            more if they are not. Another number rounds sums differently, so that a seed is another
            run: the default does not depend on the machine.
        matmul: "float32"; "tf32" for matrix products that round their factors to 11 bits on GPUs; or
            "bfloat16", 8 bits where the processor is faster at it, on GPUs before the recurrent layers
            (the rest is tf32 there). Sums stay float32.
        device: where the run takes place, "cpu", "cuda" or "cuda:N". A GPU draws other numbers than the
            CPU, so that a seed is another run there.
        log_every: iterations between two lines of metrics.jsonl.
        wandb: project of Weights & Biases to send the metrics to; None sends nothing. Where
            TensorBoard is installed, its files are written to the run directory.
        checkpoint_every: iterations between two checkpoints.
    """

    game: ClassVar[str]  # its name on the command line and in config.json
    presets: ClassVar[dict[str, dict[str, Any]]] = {"default": {}}

    preset: str = "default"
    algo: str = "loqa"
    shared_reward: bool = False
    seed: int = 0
    iterations: int = 1000
    time_limit: float | None = None
    batch_size: int = 256
    episode_length: int = 50
    num_threads: int = 1
    matmul: str = "float32"
    device: str = "cpu"
    log_every: int = 10
    wandb: str | None = None
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), float):
                _checks.real(field.name, value)
        _checks.one_of("preset", self.preset, self.presets)
        _checks.one_of("algo", self.algo, ("loqa", "naive"))
        _checks.integer("seed", self.seed, 0, 2**63 - 1)
        for name in ("iterations", "batch_size", "episode_length", "log_every", "checkpoint_every"):
            _checks.integer(name, getattr(self, name), 1, 2**31 - 1)
        _checks.integer("num_threads", self.num_threads, 1, 1024)
        if self.time_limit is not None:
            _checks.real("time_limit", self.time_limit, 0)
        _checks.one_of("matmul", self.matmul, MATMUL_PRECISION)
        check_name(self.device)

    @classmethod
    def of_preset(cls, preset: str = "default", **fields: Any) -> Self:
        """The configuration of a preset with some fields changed.

        Raises:
            ValueError: an unknown preset or field (the nearest valid name is given), or a bad value.
        """
        _checks.one_of("preset", preset, cls.presets)
        return cls.from_dict({**cls._of_preset(preset, fields), **fields})

    def of_own_preset(self) -> Self:
        """What this configuration's preset says where nothing but what the preset depends on is given."""
        return self.of_preset(self.preset)

    @classmethod
    def _of_preset(cls, preset: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What a preset says where `fields` are given."""
        return {"preset": preset, **cls.presets[preset]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; fields left out take their defaults."""
        kinds = cls.field_types()
        return cls(**{name: _typed(cls, name, value, kinds) for name, value in values.items()})

    def resumed(self, **fields: Any) -> Self:
        """The configuration with which a run goes on: some of `RESUMABLE` changed.

        Raises:
            ValueError: a field that a run keeps to its end, an unknown one, or a bad value.
        """
        kept = sorted(fields.keys() & self.field_types().keys() - RESUMABLE)
        if kept:
            raise ValueError(
                f"a run keeps its {', '.join(kept)} to the end: it changes what is learned; going on "
                f"may change {', '.join(sorted(RESUMABLE))}"
            )
        return self.from_dict({**self.to_dict(), **fields})

    def to_dict(self) -> dict[str, Any]:
        """Every field, as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def field_types(cls) -> dict[str, Any]:
        """Type of each field."""
        hints = typing.get_type_hints(cls)
        return {field.name: hints[field.name] for field in dataclasses.fields(cls)}

    @classmethod
    def field_docs(cls) -> dict[str, str]:
        """What each field means: the `Attributes:` of this class and its bases.

        Empty where Python drops docstrings (`-OO`).
        """
        docs: dict[str, str] = {}
        for base in cls.__mro__:
            attributes = docstring(base).partition("Attributes:\n")[2].split("\n\n")[0]
            for names, text in re.findall(
                r"^ {4}(\w[\w, ]*):((?:.*\n?)(?: {8}.*\n?)*)", attributes, flags=re.MULTILINE
            ):
                for name in names.split(", "):
                    docs.setdefault(name, " ".join(text.split()))
        return docs


@dataclass(frozen=True)
class IPDConfig(TrainConfig):
    """Training on the iterated prisoner's dilemma.

    The `default` preset learns tit-for-tat. `paper` has the published settings; see the README for
    what it ends in.

    Attributes:
        payoff: payoff to me for CC, CD, DC, DD.
        exploration: e, share of uniformly random play while sampling, both players.
        played_policy: whether log-probabilities and values in the losses are those of the policy that
            is played, mu = (1 - e) pi + e / 2, with pi the softmax of the logits; off, of pi. E over
            mu of grad log pi A does not vanish as pi comes to be sure of itself, of grad log mu A
            it does.
        critic_warmup: iterations at the start in which only the critic learns. What an untrained
            critic says of states and steps drives the first answers anywhere, and those come back late.
        actor: "logits" (one pair for each of the five states), "mlp" or "gru".
        actor_one_hot: whether an "mlp" or "gru" actor reads the state one-hot, else in bits.
        actor_table: whether there is a table of logits beside an "mlp" or "gru" actor, one pair for each
            state, that its output is added to. `actor_lr` is the table's learning rate then. With a
            network alone some seeds never come to open with C.
        network_lr: learning rate of the network beside the table.
        anneal: iterations over which `network_lr` goes, along a straight line, to 0; 0 keeps it. A
            recurrent network that goes on learning forgives more of its own trembles.
        anneal_after: iterations before that.
        critic: "mlp" or "gru".
        actor_hidden, critic_hidden: units of the hidden layers.
        layers_before_gru: linear layers before the recurrent one, 0, 1 or 2.
    """

    game: ClassVar[str] = "ipd"
    by_actor: ClassVar[dict[str, dict[str, Any]]] = {"gru": {"iterations": 400, "batch_size": 128}}
    """What `default` says besides, by the kind of actor."""
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {
            "iterations": 25_000,
            "batch_size": 2048,
            "actor_lr": 1e-3,
            "critic_lr": 1e-2,
            "shaping_weight": 1.0,
            "softmax_temperature": 1.0,
            "stop_normaliser_gradient": False,
            "advantage": "td0",
            "advantage_lambda": 0.7,
            "shaping_advantage": "same",
            "opponent_baseline": "none",
            "critic_warmup": 0,
            "actor_table": False,
            "advantage_gradient": True,
            "advantage_baseline": "none",
            "critic_target": "sarsa",
        },
    }

    iterations: int = 600
    actor_lr: float = 2e-2
    critic_lr: float = 3e-2
    shaping_weight: float = 3.0
    softmax_temperature: float = 3.0
    stop_normaliser_gradient: bool = True
    advantage: str = "gae"
    advantage_lambda: float = 0.9
    shaping_advantage: str = "td0"
    opponent_baseline: str = "batch"
    critic_target: str = "returns"
    payoff: tuple[float, ...] = (-1.0, -3.0, 0.0, -2.0)
    exploration: float = 0.2
    played_policy: bool = False
    critic_warmup: int = 50
    actor: str = "logits"
    actor_one_hot: bool = False
    actor_table: bool = True
    network_lr: float = 1e-3
    anneal: int = 200
    anneal_after: int = 100
    critic: str = "mlp"
    actor_hidden: int = 16
    critic_hidden: int = 16
    layers_before_gru: int = 2

    def of_own_preset(self) -> Self:
        """What the preset says of this actor, but its own actor: a run is named by what differs."""
        known = self.of_preset(self.preset, actor=self.actor)
        return dataclasses.replace(known, actor=type(self).actor)

    @classmethod
    def _of_preset(cls, preset: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        values = super()._of_preset(preset, fields)
        actor = fields.get("actor", cls.actor)
        return values | (cls.by_actor.get(actor, {}) if preset == "default" else {})

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.payoff) != 4:
            raise ValueError(f"payoff must be 4 numbers for CC, CD, DC, DD, got {self.payoff}")
        as_payoff(self.payoff)
        _checks.real("exploration", self.exploration, 0, 1)
        for name in ("critic_warmup", "anneal", "anneal_after"):
            _checks.integer(name, getattr(self, name), 0, 2**31 - 1)
        _checks.one_of("actor", self.actor, ("logits", "mlp", "gru"))
        _checks.one_of("critic", self.critic, ("mlp", "gru"))
        for name in ("actor_hidden", "critic_hidden"):
            _checks.integer(name, getattr(self, name), 1, 2**16)
        _checks.integer("layers_before_gru", self.layers_before_gru, 0, 2)


@dataclass(frozen=True)
class CoinConfig(TrainConfig):
    """Training on the Coin Game (rules loqa24, two players).

    The `default` preset learns to cooperate with whoever cooperates, in 15 to 25 minutes on one CPU
    thread. `paper` has the published settings.

    Attributes:
        height, width: of the board.
        opponents: K, past agents a batch is played against, B / K episodes each; K must divide B.
            The published code draws one for each episode.
        replay_capacity: past agents that are kept.
        replay_every: iterations between two agents that are kept.
        early_opponents: share of the opponents that are drawn from the agents kept during
            `anneal_after` alone, once that is over. They took what they could: an agent that keeps
            meeting them does not forget how to answer. 0 draws all opponents from all agents kept.
        actor_hidden, critic_hidden: units of the linear layers and of the GRU.
        layers_before_gru: linear layers before the recurrent one, 0, 1 or 2.
        anneal: iterations over which the entropy bonus and the learning rates go, along a straight
            line, from their first to their final value; 0 keeps the first.
        anneal_after: iterations before that.
        entropy_final: the final entropy bonus.
        self_play_target: reward a step in self-play that the shaping weight is steered to from the end
            of `anneal_after` on: every evaluation below it raises the weight, every one above it lowers
            it, up to 2.5 times the first weight or its inverse. None keeps the weight, and a
            `shaping_weight` of 0 stays 0.
        actor_lr_final, critic_lr_final: the final learning rates.
        evaluate_every: iterations between two evaluations, of the agent against itself,
            always-cooperate and always-defect.
        evaluation_episodes: episodes against each of them.
        stop_at: ends the run at the first evaluation that meets this threshold, "weak", "medium" or
            "strong"; "never" goes on.
    """

    game: ClassVar[str] = "coin"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {
            "iterations": 10_000,
            "batch_size": 512,
            "opponents": 512,
            "actor_hidden": 128,
            "critic_hidden": 64,
            "actor_lr": 1e-3,
            "critic_lr": 1e-2,
            "entropy_bonus": 0.1,
            "anneal": 0,
            "gamma": 0.96,
            "self_play_target": None,
            "early_opponents": 0.0,
            "dice_discount": 0.9,
            "softmax_temperature": 1.0,
            "stop_normaliser_gradient": False,
            "advantage": "td0",
            "advantage_gradient": True,
            "critic_target": "sarsa",
        },
    }

    iterations: int = 1800
    batch_size: int = 1024
    gamma: float = 0.99
    clip_norm: float | None = 1.0
    dice_discount: float = 0.97
    softmax_temperature: float = 26.0
    stop_normaliser_gradient: bool = True
    advantage: str = "gae"
    advantage_baseline: str = "none"
    critic_target: str = "lambda"
    entropy_bonus: float = 0.1
    actor_lr: float = 5e-3
    checkpoint_every: int = 100
    height: int = 3
    width: int = 3
    opponents: int = 32
    replay_capacity: int = 10_000
    replay_every: int = 10
    early_opponents: float = 0.25
    actor_hidden: int = 64
    critic_hidden: int = 64
    layers_before_gru: int = 2
    anneal: int = 1400
    anneal_after: int = 400
    entropy_final: float = 0.015
    self_play_target: float | None = 0.295
    actor_lr_final: float = 1e-3
    critic_lr_final: float = 1e-2
    evaluate_every: int = 10
    evaluation_episodes: int = 256
    stop_at: str = "never"

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.integer("height", self.height, 1, 255)
        _checks.integer("width", self.width, 1, 255)
        if self.height * self.width < 3:
            raise ValueError(f"the board needs 3 cells or more, got {self.height} x {self.width}")
        for name in ("opponents", "replay_capacity", "replay_every", "evaluate_every"):
            _checks.integer(name, getattr(self, name), 1, 2**31 - 1)
        for name in ("actor_hidden", "critic_hidden", "evaluation_episodes"):
            _checks.integer(name, getattr(self, name), 1, 2**16)
        for name in ("anneal", "anneal_after"):
            _checks.integer(name, getattr(self, name), 0, 2**31 - 1)
        if self.batch_size % self.opponents:
            raise ValueError(
                f"opponents must divide batch_size {self.batch_size}, got {self.opponents}"
            )
        if self.self_play_target is not None:
            _checks.real("self_play_target", self.self_play_target)
        _checks.real("early_opponents", self.early_opponents, 0, 1)
        _checks.integer("layers_before_gru", self.layers_before_gru, 0, 2)
        _checks.one_of("stop_at", self.stop_at, ("never", *THRESHOLDS))


GAMES: dict[str, type[TrainConfig]] = {kind.game: kind for kind in (IPDConfig, CoinConfig)}
"""By their names on the command line and in config.json."""


def _typed(cls: type[TrainConfig], name: str, value: Any, kinds: Mapping[str, Any]) -> Any:
    """`value` as field `name` wants it: text from a command line is parsed, lists become tuples."""
    if name not in kinds:
        raise ValueError(f"{cls.__name__} has no field {name!r}{_checks.nearest(name, kinds)}")
    kind = kinds[name]
    if isinstance(kind, types.UnionType):  # X | None
        if value is None or value == "none":
            return None
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    try:
        return _convert(kind, value)
    except (TypeError, ValueError, KeyError, OverflowError):
        wanted = getattr(kind, "__name__", str(kind)) if kind is not tuple else "numbers"
        raise ValueError(f"{name} must be {wanted}, got {value!r}") from None


def _convert(kind: Any, value: Any) -> Any:
    if typing.get_origin(kind) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(_convert(typing.get_args(kind)[0], part) for part in parts)
    if kind is bool:
        if isinstance(value, bool):
            return value
        return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
    if kind is str:
        if not isinstance(value, str):
            raise TypeError
        return value
    if isinstance(value, bool) or (kind is int and isinstance(value, float) and value % 1):
        raise TypeError
    return kind(value)
