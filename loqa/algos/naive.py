"""The naive learner: LOQA's actor-critic without the shaping term."""

from __future__ import annotations

from dataclasses import replace

from loqa.algos.loqa import LOQASettings
from loqa.algos.trajectory import Trajectory


def naive_settings(settings: LOQASettings) -> LOQASettings:
    """The same settings with shaping weight 0: each player follows its own policy gradient."""
    return replace(settings, shaping_weight=0.0)


def share_rewards(trajectory: Trajectory) -> Trajectory:
    """Every player is paid the mean of all players' rewards.

    The mean and not the sum: it keeps rewards, values and the Huber loss's delta on the scale of
    the game, so the same learning rates serve; the optimal policies are the same.
    """
    rewards = trajectory.rewards
    shared = rewards.mean(-1, keepdim=True).expand_as(rewards)
    return replace(trajectory, rewards=shared)
