"""Process-wide settings of torch change no result of the kernels and the GRU, and break no call."""

from __future__ import annotations

import functools

import pytest
import torch
from kernel_cases import ALL, draw
from rollouts import play
from test_native_rollout import _draws, _env, _stack
from torch import Tensor
from torch_settings_changed import default_dtype, deterministic

from loqa import ops
from loqa.agents.native import StackedHead
from loqa.ops.gru import GRUPolicy, affine, fold, gru, gru_step, under

SETTINGS = {
    "default device": lambda: torch.device("meta"),  # stands in for a GPU
    "default dtype": lambda: default_dtype(torch.float64),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
}


def by_kernels() -> list[Tensor]:
    found = []
    for call in ALL.values():
        leaves = [x.requires_grad_() for x in draw(6, 5, dtype=torch.float32)]
        out = call(ops, *leaves)
        grads = torch.autograd.grad(
            out.sin().sum(), leaves, create_graph=True, materialize_grads=True
        )
        found += [out.detach(), *(g.detach() for g in grads)]
        total = sum(g.square().sum() for g in grads)
        if total.requires_grad:
            found += torch.autograd.grad(total, leaves, materialize_grads=True)
    return found


def by_gru() -> list[Tensor]:
    shapes = [(3, 4, 24), (24, 8), (8,), (4, 24), (4, 8)]
    arrays = [
        torch.randn(
            s, generator=torch.Generator("cpu").manual_seed(i), dtype=torch.float32, device="cpu"
        )
        for i, s in enumerate(shapes)
    ]
    leaves = [x.requires_grad_() for x in arrays[:3]]
    out = gru(*leaves)
    found = [out.detach(), *torch.autograd.grad(out.sin().sum(), leaves)]
    inputs, weight, bias, one, state = (x.detach() for x in arrays)
    with torch.no_grad():
        found.append(gru_step(one, state, weight, bias))
    found.append(gru_step(one, state, weight, bias))
    stacked = torch.stack([weight, 2 * weight]), torch.stack([bias, -bias])
    found.append(gru(inputs, *stacked))
    found.append(affine(state, weight, one[0]))
    found += fold(*(torch.stack([x, x]) for x in (weight, one[0], weight[:8], bias)))
    return found


@functools.cache
def policy() -> tuple[dict[str, Tensor], Tensor]:
    """Parameters and draws, made before any setting."""
    return {name: value[0] for name, value in _stack(1).items()}, _draws(6)


def by_policies() -> list[Tensor]:
    single, draws = policy()
    head = StackedHead(single, "actor.")
    played, _ = play(_env(6), (head, "random"), None, draws, seed=5)
    actor = GRUPolicy.of(under(single, "actor."))
    output, state = actor.step(played.obs[:6, 0, 0].flatten(1), actor.initial_state(6))
    return [played.obs, played.actions, played.rewards, output, state]


@pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("work", [by_kernels, by_gru])
def test_settings_do_not_matter(setting: str, work: object) -> None:
    _same(setting, work)


@pytest.mark.parametrize("setting", ["default dtype", "autocast", "deterministic"])
def test_settings_do_not_matter_to_policies(setting: str) -> None:
    _same(setting, by_policies)


def _same(setting: str, work: object) -> None:
    expected = work()  # type: ignore[operator]
    with SETTINGS[setting]():
        got = work()  # type: ignore[operator]
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert (one.dtype, one.device) == (other.dtype, other.device)
        assert torch.equal(one, other)


def test_network_episodes_with_another_default_device() -> None:
    """The environment and the networks were made before; what the call makes is on the CPU."""
    env, draws = _env(6), _draws(6)
    head = StackedHead({name: value[0] for name, value in _stack(1).items()}, "actor.")
    expected, _ = play(env, (head, "random"), None, draws, seed=5)
    with torch.device("meta"):
        got, _ = play(env, (head, "random"), None, draws, seed=5)
    assert torch.equal(got.obs, expected.obs)
    assert torch.equal(got.actions, expected.actions)


@pytest.mark.parametrize("name", ALL)
def test_inference_mode(name: str) -> None:
    inputs = draw(6, 5)
    expected = ALL[name](ops, *inputs)
    with torch.inference_mode():
        assert torch.equal(ALL[name](ops, *inputs), expected)
        inside = draw(6, 5)
        assert torch.equal(ALL[name](ops, *inside), expected)
    assert torch.equal(ALL[name](ops, *inside), expected)  # tensors of that mode, outside it
    arguments = [torch.randn(2, 3, 12), torch.randn(12, 4), torch.randn(4)]
    plain = gru(*arguments)
    with torch.inference_mode():
        assert torch.equal(gru(*arguments), plain)
