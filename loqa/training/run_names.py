"""What runs are called: words for what differs between their configurations."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from loqa._checks import plural
from loqa.algos import registry as algorithms
from loqa.algos.advantage_alignment import AdvantageAlignmentSettings, AlignedPPOSettings
from loqa.algos.loqa import LOQASettings
from loqa.algos.settings import ActorCriticSettings
from loqa.training.config import NOT_LEARNED, TrainConfig

Values = dict[str, Any]
_LONGEST = 100  # of a file name; systems allow 255 bytes, and other names are made from it
_OWN_PLACE = ("preset", "algo", "shared_reward", "seed")  # in a run's name, whatever they are
_IN_HEADER = ("iterations", "batch_size", "episode_length", "num_threads", "device")


def alike(config: TrainConfig) -> TrainConfig:
    """The configuration without what seeds of one experiment may differ in: the seed, the device, which
    draws other numbers as another seed does, and what does not change learning."""
    free = NOT_LEARNED | {"seed", "device"}
    plain = type(config)(algo=config.algo).to_dict()
    return config.replace(**{name: plain[name] for name in free})


def differences(configs: Sequence[TrainConfig], ignore: Collection[str] = ()) -> list[str]:
    """What tells each configuration from the others, for example "actor gru, payoff 0,-1,1,-10".

    Two texts are equal if, and only if, the configurations are (less the fields in `ignore`). Where
    presets or algorithms differ, their names stand for the fields that they set.

    Args:
        configs: of one game or of several.
        ignore: fields that do not count: {"seed"} for the seeds of one configuration,
            `loqa.training.config.NOT_LEARNED` for what does not change the result.

    Returns:
        A text for each; all are empty where nothing differs.
    """
    told = []
    values = [config.to_dict() for config in configs]
    of_game = {game: [i for i, one in enumerate(configs) if one.game == game]
               for game in {one.game for one in configs}}  # fmt: skip
    by_algorithm = {game: _set_by_algorithms([configs[i] for i in same])
                    for game, same in of_game.items()}  # fmt: skip
    adapted = {game: set.intersection(*(configs[i].as_adapted() for i in same))
               for game, same in of_game.items()}  # fmt: skip
    for mine, own in zip(configs, values, strict=True):
        same_game = of_game[mine.game]
        rivals = [i for i in same_game if configs[i].preset == mine.preset]
        said = [mine.game] if len(same_game) < len(configs) else []
        if len(rivals) < len(same_game):
            said.append(f"preset {mine.preset}")
        same_algo = [i for i in rivals if configs[i].algo == mine.algo]
        known = mine.of_own_preset().to_dict()

        def differs(name: str, others: Sequence[int], own: Values = own) -> bool:
            return any(own[name] != values[i].get(name) for i in others)

        names = [
            name
            for name in own
            if name not in ignore and name != "preset" and name not in adapted[mine.game]
            if differs(name, same_algo if name in by_algorithm[mine.game] else rivals)
            or (differs(name, same_game) and own[name] != known.get(name))
        ]
        told.append(", ".join([*said, *_words(mine, names, " ")]))
    return told


def _set_by_algorithms(configs: Sequence[TrainConfig]) -> set[str]:
    """Fields for which the algorithms' names stand, where the algorithms differ."""
    kinds = {type(one.learning) for one in configs}
    several = kinds if len(kinds) > 1 else ()
    found = {field.name for kind in several for field in dataclasses.fields(kind)}
    for one in configs:
        found |= algorithms.entry(one.algo).defaults_in(one.game).keys()
    return found


def changes(config: TrainConfig, ignore: Collection[str] = ()) -> list[str]:
    """What a configuration changes in its preset, for example ["actor gru", "board 5x5"]."""
    return _words(config, _changed(config, ignore), " ")


def run_name(config: TrainConfig) -> str:
    """A file name for a run, such as "ipd-default-loqa-actor=gru-seed0": game, preset, algorithm,
    what differs from the preset, and the seed.

    Configurations that differ in any field have different names. Letters that not every system
    allows are replaced, and what is too long is cut; then a digest of the configuration follows.
    """
    parts = [config.game, config.preset, config.algo, *["shared"] * config.shared_reward]
    text = "-".join([*parts, *_words(config, _changed(config, _OWN_PLACE), "=")])
    legal = re.sub(r"[^A-Za-z0-9.,=_+-]", "_", text)
    seed = f"-seed{config.seed}"
    free = config.wandb or ""  # the one text that could look like another field
    if legal != text or len(legal + seed) > _LONGEST or re.search("[-=]", free):
        values = json.dumps(config.to_dict(), sort_keys=True)
        seed = f"-{hashlib.sha256(values.encode()).hexdigest()[:8]}{seed}"
        legal = legal[: _LONGEST - len(seed)].rstrip("-")
    return legal + seed


