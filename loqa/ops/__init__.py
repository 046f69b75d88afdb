"""Returns, advantages and DiCE weights: native kernels over time-major arrays, differentiable.

Shapes: `rewards` and `logps` [T, ...], `values` [T + 1, ...] with the bootstrap in `values[T]`; any
trailing shape, each trailing index an independent sequence. float32 or float64 on CPU or CUDA, all
arguments of one type on one device; float16 and bfloat16 are computed in float32 and rounded once
at the end. Arrays that are not contiguous are copied first. Outputs are contiguous.

Ends of episodes: `terminated` and `truncated` say that an episode ends with step t, [T, ...] as
rewards or its leading dimensions ([T, B] for rewards [T, B, A], [T] for all alike), bool, or
numbers 0 and 1 (which are looked at: on CUDA that waits for the device). With done_t = terminated_t
or truncated_t, nothing after step t enters what is computed for steps up to t:

- terminated_t: the state after step t is worth 0; values[t + 1] is not used in step t;
- truncated_t and not terminated_t: the state after step t is worth values[t + 1].

A sum below that "runs to the end" stops at the first done_t at or after its first step.
With an environment that resets itself, what values[t + 1] is depends on how it does
(`loqa.make(..., autoreset=...)`). "next_step": the observation after a truncation is the last one
of the old episode, so its value is right; the step after it, which only resets, pays 0 and must be
left out of losses. "same_step": the observation after a truncation is the first one of the next
episode; give the step's reward as r_t + gamma v(final_obs) and mark it terminated.

The kernels work under autograd (also batched: `is_grads_batched`, `jacobian(vectorize=True)`),
`torch.compile(fullgraph=True)`, `torch.export`, `torch.jit.trace`, `torch.func` (`grad`, `jacrev`,
`vmap`; reverse mode only) and CUDA graph capture; the CPU result does not depend on the number of
threads or on the instruction set. Derivatives exist to any order. `gamma`, `lam`,
`dice_discount`, `n` and baselines are constants. Plain versions: `loqa.reference`.

All raise ValueError or TypeError before anything runs, naming what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from loqa import _checks
from loqa.ops import dice as _dice_ops
from loqa.ops import ends as _episode_ends
from loqa.ops import primitives as _kernel_ops
from loqa.ops.register import check_like, check_rows, check_sequence, check_window, describe

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


def _run(kernel: Callable[..., Tensor], first: Tensor, *args: object) -> Tensor:
    """Half-precision arrays in, float32 inside, one rounding at the end."""
    for place, arg in enumerate((first, *args)):
        if not (arg is None or isinstance(arg, Tensor) or type(arg) is float):  # a baseline
            name = kernel.__code__.co_varnames[place]  # an operator of torch would not name it
            raise TypeError(f"{name} must be a torch tensor [T, ...], got {describe(arg)}")
    if not isinstance(first, Tensor) or first.dtype not in _HALF:
        return kernel(first, *args)
    for arg in args:
        if isinstance(arg, Tensor) and arg.dim() and arg.dtype != first.dtype:
            raise ValueError(f"all arrays must be {first.dtype} as the first, got {describe(arg)}")
    wide = [
        arg.float() if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args
    ]
    return kernel(first.float(), *wide).to(first.dtype)


def _window(n: object, steps: int, smallest: int) -> int:
    n = _checks.integer("n", n, -(2**63), 2**63 - 1)
    check_window(n, steps, smallest)
    return n


def discounted_returns(
    rewards: Tensor,
    gamma: float,
    bootstrap: Tensor | None = None,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """Discounted sum of the rewards from each step on.

    R_t = r_t + gamma (1 - done_t) R_{t+1} for t < T-1, and R_{T-1} = r_{T-1} + gamma
    (1 - terminated_{T-1}) bootstrap (0 without one).

    No value of the state after an earlier truncation is given here, so that it counts as 0, as after
    a termination. Who has one adds gamma times it to the reward of the truncated step.

    Args:
        rewards: [T, ...].
        gamma: discount per step.
        bootstrap: [...], value of the state after the last step.
        terminated, truncated: whether an episode ends with a step (see the module).
    Returns:
        [T, ...]. Linear in rewards and bootstrap; the gradient is the opposite scan.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma not finite.
    """
    gamma = _checks.real("gamma", gamma)

    def kernel(rewards: Tensor, bootstrap: Tensor | None) -> Tensor:
        check_sequence("rewards", rewards)
        if bootstrap is not None:
            check_like("bootstrap", bootstrap, rewards, rewards.shape[1:])
        ends = _episode_ends.codes(terminated, truncated, "rewards", rewards)
        if ends is not None and bootstrap is not None and len(rewards):
            rewards = _episode_ends.with_bootstrap(rewards, bootstrap, gamma, ends)
            bootstrap = None
        return _kernel_ops.linear_scan(rewards, bootstrap, gamma, True, ends)

    return _run(kernel, rewards, bootstrap)


def generalized_advantage(
    rewards: Tensor,
    values: Tensor,
    gamma: float,
    lam: float,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """Generalized advantage estimates.

    A_t = delta_t + gamma lam (1 - done_t) A_{t+1}, delta_t = r_t + gamma (1 - terminated_t) v_{t+1}
    - v_t. Schulman et al., "High-dimensional continuous control using generalized advantage
    estimation" (ICLR 2016), section 3.

    Args:
        rewards: [T, ...].
        values: [T + 1, ...].
        gamma: discount per step.
        lam: 0 gives one-step advantages, 1 Monte-Carlo returns minus values.
        terminated, truncated: whether an episode ends with a step (see the module).
    Returns:
        [T, ...]. Linear in rewards and values, differentiable in both: detach values for targets.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma or lam not finite.
    """
    gamma, lam = _checks.real("gamma", gamma), _checks.real("lam", lam)

    def kernel(rewards: Tensor, values: Tensor) -> Tensor:
        ends = _episode_ends.codes(terminated, truncated, "rewards", rewards)
        return _kernel_ops.advantage(rewards, values, gamma, lam, ends)

    return _run(kernel, rewards, values)


def n_step_returns(
    rewards: Tensor,
    values: Tensor,
    gamma: float,
    n: int,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """The next n rewards and the critic's value after them.

    G_s = sum_{k<m} gamma^k r_{s+k} + gamma^m (1 - terminated_{s+m-1}) v_{s+m}, s = 0 .. T-n; m = n,
    or fewer if the episode ends with step s+m-1 before. Sutton and Barto, "Reinforcement learning:
    an introduction" (2018), equation 7.1. Costs n operations an output.

    Args:
        rewards: [T, ...].
        values: [T + 1, ...].
        gamma: discount per step.
        n: 1 .. T.
        terminated, truncated: whether an episode ends with a step (see the module).
    Returns:
        [T + 1 - n, ...]. Linear in rewards and values, differentiable in both.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma not finite; n outside 1 .. T.
    """
    gamma = _checks.real("gamma", gamma)

    def kernel(rewards: Tensor, values: Tensor) -> Tensor:
        check_sequence("rewards", rewards)
        window = _window(n, rewards.shape[0], 1)
        ends = _episode_ends.codes(terminated, truncated, "rewards", rewards)
        if ends is not None:
            check_rows("values", values, rewards, rewards.shape[0] + 1)
            rewards = _episode_ends.with_final_values(rewards, values, gamma, ends)
        return _kernel_ops.n_step(rewards, values, gamma, window, ends)

    return _run(kernel, rewards, values)


def magic_box(x: Tensor) -> Tensor:
    """The DiCE operator: value 1, derivative box(x) x'.

    box(x) = exp(x - stop(x)). Foerster et al., "DiCE: the infinitely differentiable Monte Carlo
    estimator" (ICML 2018), equation 4.

    Args:
        x: any shape, any floating type, finite.
    Returns:
        Ones of that shape, differentiable to any order.
    Raises:
        TypeError: not a tensor of a floating type.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"x must be a torch tensor of a floating type, got {describe(x)}")
    return _kernel_ops.magic_box(x)


