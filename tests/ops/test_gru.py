"""The native GRU against torch's, by sequence and by step, alone and stacked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from kernel_cases import DEVICES, use_device

import loqa.ops.gru
from loqa._native import core
from loqa.agents.networks import GRUHead
from loqa.ops import register
from loqa.ops.gru import GRUPolicy, affine, gru, gru_every_order, gru_step

RUN = register.run
# Rounding of float32; the kernel's exp and tanh are good to 3e-7.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}


def _random(dtype: torch.dtype, *shape: int, seed: int = 0, device: str = "cpu") -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).to(device)


def _by_torch(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """torch.gru whose input matrix is the identity and whose b_hr and b_hz are 0."""
    size = bias.shape[0]
    zeros = inputs.new_zeros
    weights = [torch.eye(3 * size, dtype=inputs.dtype, device=inputs.device), weight, zeros(3 * size),
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("steps", "batch", "size"), [(1, 1, 1), (7, 5, 16), (4, 33, 19), (3, 9, 70)]
)
def test_small_sequences_on_every_device(kernel_device, dtype, steps, batch, size) -> None:
    """The code of the GPU's threads: values and gradients are the CPU's."""
    shapes = [(steps, batch, 3 * size), (3 * size, size), (size,)]
    arguments = [_random(dtype, *shape, seed=i) for i, shape in enumerate(shapes)]
    cotangent = _random(dtype, steps, batch, size, seed=9)
    there = [x.to(kernel_device).requires_grad_() for x in arguments]
    out = gru(*there)
    got = [out, *torch.autograd.grad(out, there, cotangent.to(kernel_device))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(register, "run", RUN)
        here = [x.requires_grad_() for x in arguments]
        expected = gru(*here)
        wanted = [expected, *torch.autograd.grad(expected, here, cotangent)]
    tolerance = TOLERANCE[dtype]
    for one, other in zip(got, wanted, strict=True):
        if kernel_device == "cpu" and dtype == torch.float32:
            assert torch.equal(one, other)  # products by the same library, steps by the same code
        scale = max(float(other.detach().abs().max()), 1)
        torch.testing.assert_close(one.cpu(), other, rtol=tolerance, atol=tolerance * scale)


@pytest.fixture(params=[*DEVICES[1:], "threads"])
def gpu_code(request, monkeypatch) -> Iterator[str]:
    """Where arrays go, with sequences in one launch there."""
    yield use_device(request.param, monkeypatch)
    core.emulate_cuda(False)


@pytest.mark.parametrize(
    ("steps", "batch", "size"), [(1, 1, 4), (7, 5, 16), (4, 33, 20), (3, 40, 72), (5, 16, 128)]
)
def test_small_sequences_in_one_launch(gpu_code, steps, batch, size, monkeypatch) -> None:
    """Values and gradients are those of the steps; products are fused there."""
    shapes = [(steps, batch, 3 * size), (3 * size, size), (size,)]
    arguments = [_random(torch.float32, *shape, seed=i) for i, shape in enumerate(shapes)]
    arguments[1] *= size**-0.5
    cotangent = _random(torch.float32, steps, batch, size, seed=9)
    here = [x.double().requires_grad_() for x in arguments]
    expected = gru_every_order(*here)
    wanted = [expected, *torch.autograd.grad(expected, here, cotangent.double())]
    monkeypatch.setattr(
        "loqa.ops.gru._in_one_launch", lambda like: core.gru_sequence_fits(like.shape[-1])
    )
    launched = []
    run = register.run
    monkeypatch.setattr(
        register, "run", lambda name, *rest: launched.append(name) or run(name, *rest)
    )
    there = [x.to(gpu_code).requires_grad_() for x in arguments]
    out = gru(*there)
    got = [out, *torch.autograd.grad(out, there, cotangent.to(gpu_code))]
    assert launched == ["gru_sequence", "gru_sequence_vjp"]
    with torch.no_grad():  # nothing is kept for a gradient
        assert torch.equal(gru(*there), out)
    for one, other in zip(got, wanted, strict=True):
        scale = max(float(other.detach().abs().max()), 1)
        torch.testing.assert_close(one.double().cpu(), other, rtol=1e-5, atol=1e-5 * scale)


def test_what_does_not_fit_into_one_launch_goes_by_steps(monkeypatch) -> None:
    use_device("threads", monkeypatch)
    assert [size for size in (1, 4, 6, 64, 128, 132) if core.gru_sequence_fits(size)] == [
        4,
        64,
        128,
    ]
    core.emulate_cuda(False)
    assert not loqa.ops.gru._in_one_launch(torch.zeros(8))  # on the CPU
    array = torch.zeros(64)
    for address, size, message in [
        (array.data_ptr() + 4, 4, "aligned to 16"), (array.data_ptr(), 6, "multiple of 4"),
        (array.data_ptr(), 132, "up to 128"), (0, 4, "no memory"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            core.gru_sequence_cuda(address, *[array.data_ptr()] * 4, 1, 1, size, 0)
        with pytest.raises(ValueError, match=message):
            core.gru_sequence_vjp_cuda(address, *[array.data_ptr()] * 5, 1, 1, size, 0)


def test_small_gradcheck(kernel_device) -> None:
    shapes = [(3, 2, 12), (12, 4), (4,)]
    arguments = [
        _random(torch.float64, *s, seed=i, device=kernel_device).requires_grad_()
        for i, s in enumerate(shapes)
    ]
    assert torch.autograd.gradcheck(gru, arguments)


def test_a_second_derivative_is_refused(kernel_device) -> None:
    arguments = [
        _random(torch.float64, *s, device=kernel_device).requires_grad_()
        for s in [(2, 2, 6), (6, 2), (2,)]
    ]
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(gru(*arguments).sum(), arguments[0], create_graph=True)


def test_every_order_has_the_values_of_the_native_steps_and_second_derivatives() -> None:
    shapes = [(3, 2, 12), (12, 4), (4,)]
    arguments = [_random(torch.float64, *s, seed=i).requires_grad_() for i, s in enumerate(shapes)]
    torch.testing.assert_close(gru_every_order(*arguments), gru(*arguments))
    assert torch.autograd.gradgradcheck(lambda *x: gru_every_order(*x), arguments)
    assert gru_every_order(arguments[0][:0], *arguments[1:]).shape == (0, 2, 4)


@pytest.mark.parametrize("value", [0.0, 1e-6, -1e-4, 30.0, -30.0, 1e4, -1e4, float("nan")])
def test_gates_at_the_edges(isa, value) -> None:
    inputs = torch.full((1, 18, 3), value).flatten(1)[None].contiguous()
    got = gru(inputs, torch.zeros(54, 18), torch.zeros(18))
    expected = _by_torch(inputs, torch.zeros(54, 18), torch.zeros(18))
    torch.testing.assert_close(got, expected, rtol=5e-6, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("with_gradient", [False, True])
def test_small_stacked_steps_are_each_sets_own(with_gradient, kernel_device) -> None:
    sets, each, size = 3, 4, 8
    weight, bias, inputs, state = (
        _random(torch.float64, *shape, seed=i, device=kernel_device)
        for i, shape in enumerate(
            [(sets, 3 * size, size), (sets, size), (sets * each, 3 * size), (sets * each, size)]
        )
    )
    with torch.set_grad_enabled(with_gradient):
        together = gru_step(inputs, state, weight, bias)
        apart = [_random(torch.float64, 50, *x.shape, device=kernel_device).mT.contiguous().mT[0].copy_(x)
                 for x in (inputs, state, weight, bias)]  # fmt: skip
        assert not any(x.is_contiguous() for x in apart)
        torch.testing.assert_close(gru_step(*apart), together)
        for i in range(sets):
            rows = slice(i * each, (i + 1) * each)
            alone = gru_step(inputs[rows], state[rows], weight[i], bias[i])
            torch.testing.assert_close(together[rows], alone)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_small_policy_equals_head_by_step_and_by_sequence(layers, kernel_device) -> None:
    heads = [
        GRUHead(5, 3, 8, layers, torch.Generator().manual_seed(i)).to(kernel_device)
        for i in range(2)
    ]
    for head in heads:
        torch.nn.init.normal_(head.bias_ih)
        torch.nn.init.normal_(head.bias_hn)
    x = _random(torch.float32, 6, 4, 5, device=kernel_device)
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


@pytest.mark.parametrize("with_gradient", [False, True])
def test_products_in_fewer_bits(with_gradient, kernel_device) -> None:
    """What `matmul` asks for changes the hidden layers' precision and not their type."""
    head = GRUHead(36, 4, 64, 2, torch.Generator().manual_seed(0)).to(kernel_device)
    x = _random(torch.float32, 5, 64, 36, device=kernel_device)
    before = torch.get_float32_matmul_precision()
    outputs = {}
    try:
        with torch.set_grad_enabled(with_gradient):
            for precision in ("highest", "high", "medium"):
                torch.set_float32_matmul_precision(precision)
                outputs[precision] = head(x)
                assert outputs[precision].dtype == torch.float32
                if with_gradient:
                    grads = torch.autograd.grad(outputs[precision].sum(), list(head.parameters()))
                    assert {grad.dtype for grad in grads} == {torch.float32}
    finally:
        torch.set_float32_matmul_precision(before)
    for precision, tolerance in (("high", 1e-2), ("medium", 5e-2)):
        torch.testing.assert_close(
            outputs[precision], outputs["highest"], rtol=tolerance, atol=tolerance
        )
    if kernel_device == "cuda" and torch.cuda.get_device_capability() >= (8, 0):
        assert not torch.equal(outputs["high"], outputs["highest"])
        assert not torch.equal(outputs["medium"], outputs["high"])


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("t", [None, 3])
@pytest.mark.parametrize("sets", [1, 2])
def test_places_of_ones_are_in_range(sets: int, t: int | None, layers: int) -> None:
    """Beyond the features of one stacked set lie those of the next."""
    heads = [GRUHead(5, 3, 8, layers, torch.Generator().manual_seed(i)) for i in range(sets)]
    stacked = {
        name: torch.stack([dict(head.named_parameters())[name] for head in heads]).squeeze(0)
        for name, _ in heads[0].named_parameters()
    }
    policy = GRUPolicy.of(stacked)
    features = 5 if t is None else 4  # the last one is t
    state = policy.initial_state(2)
    places = torch.tensor([[0, 2], [1, features - 1]])
    ones = torch.zeros(2, 5).scatter_(1, places, 1)
    if t is not None:
        ones[:, -1] = t
    torch.testing.assert_close(policy.step(places, state, t)[0], policy.step(ones, state)[0])
    for wrong in (-1, features):
        places[1, 0] = wrong
        with pytest.raises(ValueError, match=rf"places of ones must be in 0..{features - 1}, got"):
            policy.step(places, state, t)
