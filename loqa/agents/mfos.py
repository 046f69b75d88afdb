"""The networks of M-FOS's Coin Game agent as heads of an `Agent` (Lu et al., ICML 2022).

Its memory of an inner episode is a GRU's, from zero in each; its memory of the inner episode before is a
vector th, one for all boards of the batch:

    policy:  softmax( linear( relu(h^a_t) * th_e ) )          value:  linear( relu(h^v_t) * stop(th_e) )
    th_0 = 1,   th_{e+1} = sigmoid( linear( mean_b h^m_S ) )   with h^m over inner episode e

h^a, h^v and h^m are GRUs of three trunks that share nothing.

What a match means for a meta-policy: a match of S steps, the length of the agent's inner episodes, is the
first inner episode of a meta-episode. th is 1 in it: the agent plays as it does with somebody whom it has not
seen learn. In a longer match every S steps are an inner episode, with th made of the one before; who does not
learn there cannot be steered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from loqa.agents.networks import FLOATS, Head
from loqa.agents.places import are_places, ones


def as_boards(obs: Tensor, board: tuple[int, ...], lead: int, dtype: torch.dtype) -> Tensor:
    """Observations `[lead dimensions, ...]`, planes or places of ones, as boards `[..., C, H, W]`."""
    size = math.prod(board)
    if are_places(obs, lead, size):
        obs = ones(obs, size, dtype)
    return obs.reshape(*obs.shape[:lead], *board).to(dtype)


def convolution(planes: int, channels: int) -> nn.Conv2d:
    """3 x 3, circular: the board is a torus."""
    return nn.Conv2d(planes, channels, 3, padding=1, padding_mode="circular", **FLOATS)


@contextmanager
def drawn_from(generator: Generator) -> Iterator[None]:
    """Torch draws initial weights from where a generator is; its own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield


class Trunk(nn.Module):
    """Two circular 3 x 3 convolutions with relu, linear, relu, GRU, of boards C, H, W."""

    def __init__(self, board: tuple[int, ...], channels: int, hidden: int) -> None:
        super().__init__()
        planes, height, width = board
        self.conv_0 = convolution(planes, channels)
        self.conv_1 = convolution(channels, channels)
        self.linear_0 = nn.Linear(channels * height * width, hidden, **FLOATS)
        self.gru = nn.GRU(hidden, hidden, **FLOATS)

    def forward(self, obs: Tensor, state: Tensor | None = None) -> Tensor:
        """The GRU's output after each step, from its `state [N, hidden]` before them or from zero;
        `[S, N, C, H, W]` -> `[S, N, hidden]`."""
        x = torch.relu(self.conv_1(torch.relu(self.conv_0(obs.flatten(0, 1)))))
        x = torch.relu(self.linear_0(x.flatten(1)))
        before = None if state is None else state[None].contiguous()
        outputs: Tensor = self.gru(x.reshape(*obs.shape[:2], -1), before)[0]
        return outputs


class MFOSActor(Head):
    """The policy, and the trunk that makes th.

    As a head it plays on: every S steps are an inner episode, after which th is made anew and memory begins
    at zero. th is the mean over the batch that is stepped.

    State: the GRUs' of both trunks, th, and the steps of this inner episode, `[B, 3 hidden + 1]`.

    Args:
        board: C, H, W of an observation.
        num_actions: K.
        inner_steps: S.
        channels, hidden: of both trunks; published: 16 and 16.
    """

    recurrent = True

    def __init__(
        self,
        board: tuple[int, ...],
        num_actions: int,
        inner_steps: int,
        channels: int = 16,
        hidden: int = 16,
    ) -> None:
        super().__init__()
        self.board, self.inner_steps, self.hidden = board, inner_steps, hidden
        self.num_inputs = math.prod(board)
        self.trunk, self.meta = (Trunk(board, channels, hidden) for _ in range(2))
        self.end = nn.Linear(hidden, num_actions, **FLOATS)
        self.meta_end = nn.Linear(hidden, hidden, **FLOATS)

    def logits(self, output: Tensor, memory: Tensor) -> Tensor:
        """Of an output of the trunk and th, `[..., hidden]` -> `[..., K]`."""
        found: Tensor = self.end(torch.relu(output) * memory)
        return found

    def next_memory(self, obs: Tensor) -> Tensor:
        """th of an inner episode, `[E, hidden]`, from `obs [S, E, B, C, H, W]` of the one before."""
        last: Tensor = self.meta(obs.flatten(1, 2))[-1]
        return self._memory_after(last.reshape(*obs.shape[1:3], -1))

    def _memory_after(self, last: Tensor) -> Tensor:
        """`[..., B, hidden]` -> `[..., hidden]`."""
        return torch.sigmoid(self.meta_end(last.mean(-2)))

    def initial_state(self, batch_size: int) -> Tensor:
        state = self.end.weight.new_zeros(batch_size, 3 * self.hidden + 1)
        state[:, 2 * self.hidden : 3 * self.hidden] = 1
        return state

    def step(self, x: Any, state: Tensor) -> tuple[Tensor, Tensor]:
        boards = x.reshape(1, -1, *self.board)
        own, meta, memory, steps = torch.split(state, [self.hidden] * 3 + [1], -1)
        own, meta, steps = self.trunk(boards, own)[0], self.meta(boards, meta)[0], steps + 1
        logits = self.logits(own, memory)
        over = steps >= self.inner_steps
        memory = torch.where(over, self._memory_after(meta), memory)
        own, meta, steps = (one.masked_fill(over, 0) for one in (own, meta, steps))
        return logits, torch.cat([own, meta, memory, steps], -1)

    def forward(self, x: Tensor) -> Tensor:
        state, found = self.initial_state(x.shape[1]), []
        for one in x:
            logits, state = self.step(one, state)
            found.append(logits)
        return torch.stack(found)


class MFOSCritic(Head):
    """The value, which does not depend on the action: each of K outputs is V. It does not read the time.

    As a head it speaks of the first inner episode, where th is 1: th is made by the actor's side.
    """

    recurrent = True

    def __init__(
        self, board: tuple[int, ...], num_actions: int, channels: int = 16, hidden: int = 16
    ) -> None:
        super().__init__()
        self.board, self.num_outputs, self.hidden = board, num_actions, hidden
        self.num_inputs = math.prod(board) + 1  # the time
        self.trunk = Trunk(board, channels, hidden)
        self.end = nn.Linear(hidden, 1, **FLOATS)

    def values(self, output: Tensor, memory: Tensor) -> Tensor:
        """Of an output of the trunk and th, `[..., hidden]` -> `[...]`."""
        found: Tensor = self.end(torch.relu(output) * memory.detach())
        return found[..., 0]

    def initial_state(self, batch_size: int) -> Tensor:
        return self.end.weight.new_zeros(batch_size, self.hidden)

    def step(self, x: Any, state: Tensor) -> tuple[Tensor, Tensor]:
        output = self.trunk(x[..., :-1].reshape(1, -1, *self.board), state)[0]
        return self._spread(output), output

    def forward(self, x: Tensor) -> Tensor:
        return self._spread(self.trunk(x[..., :-1].reshape(*x.shape[:2], *self.board)))

    def _spread(self, output: Tensor) -> Tensor:
        values = self.values(output, torch.ones_like(output))
        return values[..., None].expand(*values.shape, self.num_outputs)
