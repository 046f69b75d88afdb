"""`loqa watch`."""

from __future__ import annotations

import argparse
import time
from importlib import import_module

from loqa import _checks
from loqa.cli.players import WHO
from loqa.cli.terminal import DONE, Terminal
from loqa.evaluation.match_settings import settings_of
from loqa.evaluation.matches import actor
from loqa.evaluation.players import as_player
from loqa.games.registry import played


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
    players = [as_player(name) for name in options.players]
    if len(players) == 1:  # meets itself in every seat
        (alone,) = players
        players *= 2 if alone.config is None else getattr(alone.config.env, "num_players", 2)
    asked = {
        "preset": options.preset,
        "height": options.height,
        "width": options.width,
        "episode_length": options.steps,
    }
    films = {one.env_name: one.film for one, _ in played() if one.film}
    shown = settings_of(players, options.game or next(iter(films)), asked, None, options.seed)
    if shown.game not in films:
        raise ValueError(f"{shown.game} cannot be shown, {' and '.join(films)} can")
    film = import_module(films[shown.game])
    env = shown.matches.make(
        1, num_players=len(players), seed=options.seed, num_threads=1, **shown.make
    )
    names = [player.name for player in players]
    act = actor(env, players, options.seed)
    frames = film.frames_of(env, act, env.episode_length, names=names)
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
