"""A run's configuration: parts, each a small frozen dataclass, under flat names; and presets by name."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, ClassVar, Literal, Self

from loqa import _checks
from loqa.algos import registry as algorithms
from loqa.games import registry as games
from loqa.games.base import Game, Inputs
from loqa.training.parts import Evaluations, Loop, Network, Others, Schedule, Steering

NOT_LEARNED = frozenset({"time_limit", "num_threads", "log_every", "checkpoint_every", "wandb"})
"""Fields that change neither what is learned nor which numbers are drawn."""
RESUMABLE = NOT_LEARNED | {"iterations", "device"}
"""Fields that may change when a run goes on."""

_SHORT = {"game": "stage_game", "temperature": "softmax_temperature"}
_COMMON: dict[str, type[Any]] = {
    "network": Network,
    "others": Others,
    "schedule": Schedule,
    "steering": Steering,
    "evaluation": Evaluations,
    "loop": Loop,
}


class TrainConfig:
    """The configuration of a run, immutable: what is played, what learns, and how long.

    Its parts are dataclasses: `env` (the game's settings), `learning` (the algorithm's), `network`,
    `others`, `schedule`, `steering`, `evaluation` and `loop` (see `loqa.training.parts`). Every field of
    every part has a name of its own, under which it is given, read (`config.batch_size`) and written
    to config.json.

    Args:
        preset: named settings that the other fields started from.
        algo: the name of the algorithm, "loqa", or "naive" (the same learner without shaping).
        fields: of the parts; what is left out is as in the game's preset "default".

    Raises:
        ValueError: an unknown field (the nearest is given), or a bad value.
    """

    game: ClassVar[str] = ""
    preset: str
    algo: str
    env: Any
    learning: Any
    network: Network
    others: Others
    schedule: Schedule
    steering: Steering
    evaluation: Evaluations
    loop: Loop

    def __init__(self, preset: str = "default", algo: str = "loqa", **fields: Any) -> None:
        found, known = self.record(), self.field_types(algo)
        _checks.one_of("preset", preset, found.presets)
        for name in (name for name in fields if name not in known):
            hint = _checks.nearest(name, known)
            raise ValueError(f"{type(self).__name__} has no field {name!r}{hint}")
        own = algorithms.entry(algo).defaults_in(self.game)
        env = made_of(found.settings, {**found.defaults, **own, **fields})
        values = {**found.defaults, **found.adapted(env), **own, **fields}
        parts = {part: made_of(kind, values) for part, kind in self.kinds(algo).items()}
        self.__dict__.update(preset=preset, algo=algo, **parts)
        self._check()

    def _check(self) -> None:
        others, loop, stop_at = self.others, self.loop, self.evaluation.stop_at
        if others.meets in ("self", "past") and "meets" in self.record().adapted(self.env):
            raise ValueError("the players' payoffs differ: an agent a seat learns, meets learners")
        if others.meets == "past" and loop.batch_size % others.opponents:
            raise ValueError(
                f"opponents must divide batch_size {loop.batch_size}, got {others.opponents}"
            )
        if others.other_algo != "same":
            theirs = algorithms.entry(others.other_algo).settings
            if theirs is not algorithms.entry(self.algo).settings:
                raise ValueError(
                    f"other_algo {others.other_algo} has other settings than {self.algo}"
                )
        record, network = self.record(), self.network
        _checks.one_of("stop_at", stop_at, ("never", *record.thresholds))
        if stop_at != "never" and (why := record.no_threshold(self.env)):
            raise ValueError(f"stop_at must be never, got {stop_at}: {why}")
        inputs = record.inputs(self.env)
        self._check_box(inputs)
        if network.actor == "logits" and inputs.observes != "states":
            raise ValueError("actor logits has a row for each state: the game must show an index")
        for role in ("actor", "critic"):
            if getattr(network, role) == "cnn" and len(inputs.obs_shape) != 3:
                raise ValueError(
                    f"{role} cnn reads boards [C, H, W]: the game shows {list(inputs.obs_shape)}"
                )

    def _check_box(self, inputs: Inputs) -> None:
        """What a box of actions asks for, and what asks for one."""
        if inputs.action_box is None:
            for role, kind in (("actor", "hats"), ("critic", "ridge")):
                if getattr(self.network, role) == kind:
                    raise ValueError(f"{role} {kind} is of actions that are numbers of a box")
            return
        able = [name for name in algorithms.names() if algorithms.entry(name).algorithm.in_boxes]
        if self.algo not in able:
            raise ValueError(
                f"{self.algo} chooses among finitely many actions; numbers of a box are chosen by "
                f"{', '.join(able)}"
            )
        if self.network.actor == "hats" and inputs.observes != "actions":
            raise ValueError("actor hats reads last actions: the game must show them")

    @classmethod
    def record(cls) -> Game:
        """The game's record."""
        return games.game(cls.game)

    def parts(self) -> list[Any]:
        """The dataclasses, in the order of `to_dict`."""
        return [self.__dict__[name] for name in ("env", "learning", *_COMMON)]

    def settings(self, algo: str | None = None) -> Any:
        """The settings of the run's algorithm, or of another one with the same settings, with what is fixed
        by its name (the naive learner does not shape)."""
        return dataclasses.replace(self.learning, **algorithms.entry(algo or self.algo).fixed)

    @classmethod
    def of_preset(cls, preset: str = "default", **fields: Any) -> Self:
        """The configuration of a preset with some fields changed.

        Raises:
            ValueError: an unknown preset or field (the nearest valid name is given), or a bad value.
        """
        found, algo = cls.record(), fields.get("algo", "loqa")
        _checks.one_of("preset", preset, found.presets)
        known = cls.field_types(algo)
        values = dict(found.presets[preset])
        for name, kinds_of in found.variants.items() if preset == "default" else ():
            values |= kinds_of.get(str(fields.get(name)), {})
        values |= algorithms.entry(algo).defaults_in(cls.game)
        # A preset has some that an algorithm lacks.
        values = {name: value for name, value in values.items() if name in known}
        return cls.from_dict({"preset": preset, **values, **fields})

    def of_own_preset(self) -> Self:
        """What this configuration's preset says where nothing but what the preset depends on is given."""
        plain = self.of_preset(self.preset, algo=self.algo)
        own = {name: getattr(self, name) for name in self.record().variants}
        given = {**own, **vars(self.env)}
        known = self.of_preset(self.preset, algo=self.algo, **given)
        return known.replace(**{name: getattr(plain, name) for name in given})

    def as_adapted(self) -> set[str]:
        """Fields that are what the game's settings say."""
        says = self.record().adapted(self.env)
        return {name for name, value in says.items() if getattr(self, name) == value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; fields left out take their defaults. Texts are read as on the command
        line."""
        kinds = cls.field_types(str(values.get("algo", "loqa")))
        known = {name: _typed(name, values[name], kinds[name]) for name in values if name in kinds}
        return cls(**{**values, **known})

    @classmethod
    def of_file(cls, values: Mapping[str, Any]) -> Self:
        """`from_dict` of what a run wrote, maybe before a setting existed."""
        return cls.from_dict({**cls.record().before, **values})

    def replace(self, **fields: Any) -> Self:
        """The configuration with some fields changed."""
        return self.from_dict({**self.to_dict(), **fields})

    def resumed(self, **fields: Any) -> Self:
        """The configuration with which a run goes on: some of `RESUMABLE` changed.

        Raises:
            ValueError: a field that a run keeps to its end, an unknown one, or a bad value.
        """
        kept = sorted(fields.keys() & self.field_types(self.algo).keys() - RESUMABLE)
        if kept:
            raise ValueError(
                f"a run keeps its {', '.join(kept)} to the end: it changes what is learned; going on "
                f"may change {', '.join(sorted(RESUMABLE))}"
            )
        return self.replace(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Every field, as values that JSON can hold."""
        flat: dict[str, Any] = {"preset": self.preset, "algo": self.algo}
        for part in self.parts():
            flat |= dataclasses.asdict(part)
        return flat

    @classmethod
    def presets(cls) -> list[str]:
        """Names of the game's presets."""
        return list(cls.record().presets)

    @classmethod
    def kinds(cls, algo: str = "loqa") -> dict[str, type[Any]]:
        """The dataclass of each part."""
        learning = algorithms.entry(algo).settings
        return {"env": cls.record().settings, "learning": learning, **_COMMON}

    @classmethod
    def field_types(cls, algo: str = "loqa") -> dict[str, Any]:
        """Type of each field."""
        return {"preset": str, "algo": str, **types_of(tuple(cls.kinds(algo).values()))}

    def __getattr__(self, name: str) -> Any:
        parts = self.__dict__.get("loop") and self.parts()
        for part in parts or ():
            if name in part.__dataclass_fields__:
                return getattr(part, name)
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise dataclasses.FrozenInstanceError(
            f"a configuration does not change: use replace({name}=)"
        )

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.to_dict().items())
        return f"{type(self).__name__}({said})"


