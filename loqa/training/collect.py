"""Episodes for learning: the one step loop in Python, and the environment's own where it has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from loqa.agents.actor_critic import SeatOutputs
from loqa.agents.policy import Policy
from loqa.agents.sets import AgentSets
from loqa.algos.trajectory import Trajectory
from loqa.envs.base import Env
from loqa.envs.native import VectorEnv

Played = tuple[Trajectory, tuple[SeatOutputs | None, ...]]
"""Episodes, and of each seat what its critic said on the way, where that was asked for (constants)."""


def collect(
    env: Env,
    seats: Sequence[Policy | str],
    draws: Callable[[], Tensor],
    seed: int,
    exploration: float = 0.0,
) -> Played:
    """A batch of whole episodes, on policy.

    The environment's `rollout_policies` plays them if it can; else `collect_by_steps`.

    Args:
        env: B copies of a game of A players.
        seats: who plays, one for each player; a name is a scripted player of the environment.
        draws: gives the uniform numbers `[T, A, B]` that actions are drawn with, by inversion.
        seed: that the environment is reset with.
        exploration: e, share of uniformly random play: mu = (1 - e) pi + e / K.

    Raises:
        ValueError: the environment or a policy gives what it should not; says what was expected.
    """
    native = getattr(env, "rollout_policies", None)
    played = None if native is None else native(seats, draws, seed, exploration)
    if played is None:
        start = env.reset(seed=seed)
        return collect_by_steps(env, seats, draws(), start, exploration)
    obs, actions, rewards, tables = played
    outputs = tuple(
        None if table is None else SeatOutputs(table[0], table[1], actions[:, :, seat].long())
        for seat, table in enumerate(tables)
    )
    return Trajectory(obs, actions, rewards), outputs


@torch.no_grad()
def collect_by_steps(
    env: Env,
    seats: Sequence[Policy | str],
    draws: Tensor,
    start: Tensor,
    exploration: float = 0.0,
) -> Played:
    """`collect`, step by step in torch from the observations `start`; waits for no device of ours."""
    spec, batch, device = env.spec, env.num_envs, env.device
    steps, players = spec.episode_length, spec.num_players
    shape = (batch, players)
    obs = torch.empty((steps + 1, *shape, *spec.obs_shape), dtype=spec.obs_dtype, device=device)
    actions = torch.empty((steps, *shape), dtype=torch.uint8, device=device)
    rewards = torch.empty((steps, *shape), dtype=torch.float32, device=device)
    terminated = torch.empty((steps, batch), dtype=torch.bool, device=device)
    scripts = [seat if isinstance(seat, str) else None for seat in seats]
    policies = {i: seat for i, seat in enumerate(seats) if not isinstance(seat, str)}
    states = {i: policy.initial_state(batch) for i, policy in policies.items()}
    # What all steps have in common is computed once, where a policy can.
    step = {i: getattr(one, "stepper", lambda one=one: one.step)() for i, one in policies.items()}
    recorded = {i: one for i, one in policies.items() if isinstance(one, AgentSets) and one.records}
    critic_states = {i: one.critic_state(batch) for i, one in recorded.items()}
    tables: dict[int, list[tuple[Tensor, Tensor]]] = {i: [] for i in recorded}
    first = {(i, True): state for i, state in states.items()}
    first |= {(i, False): state for i, state in critic_states.items()}
    uniform = exploration / spec.num_actions
    ends = not isinstance(env, VectorEnv)  # those of the package only truncate, in training

    def answer(t: int, seat: int) -> Tensor:
        seen = obs[t, :, seat]
        log_probs: Tensor
        log_probs, states[seat] = step[seat](seen, states[seat])
        if seat in recorded:
            q_values, critic_states[seat] = recorded[seat].critic_step(seen, critic_states[seat], t)
            tables[seat].append((log_probs, q_values))
        return log_probs

    obs[0] = start
    for t in range(steps):
        if any(scripts):
            actions[t] = env.scripted_actions(scripts)  # type: ignore[attr-defined]
        for seat in policies:
            probabilities = answer(t, seat).exp()
            if exploration:
                probabilities = probabilities * (1 - exploration) + uniform
            edges = probabilities.cumsum(-1)[:, :-1]
            actions[t, :, seat] = (draws[t, seat, :, None] >= edges).sum(-1)
        obs[t + 1], rewards[t], terminated[t], _ = env.step(actions[t])
        if ends:
            again = terminated[t, :, None]
            for held in (states, critic_states):
                for seat, state in held.items():  # who starts anew remembers nothing
                    held[seat] = torch.where(again, first[seat, held is states], state)
    for seat in recorded:
        answer(steps, seat)
    outputs: list[SeatOutputs | None] = [None] * players
    for seat, said in tables.items():
        log_prob_table, q_table = (torch.stack(table) for table in zip(*said, strict=True))
        outputs[seat] = SeatOutputs(log_prob_table, q_table, actions[:, :, seat].long())
    return Trajectory(obs, actions, rewards, terminated if ends else None), tuple(outputs)
