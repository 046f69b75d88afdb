"""Films of Coin Games: frames from play, as pictures, a GIF or terminal text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from loqa.envs.coin_game.env import CoinGame
from loqa.envs.coin_game.render import COLOURS, draw_coin_board
from loqa.envs.film import moments, write_film

_HEADER = 20  # pixels above the board, for time and score; with names another line for each player
_LINE = 14
_LONGEST_NAME = 40  # letters in a picture
_RESET = "\033[0m"


@dataclass(frozen=True)
class CoinFrame:
    """One moment of one game."""

    height: int
    width: int
    t: int
    players: list[list[int]]
    """(row, column) of each player."""
    coins: list[list[int]]
    colours: list[int]
    """Owner of each coin."""
    taken: list[list[int]]
    """Cells where a coin was taken in the last step."""
    score: list[float]
    """Sum of rewards of each player so far."""
    names: tuple[str, ...] = ()
    """Of the players; none are shown if there are none."""


def frames_of(
    env: CoinGame,
    act: Callable[[Tensor], Tensor | np.ndarray],
    steps: int,
    index: int = 0,
    names: Sequence[str] = (),
) -> Iterator[CoinFrame]:
    """Resets, plays `steps` steps of `act` (observations [B, A, ...] to actions [B, A]) and shows
    environment `index`: steps + 1 frames. With `names`, one a player, every frame says who plays.

    For scripted players: `lambda obs: env.scripted_actions(names)`.
    """
    coins: list[list[int]] = []
    for t, state, score in moments(env, act, steps, index, names):
        players = state["players_pos"]
        taken = [coin for coin in coins if coin in players]
        coins = state["coin_pos"] if env.num_coins > 1 else [state["coin_pos"]]
        colours = list(range(env.num_coins)) if env.num_coins > 1 else [state["coin_owner"]]
        yield CoinFrame(
            env.height, env.width, t, players, coins, colours, taken, score, tuple(names)
        )


def draw_frame(frame: CoinFrame, size: int = 48) -> np.ndarray:
    """The board under the time and each player's name and score in its colour; RGB of uint8."""
    board = Image.fromarray(
        draw_coin_board(
            frame.height, frame.width, frame.players, frame.coins, frame.colours, size, frame.taken
        )
    )
    scores = [f"{score:+.0f}" for score in frame.score]
    colours = [tuple(colour) for colour in COLOURS.tolist()]
    grey = (90, 90, 90)
    if not frame.names:
        image = Image.new("RGB", (board.width, board.height + _HEADER), "white")
        image.paste(board, (0, _HEADER))
        draw = ImageDraw.Draw(image)
        draw.text((3, 4), f"{frame.t}", fill=grey)
        step = (image.width - 24) / len(scores)
        for player, score in enumerate(scores):
            draw.text((24 + step * player, 4), score, fill=colours[player])
        return np.asarray(image)
    names = [_shortened(name) for name in frame.names]
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    # As wide for every frame of a film, whatever the scores are by then.
    width = max(board.width, round(max(pen.textlength(name) for name in names)) + 50)
    top = _HEADER + _LINE * len(names)
    image = Image.new("RGB", (width, board.height + top), "white")
    image.paste(board, ((width - board.width) // 2, top))
    draw = ImageDraw.Draw(image)
    draw.text((3, 4), f"step {frame.t}", fill=grey)
    for player, (name, score) in enumerate(zip(names, scores, strict=True)):
        height = 4 + _LINE * (player + 1)
        draw.text((3, height), name, fill=colours[player])
        draw.text((width - 3, height), score, fill=colours[player], anchor="ra")
    return np.asarray(image)


def _shortened(name: str) -> str:
    """A long name without its middle: file names differ at either end."""
    half = (_LONGEST_NAME - 3) // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}...{name[-half:]}"


def text_frame(frame: CoinFrame, colour: bool = True) -> str:
    """The board for a terminal: digits are players, `o` is a coin, `*` a pick-up.

    Args:
        frame: to show.
        colour: whether players and coins have colours; without, a coin is `o` and its owner's digit.
    """

    def paint(text: str, player: int) -> str:
        red, green, blue = COLOURS[player]
        return f"\033[1;38;2;{red};{green};{blue}m{text}{_RESET}" if colour else text

    if frame.names:
        lines = [f"t {frame.t:3d}"]
        for player, (name, score) in enumerate(zip(frame.names, frame.score, strict=True)):
            lines.append("  " + paint(f"{player} {score:+4.0f}  {name}", player))
    else:
        scores = "  ".join(paint(f"{p}: {score:+.0f}", p) for p, score in enumerate(frame.score))
        lines = [f"t {frame.t:3d}   {scores}"]
    for row in range(frame.height):
        cells = []
        for column in range(frame.width):
            place = [row, column]
            marks = [(str(p), p) for p, at in enumerate(frame.players) if at == place]
            marks += [
                ("o" if colour else f"o{owner}", owner)
                for at, owner in zip(frame.coins, frame.colours, strict=True)
                if at == place
            ]
            shown = sum(len(mark) for mark, _ in marks) + (place in frame.taken)
            text = "".join(paint(*mark) for mark in marks) + "*" * (place in frame.taken)
            cells.append(text + " " * max(0, 3 - shown) if text else " . ")
        lines.append("|" + "|".join(cells) + "|")
    return "\n".join(lines)


def save_gif(
    path: str | Path, frames: Iterable[CoinFrame], frames_per_second: float = 4, size: int = 48
) -> Path:
    """Writes frames as `loqa.envs.film.write_film` does; returns the path."""
    return write_film(path, (draw_frame(frame, size) for frame in frames), frames_per_second)
