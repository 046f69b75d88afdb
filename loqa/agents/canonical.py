"""Boards turned and mirrored: what is the same situation looks the same to a network.

A torus that a player sees from its own place stays the same situation if up and down change places, left
and right, or (on a square board) rows and columns, and actions change names with them. Of these 8 (or 4)
images a `CanonicalHead` reads the canonical one: the one in which the first other player, then the last
coin, lies at the largest place, counted row by row; of equal ones the first. So there are up to 8 times
fewer situations to learn. What a network with memory remembers is in the words of each step's image.
`csrc/sim/coin_images.h` does the same.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from loqa.agents.networks import Head
from loqa.agents.places import Features, Places, as_rows, ones

Move = tuple[int, int]
Image = tuple[int, int, bool]
"""Whether rows and columns count on (1) or back (-1), and whether they change places after that."""
MOST_CELLS = 1024
"""Of a board: the image of each pair of places is in a table."""


def turned(place: Move, image: Image) -> Move:
    """Rows and columns from the middle, in an image of the board."""
    row, column = place[0] * image[0], place[1] * image[1]
    return (column, row) if image[2] else (row, column)


def images(height: int, width: int) -> list[Image]:
    """Of a board."""
    every = itertools.product((1, -1), (1, -1), (False, True))
    return [image for image in every if height == width or not image[2]]


class _Tables(NamedTuple):
    """Of I images of a board of N cells.

    Attributes:
        places: `[I, N]` where a cell lies in an image.
        actions: `[I, K]` what an action is called in an image.
        canonical: `[N, N]` the image of the places of the other player and of the coin.
    """

    places: Tensor
    actions: Tensor
    canonical: Tensor


@cache  # of every device for good: recorded graphs read them
def _tables(height: int, width: int, moves: tuple[Move, ...], device: torch.device) -> _Tables:
    middle = (height // 2, width // 2)
    offsets = [(row - middle[0], column - middle[1])
               for row in range(height) for column in range(width)]  # fmt: skip
    every = images(height, width)
    shown = [
        [(row + middle[0]) % height * width + (column + middle[1]) % width
         for row, column in (turned(offset, image) for offset in offsets)]
        for image in every
    ]  # fmt: skip
    named = [[moves.index(turned(move, image)) for move in moves] for image in every]
    places, actions = (torch.tensor(one, device="cpu") for one in (shown, named))
    worth = (places[:, :, None] * height * width + places[:, None, :]) * len(every)
    worth -= torch.arange(len(every), device="cpu")[:, None, None]  # of equal ones the first
    return _Tables(*(one.to(device) for one in (places, actions, worth.argmax(0))))


class CanonicalHead(Head):
    """A head that reads boards in their canonical image; its outputs are named back.

    Args:
        network: reads 2A planes of a board, flattened, and what comes after them.
        board: 2A, height and width. The planes say where the A players are, own first, and then where the
            coin of each colour is, if there is one.
        moves: rows and columns of each of the K actions.

    Raises:
        ValueError: the board has more than `MOST_CELLS` cells, or the mirror of a move is no move.
    """

    wants_places = True

    def __init__(self, network: Head, board: tuple[int, int, int], moves: tuple[Move, ...]) -> None:
        super().__init__()
        planes, height, width = board
        self.recurrent = network.recurrent
        self.num_inputs, self.num_outputs = network.num_inputs, len(moves)
        self.network = network
        self._players, self._cells, self._size = planes // 2, height * width, math.prod(board)
        self._kind = (height, width, moves)
        if self._cells > MOST_CELLS:
            raise ValueError(
                f"canonical images are of boards of at most {MOST_CELLS} cells, "
                f"got {height} x {width}"
            )
        if not all(turned(one, image) in moves for one in moves for image in images(height, width)):
            raise ValueError(f"the mirror of a move must be a move, got {moves}")

    def seen(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Places of ones `[..., N]` among the planes, own place first, in the canonical image, and which
        image that is, `[...]`."""
        places = places.long()
        cells = places % self._cells
        tables = _tables(*self._kind, places.device)
        image = tables.canonical[cells[..., 1], cells[..., -1]]
        return places - cells + tables.places[image[..., None], cells], image

    def named_back(self, output: Tensor, image: Tensor) -> Tensor:
        """`[..., K]` by the names of actions in an image -> by their own."""
        return output.gather(-1, _tables(*self._kind, image.device).actions[image])

    def forward(self, x: Features) -> Tensor:
        read, image = self._read(x)
        return self.named_back(self.network(read), image)

    def every_order(self, x: Features) -> Tensor:
        read, image = self._read(x, rows=False)
        return self.named_back(self.network.every_order(read), image)

    def step(self, x: Features, state: Tensor) -> tuple[Tensor, Tensor]:
        read, image = self._read(x)
        output, state = self.network.step(read, state)
        return self.named_back(output, image), state

    def initial_state(self, batch_size: int) -> Tensor:
        return self.network.initial_state(batch_size)

    def _read(self, x: Features, rows: bool = True) -> tuple[Features, Tensor]:
        """What the network reads, and the image."""
        if isinstance(x, Tensor):
            x = Places(self.placed(x), self._size, x[..., self._size :])
        where, image = self.seen(x.where)
        if rows and self.network.reads_places and as_rows(self._size):
            return Places(where, self._size, x.others), image
        return torch.cat([ones(where, self._size, x.dtype), x.others], -1), image

    def placed(self, features: Tensor) -> Tensor:
        """Places of the ones of planes `[..., F]`: of each player, then of the coin."""
        planes = features[..., : self._size].reshape(
            *features.shape[:-1], 2 * self._players, self._cells
        )
        of_player = planes[..., : self._players, :].argmax(-1)
        first = torch.arange(self._players, device=of_player.device) * self._cells
        coin = planes[..., self._players :, :].flatten(-2).argmax(-1, keepdim=True)
        return torch.cat([of_player + first, coin + self._players * self._cells], -1)
