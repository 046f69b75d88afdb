"""Films of continuous games: a bar for each player's action."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from loqa import _checks
from loqa.envs.continuous_game.env import ContinuousGame
from loqa.envs.film import moments, write_film

_WIDTH = 40  # letters of the longest bar
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167),
            (230, 159, 0), (86, 180, 233), (120, 120, 120), (0, 0, 0))  # fmt: skip


@dataclass(frozen=True)
class ActionFrame:
    """One moment of one game."""

    t: int
    actions: list[float]
    """Of each player in the last step; -1 before the first."""
    score: list[float]
    """Sum of rewards of each player so far."""
    names: tuple[str, ...] = ()


def frames_of(
    env: ContinuousGame,
    act: Callable[[Tensor], Tensor | np.ndarray],
    steps: int,
    index: int = 0,
    names: Sequence[str] = (),
) -> Iterator[ActionFrame]:
    """Resets, plays `steps` steps of `act` (observations [B, A, ...] to actions [B, A, 1]) and shows
    environment `index`: steps + 1 frames."""
    for t, state, score in moments(env, act, steps, index, names):
        yield ActionFrame(t, state["last_actions"], score, tuple(names))


def text_frame(frame: ActionFrame, colour: bool = True) -> str:
    """A line for each player: its action as a bar, its score and its name."""
    lines = [f"t {frame.t:3d}"]
    for player, (action, score) in enumerate(zip(frame.actions, frame.score, strict=True)):
        bar = "#" * round(_WIDTH * max(0.0, action))
        if colour:
            red, green, blue = _COLOURS[player]
            bar = f"\033[38;2;{red};{green};{blue}m{bar}\033[0m" + " " * (_WIDTH - len(bar))
        said = "    " if action < 0 else f"{action:.2f}"
        name = frame.names[player] if frame.names else ""
        lines.append(f"  {player} {said} |{bar:<{_WIDTH}}| {score:+8.2f}  {name}".rstrip())
    return "\n".join(lines)


def draw_frame(frame: ActionFrame, size: int = 34) -> np.ndarray:
    """The same as a picture, with `size` pixels for each player's row; RGB of uint8."""
    size, width = _checks.integer("size", size, 21, 1024), 420
    image = Image.new("RGB", (width, 24 + size * len(frame.actions)), "white")
    draw = ImageDraw.Draw(image)
    draw.text((4, 6), f"step {frame.t}", fill=(90, 90, 90))
    for player, (action, score) in enumerate(zip(frame.actions, frame.score, strict=True)):
        top = 24 + size * player
        bottom = top + size - 6
        name = frame.names[player] if frame.names else f"player {player}"
        draw.text((4, top), name, fill=_COLOURS[player])
        draw.text((width - 4, top), f"{score:+.2f}", fill=_COLOURS[player], anchor="ra")
        draw.rectangle((4, top + 14, width - 4, bottom), outline=(200, 200, 200))
        if action >= 0:
            right = 4 + (width - 8) * action
            draw.rectangle((4, top + 14, right, bottom), fill=_COLOURS[player])
    return np.asarray(image)


def save_gif(
    path: str | Path, frames: Iterable[ActionFrame], frames_per_second: float = 4, size: int = 34
) -> Path:
    """Writes frames as `loqa.envs.film.write_film` does; returns the path."""
    return write_film(path, (draw_frame(frame, size) for frame in frames), frames_per_second)
