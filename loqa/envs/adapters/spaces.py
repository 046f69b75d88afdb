"""Spaces of Gymnasium for an environment's observations and actions.

Needs `gymnasium>=1.1` (`pip install loqa[gymnasium]`).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

from loqa.envs.buffers import numpy_type
from loqa.envs.native import VectorEnv


def action_space(env: VectorEnv) -> gymnasium.spaces.Discrete | gymnasium.spaces.Box:
    """The space of one player's action."""
    if env.spec.action_box is not None:
        return gymnasium.spaces.Box(*env.spec.action_box, (1,), np.float32)
    return gymnasium.spaces.Discrete(env.num_actions)


def observation_space(env: VectorEnv) -> gymnasium.spaces.Box:
    """The space of one player's observation."""
    low, high = env.obs_bounds
    return gymnasium.spaces.Box(low, high, env.obs_shape, _numpy_type(env).type)


def joint_action_space(
    env: VectorEnv,
) -> gymnasium.spaces.MultiDiscrete | gymnasium.spaces.Box:
    """The space of what `step` takes, [B, A], or [B, A, 1] of a box."""
    if env.spec.action_box is not None:
        shape = (env.num_envs, env.num_players, 1)
        return gymnasium.spaces.Box(*env.spec.action_box, shape, np.float32)
    return gymnasium.spaces.MultiDiscrete(np.full((env.num_envs, env.num_players), env.num_actions))


def joint_observation_space(env: VectorEnv) -> gymnasium.spaces.Box:
    """The space of what `reset` returns, [B, A, *obs_shape]."""
    low, high = env.obs_bounds
    shape = (env.num_envs, env.num_players, *env.obs_shape)
    return gymnasium.spaces.Box(low, high, shape, _numpy_type(env).type)


def _numpy_type(env: VectorEnv) -> Any:
    if env.spec.obs_dtype == torch.bfloat16:
        raise ValueError("obs_dtype must have a NumPy counterpart, got torch.bfloat16")
    return numpy_type(env.spec.obs_dtype)
