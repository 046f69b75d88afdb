"""Films as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from loqa import _checks
from loqa.storage.files import atomic_file

_FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP"}


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
