"""Returns, advantages and DiCE weights: native kernels over time-major arrays, differentiable.

Shapes: `rewards` and `logps` [T, ...], `values` [T + 1, ...] with the bootstrap in `values[T]`; any
trailing shape, each trailing index an independent sequence. float32 or float64 on CPU or CUDA, all
arguments of one type on one device; float16 and bfloat16 are computed in float32 and rounded once
at the end. Arrays that are not contiguous are copied first. Outputs are contiguous.

The kernels work under autograd, `torch.compile(fullgraph=True)`, `torch.func` (`grad`, `jacrev`,
`vmap`; reverse mode only) and CUDA graph capture; the CPU result does not depend on the number of
threads or on the instruction set. Derivatives exist to any order. `gamma`, `lam`,
`dice_discount`, `n` and baselines are constants. Plain versions: `loqa.reference`.

All raise ValueError or TypeError before anything runs, naming what was expected and what came.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from loqa import _dice_ops, _kernel_ops

__all__ = [
    "dice_weights",
    "discounted_returns",
    "generalized_advantage",
    "loaded_dice_q_values",
    "loaded_dice_returns",
    "magic_box",
    "n_step_dice_returns",
    "n_step_returns",
]

_HALF = frozenset((torch.float16, torch.bfloat16))
_FLOATS = _HALF | {torch.float32, torch.float64}


def _describe(x: object) -> str:
    if isinstance(x, Tensor):
        return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')} on {x.device}"
    return f"{type(x).__name__} {x!r}"


def _check_sequence(name: str, x: Tensor) -> None:
    """The first array of a call, which the others must fit."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch tensor [T, ...], got {_describe(x)}")
    if not (x.dtype in _FLOATS and (x.is_cpu or x.is_cuda) and x.dim() > 0):
        raise ValueError(
            f"{name} must be [T, ...] float32 or float64 (or float16, bfloat16) on cpu or cuda, "
            f"got {_describe(x)}"
        )


def _check_like(name: str, x: Tensor, like: Tensor, shape: tuple[int, ...]) -> None:
    """An array that must have this shape and the type and device of `like`."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch tensor {list(shape)}, got {_describe(x)}")
    if x.shape != shape or x.dtype != like.dtype or x.device != like.device:
        wanted = f"{list(shape)} {str(like.dtype).removeprefix('torch.')} on {like.device}"
        raise ValueError(f"{name} must be {wanted}, got {_describe(x)}")


def _check_number(name: str, x: object) -> float:
    if not isinstance(x, (int, float)):
        raise TypeError(f"{name} must be a finite number, got {_describe(x)}")
    if not math.isfinite(x):
        raise ValueError(f"{name} must be a finite number, got {x}")
    return float(x)


def _check_window(n: int, steps: int, smallest: int) -> int:
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"n must be an integer, got {_describe(n)}")
    if not smallest <= n <= steps:
        raise ValueError(f"n must be between {smallest} and T = {steps}, got {n}")
    return n


def _run(kernel: Callable[..., Tensor], first: Tensor, *args: object) -> Tensor:
    """Half-precision arrays in, float32 inside, one rounding at the end."""
    if first.dtype not in _HALF:
        return kernel(first, *args)
    wide = [arg.float() if isinstance(arg, Tensor) else arg for arg in args]
    return kernel(first.float(), *wide).to(first.dtype)


def discounted_returns(rewards: Tensor, gamma: float, bootstrap: Tensor | None = None) -> Tensor:
    """Discounted sum of the rewards from each step on.

    R_t = r_t + gamma R_{t+1}, R_T = bootstrap (0 without one).

    Args:
        rewards: [T, ...].
        gamma: discount per step.
        bootstrap: [...], value of the state after the last step.
    Returns:
        [T, ...]. Linear in rewards and bootstrap; the gradient is the opposite scan.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma not finite.
    """
    _check_sequence("rewards", rewards)
    gamma = _check_number("gamma", gamma)
    if bootstrap is not None:
        _check_like("bootstrap", bootstrap, rewards, rewards.shape[1:])
    return _run(_kernel_ops.linear_scan, rewards, bootstrap, gamma, True)


def generalized_advantage(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalized advantage estimates.

    A_t = delta_t + gamma lam A_{t+1}, delta_t = r_t + gamma v_{t+1} - v_t. Schulman et al., "High-
    dimensional continuous control using generalized advantage estimation" (ICLR 2016), section 3.

    Args:
        rewards: [T, ...].
        values: [T + 1, ...].
        gamma: discount per step.
        lam: 0 gives one-step advantages, 1 Monte-Carlo returns minus values.
    Returns:
        [T, ...]. Linear in rewards and values, differentiable in both: detach values for targets.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma or lam not finite.
    """
    _check_sequence("rewards", rewards)
    _check_like("values", values, rewards, (rewards.shape[0] + 1, *rewards.shape[1:]))
    gamma, lam = _check_number("gamma", gamma), _check_number("lam", lam)
    return _run(_kernel_ops.advantage, rewards, values, gamma, lam)


