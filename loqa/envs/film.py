"""Films of Coin Games: frames from play, as pictures, a GIF or terminal text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from loqa import _checks
from loqa.envs.coin_game import CoinGame
from loqa.envs.render import COLOURS, draw_coin_board

_HEADER = 20  # pixels above the board, for the score
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


def coin_film(
    env: CoinGame, act: Callable[[Tensor], Tensor | np.ndarray], steps: int, index: int = 0
) -> Iterator[CoinFrame]:
    """Resets, plays `steps` steps of `act` (observations [B, A, ...] to actions [B, A]) and shows
    environment `index`: steps + 1 frames.

    For scripted players: `lambda obs: env.scripted_actions(names)`.
    """
    index = _checks.integer("index", index, 0, env.num_envs - 1)
    steps = _checks.integer("steps", steps, 0, 2**31 - 1)
    obs = env.reset()
    score = [0.0] * env.num_players
    coins: list[list[int]] = []
    for t in range(steps + 1):
        taken: list[list[int]] = []
        if t > 0:
            obs, rewards, _, _ = env.step(act(obs))
            score = [total + float(r) for total, r in zip(score, rewards[index], strict=True)]
        state: dict[str, Any] = {
            name: value[index].tolist() for name, value in env.get_state().items()
        }
        players = state["players_pos"]
        taken = [coin for coin in coins if coin in players]
        coins = state["coin_pos"] if env.num_coins > 1 else [state["coin_pos"]]
        colours = list(range(env.num_coins)) if env.num_coins > 1 else [state["coin_owner"]]
        yield CoinFrame(env.height, env.width, t, players, coins, colours, taken, list(score))


def draw_frame(frame: CoinFrame, size: int = 48) -> np.ndarray:
    """The board under a line with the time and each player's score in its colour; RGB of uint8."""
    board = draw_coin_board(
        frame.height, frame.width, frame.players, frame.coins, frame.colours, size, frame.taken
    )
    image = Image.new("RGB", (board.shape[1], board.shape[0] + _HEADER), "white")
    image.paste(Image.fromarray(board), (0, _HEADER))
    draw = ImageDraw.Draw(image)
    draw.text((3, 4), f"{frame.t}", fill=(90, 90, 90))
    step = (image.width - 24) / len(frame.score)
    for player, score in enumerate(frame.score):
        colour = tuple(int(value) for value in COLOURS[player])
        draw.text((24 + step * player, 4), f"{score:+.0f}", fill=colour)
    return np.asarray(image)


def text_frame(frame: CoinFrame) -> str:
    """The board for a terminal, in colour: digits are players, `o` is a coin, `*` a pick-up."""

    def paint(text: str, player: int) -> str:
        red, green, blue = (int(value) for value in COLOURS[player])
        return f"\033[1;38;2;{red};{green};{blue}m{text}{_RESET}"

    scores = "  ".join(paint(f"{p}: {s:+.0f}", p) for p, s in enumerate(frame.score))
    lines = [f"t {frame.t:3d}   {scores}"]
    for row in range(frame.height):
        cells = []
        for column in range(frame.width):
            place = [row, column]
            marks = [paint(str(p), p) for p, at in enumerate(frame.players) if at == place]
            marks += [
                paint("o", owner)
                for at, owner in zip(frame.coins, frame.colours, strict=True)
                if at == place
            ]
            marks += ["*"] if place in frame.taken else []
            shown = len(marks)
            cells.append("".join(marks) + " " * max(0, 3 - shown) if marks else " . ")
        lines.append("|" + "|".join(cells) + "|")
    return "\n".join(lines)


def save_gif(
    path: str | Path, frames: Iterable[CoinFrame], frames_per_second: float = 4, size: int = 48
) -> Path:
    """Writes frames as an endless GIF; the path."""
    speed = _checks.real("frames_per_second", frames_per_second, 0.1, 50)
    images = [Image.fromarray(draw_frame(frame, size)) for frame in frames]
    if not images:
        raise ValueError("save_gif needs at least one frame")
    path = Path(path)
    images[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=round(1000 / speed),
        loop=0,
    )
    return path
