"""`loqa watch`."""

from __future__ import annotations

import argparse
import time

from loqa import _checks
from loqa.cli.players import WHO, given
from loqa.cli.terminal import DONE, Terminal
from loqa.evaluation.films import film_of
from loqa.evaluation.players import as_player


def add_watch(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "players", nargs="+", metavar="PLAYER", help=f"one a seat, or one for all: {WHO}"
    )
    one.add_argument(
        "--gif", metavar="FILE", help="write a film (gif, png, webp) instead of showing it here"
    )
    one.add_argument("--game", help="[the first that can be shown]")
    one.add_argument("--preset", help="whose rules [the agents', or loqa24]")
    for name in ("height", "width"):
        one.add_argument(f"--{name}", type=int, help="[the agents', or 3]")
    one.add_argument("--steps", type=int, help="[the agents' episode length, or 50]")
    one.add_argument("--seed", type=int, default=0, help="[0]")
    one.add_argument("--speed", type=float, default=4.0, help="frames a second [4]")
    one.set_defaults(run=_watch)


def _watch(options: argparse.Namespace, console: Terminal) -> int:
    speed = _checks.real("speed", options.speed, 0.1, 50)
    asked = given(options, "preset", "height", "width") | {"episode_length": options.steps}
    players = [as_player(name) for name in options.players]
    film, frames = film_of(players, options.game, asked, options.seed)
    if options.gif:
        console.say(str(film.save_gif(options.gif, frames, speed)))
        return DONE
    coloured = console.color_system is not None and not console.no_color
    for frame in frames:
        if console.unheard:
            break
        if console.is_terminal:
            console.clear()
        print(film.text_frame(frame, coloured), flush=True)
        if console.is_terminal:
            time.sleep(1 / speed)
    return DONE
