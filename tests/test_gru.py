"""The native GRU against torch's, by sequence and by step, alone and stacked."""

from __future__ import annotations

import pytest
import torch

from loqa._native import core
from loqa.gru import GRUPolicy, affine, gru, gru_step
from loqa.models import GRUHead

# Rounding of float32; the kernel's exp and tanh are good to 3e-7.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}


@pytest.fixture(params=core.supported_isas())
def isa(request: pytest.FixtureRequest):
    before = core.isa()
    core.set_isa(request.param)
    yield request.param
    core.set_isa(before)


def _random(dtype: torch.dtype, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _by_torch(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """torch.gru whose input matrix is the identity and whose b_hr and b_hz are 0."""
    size = bias.shape[0]
    zeros = inputs.new_zeros
    weights = [torch.eye(3 * size, dtype=inputs.dtype), weight, zeros(3 * size),
               torch.cat([zeros(2 * size), bias])]  # fmt: skip
    start = zeros(1, inputs.shape[1], size)
    return torch.gru(inputs, start, weights, True, 1, 0.0, True, False, False)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("steps", "batch", "size"), [(1, 1, 1), (7, 5, 16), (4, 33, 19)])
def test_values_and_gradients_are_those_of_torch(isa, dtype, steps, batch, size) -> None:
    arguments = [
        _random(dtype, *shape, seed=i).requires_grad_()
        for i, shape in enumerate([(steps, batch, 3 * size), (3 * size, size), (size,)])
    ]
    cotangent = _random(dtype, steps, batch, size, seed=9)
    got, expected = gru(*arguments), _by_torch(*arguments)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    gradients = (torch.autograd.grad(out, arguments, cotangent) for out in (got, expected))
    for ours, theirs in zip(*gradients, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * max(scale, 1))


def test_gradcheck() -> None:
    shapes = [(3, 2, 12), (12, 4), (4,)]
    arguments = [_random(torch.float64, *s, seed=i).requires_grad_() for i, s in enumerate(shapes)]
    assert torch.autograd.gradcheck(gru, arguments)


def test_a_second_derivative_is_refused() -> None:
    arguments = [_random(torch.float64, *s).requires_grad_() for s in [(2, 2, 6), (6, 2), (2,)]]
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(gru(*arguments).sum(), arguments[0], create_graph=True)


@pytest.mark.parametrize("value", [0.0, 1e-6, -1e-4, 30.0, -30.0, 1e4, -1e4, float("nan")])
def test_gates_at_the_edges(isa, value) -> None:
    inputs = torch.full((1, 18, 3), value).flatten(1)[None].contiguous()
    got = gru(inputs, torch.zeros(54, 18), torch.zeros(18))
    expected = _by_torch(inputs, torch.zeros(54, 18), torch.zeros(18))
    torch.testing.assert_close(got, expected, rtol=5e-6, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("with_gradient", [False, True])
def test_stacked_steps_are_each_sets_own(with_gradient) -> None:
    sets, each, size = 3, 4, 8
    weight, bias = _random(torch.float64, sets, 3 * size, size), _random(torch.float64, sets, size)
    inputs = _random(torch.float64, sets * each, 3 * size, seed=1)
    state = _random(torch.float64, sets * each, size, seed=2)
    with torch.set_grad_enabled(with_gradient):
        together = gru_step(inputs, state, weight, bias)
        apart = [_random(torch.float64, 50, *x.shape).mT.contiguous().mT[0].copy_(x)
                 for x in (inputs, state, weight, bias)]  # fmt: skip
        assert not any(x.is_contiguous() for x in apart)
        torch.testing.assert_close(gru_step(*apart), together)
        for i in range(sets):
            rows = slice(i * each, (i + 1) * each)
            alone = gru_step(inputs[rows], state[rows], weight[i], bias[i])
            torch.testing.assert_close(together[rows], alone)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_policy_equals_head_by_step_and_by_sequence(layers) -> None:
    heads = [GRUHead(5, 3, 8, layers, torch.Generator().manual_seed(i)) for i in range(2)]
    for head in heads:
        torch.nn.init.normal_(head.bias_ih)
        torch.nn.init.normal_(head.bias_hn)
    x = _random(torch.float32, 6, 4, 5)
    stacked = {
        name: torch.stack([dict(head.named_parameters())[name] for head in heads])
        for name, _ in heads[0].named_parameters()
    }
    policy = GRUPolicy.of(stacked)
    single = GRUPolicy.of(dict(heads[0].named_parameters()))
    state, alone, carried = policy.initial_state(4), single.initial_state(2), None
    carried = heads[0].initial_state(2)
    whole = [head(x[:, 2 * i : 2 * i + 2]) for i, head in enumerate(heads)]
    for t in range(6):
        output, state = policy.step(x[t], state)
        own, alone = single.step(x[t, :2], alone)
        with torch.no_grad():
            stepped, carried = heads[0].step(x[t, :2], carried)
        expected = torch.cat([sequence[t] for sequence in whole])
        torch.testing.assert_close(output, expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(own, expected[:2], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(stepped, expected[:2], rtol=1e-6, atol=1e-6)


def test_affine_of_stacked_layers() -> None:
    x, weight, bias = (_random(torch.float64, *s) for s in [(6, 5), (2, 3, 5), (2, 3)])
    got = affine(x, weight, bias)
    expected = torch.cat([x[3 * i : 3 * i + 3] @ weight[i].t() + bias[i] for i in range(2)])
    torch.testing.assert_close(got, expected)


def test_the_core_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="multiple of group"):
        core.gru_step_f32(0, 0, 0, 0, 0, 0, rows=5, size=4, group=2, num_threads=1)
    with pytest.raises(ValueError, match="size >= 1"):
        core.gru_step_f64(0, 0, 0, 0, 0, 0, rows=0, size=0, group=1, num_threads=1)


def test_one_thread_and_several_give_the_same_bits() -> None:
    inputs, bias = (_random(torch.float32, *s) for s in [(3, 2048, 96), (32,)])
    hidden = inputs[1] * 0.5
    state = torch.tanh(inputs[2, :, :32]).contiguous()
    results = []
    for threads in (1, 2):
        out = torch.empty_like(state)
        core.gru_step_f32(
            inputs[0].data_ptr(), hidden.data_ptr(), bias.data_ptr(), state.data_ptr(),
            out.data_ptr(), 0, 2048, 32, 2048, threads,
        )  # fmt: skip
        results.append(out)
    assert torch.equal(*results)
