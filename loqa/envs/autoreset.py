"""Episodes that follow one another by themselves: when, and rollouts in which they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from loqa import _checks
from loqa.envs import actions as given

if TYPE_CHECKING:
    from loqa.envs.native import VectorEnv


AUTORESET_MODES = ("next_step", "same_step")


def checked_autoreset(autoreset: Any) -> str | bool:
    """The mode, or ValueError that says which there are."""
    if autoreset is False or (isinstance(autoreset, str) and autoreset in AUTORESET_MODES):
        return autoreset
    raise ValueError(
        "autoreset must be False, 'next_step' (the step after an episode's last one starts the next "
        "episode, as Gymnasium's vector environments do by default) or 'same_step' (the last step "
        f"does), got {autoreset!r}{_checks.nearest(autoreset, AUTORESET_MODES)}"
    )


class Rollout(tuple[Tensor, Tensor]):
    """(observations, rewards) of `rollout`, and where episodes ended.

    Attributes:
        terminated, truncated: [T, B] bool, as `step` returns them; None without autoreset.
        final_obs: [T, B, A, *obs_shape] with autoreset `same_step`: the last observation of an
            episode where it ended, zeros elsewhere; else None.
    """

    terminated: Tensor | None = None
    truncated: Tensor | None = None
    final_obs: Tensor | None = None


def rollout_by_steps(env: VectorEnv, actions: Any) -> Rollout:
    """T calls of `step` and what they returned, for environments that start episodes by themselves."""
    shape = (None, *env._action_shape)
    if env._on_device:
        moves = given.device_actions(actions, shape, env.device)
    else:
        moves = torch.from_numpy(given.copied_actions(actions, shape, env.device))
        if env._checks_actions and bool(((moves < 0) | (moves >= env.num_actions)).any()):
            given.raise_range(moves, env.num_actions)
    steps = moves.shape[0]
    obs, rewards = (lent.tensor for lent in env._rollout_buffers(steps))
    ends = torch.zeros((2, steps, env.num_envs), dtype=torch.bool, device=env.device)
    result = Rollout((obs, rewards))
    terminated, truncated = ends
    result.terminated, result.truncated = terminated, truncated
    result.final_obs = None if env._final is None else torch.zeros_like(obs[1:])
    obs[0] = env._obs
    for t in range(steps):
        env._step_or_restart(moves[t])
        obs[t + 1], rewards[t] = env._obs, env._rewards
        terminated[t], truncated[t] = env._terminated, env._truncated
        if env._final is not None and result.final_obs is not None:
            ended = (env._terminated | env._truncated).reshape(-1, *[1] * (obs.ndim - 2))
            result.final_obs[t] = torch.where(ended, env._final.tensor, 0)
    return result
