"""Policies: whatever can sit in a seat; and the networks that other work published."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from loqa.agents.networks import FLOATS, GRUHead


@runtime_checkable
class Policy(Protocol):
    """Chooses actions of one seat in a batch of B games.

    A league stores the results of a policy only if the policy has a method `contents()`, see
    `loqa.agents.digest.contents`.
    """

    def initial_state(self, batch_size: int) -> Tensor:
        """State before the first step of an episode, `[B, S]`."""

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities `[B, K]` for this seat's observations `[B, ...]`, and the next state.

        Where actions are continuous: the action `[B, D]` itself, inside the box, not log-probabilities.
        Exploration adds Gaussian noise to it.
        """


class PolicyError(ValueError):
    """A policy did not do what `Policy` asks for; the message names it, what was expected and what came."""


class HeadPolicy(nn.Module):
    """A recurrent head without a critic (POLA, Zhao et al. 2022, is one); its outputs are the logits."""

    def __init__(self, head: GRUHead) -> None:
        super().__init__()
        self.head = head

    def initial_state(self, batch_size: int) -> Tensor:
        return self.head.initial_state(batch_size)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        logits, state = self.head.step(obs.flatten(1).to(state.dtype), state)
        return logits.log_softmax(-1), state


class MFOSPolicy(nn.Module):
    """The acting part of M-FOS's Coin Game network (Lu et al. 2022), in loqa24's action order.

    Two circular 3 x 3 convolutions with relu, linear with relu, GRU, relu, linear. Its input has
    seven planes: the four of the observation, the own and the other's last reward (0 at the start)
    and zeros. The rewards are read off two observations in a row: by the rules of loqa24 a coin was
    taken exactly when its colour changed, by those who stand where it was.

    State: the GRU's, and the last observation (zeros before the first), `[B, hidden + 4 H W]`.
    """

    PLANES = 4
    ACTIONS = (1, 0, 3, 2)
    """M-FOS's action k is loqa24's action ACTIONS[k], and the other way round."""

    def __init__(self, height: int, width: int, channels: int = 16, hidden: int = 16) -> None:
        super().__init__()
        self.board = (self.PLANES, height, width)
        self.conv_a_0 = nn.Conv2d(7, channels, 3, **FLOATS)
        self.conv_a_1 = nn.Conv2d(channels, channels, 3, **FLOATS)
        self.linear_a_0 = nn.Linear(channels * height * width, hidden, **FLOATS)
        self.GRU_a = nn.GRU(hidden, hidden, **FLOATS)
        self.linear_a = nn.Linear(hidden, 4, **FLOATS)

    def initial_state(self, batch_size: int) -> Tensor:
        planes, height, width = self.board
        size = self.GRU_a.hidden_size + planes * height * width
        return self.linear_a.weight.new_zeros(batch_size, size)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        obs = obs.to(state.dtype).reshape(len(obs), *self.board)
        hidden = state[:, : self.GRU_a.hidden_size]
        last = state[:, self.GRU_a.hidden_size :].reshape(-1, *self.board)
        constants = torch.cat([_rewards_between(last, obs), obs.new_zeros(len(obs), 1)], -1)
        planes = torch.cat([obs, constants[..., None, None].expand(-1, -1, *self.board[1:])], 1)
        for convolution in (self.conv_a_0, self.conv_a_1):
            planes = torch.relu(convolution(functional.pad(planes, (1, 1, 1, 1), "circular")))
        features = torch.relu(self.linear_a_0(planes.flatten(1)))
        hidden = torch.gru_cell(features, hidden, *self.GRU_a.parameters())
        logits = self.linear_a(torch.relu(hidden))[:, list(self.ACTIONS)]
        return logits.log_softmax(-1), torch.cat([hidden, obs.flatten(1)], -1)


def _rewards_between(before: Tensor, after: Tensor) -> Tensor:
    """Rewards (own, other's) `[B, 2]` between two observations `[B, 4, H, W]`; 0 if `before` is all zeros."""
    owner = before[:, 2:].sum((2, 3))  # whether the coin is one's own, or the other's
    taken = (owner * after[:, 2:].sum((2, 3)).flip(-1)).sum(-1)
    took = (after[:, :2] * before[:, 2:].sum(1, keepdim=True)).sum((2, 3)) * taken[:, None]
    return took - 2 * owner * took.flip(-1)