def describe(config: TrainConfig) -> list[str]:
    """Lines that say what a run is: algorithm and preset, the game as it is played, the work, and
    what else differs from the preset, in vain too."""
    learner = algorithms.entry(config.algo).title
    shared = ", shared reward" if config.shared_reward else ""
    game, in_it = config.record().headline(config)
    shown = {*_OWN_PLACE, *_IN_HEADER, *in_it}
    amounts = {"iteration": config.iterations, "episode": config.batch_size}
    work = " of ".join(f"{n:,} {plural(n, noun)}" for noun, n in amounts.items())
    work += f" of {config.episode_length} {plural(config.episode_length, 'step')}"
    where = f"on {config.device}, {config.num_threads} {plural(config.num_threads, 'thread')}"
    lines = [f"{learner}{shared}, preset {config.preset}, seed {config.seed}", game, work, where]
    if other := changes(config, shown):
        lines.append(f"changed: {', '.join(other)}")
    idle = without_effect(config)
    if said := [f"{name} ({idle[name]})" for name in _changed(config, _OWN_PLACE) if name in idle]:
        lines.append(f"without effect: {', '.join(said)}")
    return lines


def without_effect(config: TrainConfig) -> dict[str, str]:
    """Fields that do nothing in this configuration, each with the setting that is the reason."""
    known = config.to_dict()
    found: dict[str, str] = {}

    def idle(where: bool, because: str, *names: str) -> None:
        if where:
            reason = f"{because} {value_text(known[because])}" if because in known else because
            found.update((name, reason) for name in names if name not in found)

    if isinstance(config.learning, LOQASettings):
        shaping = ("shaping", "dice_discount", "n_step", "softmax_temperature", "self_play_target",
                   "current_reward_differentiable", "stop_normaliser_gradient", "opponent_baseline",
                   "shaping_advantage")  # fmt: skip
        naive = {config.algo, config.other_algo} <= {"naive", "same"}  # nobody shapes
        idle(naive, "algo", "shaping_weight", *shaping)
        idle(config.shaping_weight == 0, "shaping_weight", *shaping)
        idle(config.shaping == "loaded-dice", "shaping", "n_step")
        idle(config.shaping == "n-step", "shaping", "dice_discount", "current_reward_differentiable",
             "opponent_baseline")  # fmt: skip
    if isinstance(config.learning, AdvantageAlignmentSettings | AlignedPPOSettings):
        idle(config.shaping_weight == 0, "shaping_weight", "alignment", "alignment_lambda",
             "shaping_advantage", "self_play_target")  # fmt: skip
        idle(config.alignment in ("mean", "separated"), "alignment", "alignment_lambda")
    if isinstance(config.learning, ActorCriticSettings):
        idle(config.advantage == "td0", "advantage", "shaping_advantage")
        idle(config.advantage != "gae", "advantage", "advantage_lambda")
        idle(config.advantage != "td0", "advantage", "advantage_gradient")
        idle(config.critic_target != "lambda", "critic_target", "critic_lambda")
        idle(config.critic_target == "returns", "critic_target", "target_ema")
    network, anneals = config.network, config.schedule.anneal != 0
    if algorithms.entry(config.algo).agent is not None:  # which has networks of its own
        idle(True, "algo", *vars(network))
    idle(config.meets != "learners", "meets", "self_play_decay")
    idle(config.meets != "past", "meets", "opponents", "replay_capacity", "replay_every",
         "early_opponents")  # fmt: skip
    idle(network.actor == "logits", "actor", "actor_hidden", "actor_one_hot", "actor_table")
    table = network.actor != "logits" and network.actor_table
    idle(not table, "no table beside the actor", "network_lr", "network_lr_final")
    idle("gru" not in (network.actor, network.critic),
         f"actor {network.actor}, critic {network.critic}", "layers_before_gru")  # fmt: skip
    idle(config.exploration == 0, "exploration", "played_policy")
    idle(not anneals, "anneal", *config.schedule.finals())
    steered, evaluates = config.self_play_target is not None, config.evaluate_every != 0
    idle(not anneals and not steered, "anneal", "anneal_after", "anneal_once")
    idle(not evaluates, "evaluate_every", "anneal_once")
    idle(not steered, "self_play_target", "steering_rate", "steering_limit")
    idle(not evaluates, "evaluate_every", "evaluation_episodes", "stop_at", "self_play_target")
    return {name: reason for name, reason in found.items() if name in known}


def value_text(value: Any) -> str:
    """A field's value as it is typed on the command line; different values give different texts."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(value_text, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _changed(config: TrainConfig, ignore: Collection[str]) -> list[str]:
    known = config.of_own_preset().to_dict()
    return [
        name
        for name, value in config.to_dict().items()
        if name not in ignore and name != "preset" and value != known.get(name)
    ]


def _words(config: TrainConfig, names: Sequence[str], between: str) -> list[str]:
    """Each field with its value; fields that a game's record joins are one word."""
    joined = config.record().joined
    words = (
        joined[name](config, between)
        if name in joined
        else f"{name}{between}{value_text(getattr(config, name))}"
        for name in names
    )
    return list(dict.fromkeys(words))
