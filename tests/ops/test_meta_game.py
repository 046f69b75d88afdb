"""Native M-FOS against torch: networks, actions, PPO's loss and gradient, values of exact games."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from loqa._native import core
from loqa.algos.exact import ExactGame
from loqa.ops.meta_game import TanhNetworks, act, exact_gradient, ppo

CLIP, BONUS = 0.2, 0.01
CLOSE: dict[torch.dtype, dict[str, float]] = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
    torch.float32: {"rtol": 1e-4, "atol": 2e-5},
}
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def drawn(runs: int, inputs: int, hidden: int, outputs: int, like: dict[str, Any]) -> TanhNetworks:
    sizes = ((inputs, hidden), (1, hidden), (hidden, outputs), (1, outputs))
    return TanhNetworks(*(torch.randn(runs, *size, **like) / size[0] ** 0.5 for size in sizes))


def batch(runs: int, games: int, num_states: int, like: dict[str, Any]) -> Batch:
    return (
        torch.rand(runs, games, 2 * num_states, **like),
        torch.randn(runs, games, num_states, **like),
        torch.randn(runs, games, **like) - 2 * num_states,
        torch.randn(runs, games, **like),
    )


def outputs(net: TanhNetworks, states: Tensor) -> Tensor:
    return torch.tanh(states @ net.weight + net.bias) @ net.last + net.last_bias


def gaussian(actor: TanhNetworks, states: Tensor) -> MultivariateNormal:
    mean, spread = outputs(actor, states).chunk(2, -1)
    return MultivariateNormal(mean, torch.diag_embed(torch.nn.functional.softplus(spread)))


def loss_of(actor: TanhNetworks, critic: TanhNetworks, data: Batch) -> Tensor:
    """By torch, in the words of the paper."""
    states, actions, log_probs, returns = data
    policy, values = gaussian(actor, states), outputs(critic, states)[..., 0]
    ratios, advantages = torch.exp(policy.log_prob(actions) - log_probs), returns - values.detach()
    surrogate = torch.minimum(ratios * advantages, ratios.clamp(1 - CLIP, 1 + CLIP) * advantages)
    return ((values - returns).square() / 2 - surrogate - BONUS * policy.entropy()).mean(-1)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("num_states", "games", "hidden", "runs"), [
    (5, 700, 6, 1), (5, 512, 256, 1), (5, 1, 1, 2), (1, 37, 5, 3),
])  # fmt: skip
def test_loss_and_gradient(
    isa: str, dtype: torch.dtype, num_states: int, games: int, hidden: int, runs: int
) -> None:
    torch.manual_seed(games)
    like = {"dtype": dtype}
    nets = [drawn(runs, 2 * num_states, hidden, count, like) for count in (2 * num_states, 1)]
    data = batch(runs, games, num_states, like)
    loss, *gradients = ppo(nets[0], nets[1], data, CLIP, BONUS)
    exact = [TanhNetworks(*(one.double().requires_grad_() for one in net)) for net in nets]
    wide = tuple(one.double() for one in data)
    wanted = loss_of(exact[0], exact[1], wide)  # type: ignore[arg-type]
    torch.testing.assert_close(loss.double(), wanted.detach(), **CLOSE[dtype])
    leaves = [one for net in exact for one in net]
    for found, one in zip(
        (one for net in gradients for one in net),
        torch.autograd.grad(wanted.sum(), leaves),
        strict=True,
    ):
        scale = one.abs().max().item()
        torch.testing.assert_close(
            found.double() / scale, one / scale, rtol=0, atol=CLOSE[dtype]["rtol"]
        )


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("num_states", [1, 5])
def test_actions_and_log_probs(isa: str, dtype: torch.dtype, num_states: int) -> None:
    torch.manual_seed(0)
    like = {"dtype": dtype}
    actor = drawn(2, 2 * num_states, 9, 2 * num_states, like)
    actor.last_bias[..., -1] += torch.tensor(
        [[-40.0], [40.0]]
    )  # a variance near 0, and a large one
    states, noise = batch(2, 21, num_states, like)[:2]
    actions, log_probs = act(actor, states, noise)
    policy = gaussian(TanhNetworks(*(one.double() for one in actor)), states.double())
    wanted = policy.mean + policy.variance.sqrt() * noise.double()
    torch.testing.assert_close(actions.double(), wanted, **CLOSE[dtype])
    # Of the noise: an action near its mean has lost digits.
    log_prob = -(noise.double().square() + torch.log(2 * math.pi * policy.variance)).sum(-1) / 2
    if dtype == torch.float64:
        torch.testing.assert_close(log_prob, policy.log_prob(wanted), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(log_probs, log_prob, rtol=1e-6, atol=1e-6)
    else:
        torch.testing.assert_close(log_probs[1].double(), log_prob[1], **CLOSE[dtype])


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("seat", [0, 1])
def test_values_and_the_others_gradient(isa: str, dtype: torch.dtype, seat: int) -> None:
    torch.manual_seed(1)
    game = ExactGame("any", torch.randn(2, 2, 2).tolist(), 0.96)
    mine, theirs = 3 * torch.randn(2, 3, 33, 5, dtype=dtype)
    values, gradient = game.others_gradient(mine, theirs, seat)
    wide = theirs.double().requires_grad_()
    wanted = torch.stack(game.values(mine.double(), wide, seat))
    torch.testing.assert_close(values.double(), wanted.detach(), **CLOSE[dtype])
    (slope,) = torch.autograd.grad(wanted[1].sum(), wide)
    torch.testing.assert_close(gradient.double(), slope, rtol=0, atol=10 * CLOSE[dtype]["rtol"])


def test_no_result_depends_on_threads_or_on_who_else_runs() -> None:
    torch.manual_seed(2)
    nets = drawn(3, 10, 12, 10, {}), drawn(3, 10, 12, 1, {})
    data = batch(3, 40, 5, {})
    threads = torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(ppo(*nets, data, CLIP, BONUS))
    torch.set_num_threads(threads)
    alone = ppo(
        *(TanhNetworks(*(one[1:2] for one in net)) for net in nets),
        tuple(one[1:2] for one in data),  # type: ignore[arg-type]
        CLIP,
        BONUS,
    )
    assert torch.equal(found[0][0], found[1][0])
    for first, second, third in zip(found[0][1], found[1][1], alone[1], strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first[1:2], third)
    assert all(not torch.equal(*both) for both in pairwise(found[0][1].weight))


def test_arrays_of_any_strides() -> None:
    torch.manual_seed(3)
    nets = drawn(1, 10, 4, 10, {}), drawn(1, 10, 4, 1, {})
    data = batch(1, 8, 5, {})
    turned = tuple(one.transpose(0, 1).contiguous().transpose(0, 1) for one in data)
    assert torch.equal(ppo(*nets, data, 0.2, 0)[0], ppo(*nets, turned, 0.2, 0)[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(("change", "said"), [
    ({"states": torch.rand(1, 4, 6)}, r"states must be \[R, N, 10\] or \[R, N, 2\]"),
    ({"states": torch.rand(1, 0, 10)}, "N at least 1"),
    ({"states": torch.rand(1, 4, 10).half()}, "states must be a dense tensor of float32 or float64"),
    ({"noise": torch.rand(1, 4, 4)}, r"noise must be \[1, 4, 5\] float32"),
    ({"noise": torch.rand(1, 4, 5).double()}, r"noise must be \[1, 4, 5\] float32"),
    ({"actor": drawn(2, 10, 3, 10, {})}, r"actor.weight must be \[1, 10, 3\]"),
    ({"actor": drawn(1, 10, 3, 9, {})}, r"actor.last must be \[1, 3, 10\]"),
])  # fmt: skip
def test_bad_input(change: dict[str, Any], said: str) -> None:
    given = {"actor": drawn(1, 10, 3, 10, {}), "states": torch.rand(1, 4, 10),
             "noise": torch.rand(1, 4, 5)} | change  # fmt: skip
    with pytest.raises(ValueError, match=said):
        act(**given)


def test_bad_input_of_losses_and_values() -> None:
    nets = drawn(1, 10, 3, 10, {}), drawn(1, 10, 3, 1, {})
    states, actions, log_probs, returns = batch(1, 4, 5, {})
    with pytest.raises(ValueError, match=r"returns must be \[1, 4\]"):
        ppo(*nets, (states, actions, log_probs, returns[:, :3]), 0.2, 0)
    with pytest.raises(ValueError, match=r"critic.bias must be \[1, 1, 3\]"):
        ppo(nets[0], drawn(1, 10, 4, 1, {}), (states, actions, log_probs, returns), 0.2, 0)
    logits, payoffs = torch.zeros(3, 5), [[0.0] * 4] * 2
    with pytest.raises(ValueError, match=r"theirs must be \[3, 5\]"):
        exact_gradient(logits, logits[:2], payoffs, 0.9)
    with pytest.raises(ValueError, match=r"mine must be a dense tensor \[..., 5\]"):
        exact_gradient(logits[:, :4], logits, payoffs, 0.9)
    with pytest.raises(TypeError, match="mine must be a torch tensor, got list"):
        exact_gradient([0.0], logits, payoffs, 0.9)  # type: ignore[arg-type]
    assert exact_gradient(logits[:0], logits[:0], payoffs, 0.9)[0].shape == (2, 0)
    native: Any = core
    with pytest.raises(ValueError, match="num_states must be 1 or 5"):
        native.meta_act_f32([0] * 4, 0, 0, 0, 0, 3, 4, 1, 1, 1)
    with pytest.raises(ValueError, match="mine: no memory for the array"):
        native.exact_gradient_f32(0, 0, [0.0] * 8, 0.9, 0, 0, 1, 1)
