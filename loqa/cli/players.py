"""Options of the commands in which players meet."""

from __future__ import annotations

import argparse
from typing import Any

from loqa.games.registry import names

WHO = (
    "a run directory, a checkpoint, a published agent (npz, safetensors), a strategy's name (ac, ad, "
    "tft, random...) or five probabilities of cooperating: at the start and after CC, CD, DC, DD"
)


def add_settings(one: argparse.ArgumentParser) -> None:
    """What is played; other settings than these are the players' own."""
    one.add_argument("--game", choices=names(), help="[the one that all play]")
    one.add_argument(
        "--preset", help="whose game, payoff and episode length included [the runs' own, or loqa24]"
    )
    one.add_argument(
        "--episode-length", type=int, metavar="T", help="[the runs' own, or the preset's]"
    )
    one.add_argument(
        "--payoff",
        metavar="CC,CD,DC,DD",
        help="to me, of a matrix game; by the preset's own action codes "
        "[the runs' own, or the preset's]",
    )
    one.add_argument("--height", type=int, help="of the board [the networks', or 3]")
    one.add_argument("--width", type=int, help="of the board")
    one.add_argument("--num-players", type=int, metavar="A", help="[the runs' own, or 2]")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--num-threads", type=int, metavar="N", help="[all cores]")


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """What was asked for by the options of `add_settings`."""
    found = given(options, "game", "preset", "episode_length", "payoff", "height", "width",
                  "num_players", "seed", "num_threads")  # fmt: skip
    if "payoff" in found:
        try:
            found["payoff"] = tuple(float(number) for number in found["payoff"].split(","))
        except ValueError:
            raise ValueError(
                f"payoff must be numbers for CC, CD, DC, DD, got {found['payoff']!r}"
            ) from None
    return found


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of these options that were given."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}
