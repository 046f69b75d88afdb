"""A view of the Coin Game that is turned and mirrored, for the ablations: `loqa-mirrored`.

A board and its eight turned and mirrored images are the same situation, if actions are renamed with it.
A `MirroredHead` turns every egocentric board to the one of the eight whose other player and coin lie
farthest down, then right, and names the outputs back: up to eight times fewer situations to learn. What a
recurrent network remembers is in the words of each step's board, which may be another than the last.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent, build_head
from loqa.agents.networks import GRUHead, Head
from loqa.algos import register
from loqa.algos.actor_critic import ActorCritic
from loqa.algos.loqa import LOQASettings
from loqa.envs.coin_game.presets import COIN_PRESETS
from loqa.games.base import Inputs
from loqa.training.config import TrainConfig

Place = tuple[int, int]
IMAGES = tuple(itertools.product((1, -1), (1, -1), (False, True)))


def turned(place: Place, image: tuple[int, int, bool]) -> Place:
    """Rows and columns from the middle, in an image of the board."""
    down, right, swapped = image
    row, column = place[0] * down, place[1] * right
    return (column, row) if swapped else (row, column)


class MirroredHead(Head):
    """A recurrent head that reads boards as their canonical images.

    Args:
        network: reads planes own, other, own coin, other coin of a square board, then other features.
        side: of the board, odd: the middle is the only place that every image keeps.
        moves: rows and columns of each action.
    """

    recurrent = True
    _places: Tensor
    _actions: Tensor
    _image: Tensor

    def __init__(self, network: GRUHead, side: int, moves: tuple[Place, ...]) -> None:
        super().__init__()
        if side % 2 == 0:
            raise ValueError(f"side must be odd, got {side}")
        self.network, self.num_inputs, self.cells = network, network.num_inputs, side * side
        half = side // 2
        offsets = list(itertools.product(range(-half, half + 1), repeat=2))
        number = {offset: i for i, offset in enumerate(offsets)}
        # Of an image: the place on the board of each place in the image, and the name of each action there.
        shown = [[0] * self.cells for _ in IMAGES]
        for i, image in enumerate(IMAGES):
            for offset in offsets:
                shown[i][number[turned(offset, image)]] = number[offset]
        named = [[moves.index(turned(move, image)) for move in moves] for image in IMAGES]
        canonical = [
            max(range(8), key=lambda i: (turned(other, IMAGES[i]), turned(coin, IMAGES[i])))
            for other, coin in itertools.product(offsets, repeat=2)
        ]
        for name, table in (("_places", shown), ("_actions", named), ("_image", canonical)):
            self.register_buffer(name, torch.tensor(table), persistent=False)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.network.initial_state(batch_size)

    def forward(self, x: Tensor) -> Tensor:
        image = self._image_of(x)
        return self._named_back(self.network(self._seen(x, image)), image)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        image = self._image_of(x)
        output, state = self.network.step(self._seen(x, image), state)
        return self._named_back(output, image), state

    def every_order(self, x: Tensor) -> Tensor:
        image = self._image_of(x)
        return self._named_back(self.network.every_order(self._seen(x, image)), image)

    def _image_of(self, x: Tensor) -> Tensor:
        """The canonical image of each board, `[...]`."""
        planes = x[..., : 4 * self.cells].unflatten(-1, (4, self.cells))
        other = planes[..., 1, :].argmax(-1)
        coin = (planes[..., 2, :] + planes[..., 3, :]).argmax(-1)
        return self._image[other * self.cells + coin]

    def _seen(self, x: Tensor, image: Tensor) -> Tensor:
        planes = x[..., : 4 * self.cells].unflatten(-1, (4, self.cells))
        places = self._places[image].unsqueeze(-2).expand(planes.shape)
        return torch.cat([planes.gather(-1, places).flatten(-2), x[..., 4 * self.cells :]], -1)

    def _named_back(self, output: Tensor, image: Tensor) -> Tensor:
        return output.gather(-1, self._actions[image])


def make_agent(config: TrainConfig, inputs: Inputs, generator: torch.Generator) -> Agent:
    """The default's agent, with both heads mirrored."""
    env: Any = config.env
    network = config.network
    moves = COIN_PRESETS[env.rules].moves

    def head(role: str, features: int, hidden: int) -> MirroredHead:
        made = build_head(role, "gru", features, inputs.num_actions, hidden, network.layers_before_gru,
                          generator)  # fmt: skip
        assert isinstance(made, GRUHead)
        return MirroredHead(made, env.height, moves)

    actor = head("actor", inputs.num_features, network.actor_hidden)
    critic = head("critic", inputs.num_features + 1, network.critic_hidden)
    return Agent(actor, critic, observes="features", config=config)


NAME = "loqa-mirrored"


def add() -> None:
    """Makes the algorithm known."""
    register(NAME, ActorCritic, LOQASettings, agent=make_agent)