class IPDConfig(TrainConfig):
    """Training on the iterated prisoner's dilemma.

    The `default` preset learns tit-for-tat. `paper` has the published settings, with which our runs did not
    keep tit-for-tat: see loqa/algos/README.md.
    """

    game = "ipd"


class MatrixConfig(TrainConfig):
    """Training on any repeated matrix game of two players.

    Chicken, stag hunt, hawk-dove, matching pennies, or your own payoffs, with 2 to 11 actions.

    With `--exact` returns are computed, not sampled: `loqa train matrix --exact --help`.
    """

    game = "matrix"


class CoinConfig(TrainConfig):
    """Training on the Coin Game.

    The `default` preset learns to cooperate with whoever cooperates, in 15 to 25 minutes on one CPU
    thread. `paper` has the published settings.
    """

    game = "coin"


class PublicGoodsConfig(TrainConfig):
    """Training on public goods of 2 to 8 players.

    The `default` preset learns strict conditional cooperation in a few seconds: to give while all others
    give.
    """

    game = "public-goods"


class ContinuousIPDConfig(TrainConfig):
    """Training on the continuous prisoner's dilemma: each player gives a number in [0, 1].

    The `default` preset learns to give while the other gives, in half a minute.
    """

    game = "continuous-ipd"


class CournotConfig(TrainConfig):
    """Training on Cournot's duopoly: each player sells a quantity in [0, 1].

    The `default` preset learns quantities between those of Nash and of a cartel.
    """

    game = "cournot"


