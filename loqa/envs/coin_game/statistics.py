"""What the literature measures of Coin Game episodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CoinStatistics:
    """Each field is [A], one number a player, over all steps and environments."""

    mean_rewards: Tensor
    """Reward per step."""
    mean_pickup_rewards: Tensor
    """Reward per step in which any reward was not zero."""
    action_entropy: Tensor
    """Entropy (nats) of the distribution of actions over steps and environments."""
    own_pickups: Tensor
    """Coins of its own colour taken, per step."""
    other_pickups: Tensor
    """Coins of another colour taken, per step."""
    any_pickups: Tensor
    """Coins taken, per step."""
    other_share: Tensor
    """Coins of another colour among those taken."""
    easy_misses: Tensor
    """Steps next to the own coin (4-neighbourhood on the torus, before the move) that do not take it,
    among all steps next to it."""
    near_passes: Tensor
    """The same for coins of other colours."""


def coin_statistics(
    obs: Tensor, actions: Tensor, rewards: Tensor, first_takes: bool = False
) -> CoinStatistics:
    """Statistics of rollouts with relative planes (presets loqa24 and, less history, mfos22).

    A player took a coin if it stands, after the step, where the coin was before it. Shares with
    nothing to count are NaN.

    Args:
        obs: [T+1, B, A, P, H, W] one-hot planes of any type, P at least 2A: players (self first),
            then coins (own first).
        actions: [T, B, A] of an integer type.
        rewards: [T, B, A].
        first_takes: of players who step on a coin at once only the first takes it (lola18).
    Raises:
        ValueError: shapes do not belong together.
    """
    shape = tuple(rewards.shape)
    players = shape[-1] if len(shape) == 3 else 0
    fits = obs.ndim == 6 and tuple(obs.shape[:3]) == (shape[0] + 1, *shape[1:])
    if not (fits and tuple(actions.shape) == shape and obs.shape[3] >= 2 * players):
        raise ValueError(
            f"coin_statistics needs obs [T+1, B, A, P, H, W], actions and rewards [T, B, A], "
            f"got {list(obs.shape)}, {list(actions.shape)} and {list(shape)}"
        )
    planes = obs.to(torch.bool)
    before, after = planes[:-1], planes[1:]
    self_before, self_after = before[..., 0, :, :], after[..., 0, :, :]
    own, others = before[..., players, :, :], before[..., players + 1 : 2 * players, :, :].any(-3)
    near = torch.zeros_like(self_before)
    for dim in (-2, -1):
        for shift in (-1, 1):
            near |= self_before.roll(shift, dim)

    taking = self_after
    if first_takes:
        taking = self_after & (self_after.cumsum(2) == 1)

    def took(coin: Tensor) -> Tensor:
        return (taking & coin).flatten(-2).any(-1)

    def missed(coin: Tensor) -> Tensor:
        beside = (near & coin).flatten(-2).any(-1)
        return (beside & ~took(coin)).double().sum((0, 1)) / beside.double().sum((0, 1))

    own_taken, other_taken = took(own).double(), took(others).double()
    taken = own_taken + other_taken
    paid = (rewards != 0).any(-1, keepdim=True).double()
    counts = torch.nn.functional.one_hot(actions.long()).double().mean((0, 1))
    return CoinStatistics(
        mean_rewards=rewards.double().mean((0, 1)),
        mean_pickup_rewards=(rewards * paid).sum((0, 1)) / paid.sum(),
        action_entropy=-(counts * torch.log(counts + 1e-8)).sum(-1),
        own_pickups=own_taken.mean((0, 1)),
        other_pickups=other_taken.mean((0, 1)),
        any_pickups=taken.mean((0, 1)),
        other_share=other_taken.sum((0, 1)) / taken.sum((0, 1)),
        easy_misses=missed(own),
        near_passes=missed(others),
    )
