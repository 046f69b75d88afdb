"""Coin Game episodes between networks on the CPU, in one native call.

A thread plays a few episodes from their first step to their last before it begins the next ones: the
parameter sets that they need are read from memory once, not once a step, and stay in the core's
second-level cache. Past agents are read as the pool stores them, in half precision. Products are
fused multiply-adds in float32; results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from loqa._native import core
from loqa.agents.actor_critic import Evaluation
from loqa.algos.trajectory import Trajectory
from loqa.envs.buffers import borrow
from loqa.envs.coin_game.env import CoinGame
from loqa.envs.coin_game.presets import SCRIPTED_COIN_PLAYERS
from loqa.ops.gru import fold
from loqa.ops.register import address_of, check_like, describe, extent_of


class StackedHead:
    """Parameter sets of a `GRUHead`, as the core reads them.

    Args:
        parameters: by name; `[N, ...]` of N sets, or those of one set.
        prefix: before the names.
        index: `[G]` int64, the sets meant; all by default.
        reads_time: whether the last feature is the step index.

    Raises:
        ValueError: a parameter is missing, shapes, types or devices do not fit, or the index is out
            of range.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        prefix: str,
        index: Tensor | None = None,
        reads_time: bool = False,
    ) -> None:
        own = {
            name.removeprefix(prefix): value.detach()
            for name, value in parameters.items()
            if name.startswith(prefix)
        }
        needed = {"weight_ih", "bias_ih", "weight_hh", "bias_hn", "linear_end.weight",
                  "linear_end.bias"}  # fmt: skip
        for layer in ("linear1", "linear2"):
            if any(name.startswith(layer) for name in own):
                needed |= {f"{layer}.weight", f"{layer}.bias"}
        if needed != set(own):
            raise ValueError(f"{prefix}* must be {sorted(needed)}, got {sorted(own)}")
        if own["bias_hn"].ndim not in (1, 2) or min(own["linear_end.bias"].shape, default=0) < 1:
            raise ValueError(f"{prefix}bias_hn must be [H] or [N, H], and [K] outputs at least one")
        if own["bias_hn"].ndim == 1:
            if "linear2.weight" in own:  # saves a fifth of a step; of a stack it would cost more
                weight, bias = own.pop("linear2.weight"), own.pop("linear2.bias")
                own["weight_ih"], own["bias_ih"] = fold(
                    own["weight_ih"], own["bias_ih"], weight, bias
                )
            own = {name: value.unsqueeze(0) for name, value in own.items()}
        count, hidden = own["bias_hn"].shape
        outputs = own["linear_end.bias"].shape[-1]
        features = own["linear1.weight" if "linear1.weight" in own else "weight_ih"].shape[-1]
        shapes = {
            "linear1.weight": (hidden, features), "linear1.bias": (hidden,),
            "linear2.weight": (hidden, hidden), "linear2.bias": (hidden,),
            "weight_ih": (3 * hidden, hidden if "linear1.weight" in own else features),
            "bias_ih": (3 * hidden,), "weight_hh": (3 * hidden, hidden), "bias_hn": (hidden,),
            "linear_end.weight": (outputs, hidden), "linear_end.bias": (outputs,),
        }  # fmt: skip
        dtype = own["bias_hn"].dtype
        if not reads(own):
            raise ValueError(f"{prefix}* must be dense float32 or float16 on cpu, got {dtype}")
        for name, value in own.items():
            check_like(f"{prefix}{name}", value, own["bias_hn"], (count, *shapes[name]))
        if index is not None:
            fits = index.ndim == 1 and len(index) and index.dtype == torch.int64
            if not fits or not index.is_cpu:
                raise ValueError(f"index must be [G] int64 on cpu, got {describe(index)}")
            if int(index.min()) < 0 or int(index.max()) >= count:
                raise ValueError(f"index must be in 0..{count - 1}")
            index = index.contiguous()
        arrays = [own.get(name) for name in shapes]
        arrays = [a if a is None or a[0].is_contiguous() else a.contiguous() for a in arrays]
        self._arrays, self._index = arrays, index
        self._sizes: dict[str, Any] = {
            "half": dtype == torch.float16,
            "reads_time": reads_time,
            "sets": count if index is None else len(index),
            "features": features,
            "hidden": hidden,
            "outputs": outputs,
        }

    def native(self) -> core.GruSets:
        """For one call of the core: the arrays as they lie now, kept alive by this object."""
        return core.GruSets(
            arrays=[0 if array is None else address_of(array) for array in self._arrays],
            elements=[0 if array is None else extent_of(array) for array in self._arrays],
            strides=[0 if array is None else array.stride(0) for array in self._arrays],
            index=0 if self._index is None else address_of(self._index),
            **self._sizes,
        )


def reads(parameters: Mapping[str, Tensor]) -> bool:
    """Whether parameters are where and of a type that the core reads."""
    return all(
        value.is_cpu
        and value.dtype in (torch.float32, torch.float16)
        and value.layout is torch.strided
        for value in parameters.values()
    )


def play(
    env: CoinGame,
    actors: tuple[StackedHead | str, StackedHead | str],
    critic: StackedHead | None,
    draws: Tensor,
    seed: int,
) -> tuple[Trajectory, Evaluation | None]:
    """A batch of whole episodes of the environment's rules.

    Args:
        env: gives rules, numbers of episodes and steps, and threads; its own state is not touched.
        actors: of the seats; a name is a scripted player. G sets play B / G episodes each.
        critic: of seat 1, or None.
        draws: uniform numbers `[T, 2, B]` that actions are drawn with, by inversion.
        seed: of the environments.

    Returns:
        The episodes, with planes, and what seat 1 says of them if its critic was given.

    Raises:
        ValueError: shapes or numbers of sets do not fit.
    """
    steps, batch, actions = env.episode_length, env.num_envs, env.num_actions
    if env.device.type != "cpu":
        raise ValueError(f"env must be on cpu, got {env.device}")
    if draws.shape != (steps, 2, batch) or draws.dtype != torch.float32 or not draws.is_cpu:
        raise ValueError(f"draws must be {[steps, 2, batch]} float32 on cpu, got {describe(draws)}")
    shape = (4, env.height, env.width) if env.spec.obs == "cells" else env.obs_shape
    draws = draws.contiguous()
    new = partial(torch.empty, dtype=torch.float32, device="cpu")  # whatever torch's defaults are
    obs = new((steps + 1, batch, 2, *shape))
    chosen = torch.empty((steps, batch, 2), dtype=torch.uint8, device="cpu")
    rewards = new((steps, batch, 2))
    kept = steps + 1 if critic is not None else 0
    log_probs, q_values = (new((kept, batch, actions)) for _ in range(2))
    env._native.play_networks(
        actors=[None if isinstance(actor, str) else actor.native() for actor in actors],
        critic=None if critic is None else critic.native(),
        kinds=[
            SCRIPTED_COIN_PLAYERS.index(actor) if isinstance(actor, str) else -1 for actor in actors
        ],
        steps=steps,
        seed=seed,
        draws=borrow(draws),
        obs=borrow(obs),
        actions=borrow(chosen),
        rewards=borrow(rewards),
        log_probs=borrow(log_probs),
        q_values=borrow(q_values),
    )
    trajectory = Trajectory(obs, chosen, rewards)
    if critic is None:
        return trajectory, None
    return trajectory, Evaluation(log_probs, q_values, chosen[:, :, 1].long())
