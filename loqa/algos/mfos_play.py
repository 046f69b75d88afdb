"""Who sits in a meta-episode of M-FOS (Lu et al., ICML 2022): the agent, which remembers; naive learners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Generator, Tensor, nn

from loqa._checks import Checked, Range, Rate, Share
from loqa.agents.mfos import MFOSActor, as_boards, convolution, drawn_from
from loqa.algos.base import Adapting
from loqa.algos.optimizers import apply
from loqa.algos.ppo import ppo_loss
from loqa.algos.trajectory import Seat
from loqa.ops import discounted_returns

Size = Annotated[int, Range(1, 2**20)]
_CHANNELS, _HIDDEN = 2, 8  # of a naive learner


@dataclass(frozen=True)
class NaiveSettings(Checked):
    """Of the naive learner's PPO; the defaults are as published.

    Attributes:
        inner_lr: Adam's.
        inner_discount: of steps, within an episode.
        inner_epochs: steps on each episode, on the whole batch.
        inner_entropy: weight of the entropy bonus.
        clip_ratio: of PPO, the naive learner's and the agent's.
    """

    inner_lr: Rate = 5e-3
    inner_discount: Share = 0.96
    inner_epochs: Size = 80
    inner_entropy: Rate = 0.01
    clip_ratio: Rate = 0.2


def normalised(returns: Tensor) -> Tensor:
    """(G - mean G) / (sd G + 1e-5), over all steps and boards; 0 where there is one of each."""
    centred = returns - returns.mean()
    return centred / (returns.std() + 1e-5) if returns.numel() > 1 else centred


def _whole(played: Seat) -> None:
    """Raises ValueError where an episode ends before the last step."""
    if played.ends is not None:
        raise ValueError("M-FOS needs episodes that fill the batch, got some that end before")


class Steering(Adapting):
    """An agent of M-FOS in a meta-episode: it remembers the inner episode before this one, with `idle_step`
    also what it saw after the last move; `ended` is that of each inner episode, `[B, ...]`."""

    def __init__(self, actor: MFOSActor, idle_step: bool = False) -> None:
        self._actor, self._idle_step = actor, idle_step
        self.ended: list[Tensor] = []
        self._memory = torch.ones_like(actor.meta_end.bias)

    def initial_state(self, batch_size: int) -> Tensor:
        return self._memory.new_zeros(batch_size, self._actor.hidden)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        boards = as_boards(obs, self._actor.board, 1, state.dtype)
        state = self._actor.trunk(boards[None], state)[0]
        return self._actor.logits(state, self._memory).log_softmax(-1), state

    @torch.no_grad()
    def after(self, played: Seat) -> None:
        _whole(played)
        self.ended.append(played.obs[-1])
        seen = played.obs if self._idle_step else played.obs[:-1]
        boards = as_boards(seen, self._actor.board, 2, self._memory.dtype)
        self._memory = self._actor.next_memory(boards[:, None])[0]


class NaiveLearner(nn.Module, Adapting):
    """PPO without memory: two circular 3 x 3 convolutions of 2 channels, linear 8; actor and critic apart."""

    def __init__(
        self,
        board: Sequence[int],
        num_actions: int,
        settings: NaiveSettings,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.board = tuple(board)
        planes, height, width = self.board
        self._settings = settings

        def head(outputs: int) -> nn.Sequential:
            return nn.Sequential(
                convolution(planes, _CHANNELS), nn.ReLU(),
                convolution(_CHANNELS, _CHANNELS), nn.ReLU(), nn.Flatten(),
                nn.Linear(_CHANNELS * height * width, _HIDDEN, dtype=torch.float32, device="cpu"),
                nn.ReLU(),
                nn.Linear(_HIDDEN, outputs, dtype=torch.float32, device="cpu"),
            )  # fmt: skip

        with drawn_from(generator):
            self.actor, self.critic = head(num_actions), head(1)
        self._optimizer = torch.optim.Adam(self.parameters(), settings.inner_lr)

    def initial_state(self, batch_size: int) -> Tensor:
        return next(self.parameters()).new_zeros(batch_size, 0)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_probs(as_boards(obs, self.board, 1, state.dtype)), state

    def log_probs(self, boards: Tensor) -> Tensor:
        """Of boards `[N, C, H, W]`, `[N, K]`."""
        logits: Tensor = self.actor(boards)
        return logits.log_softmax(-1)

    def after(self, played: Seat) -> None:
        """PPO on normalised returns G, with A = G - v."""
        _whole(played)
        settings, parameters = self._settings, list(self.parameters())
        returns = normalised(discounted_returns(played.rewards, settings.inner_discount)).flatten()
        boards = as_boards(played.obs[:-1], self.board, 2, returns.dtype).flatten(0, 1)
        actions = played.actions.long().flatten()[:, None]
        with torch.no_grad():
            before = self.log_probs(boards).gather(-1, actions)[:, 0]
        for _ in range(settings.inner_epochs):
            table, values = self.log_probs(boards), self.critic(boards)[:, 0]
            taken = table.gather(-1, actions)[:, 0]
            loss = ppo_loss(taken, before, returns - values.detach(), settings.clip_ratio)
            entropy = -(table.exp() * table).sum(-1).mean()
            loss = loss + (values - returns).square().mean() / 2 - settings.inner_entropy * entropy
            apply(self._optimizer, parameters, torch.autograd.grad(loss, parameters))
