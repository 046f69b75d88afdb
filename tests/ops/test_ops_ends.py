"""Several episodes in one array: `terminated` and `truncated` in returns, advantages and DiCE."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import draw
from torch import Tensor

from loqa import ops
from loqa._native import core
from loqa.reference import kernels as reference

NO, YES = False, True
Ends = tuple[Tensor, Tensor]


def flags(*rows: int, device: str = "cpu") -> Tensor:
    return torch.tensor(rows, dtype=torch.bool, device=device)


def test_small_advantages_by_hand(kernel_device: str) -> None:
    rewards = torch.ones(4, device=kernel_device)
    values = torch.full((5,), 0.5, device=kernel_device)
    step_1 = flags(0, 1, 0, 0, device=kernel_device)
    # Alone: delta = 1 + 0.9 / 2 - 0.5 = 0.95, times 1 + 0.72 + ...
    got = ops.generalized_advantage(rewards, values, 0.9, 0.8, terminated=step_1)
    torch.testing.assert_close(got.cpu(), torch.tensor([1.31, 0.5, 1.634, 0.95]))
    got = ops.generalized_advantage(rewards, values, 0.9, 0.8, truncated=step_1)
    torch.testing.assert_close(got.cpu(), torch.tensor([1.634, 0.95, 1.634, 0.95]))
    # Both: a termination.
    got = ops.generalized_advantage(rewards, values, 0.9, 0.8, step_1, step_1)
    torch.testing.assert_close(got.cpu(), torch.tensor([1.31, 0.5, 1.634, 0.95]))
    last = flags(0, 0, 0, 1, device=kernel_device)
    got = ops.generalized_advantage(rewards, values, 0.9, 0.8, truncated=last)
    alone = ops.generalized_advantage(rewards, values, 0.9, 0.8)
    assert torch.equal(got, alone)  # the array ends there anyway, and its value counts
    got = ops.generalized_advantage(rewards, values, 0.9, 0.8, terminated=last)
    torch.testing.assert_close(got[-1].item(), 0.5)


def test_small_returns_by_hand(kernel_device: str) -> None:
    rewards = torch.tensor([1.0, 2.0, 4.0, 8.0], device=kernel_device)
    values = torch.tensor([16.0, 32.0, 64.0, 128.0, 256.0], device=kernel_device)
    step_1 = flags(0, 1, 0, 0, device=kernel_device)
    assert ops.discounted_returns(rewards, 0.5, None, step_1).tolist() == [2, 2, 8, 8]
    assert ops.discounted_returns(rewards, 0.5, values[-1], step_1).tolist() == [2, 2, 72, 136]
    # No value is given for the state after step 1.
    assert ops.discounted_returns(rewards, 0.5, values[-1], None, step_1).tolist() == [
        2,
        2,
        72,
        136,
    ]
    last = flags(0, 0, 0, 1, device=kernel_device)
    assert ops.discounted_returns(rewards, 0.5, values[-1], last).tolist() == [4, 6, 8, 8]
    assert ops.discounted_returns(rewards, 0.5, values[-1], None, last).tolist() == [
        20,
        38,
        72,
        136,
    ]
    # Windows from steps 0 to 2: 1 + 2 / 2; 2; 4 + 8 / 2 + 256 / 4.
    assert ops.n_step_returns(rewards, values, 0.5, 2, step_1).tolist() == [2, 2, 72]
    # 1 + 2 / 2 + 64 / 4; 2 + 64 / 2.
    assert ops.n_step_returns(rewards, values, 0.5, 2, None, step_1).tolist() == [18, 34, 72]


def test_small_dice_by_hand(kernel_device: str) -> None:
    rewards = torch.tensor([1.0, 2.0, 4.0, 8.0], device=kernel_device)
    values = torch.tensor([1.0, 1.0, 2.0, 3.0, 100.0], device=kernel_device)
    logps = torch.full((4,), -1.0, device=kernel_device, requires_grad=True)
    step_1 = flags(0, 1, 0, 0, device=kernel_device)

    def derivative(out: Tensor) -> list[float]:
        return torch.autograd.grad(out, logps)[0].tolist()

    out = ops.loaded_dice_returns(rewards, values, logps, 0.5, 0.5, step_1)
    assert out.tolist() == [2, 2, 8, 8]
    assert derivative(out[0]) == [1.0, 0.25, 0, 0]  # 0.25^k (R_k - v_k)
    out = ops.loaded_dice_returns(rewards, values, logps, 0.5, 0.5, None, step_1)
    assert out.tolist() == [2.5, 3, 8, 8]  # + 2 / 2 after step 1
    assert derivative(out[0]) == [1.5, 0.5, 0, 0]
    out = ops.loaded_dice_q_values(rewards, values, logps, 0.5, 0.5, False, step_1)
    assert out.tolist() == [2, 2, 8, 8]
    assert derivative(out[0]) == [0, 0.5, 0, 0]
    out = ops.loaded_dice_q_values(rewards, values, logps, 0.5, 0.5, False, step_1)
    assert derivative(out[1]) == [0, 0, 0, 0]
    out = ops.n_step_dice_returns(rewards, values, logps, 0.5, 3, 1.0, step_1)
    assert out.tolist() == [2, 2]
    assert derivative(out[0]) == [0, 0.5, 0, 0]  # (2 - 1) / 2
    out = ops.n_step_dice_returns(rewards, values, logps, 0.5, 3, 1.0, step_1)
    assert derivative(out[1]) == [0, 0, 0, 0]


# Each kernel on (rewards, values, logps, terminated, truncated).
Ended = Callable[..., Tensor]
ENDED: dict[str, Ended] = {
    "returns": lambda r, v, p, *e: ops.discounted_returns(r, 0.9, None, *e),
    "bootstrapped": lambda r, v, p, *e: ops.discounted_returns(r, 0.9, v[-1], *e),
    "advantage": lambda r, v, p, *e: ops.generalized_advantage(r, v, 0.9, 0.8, *e),
    "n_step": lambda r, v, p, *e: ops.n_step_returns(r, v, 0.9, 3, *e),
    "weights": lambda r, v, p, *e: ops.dice_weights(p, 0.8, *e),
    "dice": lambda r, v, p, *e: ops.loaded_dice_returns(r, v, p, 0.9, 0.8, *e),
    "q_values": lambda r, v, p, *e: ops.loaded_dice_q_values(r, v, p, 0.9, 0.8, False, *e),
    "n_step_dice": lambda r, v, p, *e: ops.n_step_dice_returns(r, v, p, 0.9, 3, 0.3, *e),
}


def slopes(out: Tensor, leaves: list[Tensor], order: int) -> list[Tensor]:
    """Derivatives of a fixed nonlinear function of `out` along fixed directions."""
    found = []
    total = (out.sin() * torch.arange(1.0, 1 + out.numel()).view(out.shape)).sum()
    total = total + sum(x.sum() for x in leaves)
    for _ in range(order):
        grads = torch.autograd.grad(total, leaves, create_graph=True, materialize_grads=True)
        found += [g.detach() for g in grads]
        total = sum(g.square().sum() for g in grads)
    return found


@pytest.mark.parametrize("name", [n for n in ENDED if not n.startswith("n_step")])
@pytest.mark.parametrize("terminated", [NO, YES])
def test_each_episode_is_as_if_alone(name: str, terminated: bool) -> None:
    """One array of episodes of 1, 4, 2 and 3 steps, and each episode in a call without ends."""
    lengths = [1, 4, 2, 3]
    leaves = [x.requires_grad_() for x in draw(sum(lengths), 3)]
    done = torch.zeros(sum(lengths), 3, dtype=torch.bool)
    done[torch.tensor(lengths).cumsum(0) - 1] = True
    nowhere = torch.zeros_like(done)
    ends = (done, nowhere) if terminated else (nowhere, done)
    together = ENDED[name](*leaves, *ends)
    apart, start = [], 0
    for length in lengths:
        r, v, p = leaves
        r, p = r[start : start + length], p[start : start + length]
        v = v[start : start + length + 1]
        if terminated:
            v = torch.cat([v[:-1], torch.zeros_like(v[:1])])
        elif name == "returns" or (name == "bootstrapped" and start + length < len(done)):
            v = torch.zeros_like(v)
        if not terminated and name in ("dice", "q_values"):
            r = torch.cat([r[:-1], r[-1:] + 0.9 * v[-1:].detach()])
        apart.append(ENDED[name](r, v, p))
        start += length
    torch.testing.assert_close(together, torch.cat(apart))
    for one, other in zip(
        slopes(together, leaves, 3), slopes(torch.cat(apart), leaves, 3), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ENDED)
def test_small_nothing_crosses_an_end(name: str, kernel_device: str) -> None:
    """Values, and derivatives of three orders: exact zeros, and no NaN from the other side."""
    leaves = [x.requires_grad_() for x in draw(9, 2, device=kernel_device)]
    done = flags(0, 0, 0, 1, 0, 0, 0, 0, 0, device=kernel_device)
    out = ENDED[name](*leaves, done)
    before = out[:4]
    total = before.sin().sum()
    for _ in range(3):
        grads = torch.autograd.grad(
            total, leaves, create_graph=True, materialize_grads=True, allow_unused=True
        )
        for grad in grads:
            assert torch.equal(grad[4:], torch.zeros_like(grad[4:]))
        total = sum((g[:4] * torch.cos(x[:4])).sum() for g, x in zip(grads, leaves, strict=True))
        if not total.requires_grad:
            break
    poisoned = [torch.cat([x[:4], torch.full_like(x[4:], float("nan"))]) for x in leaves]
    assert torch.equal(ENDED[name](*poisoned, done)[:4], before)
    inputs = [x.detach().requires_grad_() for x in poisoned]
    clean = ENDED[name](*leaves, done)[:4].sum()
    for one, other in zip(
        torch.autograd.grad(ENDED[name](*inputs, done)[:4].sum(), inputs, materialize_grads=True),
        torch.autograd.grad(clean, leaves, materialize_grads=True),
        strict=True,
    ):
        assert torch.equal(one[:4], other[:4])


@given(
    steps=st.integers(3, 30),
    width=st.integers(1, 40),
    rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 99),
    isa=st.sampled_from(core.supported_isas()),
)
def test_random_ends_against_reference(
    steps: int, width: int, rate: float, seed: int, isa: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    ends = [torch.rand(steps, width, generator=generator) < rate for _ in range(2)]
    before = core.isa()
    core.set_isa(isa)
    try:
        for name, call in ENDED.items():
            expected = _by_reference(name, draw(steps, width, seed=seed), ends)
            for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
                inputs = [x.to(dtype) for x in draw(steps, width, seed=seed)]
                got = call(*inputs, *ends)
                scale = float(expected.abs().max())
                torch.testing.assert_close(
                    got.double(), expected, rtol=tolerance, atol=tolerance * scale
                )
    finally:
        core.set_isa(before)


def _by_reference(name: str, inputs: list[Tensor], ends: list[Tensor]) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "ops", reference)
        return ENDED[name](*inputs, *ends)


def test_all_kinds_of_flags_give_the_same() -> None:
    rewards, values, _ = draw(6, 4, 2)
    step = torch.arange(6) % 3 == 1
    per_env = step[:, None] & (torch.arange(4) > 0)
    expected = ops.generalized_advantage(
        rewards, values, 0.9, 0.8, per_env[:, :, None].expand(6, 4, 2).contiguous()
    )
    kinds = [per_env, per_env[:, :, None], per_env.t().contiguous().t(), per_env.long(),
             per_env.double(), per_env.to(torch.float16), per_env.to(torch.uint8)]  # fmt: skip
    for one in kinds:
        assert torch.equal(ops.generalized_advantage(rewards, values, 0.9, 0.8, one), expected)
    assert torch.equal(
        ops.generalized_advantage(rewards, values, 0.9, 0.8, step),
        ops.generalized_advantage(rewards, values, 0.9, 0.8, step[:, None, None].expand(6, 4, 2)),
    )
    assert torch.equal(
        ops.generalized_advantage(rewards, values, 0.9, 0.8, torch.zeros(6, dtype=torch.bool)),
        ops.generalized_advantage(rewards, values, 0.9, 0.8),
    )


R, V, P = draw(5, 3, dtype=torch.float32)
BAD = [
    (torch.zeros(3), ValueError, r"terminated must be bool .* \[5, 3\] or .* got \[3\]"),
    (torch.zeros(3, 5), ValueError, r"got \[3, 5\] float32"),
    (torch.zeros(5, 3, 1), ValueError, r"got \[5, 3, 1\]"),
    (torch.zeros(1, 3), ValueError, r"got \[1, 3\]"),
    (torch.tensor(False), ValueError, r"got \[\] bool"),
    (torch.full((5,), 0.5), ValueError, "got other numbers in"),
    (torch.full((5,), 2), ValueError, "got other numbers in"),
    (torch.full((5,), float("nan")), ValueError, "got other numbers in"),
    ([0, 1, 0, 0, 0], TypeError, "got list"),
    (True, TypeError, "got bool True"),
    (torch.zeros(5, dtype=torch.complex64), TypeError, "complex64"),
    (torch.zeros(5, dtype=torch.bool, device="meta"), ValueError, "on cpu, got .*meta"),
    (torch.zeros(5, 3).to_sparse(), TypeError, "sparse"),
]


@pytest.mark.parametrize("index", range(len(BAD)))
def test_bad_flags(index: int) -> None:
    given_flags, error, message = BAD[index]
    for call in (
        lambda: ops.generalized_advantage(R, V, 0.9, 0.8, given_flags),
        lambda: ops.discounted_returns(R, 0.9, None, terminated=given_flags),
        lambda: ops.dice_weights(P, 0.9, given_flags),
    ):
        with pytest.raises(error, match=message):
            call()


def test_numbers_are_refused_where_nobody_can_look_at_them() -> None:
    with pytest.raises(TypeError, match="terminated must be bool while a function is"):
        torch.func.vmap(lambda e: ops.discounted_returns(R, 0.9, None, e))(torch.zeros(2, 5))


def test_recipe_for_same_step_autoreset() -> None:
    """The value of an episode's last observation comes with the reward, as a termination."""
    rewards, values, _ = draw(7, 2)
    done = torch.tensor([0, 0, 1, 0, 1, 0, 0], dtype=torch.bool)
    final = torch.randn(7, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with_value = rewards + 0.9 * torch.where(done[:, None], final, 0.0)
    # As if the array held both: what the step led to, and where the next episode began.
    for lam in (0.0, 0.7, 1.0):
        got = ops.generalized_advantage(with_value, values, 0.9, lam, terminated=done)
        carry, expected = torch.zeros(2, dtype=torch.float64), []
        for t in reversed(range(7)):
            following = final[t] if done[t] else values[t + 1]
            carry = rewards[t] + 0.9 * following - values[t] + 0.9 * lam * carry * ~done[t]
            expected.append(carry)
        torch.testing.assert_close(got, torch.stack(expected[::-1]))


@pytest.mark.parametrize("width", [65536, 65537])
def test_large_outputs_with_ends(width: int) -> None:
    """Written past the caches or not: the columns of a part of it."""
    inputs = [x.requires_grad_() for x in draw(33, width, dtype=torch.float32)]
    done = torch.rand(33, width, generator=torch.Generator().manual_seed(0)) < 0.1
    part = [x.detach()[:, 100:400].clone().requires_grad_() for x in inputs]
    for name in ("returns", "advantage", "dice"):
        whole = ENDED[name](*inputs, done)
        small = ENDED[name](*part, done[:, 100:400])
        assert torch.equal(whole[:, 100:400], small)
        wholes = torch.autograd.grad(whole.sum(), inputs, materialize_grads=True)
        smalls = torch.autograd.grad(small.sum(), part, materialize_grads=True)
        for one, other in zip(wholes, smalls, strict=True):
            assert torch.equal(one[:, 100:400], other)


@pytest.mark.parametrize("name", ["returns", "bootstrapped", "advantage", "n_step"])
def test_small_gradcheck_with_ends(name: str, kernel_device: str) -> None:
    rewards, values, logps = (x.requires_grad_() for x in draw(5, 2, device=kernel_device))
    ends = flags(0, 1, 0, 0, 1, device=kernel_device), flags(1, 0, 0, 1, 0, device=kernel_device)
    call = lambda r, v: ENDED[name](torch.sin(r), torch.cos(v), logps, *ends)  # noqa: E731
    assert torch.autograd.gradcheck(call, (rewards, values))
    assert torch.autograd.gradgradcheck(call, (rewards, values))


def test_small_a_value_that_no_window_ends_with_has_no_gradient(kernel_device: str) -> None:
    """Also where gamma^n is infinite: infinity times 0 is no number."""
    for ends in (None, flags(0, 0, 0, 1, 0, 0, 0, device=kernel_device)):
        values = torch.ones(8, device=kernel_device, requires_grad=True)
        rewards = torch.zeros(7, device=kernel_device)
        returns = ops.n_step_returns(rewards, values, 1e20, 2, terminated=ends)
        (grad,) = torch.autograd.grad(returns.sum(), values)
        inf = torch.inf
        middle = [inf, inf, inf, inf] if ends is None else [inf, inf, 0, 0]
        assert grad.tolist() == [0, 0, *middle, inf, inf]
