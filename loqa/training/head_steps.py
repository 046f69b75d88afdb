"""Episodes between recurrent heads on a GPU: every head of every seat steps in one launch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from loqa._native import core
from loqa.agents.outputs import SeatOutputs
from loqa.agents.places import are_places
from loqa.agents.policy import Policy
from loqa.agents.sets import AgentSets
from loqa.envs.base import Env
from loqa.envs.buffers import borrow
from loqa.envs.native import VectorEnv
from loqa.ops.gru import GRUPolicy, aligned
from loqa.runtime.device import current

# By the code of the C++ enum SeenType: integers are places of ones, floats the features themselves.
_SEEN_TYPES = (torch.uint8, torch.int16, torch.int32, torch.float32)
_MAX_HEADS = 16  # as in csrc/kernels/head_step.h
# Games of a parameter set, below which torch steps: a block of the kernel's threads has the games of one set
# alone. Measured on an H200: with 64 games 0.08 ms a step for torch's 0.15, with 1 game 0.81 for 0.59. The
# kernel's time goes with the number of blocks, so at 4 it should be ahead; that was not measured.
_MIN_GAMES = 4


class HeadSteps:
    """Recurrent agents in the episodes of an environment on a device.

    The same numbers as the agents' own steps up to rounding: products are fused multiply-adds in float32,
    whatever precision torch is set to. The draw of an action, too, is the kernel's.

    Args:
        env: whose episodes they are, at their start.
        seats: who plays, one for each player, a name is a scripted player; `of` says who can.
        obs: `[T+1, B, A, ...]`, of which the first is known.
        actions: `[T, B, A]` uint8, which `play` writes.
        draws: `[T, A, B]` uniform numbers that actions are drawn with, by inversion.
        exploration: e, share of uniformly random play.
    """

    def __init__(
        self,
        env: VectorEnv,
        seats: Sequence[AgentSets | str],
        obs: Tensor,
        actions: Tensor,
        draws: Tensor,
        exploration: float,
    ) -> None:
        self._env, self._seats, self._obs, self._actions = env, seats, obs, actions
        self._scripts = [seat if isinstance(seat, str) else None for seat in seats]
        steps, batch, players = actions.shape
        self._tables: list[tuple[Tensor, Tensor] | None] = []  # log-probabilities, values
        heads = []
        for seat, sets in enumerate(seats):
            if isinstance(sets, str):
                self._tables.append(None)
                continue
            folded = sets.folded_heads()
            assert folded is not None
            actor, critic = folded
            tables = None
            if critic is not None:
                size = (2, steps + 1, batch, env.num_actions)
                answers, q_values = torch.empty(size, dtype=torch.float32, device=env.device)
                tables = answers, q_values
                heads.append(_head(critic, seat, batch, q_values, is_critic=True))
            self._tables.append(tables)
            heads.append(_head(actor, seat, batch, tables and tables[0], is_critic=False))
        self._core = core.HeadSteps(
            heads=heads,
            obs=borrow(obs),
            type=_SEEN_TYPES.index(obs.dtype),
            width=math.prod(obs.shape[3:]),
            draws=borrow(draws.float().contiguous()),
            actions=borrow(actions),
            steps=steps,
            games=batch,
            players=players,
            exploration=exploration,
            on_host=env.device.type == "cpu",
        )

    @classmethod
    def of(
        cls,
        env: Env,
        seats: Sequence[Policy | str],
        obs: Tensor,
        actions: Tensor,
        draws: Tensor,
        exploration: float = 0.0,
    ) -> HeadSteps | None:
        """None where the core has no such step: on the CPU; of players that are neither scripted nor
        `loqa.agents.sets.AgentSets` of float32 recurrent heads with a linear layer before the GRU; of
        networks whose sizes it does not take, or that see something other than places or float32; of sets
        with few games each."""
        if not isinstance(env, VectorEnv) or not env.on_device or env.spec.action_box is not None:
            return None
        known = [seat for seat in seats if isinstance(seat, AgentSets | str)]
        heads = [seat for seat in known if isinstance(seat, AgentSets)]
        if len(known) < len(seats) or not all(_reads(sets, obs) for sets in heads):
            return None
        if not 1 <= sum(1 + sets.records for sets in heads) <= _MAX_HEADS:
            return None
        return cls(env, known, obs, actions, draws, exploration)

    def play(self, rewards: Tensor) -> tuple[SeatOutputs | None, ...]:
        """Plays to the end; writes `rewards [T, B, A]`.

        Returns:
            What the critic of each seat said, where it is recorded.
        """
        obs, actions = self._obs, self._actions
        for t in range(len(actions)):
            if any(self._scripts):
                actions[t] = self._env.scripted_actions(self._scripts)  # type: ignore[attr-defined]
            self._step(t)
            self._env.step_into(actions[t : t + 1], obs[t : t + 2], rewards[t : t + 1])
        self._step(len(actions))  # what is said of the last observation
        return tuple(
            sets.agent.said(*tables, actions[:, :, seat])
            if tables is not None and isinstance(sets, AgentSets)
            else None
            for seat, (sets, tables) in enumerate(zip(self._seats, self._tables, strict=True))
        )

    def _step(self, t: int) -> None:
        device = self._env.device
        with current(device):
            stream = 0 if device.type == "cpu" else torch.cuda.current_stream(device).cuda_stream
            self._core.step(t, stream)


def _reads(sets: AgentSets, obs: Tensor) -> bool:
    """Whether the core has the heads of these agents, and they read such observations."""
    heads = sets.folded_heads()
    if heads is None or obs.dtype not in _SEEN_TYPES:
        return False
    features = sets.agent.actor.num_inputs
    is_places = are_places(obs, 3, features)
    is_features = obs.is_floating_point() and math.prod(obs.shape[3:]) == features
    if obs.shape[1] // _sets(heads[0]) < _MIN_GAMES:
        return False
    return (is_places or is_features) and all(head is None or _fits(head, obs) for head in heads)


def _sets(head: GRUPolicy) -> int:
    return len(head.bias_hn) if head.bias_hn.ndim == 2 else 1


def _fits(head: GRUPolicy, obs: Tensor) -> bool:
    if head.first is None or head.bias_hn.dtype != torch.float32:
        return False
    sizes = (head.first[0].shape[-1], head.bias_hn.shape[-1], head.end[1].shape[-1])
    with current(obs.device):
        return core.head_step_fits(*sizes, math.prod(obs.shape[3:]), obs.is_cpu)


def _head(
    head: GRUPolicy, seat: int, batch: int, said: Tensor | None, *, is_critic: bool
) -> core.StepHead:
    assert head.first is not None
    first, gates, memory, end = (
        borrow(aligned(weight.mT))  # as it is laid out
        for weight in (head.first[0], head.gates[0], head.weight_hh, head.end[0])
    )
    biases = (head.first[1], head.gates[1], head.bias_hn, head.end[1])
    first_bias, gates_bias, memory_bias, end_bias = (borrow(aligned(bias)) for bias in biases)
    return core.StepHead(
        first=first,
        first_bias=first_bias,
        gates=gates,
        gates_bias=gates_bias,
        memory=memory,
        memory_bias=memory_bias,
        end=end,
        end_bias=end_bias,
        sets=_sets(head),
        features=head.first[0].shape[-1],
        hidden=head.bias_hn.shape[-1],
        outputs=head.end[1].shape[-1],
        seat=seat,
        reads_time=is_critic,
        acts=not is_critic,
        state=borrow(head.initial_state(batch)),
        said=None if said is None else borrow(said),
    )
