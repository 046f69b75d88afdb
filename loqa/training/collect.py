"""Episodes for learning: the one step loop in Python, and the environment's own where it has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.ends import Ends, FinalTables
from loqa.agents.networks import Step
from loqa.agents.outputs import SeatOutputs
from loqa.agents.policy import Policy
from loqa.agents.sets import AgentSets
from loqa.algos.trajectory import Trajectory
from loqa.envs.base import Env
from loqa.envs.native import VectorEnv
from loqa.training.head_steps import HeadSteps

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
        draws: gives the uniform numbers that actions are drawn with, by inversion, `[T, A, B]`, or
            `[T, A, B, D]` where actions are numbers of a box.
        seed: that the environment is reset with.
        exploration: e, share of uniformly random play: mu = (1 - e) pi + e / K; of a box [low, high] the
            standard deviation over its width: mu = N(m(s), (e (high - low))^2), clipped to the box.

    Raises:
        ValueError: the environment or a policy gives what it should not; says what was expected.
    """
    played = collect_natively(env, seats, draws, seed, exploration)
    if played is not None:
        return played
    start = env.reset(seed=seed)
    trajectory, said = collect_by_steps(env, seats, draws(), start, exploration)
    ends = trajectory.terminated
    if trajectory.truncated is None and ends is not None and ends.is_cpu and not ends.any():
        # Whole sequences are faster than steps. On a GPU a look would wait for it.
        trajectory = replace(trajectory, terminated=None)
    return trajectory, said


def collect_natively(
    env: Env,
    seats: Sequence[Policy | str],
    draws: Callable[[], Tensor],
    seed: int,
    exploration: float = 0.0,
) -> Played | None:
    """`collect` by the environment itself; None where it cannot play these seats."""
    native = getattr(env, "rollout_policies", None)
    played = None if native is None else native(seats, draws, seed, exploration)
    if played is None:
        return None
    obs, actions, rewards, tables = played
    outputs = tuple(
        None if table is None else SeatOutputs(table[0], table[1], actions[:, :, seat].long())
        for seat, table in enumerate(tables)
    )
    return Trajectory(obs, actions, rewards), outputs


@torch.no_grad()
def collect_by_steps(
    env: Env, seats: Sequence[Policy | str], draws: Tensor, start: Tensor, exploration: float = 0.0
) -> Played:
    """`collect`, step by step in torch from the observations `start`; waits for no device of ours."""
    spec, batch, device = env.spec, env.num_envs, env.device
    steps, players = spec.episode_length, spec.num_players
    shape = (batch, players)
    obs = torch.empty((steps + 1, *shape, *spec.obs_shape), dtype=spec.obs_dtype, device=device)
    box = spec.action_box
    kind = (steps, *shape) if box is None else (steps, *shape, spec.action_size)
    dtype = torch.uint8 if box is None else torch.float32
    actions = torch.empty(kind, dtype=dtype, device=device)
    rewards = torch.empty((steps, *shape), dtype=torch.float32, device=device)
    obs[0] = start
    heads = HeadSteps.of(env, seats, obs, actions, draws, exploration)
    if heads is not None:
        recorded = heads.play(rewards)
        return Trajectory(obs, actions, rewards), recorded
    terminated, truncated = torch.zeros((2, steps, batch), dtype=torch.bool, device=device)
    final_obs: list[Tensor] = []
    scripts = [seat if isinstance(seat, str) else None for seat in seats]
    sitters = [_Sitters(policy, where, batch) for policy, where in _together(seats)]
    uniform = 0.0 if box else exploration / spec.num_actions
    noise = _normal(draws) * (exploration * (box[1] - box[0])) if box and exploration else None
    ends = not isinstance(env, VectorEnv)  # those of the package only truncate, in training
    for t in range(steps):
        if any(scripts):
            actions[t] = env.scripted_actions(scripts)  # type: ignore[attr-defined]
        for one in sitters:
            answers = one.answer(obs[t], t)
            if box:
                for i, seat in enumerate(one.where):
                    actions[t, :, seat] = answers[:, i] + (0.0 if noise is None else noise[t, seat])
                continue
            probabilities = answers.exp()
            if exploration:
                probabilities = probabilities * (1 - exploration) + uniform
            edges = probabilities.cumsum(-1)[..., :-1]
            for i, seat in enumerate(one.where):
                actions[t, :, seat] = (draws[t, seat, :, None] >= edges[:, i]).sum(-1)
        played = actions[t].clamp(*box) if box else actions[t]
        obs[t + 1], rewards[t], terminated[t], cut = env.step(played)
        if ends:
            final = getattr(env, "final_obs", None)  # None unless something was cut in this step
            done = terminated[t]
            if final is not None:
                cut = cut & ~done
                if t + 1 == steps:
                    obs[steps][cut] = final[cut]
                else:
                    truncated[t], done = cut, cut | done
                    final_obs.append(final[cut])
                    for one in sitters:
                        one.answer_finally(final, cut, t)
            for one in sitters:
                one.forget(done, t)
    if final_obs:  # the end of the batch is a cut like the others
        truncated[-1] = ~terminated[-1]
    outputs: list[SeatOutputs | None] = [None] * players
    for one in sitters:
        if one.recorded is not None:
            one.answer(obs[steps], steps)
            answers, q_values = (torch.stack(table) for table in zip(*one.tables, strict=True))
            (seat,) = one.where
            final_tables = None
            if final_obs:
                where = Ends(terminated, truncated).where
                last = [torch.cat(table) for table in zip(*one.final_tables, strict=True)]
                final_tables = FinalTables(last[0], last[1], where)
            said = one.recorded.agent.said
            outputs[seat] = said(answers, q_values, actions[:, :, seat], final_tables)
    known = [terminated if ends else None]
    if final_obs:
        known += [truncated, torch.cat(final_obs)]
    return Trajectory(obs, actions, rewards, *known), tuple(outputs)