def n_step_returns(rewards: Tensor, values: Tensor, gamma: float, n: int) -> Tensor:
    """The next n rewards and the critic's value after them.

    G_s = sum_{k<n} gamma^k r_{s+k} + gamma^n v_{s+n}, s = 0 .. T-n. Sutton and Barto,
    "Reinforcement learning: an introduction" (2018), equation 7.1. Costs n operations an output.

    Args:
        rewards: [T, ...].
        values: [T + 1, ...].
        gamma: discount per step.
        n: 1 .. T.
    Returns:
        [T + 1 - n, ...]. Linear in rewards and values, differentiable in both.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma not finite; n outside 1 .. T.
    """
    _check_sequence("rewards", rewards)
    _check_like("values", values, rewards, (rewards.shape[0] + 1, *rewards.shape[1:]))
    gamma, n = _check_number("gamma", gamma), _check_window(n, rewards.shape[0], 1)
    return _run(_kernel_ops.n_step, rewards, values, gamma, n)


def magic_box(x: Tensor) -> Tensor:
    """The DiCE operator: value 1, derivative box(x) x'.

    box(x) = exp(x - stop(x)). Foerster et al., "DiCE: the infinitely differentiable Monte Carlo
    estimator" (ICML 2018), equation 4.

    Args:
        x: any shape, any floating type, finite.
    Returns:
        Ones of that shape, differentiable to any order.
    """
    return _kernel_ops.magic_box(x)


def dice_weights(logps: Tensor, discount: float = 1.0) -> Tensor:
    """The loaded-DiCE weight of each step's advantage.

    d_t = box(w_t) - box(w_t - l_t), w_t = discount w_{t-1} + l_t. Farquhar, Whiteson and Foerster,
    "Loaded DiCE" (NeurIPS 2019), section 4: sum_t gamma^t d_t A_t has the policy gradient of every
    order when the A_t are good advantages; discount < 1 forgets distant causes (less variance, bias
    from the second derivative on).

    Args:
        logps: [T, ...], log-probability of the action taken at each step (for several players
            whose learning counts, the sum of theirs).
        discount: per step, 1 forgets nothing.
    Returns:
        [T, ...] of zeros. First derivative: that of l_t. Higher ones: every earlier action counts.
    Raises:
        TypeError, ValueError: wrong type, shape, device; discount not finite.
    """
    _check_sequence("logps", logps)
    return _run(_dice_ops.dice_weights, logps, _check_number("discount", discount))


def loaded_dice_returns(
    rewards: Tensor, values: Tensor, logps: Tensor, gamma: float, dice_discount: float
) -> Tensor:
    """Discounted returns that know how the actions caused them.

    Rhat_s = R_s + sum_{k>=s} (gamma lambda)^(k-s) (R_k - v_k) d_k, with R = discounted_returns(
    rewards, gamma), d = dice_weights(logps, lambda) and lambda = dice_discount. Aghajohari et al.,
    "LOQA: learning with opponent Q-learning awareness" (ICLR 2024); estimator of Farquhar et al.
    (NeurIPS 2019).

    Args:
        rewards: [T, ...], here the opponent's.
        values: [T + 1, ...], its critic's, taken as constants; values[T] is not used.
        logps: [T, ...], log-probability of the actions whose influence counts.
        gamma: discount per step.
        dice_discount: lambda, how fast causal influence fades.
    Returns:
        [T, ...], equal to R bit for bit. First derivative: d Rhat_s / d l_k = (gamma lambda)^(k-s)
        (R_k - v_k), k >= s. Differentiable to any order in rewards and logps.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma or dice_discount not finite.
    """
    return loaded_dice_q_values(rewards, values, logps, gamma, dice_discount, True)


