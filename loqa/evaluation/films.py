"""Films of games between players."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from loqa.agents.player import Player
from loqa.evaluation.match_settings import settings_of
from loqa.evaluation.matches import actor
from loqa.games.registry import played


def film_of(
    players: Sequence[Player],
    game: str | None = None,
    asked: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> tuple[Any, Iterable[Any]]:
    """A game between players, one a seat.

    Args:
        players: in the order of their seats; one alone meets itself in every seat.
        game: by its name in specs; by default the first of theirs that can be shown.
        asked: its rules, where they shall not be the agents' own.
        seed: of the episode and of what players draw.

    Returns:
        The module that shows the game (`text_frame`, `save_gif`), and the frames.

    Raises:
        ValueError: the game cannot be shown.
    """
    players = list(players)
    if len(players) == 1:
        (alone,) = players
        players *= 2 if alone.config is None else getattr(alone.config.env, "num_players", 2)
    films = {one.env_name: one.film for one, _ in played() if one.film}
    for one in players:
        if game is None and films.keys().isdisjoint(one.games):
            raise ValueError(
                f"{one.name} plays {' or '.join(one.games)}, which cannot be shown: "
                f"{' and '.join(films)} can"
            )
    shared = [name for name in films if all(name in one.games for one in players)]
    first = next(iter(shared or films))
    shown = settings_of(players, game or first, dict(asked or {}), None, seed)
    if shown.game not in films:
        raise ValueError(f"{shown.game} cannot be shown, {' and '.join(films)} can")
    film = import_module(films[shown.game])
    settings = {"num_players": len(players), **shown.make}
    env = shown.matches.make(1, seed=seed, num_threads=1, **settings)
    names = [player.name for player in players]
    return film, film.frames_of(env, actor(env, players, seed), env.episode_length, names=names)
