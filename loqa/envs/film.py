"""What films of every game have in common: the moments that they show, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from loqa import _checks
from loqa.envs.native import VectorEnv
from loqa.storage.files import atomic_file

_FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP"}


def moments(
    env: VectorEnv,
    act: Callable[[Tensor], Tensor | np.ndarray],
    steps: int,
    index: int,
    names: Sequence[str],
) -> Iterator[tuple[int, dict[str, Any], list[float]]]:
    """Resets, and plays `steps` steps of `act`: the step, the state of environment `index` and each player's
    sum of rewards so far, steps + 1 times."""
    index = _checks.integer("index", index, 0, env.num_envs - 1)
    steps = _checks.integer("steps", steps, 0, 2**31 - 1)
    if len(names) not in (0, env.num_players):
        raise ValueError(f"names must be {env.num_players}, one a player, got {list(names)}")
    obs = env.reset()
    score = [0.0] * env.num_players
    for t in range(steps + 1):
        if t > 0:
            obs, rewards, _, _ = env.step(act(obs))
            score = [total + float(r) for total, r in zip(score, rewards[index], strict=True)]
        yield t, {name: value[index].tolist() for name, value in env.get_state().items()}, score


def write_film(path: str | Path, pictures: Iterable[np.ndarray], frames_per_second: float) -> Path:
    """Writes pictures, RGB of uint8, atomically, as an endless film in the format that the suffix names:
    .gif, .png or .apng (animated PNG), .webp; returns the path.

    Raises:
        ValueError: another suffix, or no frames.
    """
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"a film's name must end in {', '.join(_FORMATS)}, got {str(path)!r}")
    speed = _checks.real("frames_per_second", frames_per_second, 0.1, 50)
    images = [Image.fromarray(picture) for picture in pictures]
    if not images:
        raise ValueError("save_gif needs at least one frame")
    with atomic_file(path) as file:
        images[0].save(
            file,
            format=kind,
            save_all=True,
            append_images=images[1:],
            duration=round(1000 / speed),
            loop=0,
        )
    return path