def loaded_dice_q_values(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    current_reward_differentiable: bool = False,
) -> Tensor:
    """The opponent's sampled Q-values of LOQA's actor loss, differentiable in one's own policy.

    Qhat_s = r_s + gamma Rhat_{s+1} (last step: r_s), Rhat = loaded_dice_returns(...), in one pass
    forwards and one backwards: r_s is paid for actions chosen at the same moment, so that this
    step's action is no cause of the opponent's. With `current_reward_differentiable`, Qhat = Rhat.
    Aghajohari et al. (ICLR 2024), section 4.

    Args:
        rewards, values, logps, gamma, dice_discount: as in `loaded_dice_returns`.
        current_reward_differentiable: count the action of step s as a cause of r_s.
    Returns:
        [T, ...], the discounted returns bit for bit. First derivative: d Qhat_s / d l_k = gamma
        (gamma lambda)^(k-s-1) (R_k - v_k), k > s. Differentiable to any order in rewards and logps.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma or dice_discount not finite.
    """
    _check_sequence("rewards", rewards)
    _check_like("values", values, rewards, (rewards.shape[0] + 1, *rewards.shape[1:]))
    _check_like("logps", logps, rewards, rewards.shape)
    gamma = _check_number("gamma", gamma)
    dice_discount = _check_number("dice_discount", dice_discount)
    shift = not current_reward_differentiable
    return _run(_dice_ops.loaded_dice, rewards, values, logps, gamma, dice_discount, shift)


def n_step_dice_returns(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    n: int,
    baseline: float | Tensor = 0.0,
) -> Tensor:
    """n-step returns that know how the actions after the first caused them.

    Q_s = sum_{k<n} gamma^k ((r_{s+k} - b) box(c_{s,k}) + b) + gamma^n v_{s+n}, s = 0 .. T-n,
    c_{s,k} = l_{s+1} + ... + l_{s+k}: the action of step s is chosen at the same moment as the one
    that Q_s judges. Aghajohari et al. (ICLR 2024), n-step variant; Foerster et al. (ICML 2018).

    Args:
        rewards: [T, ...].
        values: [T + 1, ...], differentiable here.
        logps: [T, ...].
        gamma: discount per step.
        n: 2 .. T (with n = 1 no action would count).
        baseline: b, a number or a tensor that broadcasts to rewards (such as their mean), constant.
    Returns:
        [T + 1 - n, ...], the value of `n_step_returns`. First derivative: d Q_s / d l_j =
        sum_{j-s<=k<n} gamma^k (r_{s+k} - b), s < j < s + n. Differentiable to any order.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma not finite; n outside 2 .. T.
    """
    _check_sequence("rewards", rewards)
    _check_like("values", values, rewards, (rewards.shape[0] + 1, *rewards.shape[1:]))
    _check_like("logps", logps, rewards, rewards.shape)
    gamma, n = _check_number("gamma", gamma), _check_window(n, rewards.shape[0], 2)
    centred = rewards
    if isinstance(baseline, Tensor):
        _check_baseline(baseline, rewards)
        centred = rewards - baseline.detach()
    elif _check_number("baseline", baseline) != 0:
        centred = rewards - baseline
    return _run(_dice_ops.n_step_dice, rewards, values, centred, logps, gamma, n)


def _check_baseline(baseline: Tensor, rewards: Tensor) -> None:
    shape = rewards.shape
    fits = baseline.dtype == rewards.dtype and baseline.device == rewards.device
    pairs = zip(reversed(baseline.shape), reversed(shape), strict=False)
    broadcasts = baseline.dim() <= len(shape) and all(a in (1, b) for a, b in pairs)
    if not fits or not broadcasts:
        wanted = f"{str(rewards.dtype).removeprefix('torch.')} on {rewards.device}"
        raise ValueError(
            f"baseline must be a number or {wanted} that broadcasts to {list(shape)}, "
            f"got {_describe(baseline)}"
        )