GAMES = {kind.game: kind for kind in TrainConfig.__subclasses__()}


@cache
def config_class(game: str) -> type[TrainConfig]:
    """The configuration of a game, by its name on the command line and in config.json.

    Raises:
        ValueError: there is no such game.
    """
    if game in GAMES:
        return GAMES[game]
    found = games.game(_checks.one_of("game", game, games.names()))
    return type("GameConfig", (TrainConfig,), {"game": found.name})


@cache
def types_of(kinds: tuple[type[Any], ...]) -> dict[str, Any]:
    """Type of each field of a configuration's parts."""
    found: dict[str, Any] = {}
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if field.name in found or field.name in ("preset", "algo"):
                raise ValueError(f"{kind.__name__} has a field {field.name!r}, as another part has")
            found[field.name] = hints[field.name]
    return found


def made_of(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A part, of those of the values that are its fields."""
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: values[name] for name in names if name in values})


def full_name(name: str, kinds: Collection[str]) -> str:
    """The field that is meant on the command line: `--game` is stage_game where there is such a field."""
    return name if name in kinds or _SHORT.get(name) not in kinds else _SHORT[name]


def _typed(name: str, value: Any, kind: Any) -> Any:
    """`value` as a field wants it: text from a command line is parsed, lists become tuples."""
    if isinstance(kind, types.UnionType):  # X | None
        if value is None or value in ("none", "None"):
            return None
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    try:
        return _convert(kind, value)
    except (TypeError, ValueError, KeyError, OverflowError):
        wanted = getattr(kind, "__name__", str(kind)) if kind is not tuple else "numbers"
        raise ValueError(f"{name} must be {wanted}, got {value!r}") from None


def _convert(kind: Any, value: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        kind = str
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
