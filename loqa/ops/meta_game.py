"""M-FOS in exact games of two players, natively on the CPU: its networks, PPO's gradient, a game's values.

S is the number of states, 5 or 1; R runs have networks of their own, and N games side by side. float32 or
float64; nothing here has derivatives of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from loqa.ops import register
from loqa.ops.register import SUFFIXES, address_of, check_like, describe


class TanhNetworks(NamedTuple):
    """y = tanh(x W + b) U + c of each run: W `[R, 2 S, H]`, b `[R, 1, H]`, U `[R, H, K]`, c `[R, 1, K]`."""

    weight: Tensor
    bias: Tensor
    last: Tensor
    last_bias: Tensor

    def check(self, name: str, like: Tensor, outputs: int) -> None:
        """ValueError or TypeError unless they fit states `like` `[R, N, 2 S]`, with `outputs` K."""
        runs, _, inputs = like.shape
        check_like(f"{name}.weight", self.weight, like, (runs, inputs, self.hidden))
        check_like(f"{name}.bias", self.bias, like, (runs, 1, self.hidden))
        check_like(f"{name}.last", self.last, like, (runs, self.hidden, outputs))
        check_like(f"{name}.last_bias", self.last_bias, like, (runs, 1, outputs))

    @property
    def hidden(self) -> int:
        """H."""
        return self.bias.shape[-1]


def act(actor: TanhNetworks, states: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions, and their log-probabilities.

        a = m + sqrt(v) z,   log N(a; m, diag v) = -1/2 sum_k [ (a_k - m_k)^2 / v_k + log(2 pi v_k) ]

    Args:
        actor: its first S outputs are m, the softplus of the other S is v.
        states: `[R, N, 2 S]`.
        noise: z, standard normal, `[R, N, S]`.

    Returns:
        `[R, N, S]` and `[R, N]`.

    Raises:
        ValueError, TypeError: another shape or type, or not on the CPU.
    """
    runs, games, num_states = _sizes("states", states)
    actor.check("actor", states, 2 * num_states)
    check_like("noise", noise, states, (runs, games, num_states))
    actions, log_probs = states.new_empty(noise.shape), states.new_empty(runs, games)
    arrays = _contiguous(*actor, states, noise)
    at = [address_of(one) for one in arrays]
    register.run(
        f"meta_act_{SUFFIXES[states.dtype]}", states,
        at[:4], *at[4:], actions.data_ptr(), log_probs.data_ptr(), num_states, actor.hidden, runs, games,
    )  # fmt: skip
    return actions, log_probs


def ppo(
    actor: TanhNetworks,
    critic: TanhNetworks,
    batch: tuple[Tensor, Tensor, Tensor, Tensor],
    clip: float,
    entropy_bonus: float,
) -> tuple[Tensor, TanhNetworks, TanhNetworks]:
    """PPO's loss of each run, and its gradient for both networks.

        L = mean [ -min( x A, clip(x) A ) + 1/2 (v(s) - G)^2 - c H ]

    x = pi(a|s) / pi_old(a|s), A = G - v(s) is a constant in L, H = 1/2 sum_k log(2 pi e v_k) is an entropy.

    Args:
        actor: as of `act`.
        critic: v, one output.
        batch: states s `[R, N, 2 S]`, actions a `[R, N, S]`, log pi_old(a|s) and returns G `[R, N]`.
        clip: x is held between 1 - clip and 1 + clip.
        entropy_bonus: c.

    Returns:
        L `[R]`, and gradients of the parameters' shapes.

    Raises:
        ValueError, TypeError: another shape or type, or not on the CPU.
    """
    states, actions, log_probs, returns = batch
    runs, games, num_states = _sizes("states", states)
    actor.check("actor", states, 2 * num_states)
    critic.check("critic", states, 1)
    check_like("critic.bias", critic.bias, states, tuple(actor.bias.shape))
    check_like("actions", actions, states, (runs, games, num_states))
    check_like("log_probs", log_probs, states, (runs, games))
    check_like("returns", returns, states, (runs, games))
    loss = states.new_empty(runs)
    arrays = _contiguous(*actor, *critic, *batch)
    gradients = [torch.zeros_like(one) for one in arrays[:8]]
    at = [address_of(one) for one in arrays[:8] + gradients]
    register.run(
        f"meta_ppo_{SUFFIXES[states.dtype]}", states,
        *(at[first : first + 4] for first in range(0, 16, 4)), *map(address_of, arrays[8:]), loss.data_ptr(),
        clip, entropy_bonus, num_states, actor.hidden, runs, games,
    )  # fmt: skip
    return loss, TanhNetworks(*gradients[:4]), TanhNetworks(*gradients[4:])


def exact_gradient(
    mine: Tensor, theirs: Tensor, payoffs: Sequence[Sequence[float]], discount: float
) -> tuple[Tensor, Tensor]:
    """Returns of a game without end between memory-1 players, and what the other would climb.

        V = d0 (I - g M)^-1 r,   dV / dlogit(s) = c(s) sum_a dpi(a|s)/dlogit W(s,a),   c = d0 (I - g M)^-1

    as in `loqa.algos.exact.games.visits`, which has derivatives of every order.

    Args:
        mine, theirs: logits of C at the start and after CC, CD, DC, DD, own action first, `[..., 5]`.
        payoffs: r of me and of the other for CC, CD, DC, DD as I see them.
        discount: g, in [0, 1).

    Returns:
        V of me and of the other, `[2, ...]`; the gradient of the other's for `theirs`.

    Raises:
        ValueError, TypeError: another shape or type, or not on the CPU.
    """
    _dense("mine", mine, 5)
    check_like("theirs", theirs, mine, tuple(mine.shape))
    values, gradient = mine.new_empty(2, *mine.shape[:-1]), mine.new_empty(mine.shape)
    arrays = _contiguous(mine, theirs)
    register.run(
        f"exact_gradient_{SUFFIXES[mine.dtype]}", mine,
        *map(address_of, arrays), [one for row in payoffs for one in row], discount, values.data_ptr(),
        gradient.data_ptr(), values[0].numel(),
    )  # fmt: skip
    return values, gradient


def _sizes(name: str, states: Tensor) -> tuple[int, int, int]:
    """R, N and S."""
    _dense(name, states, None)
    if states.dim() != 3 or states.shape[-1] not in (2, 10) or not states.shape[1]:
        raise ValueError(
            f"{name} must be [R, N, 10] or [R, N, 2], N at least 1, got {describe(states)}"
        )
    return states.shape[0], states.shape[1], states.shape[2] // 2


def _dense(name: str, x: object, last: int | None) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {describe(x)}")
    fits = last is None or (x.dim() and x.shape[-1] == last)
    if x.dtype not in SUFFIXES or x.layout is not torch.strided or not x.is_cpu or not fits:
        shape = "" if last is None else f" [..., {last}]"
        raise ValueError(
            f"{name} must be a dense tensor{shape} of float32 or float64 on the CPU, got {describe(x)}"
        )


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [one.detach().contiguous() for one in tensors]