def _normal(draws: Tensor) -> Tensor:
    """Numbers of the standard normal distribution from uniform ones in [0, 1)."""
    least = 2.0**-25  # half of the least that is not 0
    numbers: Tensor = torch.special.ndtri(draws.clamp(min=least))
    return numbers


def _together(seats: Sequence[Policy | str]) -> list[tuple[Policy, list[int]]]:
    """Each policy and the seats that it sits in: an agent answers for all of its seats at once."""
    found: list[tuple[Policy, list[int]]] = []
    for seat, policy in enumerate(seats):
        if isinstance(policy, str):
            continue
        same = [where for known, where in found if known is policy and isinstance(policy, Agent)]
        if same:
            same[0].append(seat)
        else:
            found.append((policy, [seat]))
    return found


class _Sitters:
    """A policy in the seats `where`, and what it remembers: rows are the games, of each its seats."""

    def __init__(self, policy: Policy, where: list[int], batch: int) -> None:
        self.where = where
        self._first = self._state = policy.initial_state(batch * len(where))
        # What all steps have in common is computed once, where a policy can.
        self._step: Step = policy.stepper() if isinstance(policy, Agent) else policy.step
        self.recorded = policy if isinstance(policy, AgentSets) and policy.records else None
        self.tables: list[tuple[Tensor, Tensor]] = []
        self.final_tables: list[tuple[Tensor, Tensor]] = []
        if self.recorded is not None:
            self._first_critic = self._critic = self.recorded.critic_state(batch)
        self._began: Tensor | int = 0  # the step that each game's episode began at

    def answer(self, obs: Tensor, t: int) -> Tensor:
        """What it answers in its n seats, `[B, n, K]`, to observations `[B, A, ...]`."""
        # Not obs[:, where]: a list is copied from the host, which no CUDA graph can hold.
        views = [obs[:, seat] for seat in self.where]
        seen = views[0] if len(views) == 1 else torch.stack(views, 1).flatten(0, 1)
        answers, self._state = self._step(seen, self._state)
        if self.recorded is not None:
            q_values, self._critic = self.recorded.critic_step(seen, self._critic, t - self._began)
            self.tables.append((answers, q_values))
        return answers.reshape(len(obs), len(self.where), -1)

    def answer_finally(self, final: Tensor, cut: Tensor, t: int) -> None:
        """Records what is said of observations `final [B, A, ...]` of the games `cut [B]` in step t."""
        if self.recorded is not None:
            seen = final[:, self.where[0]]
            answers, _ = self._step(seen, self._state)
            q_values, _ = self.recorded.critic_step(seen, self._critic, t + 1 - self._began)
            self.final_tables.append((answers[cut], q_values[cut]))

    def forget(self, ended: Tensor, t: int) -> None:
        """Who starts an episode anew after step t, `[B]`, remembers nothing of the one before."""
        again = ended.repeat_interleave(len(self.where))[:, None]
        self._state = torch.where(again, self._first, self._state)
        if self.recorded is not None:
            self._critic = torch.where(again, self._first_critic, self._critic)
            self._began = torch.where(ended, t + 1, self._began)