def dice_weights(
    logps: Tensor,
    discount: float = 1.0,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """The loaded-DiCE weight of each step's advantage.

    d_t = box(w_t) - box(w_t - l_t), w_t = discount (1 - done_{t-1}) w_{t-1} + l_t. Farquhar,
    Whiteson and Foerster, "Loaded DiCE" (NeurIPS 2019), section 4: sum_t gamma^t d_t A_t has the
    policy gradient of every order when the A_t are good advantages; discount < 1 forgets distant
    causes (less variance, bias from the second derivative on).

    Args:
        logps: [T, ...], log-probability of the action taken at each step (for several players
            whose learning counts, the sum of theirs).
        discount: per step, 1 forgets nothing.
        terminated, truncated: whether an episode ends with a step (see the module); actions of one
            episode cause nothing in another.
    Returns:
        [T, ...] of zeros. First derivative: that of l_t. Higher ones: every earlier action of the
        episode counts.
    Raises:
        TypeError, ValueError: wrong type, shape, device; discount not finite.
    """
    discount = _checks.real("discount", discount)

    def kernel(logps: Tensor) -> Tensor:
        check_sequence("logps", logps)
        ends = _episode_ends.codes(terminated, truncated, "logps", logps)
        return _dice_ops.dice_weights(logps, discount, ends)

    return _run(kernel, logps)


def loaded_dice_returns(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """Discounted returns that know how the actions caused them.

    Rhat_s = R_s + sum_{k>=s} (gamma lambda)^(k-s) (R_k - v_k) d_k, where k runs to the end of the
    episode or of the array, R_t = r_t + gamma x_t, d = dice_weights(logps, lambda) and lambda =
    dice_discount. x_t is R_{t+1}; after a termination, and after the last step, 0; after a
    truncation v_{t+1}. Aghajohari et al., "LOQA: learning with opponent Q-learning awareness" (ICLR
    2024); estimator of Farquhar et al. (NeurIPS 2019).

    Args:
        rewards: [T, ...], here the opponent's.
        values: [T + 1, ...], its critic's, taken as constants; values[T] is used only where the
            last step is truncated.
        logps: [T, ...], log-probability of the actions whose influence counts.
        gamma: discount per step.
        dice_discount: lambda, how fast causal influence fades.
        terminated, truncated: whether an episode ends with a step (see the module).
    Returns:
        [T, ...], equal to R bit for bit. First derivative: d Rhat_s / d l_k = (gamma lambda)^(k-s)
        (R_k - v_k), k >= s in the same episode. Differentiable to any order in rewards and logps.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma or dice_discount not finite.
    """
    return loaded_dice_q_values(
        rewards, values, logps, gamma, dice_discount, True, terminated, truncated
    )


def loaded_dice_q_values(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    current_reward_differentiable: bool = False,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """The opponent's sampled Q-values of LOQA's actor loss, differentiable in one's own policy.

    Qhat_s = r_s + gamma Rhat_{s+1}, Rhat = loaded_dice_returns(...), in one pass forwards and one
    backwards: r_s is paid for actions chosen at the same moment, so that this step's action is no
    cause of the opponent's. Where an episode ends with step s, and at the last step, x_s of
    `loaded_dice_returns` stands for Rhat_{s+1}. With `current_reward_differentiable`, Qhat = Rhat.
    Aghajohari et al. (ICLR 2024), section 4.

    Args:
        rewards, values, logps, gamma, dice_discount: as in `loaded_dice_returns`.
        current_reward_differentiable: count the action of step s as a cause of r_s.
        terminated, truncated: as in `loaded_dice_returns`.
    Returns:
        [T, ...], the discounted returns bit for bit. First derivative: d Qhat_s / d l_k = gamma
        (gamma lambda)^(k-s-1) (R_k - v_k), k > s in the same episode. Differentiable to any order in
        rewards and logps.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma or dice_discount not finite.
    """
    gamma = _checks.real("gamma", gamma)
    dice_discount = _checks.real("dice_discount", dice_discount)
    shift = not current_reward_differentiable

    def kernel(rewards: Tensor, values: Tensor, logps: Tensor) -> Tensor:
        ends = _episode_ends.codes(terminated, truncated, "rewards", rewards)
        if ends is not None:
            check_rows("values", values, rewards, rewards.shape[0] + 1)
            rewards = _episode_ends.with_final_values(rewards, values.detach(), gamma, ends)
        return _dice_ops.loaded_dice(rewards, values, logps, gamma, dice_discount, shift, ends)

    return _run(kernel, rewards, values, logps)


def n_step_dice_returns(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    n: int,
    baseline: float | Tensor = 0.0,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """n-step returns that know how the actions after the first caused them.

    Q_s = sum_{k<m} gamma^k ((r_{s+k} - b) box(c_{s,k}) + b) + gamma^m (1 - terminated_{s+m-1})
    v_{s+m}, s = 0 .. T-n, c_{s,k} = l_{s+1} + ... + l_{s+k}; m = n, or fewer if the episode ends
    with step s+m-1 before. The action of step s is chosen at the same moment as the one that Q_s
    judges. Aghajohari et al. (ICLR 2024), n-step variant; Foerster et al. (ICML 2018).

    Args:
        rewards: [T, ...].
        values: [T + 1, ...], differentiable here.
        logps: [T, ...].
        gamma: discount per step.
        n: 2 .. T (with n = 1 no action would count).
        baseline: b, a number or a tensor that broadcasts to rewards (such as their mean), constant.
        terminated, truncated: whether an episode ends with a step (see the module).
    Returns:
        [T + 1 - n, ...], the value of `n_step_returns`. First derivative: d Q_s / d l_j =
        sum_{j-s<=k<m} gamma^k (r_{s+k} - b), s < j < s + m. Differentiable to any order.
    Raises:
        TypeError, ValueError: wrong type, shape, device; gamma not finite; n outside 2 .. T.
    """
    gamma = _checks.real("gamma", gamma)
    constant = baseline if isinstance(baseline, Tensor) else _checks.real("baseline", baseline)

    def kernel(rewards: Tensor, values: Tensor, logps: Tensor, b: float | Tensor) -> Tensor:
        check_sequence("rewards", rewards)
        window = _window(n, rewards.shape[0], 2)
        if isinstance(b, Tensor):
            b = b.detach()
            _check_baseline(b, rewards)
        check_rows("values", values, rewards, rewards.shape[0] + 1)
        centred = rewards - b if isinstance(b, Tensor) or b else rewards
        ends = _episode_ends.codes(terminated, truncated, "rewards", rewards)
        if ends is not None:
            rewards = _episode_ends.with_final_values(rewards, values, gamma, ends)
        return _dice_ops.n_step_dice(rewards, values, centred, logps, gamma, window, ends)

    return _run(kernel, rewards, values, logps, constant)


def _check_baseline(baseline: Tensor, rewards: Tensor) -> None:
    shape = rewards.shape
    if baseline.dim() == 0:  # a number
        fits = baseline.dtype != torch.bool and not baseline.is_complex()
    else:
        fits = baseline.dtype == rewards.dtype and baseline.device == rewards.device
    pairs = zip(reversed(baseline.shape), reversed(shape), strict=False)
    broadcasts = baseline.dim() <= len(shape) and all(a in (1, b) for a, b in pairs)
    if not fits or not broadcasts:
        wanted = f"{str(rewards.dtype).removeprefix('torch.')} on {rewards.device}"
        raise ValueError(
            f"baseline must be a number or {wanted} that broadcasts to {list(shape)}, "
            f"got {describe(baseline)}"
        )
