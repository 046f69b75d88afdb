"""Pictures of games: RGB arrays, films and terminal text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# One for each player and the coins of its colour (Okabe and Ito's palette; red and blue first).
COLOURS = np.array(
    [
        (213, 94, 0),
        (0, 114, 178),
        (0, 158, 115),
        (204, 121, 167),
        (230, 159, 0),
        (86, 180, 233),
        (120, 120, 120),
        (180, 170, 30),
    ],
    np.uint8,
)
_GRID = 205
_HALO = (255, 225, 90)


def draw_coin_board(
    height: int,
    width: int,
    players: Sequence[Sequence[int]],
    coins: Sequence[Sequence[int]],
    colours: Sequence[int],
    size: int = 48,
    taken: Sequence[Sequence[int]] = (),
) -> np.ndarray:
    """A Coin Game board: discs are players, squares are coins, a yellow cell is a pick-up.

    Args:
        players, coins: (row, column) of each. Players that share a cell are drawn side by side.
        colours: the owner of each coin.
        size: of a cell, in pixels.
        taken: cells where a coin was just taken.
    Returns:
        RGB [height * size + 1, width * size + 1, 3] of uint8.
    """
    image = np.full((height * size + 1, width * size + 1, 3), 255, np.uint8)
    for row, column in taken:
        image[row * size : (row + 1) * size, column * size : (column + 1) * size] = _HALO
    image[::size] = _GRID
    image[:, ::size] = _GRID
    down, right = np.mgrid[0:size, 0:size] / size - 0.5
    for (row, column), colour in zip(coins, colours, strict=True):
        cell = image[row * size : (row + 1) * size, column * size : (column + 1) * size]
        cell[np.maximum(abs(down), abs(right)) < 0.4] = COLOURS[colour]
        cell[np.maximum(abs(down), abs(right)) < 0.3] = 255
    for player, (row, column) in enumerate(players):
        together = [p for p, place in enumerate(players) if list(place) == [row, column]]
        shift = (together.index(player) + 0.5) / len(together) - 0.5
        cell = image[row * size : (row + 1) * size, column * size : (column + 1) * size]
        radius = 0.24 / len(together) ** 0.5
        cell[down**2 + (right - 0.8 * shift) ** 2 < radius**2] = COLOURS[player]
    return image
