"""`loqa train matrix --exact`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from loqa.algos.exact.learn import LEARNERS
from loqa.cli.options import by_tyro, last_given, tyro_forms
from loqa.cli.terminal import DONE, INTERRUPTED, Terminal
from loqa.training.exact import ExactConfig, train_exact
from loqa.training.run_directory import RunDirectory

PROG = "loqa train matrix --exact"
_OPTIONS = """Learning in games of two actions whose returns are computed.

Attributes:
    algo: what learns.
    out: run directory (default: a new one in runs/).
"""
_MEANS = ("self_play", "lone_defector", "best_response_gain")


def run_exact(given: Sequence[str], console: Terminal) -> int:
    """Learns in an exact game; what follows are the fields of its configuration."""
    config, out = parsed(given)
    path = RunDirectory.unused(config.name) if out is None else out
    loop = config.loop
    console.say(
        Text.assemble((PROG, "bold"), f"  {config.algo}, {config.env.stage_game}, {loop.runs:,} runs of "
                      f"{loop.updates:,} updates, seed {loop.seed}")
    )  # fmt: skip
    console.say(f"  -> {path}")
    with console.busy("learning") as say:

        def report(line: dict[str, Any]) -> None:
            rewards = ", ".join(f"{one:.3f}" for one in line["reward"])
            say(f"update {line['iteration']:,} of {loop.updates:,}: reward a step {rewards}")

        summary = train_exact(config, out, report)
    players = len(summary["mean_reward"])
    for player in range(players):
        who = f"player {player + 1}" if players > 1 else "every player"
        said = f"{who}: reward a step {summary['mean_reward'][player]:.3f}"
        said += f" (sd {summary['mean_reward_sd'][player]:.3f})"
        if "strategies" in summary:
            counts = summary["strategies"][player].items()
            said += "; " + ", ".join(f"{name} {count}" for name, count in counts)
        console.say(said)
    if "kinds" in summary:
        means = {name: sum(summary[name]) / loop.runs for name in _MEANS}
        said = ", ".join(f"{name.replace('_', ' ')} {mean:.3f}" for name, mean in means.items())
        kinds = ", ".join(f"{name} {count}" for name, count in summary["kinds"].items())
        console.say(f"{said}; {kinds}")
    if "mean_tit_for_tat" in summary:
        found = summary["found_tit_for_tat"]
        both = "both " if players > 1 else ""
        console.say(
            f"{both}tit-for-tat: {summary['mean_tit_for_tat']:.1%} of runs; punish and yet cooperate, at "
            f"some update: {sum(found) / len(found):.1%}"
        )
    console.say(f"{summary['iterations']:,} updates in {summary['seconds']:.1f} s")
    console.say(f"{summary['out']}: summary.json, metrics.jsonl, checkpoints/policies.safetensors")
    if summary["status"] == "interrupted":
        console.say("Interrupted; what was learned until then is saved.")
        return INTERRUPTED
    return DONE


def parsed(given: Sequence[str]) -> tuple[ExactConfig, Path | None]:
    """The configuration that options ask for, and the run directory of `--out`.

    Raises:
        SystemExit: 0 after `--help`; 2 for an unknown option (the nearest is given) or a bad value.
        ValueError: values that do not go together.
    """
    algo = last_given(given, "algo") or "lola"
    base = ExactConfig.of(algo)
    fields: list[Any] = [
        ("algo", Literal[tuple(LEARNERS)], dataclasses.field(default=algo)),
        ("out", Path | None, dataclasses.field(default=None)),
    ]
    kinds = [(name, kind) for name, kind in base.kinds(algo).items() if dataclasses.fields(kind)]
    fields += [(one, kind, dataclasses.field(default=getattr(base, one))) for one, kind in kinds]
    said = by_tyro(fields, _OPTIONS, tyro_forms(given, ExactConfig.field_types(algo)), PROG)
    parts = {name: getattr(said, name) for name, _ in kinds}
    return dataclasses.replace(base, **parts), said.out
