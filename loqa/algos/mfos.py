"""M-FOS on the Coin Game: the agent's network, its meta-return and its PPO (Lu et al., ICML 2022).

A meta-episode is E inner episodes of S steps on B boards, against one opponent that learns after each of
them. The agent is to steer what it learns. Its memory of an inner episode is a GRU's, from zero in each;
its memory of the meta-episode is a vector th, one for all boards:

    policy:  softmax( linear( relu(h^a_t) * th_e ) )          value:  linear( relu(h^v_t) * stop(th_e) )
    th_0 = 1,   th_{e+1} = sigmoid( linear( mean_b h^m_S ) )   with h^m over inner episode e

h^a, h^v and h^m are GRUs of three trunks that share nothing. Here is what one update computes;
`loqa.algos.mfos_play` plays what it learns from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from loqa.algos.ppo import ppo_loss
from loqa.ops import discounted_returns

_EPSILON = 1e-5  # beside the standard deviation of returns
_VALUE_WEIGHT = 0.5


class Trunk(nn.Module):
    """Two circular 3 x 3 convolutions with relu, linear, relu, GRU.

    Args:
        planes, height, width: of an observation.
        channels: of both convolutions.
        hidden: units of the linear layer and of the GRU.
    """

    def __init__(self, planes: int, height: int, width: int, channels: int, hidden: int) -> None:
        super().__init__()
        how = {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}
        self.conv_0 = nn.Conv2d(planes, channels, **how)  # type: ignore[arg-type]
        self.conv_1 = nn.Conv2d(channels, channels, **how)  # type: ignore[arg-type]
        self.linear_0 = nn.Linear(channels * height * width, hidden)
        self.gru = nn.GRU(hidden, hidden)

    def forward(self, obs: Tensor, state: Tensor | None = None) -> Tensor:
        """The GRU's output after each step, from its `state [N, hidden]` before them or from zero;
        `[S, N, C, H, W]` -> `[S, N, hidden]`."""
        x = torch.relu(self.conv_1(torch.relu(self.conv_0(obs.flatten(0, 1)))))
        x = torch.relu(self.linear_0(x.flatten(1)))
        before = None if state is None else state[None]
        outputs: Tensor = self.gru(x.reshape(*obs.shape[:2], -1), before)[0]
        return outputs


class MFOSNetwork(nn.Module):
    """The agent: actor, value and meta trunk.

    Args:
        height, width: of the board.
        num_actions: K.
        planes: of an observation; 7 by the rules mfos22.
        channels, hidden: see `Trunk`; published: 16 and 16.
    """

    def __init__(
        self,
        height: int,
        width: int,
        num_actions: int = 4,
        planes: int = 7,
        channels: int = 16,
        hidden: int = 16,
    ) -> None:
        super().__init__()
        self.actor, self.value, self.meta = (
            Trunk(planes, height, width, channels, hidden) for _ in range(3)
        )
        self.actor_end = nn.Linear(hidden, num_actions)
        self.value_end = nn.Linear(hidden, 1)
        self.meta_end = nn.Linear(hidden, hidden)

    def next_memory(self, obs: Tensor) -> Tensor:
        """th of an inner episode from the observations of the one before.

        Args:
            obs: `[S, E, B, C, H, W]` of E inner episodes.

        Returns:
            `[E, hidden]`, the same for all boards.
        """
        last: Tensor = self.meta(obs.flatten(1, 2))[-1]
        last = last.reshape(*obs.shape[1:3], -1)
        return torch.sigmoid(self.meta_end(last.mean(1)))

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """The policy and the values of a whole meta-episode.

        Args:
            obs: `[E, S, B, C, H, W]`, what each action was chosen from.

        Returns:
            Log-probabilities `[E, S, B, K]` and values `[E, S, B]`. The gradient of the policy reaches the
            meta trunk, that of the values does not.
        """
        episodes = obs.transpose(0, 1)
        learned = self.next_memory(episodes[:, :-1])
        memory = torch.cat([torch.ones_like(learned[:1]), learned])[:, None]
        outputs = [
            trunk(episodes.flatten(1, 2)).reshape(*episodes.shape[:3], -1)
            for trunk in (self.actor, self.value)
        ]
        log_probs = self.log_probs(outputs[0], memory)
        values = self.value_end(torch.relu(outputs[1]) * memory.detach())[..., 0]
        return log_probs.transpose(0, 1), values.transpose(0, 1)

    def log_probs(self, output: Tensor, memory: Tensor) -> Tensor:
        """The policy of an output of the actor's trunk, `[..., hidden]` -> `[..., K]`."""
        logits: Tensor = self.actor_end(torch.relu(output) * memory)
        return logits.log_softmax(-1)


def meta_returns(rewards: Tensor, discount: float) -> Tensor:
    """G_t = r_t + gamma G_{t+1} within an inner episode; at its end G_{t+1} is the mean over the batch, as
    the boards that follow are others.

    Args:
        rewards: `[E, S, B]`.
        discount: gamma, of the meta-episode's steps.
    """
    found: list[Tensor] = []
    after = torch.zeros_like(rewards[0, 0])
    for episode in rewards.flip(0):
        found.append(discounted_returns(episode, discount, after))
        after = found[-1][0].mean().expand_as(after).contiguous()
    return torch.stack(found[::-1])


def normalised(returns: Tensor) -> Tensor:
    """(G - mean G) / (sd G + 1e-5), over all steps and boards."""
    return (returns - returns.mean()) / (returns.std() + _EPSILON)


@dataclass(frozen=True)
class MetaEpisode:
    """What an update learns from: E inner episodes of S steps on B boards.

    Attributes:
        obs: `[E, S, B, C, H, W]`.
        actions: `[E, S, B]` integers.
        log_probs: of these by the policy that took them, `[E, S, B]`.
        returns: `meta_returns` of the rewards, `normalised`, `[E, S, B]`.
    """

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    returns: Tensor

    def loss(self, network: MFOSNetwork, clip_ratio: float = 0.2) -> Tensor:
        """PPO's, with A = G - stop(v) as it is:

        L = -mean min( x A, clip(x) A ) + 1/2 mean (v - G)^2,   x = pi(a) / pi_old(a)
        """
        table, values = network(self.obs)
        taken = table.gather(-1, self.actions.long()[..., None])[..., 0]
        advantages = self.returns - values.detach()
        surrogate = ppo_loss(taken, self.log_probs, advantages, clip_ratio)
        return surrogate + _VALUE_WEIGHT * functional.mse_loss(values, self.returns)
