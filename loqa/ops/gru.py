"""The gated recurrent unit over whole sequences and by the step, for one or several parameter sets.

With gates in the order r, z, n (as `torch.nn.GRU`, its b_hr = b_hz = 0):

    r = sigmoid(i_r + W_hr h)
    z = sigmoid(i_z + W_hz h)
    n = tanh(i_n + r (W_hn h + b_hn))
    h' = (1 - z) n + z h

where i = W_i x + b_i, `[..., 3H]`, is what the input says to the three gates. The matrix products are
torch's and the rest of a step is one native pass over memory, on the CPU and on CUDA the same code
(csrc/kernels/gru_formulas.h). Parameter sets are stacked: G sets serve B = G b sequences, b in a row each.

On CUDA, sequences of one set of up to 128 units (as many as fit into a block's shared memory, in float32)
are one launch forward and one backward, products included (csrc/kernels/gru_sequence.h).

Not cuDNN's GRU on CUDA: it wants W_i x inside, with the six bias vectors of `torch.nn.GRU` of which
two would have to stay 0, knows no stacked sets and rounds as it likes; its products are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from loqa._native import core
from loqa.ops import register
from loqa.ops.register import address_of, check_like, check_range, describe, is_plain

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _in_full_precision(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """`function` of tensors without autocast: products in the type that the kernels read."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        kinds = {arg.device.type for arg in args if isinstance(arg, Tensor)}
        kind = next(iter(kinds), "cpu")
        if kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    return call


@_in_full_precision
def gru(inputs: Tensor, weight_hh: Tensor, bias_hn: Tensor) -> Tensor:
    """Hidden states of whole sequences that start from h = 0.

    Args:
        inputs: `[T, B, 3H]`, i.
        weight_hh: `[3H, H]`, or `[G, 3H, H]` for stacked sets.
        bias_hn: `[H]` or `[G, H]`.

    Returns:
        `[T, B, H]`. First derivatives in all three exist for one set; stacked sets are constants.

    Raises:
        TypeError, ValueError: not tensors of one type on one device whose shapes fit together.
        RuntimeError: a second derivative is asked for (in the backward, where the steps are native;
            under `torch.func` they are not). `gru_every_order` has them.
    """
    _check_sequence(inputs, weight_hh, bias_hn)
    if weight_hh.ndim == 3:
        return _by_steps(inputs, weight_hh, bias_hn)
    if not _native(inputs, weight_hh, bias_hn):
        return _by_operators(inputs, weight_hh, bias_hn)
    output: Tensor = _Gru.apply(inputs, weight_hh, bias_hn)  # type: ignore[no-untyped-call]
    return output


@_in_full_precision
def gru_every_order(inputs: Tensor, weight_hh: Tensor, bias_hn: Tensor) -> Tensor:
    """`gru` of one set with derivatives of every order, by steps of torch operators.

    It is some three times slower than the native steps, which have the first derivative.
    """
    _check_sequence(inputs, weight_hh, bias_hn)
    if weight_hh.ndim == 3:
        raise ValueError(f"weight_hh must be [3H, H], of one set, got {describe(weight_hh)}")
    return _by_operators(inputs, weight_hh, bias_hn)


@_in_full_precision
def gru_step(inputs: Tensor, state: Tensor, weight_hh: Tensor, bias_hn: Tensor) -> Tensor:
    """One step, `inputs [B, 3H]` and `state [B, H]` to the next state `[B, H]`.

    Stacked sets as in `gru`, and the same errors. Without gradients it runs natively.
    """
    size = _check_parameters(weight_hh, bias_hn)
    if not isinstance(state, Tensor) or state.dim() != 2:
        raise ValueError(f"state must be [B, {size}], got {describe(state)}")
    check_like("state", state, bias_hn, (len(state), size))
    check_like("inputs", inputs, bias_hn, (len(state), 3 * size))
    _check_groups(len(state), bias_hn)
    hidden = _product(state, weight_hh)
    if torch.is_grad_enabled() or not _native(inputs, state, weight_hh, bias_hn):
        sets = bias_hn.shape[0] if bias_hn.ndim == 2 else 1
        bias = bias_hn.view(sets, 1, -1).expand(-1, len(state) // sets, -1).reshape(state.shape)
        input_rz, input_n = inputs.tensor_split([2 * state.shape[-1]], -1)
        hidden_rz, hidden_n = hidden.tensor_split([2 * state.shape[-1]], -1)
        r, z = torch.sigmoid(input_rz + hidden_rz).chunk(2, -1)
        n = torch.tanh(input_n + r * (hidden_n + bias))
        return n + z * (state - n)
    state = state.contiguous()
    following = torch.empty_like(state)
    _forward(inputs.contiguous(), hidden, bias_hn.contiguous(), state, following, None)
    return following


def _check_sequence(inputs: Tensor, weight_hh: Tensor, bias_hn: Tensor) -> None:
    size = _check_parameters(weight_hh, bias_hn)
    if not isinstance(inputs, Tensor) or inputs.dim() != 3:
        raise ValueError(f"inputs must be [T, B, {3 * size}], got {describe(inputs)}")
    check_like("inputs", inputs, bias_hn, (*inputs.shape[:2], 3 * size))
    _check_groups(inputs.shape[1], bias_hn)


def _check_parameters(weight_hh: Tensor, bias_hn: Tensor) -> int:
    """H, of `[3H, H]` and `[H]` or of as many sets of both."""
    if not isinstance(bias_hn, Tensor) or bias_hn.dim() not in (1, 2) or not bias_hn.shape[-1]:
        raise ValueError(f"bias_hn must be a tensor [H] or [G, H], got {describe(bias_hn)}")
    *sets, size = bias_hn.shape
    check_like("weight_hh", weight_hh, bias_hn, (*sets, 3 * size, size))
    return size


def _check_groups(batch: int, bias_hn: Tensor) -> None:
    sets = bias_hn.shape[0] if bias_hn.dim() == 2 else 1
    if sets < 1 or batch % sets:
        raise ValueError(f"B must be a multiple of the number of sets, got {batch} and {sets}")


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    """`rows [B, F]` times the transpose of `weight [O, F]`, or of each of `[G, O, F]`, `[B, O]`."""
    if weight.ndim == 2:
        return rows @ weight.t()
    return torch.bmm(rows.reshape(weight.shape[0], -1, rows.shape[-1]), weight.mT).flatten(0, 1)


@_in_full_precision
def fold(weight_ih: Tensor, bias_ih: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The linear layer `weight x + bias` and the gates' input matrix after it as one layer.

    W_i (W x + b) + b_i = (W_i W) x + (W_i b + b_i): no nonlinearity lies between them. Of one set the
    products are formed in float64 and rounded once, which halves the error of what a head computes;
    of stacked sets that would take longer than they are used for.

    Args:
        weight_ih, bias_ih: `[..., 3H, H]`, `[..., 3H]`.
        weight, bias: `[..., H, F]`, `[..., H]`.

    Returns:
        `[..., 3H, F]` and `[..., 3H]`.
    """
    given = weight.dtype
    if weight.ndim == 2:
        weight_ih, bias_ih, weight, bias = (x.double() for x in (weight_ih, bias_ih, weight, bias))
    folded = bias_ih + (weight_ih @ bias.unsqueeze(-1)).squeeze(-1)
    return (weight_ih @ weight).to(given), folded.to(given)


@_in_full_precision
def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`weight x + bias` for x `[B, F]`; stacked weights `[G, O, F]`, `[G, O]` as in `gru`."""
    if weight.ndim == 2:
        return functional.linear(x, weight, bias)
    groups = x.reshape(weight.shape[0], -1, x.shape[-1])
    return torch.baddbmm(bias.unsqueeze(1), groups, weight.mT).flatten(0, 1)


def under(parameters: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with `prefix`, without it, as constants."""
    cut = len(prefix)
    return {name[cut:]: one.detach() for name, one in parameters.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class GRUPolicy:
    """A recurrent head as it is used step by step: folded weights, of one set or of G stacked.

    The same numbers as `loqa.agents.networks.GRUHead.step` up to rounding. Constants: no gradients.
    """

    first: tuple[Tensor, Tensor] | None
    gates: tuple[Tensor, Tensor]
    weight_hh: Tensor
    bias_hn: Tensor
    end: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, parameters: Mapping[str, Tensor]) -> GRUPolicy:
        """From the parameters of a `GRUHead` by name."""
        own = under(parameters, "")
        gates = (own["weight_ih"], own["bias_ih"])
        if "linear2.weight" in own:
            gates = fold(*gates, own["linear2.weight"], own["linear2.bias"])
        first = None
        if "linear1.weight" in own:
            first = (_laid_out(own["linear1.weight"]), own["linear1.bias"])
        return cls(
            first=first,
            gates=(_laid_out(gates[0]), gates[1]),
            weight_hh=_laid_out(own["weight_hh"]),
            bias_hn=own["bias_hn"],
            end=(_laid_out(own["linear_end.weight"]), own["linear_end.bias"]),
        )

    def initial_state(self, batch_size: int) -> Tensor:
        """h = 0, `[B, H]`."""
        return self.bias_hn.new_zeros(batch_size, self.bias_hn.shape[-1])

    @_in_full_precision
    def step(self, x: Tensor, state: Tensor, t: int | None = None) -> tuple[Tensor, Tensor]:
        """One step of B games.

        Args:
            x: `[B, F]` features; or integers `[B, N]`, the places of the N ones among features that
                are zero elsewhere (the Coin Game's observation "cells"): then the first layer is a
                sum of N rows of its weights. Whether they are in range is looked at on the CPU only.
            state: `[B, H]`.
            t: appended to the features, if the head reads the step index.

        Returns:
            `[B, K]`, and the next state.

        Raises:
            ValueError: a place is out of range.
        """
        with torch.no_grad():
            if self.first is None:
                gates = _input_layer(x, t, *self.gates)
            else:
                gates = affine(_input_layer(x, t, *self.first).relu_(), *self.gates)
            state = gru_step(gates, state, self.weight_hh, self.bias_hn)
            return affine(state, *self.end), state


def _input_layer(x: Tensor, t: int | None, weight: Tensor, bias: Tensor) -> Tensor:
    """`affine` of features or places of ones, `[B, O]`; weights are laid out."""
    features = weight.shape[-1]
    if t is not None:  # the last feature is t, for every row
        bias = bias + t * weight[..., -1]
    if x.is_floating_point():
        return affine(x, weight if t is None else weight[..., :-1], bias)
    check_range("places of ones", x, features - (t is not None))
    if x.dtype != torch.int64:
        x = x.int()  # the bag reads no shorter ones
    rows = weight.mT.reshape(-1, weight.shape[-2])  # F rows a set, one set after the other
    if weight.ndim == 3:
        sets = weight.shape[0]
        starts = torch.arange(0, sets * features, features, dtype=x.dtype, device=x.device)
        x = (x.view(sets, -1, x.shape[-1]) + starts[:, None, None]).flatten(0, 1)
    summed = functional.embedding_bag(x, rows, mode="sum")
    return (summed.view(*bias.shape[:-1], -1, bias.shape[-1]) + bias.unsqueeze(-2)).view(
        summed.shape
    )


def _laid_out(weight: Tensor) -> Tensor:
    """Weights `[..., O, F]` over memory `[..., F, O]`: batched products read them twice as fast, and
    the weights of one feature are a row."""
    return weight.mT.contiguous().mT


def _native(*tensors: Tensor) -> bool:
    """Whether all can be read from memory, and nobody records or transforms what torch does."""
    like = tensors[0]
    return (
        like.dtype in register.SUFFIXES
        and (like.is_cpu or (like.is_cuda and core.has_cuda))
        and is_plain(*tensors)
    )


def _launch(kernel: str, like: Tensor, *args: Tensor | int | None) -> None:
    """`_run` in the precision of `like`."""
    _run(f"{kernel}_{register.SUFFIXES[like.dtype]}", like, *args)


def _run(kernel: str, like: Tensor, *args: Tensor | int | None) -> None:
    """Runs a native kernel on the device of `like`.

    A tensor, contiguous, stands for its address, None for an array that is left out.
    """
    numbers = [
        address_of(arg) if isinstance(arg, Tensor) else 0 if arg is None else arg for arg in args
    ]
    register.run(kernel, like, *numbers)


def _in_one_launch(like: Tensor) -> bool:
    """Whether a GPU takes whole sequences of float32 at once, by a weight or bias `[..., H]`; products are
    then float32 whatever precision torch is set to."""
    if not like.is_cuda or like.dtype != torch.float32:
        return False
    with torch.cuda.device(like.device):
        return core.gru_sequence_fits(like.shape[-1])


def aligned(x: Tensor) -> Tensor:
    """The same numbers, contiguous from an address on where a GPU reads several at once."""
    x = x.contiguous()
    return x if x.data_ptr() % 16 == 0 else x.clone()


def _by_steps(inputs: Tensor, weight_hh: Tensor, bias_hn: Tensor) -> Tensor:
    state = inputs.new_zeros(inputs.shape[1], bias_hn.shape[-1])
    if not len(inputs):
        return state.new_zeros(0, *state.shape)
    states = []
    for one in inputs:
        state = gru_step(one, state, weight_hh, bias_hn)
        states.append(state)
    return torch.stack(states)


def _by_operators(inputs: Tensor, weight_hh: Tensor, bias_hn: Tensor) -> Tensor:
    """One set, in as few operators a step as torch has: each costs thrice, in two derivatives too."""
    size = bias_hn.shape[0]
    if not len(inputs):
        return inputs.new_zeros(0, inputs.shape[1], size)
    weight = weight_hh.t()
    bias = torch.cat([bias_hn.new_zeros(2 * size), bias_hn])
    state = inputs.new_zeros(inputs.shape[1], size)
    states = []
    gates = [2 * size, size]
    by_gate = (one.unbind() for one in torch.split(inputs, gates, -1))
    for input_rz, input_n in zip(*by_gate, strict=True):
        hidden_rz, hidden_n = torch.split(torch.addmm(bias, state, weight), gates, -1)
        r, z = torch.sigmoid(input_rz + hidden_rz).chunk(2, -1)
        n = torch.tanh(torch.addcmul(input_n, r, hidden_n))
        state = torch.lerp(n, state, z)
        states.append(state)
    return torch.stack(states)


def _forward(
    inputs: Tensor,
    hidden: Tensor,
    bias_hn: Tensor,
    state: Tensor,
    following: Tensor,
    saved: Tensor | None,
) -> None:
    """One native step; all arrays are contiguous and fit together."""
    rows, size = state.shape
    sets = bias_hn.shape[0] if bias_hn.ndim == 2 else 1
    _launch(
        "gru_step", state, inputs, hidden, bias_hn, state, following, saved,
        rows, size, max(rows // sets, 1),
    )  # fmt: skip


class _Gru(torch.autograd.Function):
    """One parameter set, native steps."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight_hh: Tensor, bias_hn: Tensor) -> Tensor:
        inputs, weight, bias = inputs.contiguous(), weight_hh.contiguous(), bias_hn.contiguous()
        steps, batch, _ = inputs.shape
        size = bias.shape[0]
        wanted = any(ctx.needs_input_grad)
        states = inputs.new_empty(steps + 1, batch, size)
        saved = inputs.new_empty(steps, batch, 4 * size) if wanted else None
        if _in_one_launch(bias):
            arrays = (aligned(x) for x in (inputs, weight.t(), bias))
            _run("gru_sequence", bias, *arrays, states, saved, steps, batch, size)
        else:
            states[0] = 0
            hidden = inputs.new_empty(batch, 3 * size)
            for t in range(steps):
                torch.mm(states[t], weight.t(), out=hidden)
                _forward(inputs[t], hidden, bias, states[t], states[t + 1],
                         None if saved is None else saved[t])  # fmt: skip
        if wanted:
            ctx.save_for_backward(states, saved, weight)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if torch.is_grad_enabled():  # what follows would be a constant without saying so
            raise RuntimeError("the native GRU has first derivatives only: no create_graph=True")
        return _backward(grad, *ctx.saved_tensors)


@_in_full_precision
def _backward(
    grad: Tensor, states: Tensor, saved: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if not _native(grad, states, saved, weight):
        return _backward_by_torch(grad, states, saved, weight)
    grad = grad.contiguous()
    steps, batch, size = grad.shape
    grad_inputs = grad.new_empty(steps, batch, 3 * size)
    grad_hidden = grad.new_empty(steps, batch, 3 * size)
    if _in_one_launch(weight):
        _run(
            "gru_sequence_vjp", grad,
            aligned(grad), saved, states, aligned(weight), grad_inputs, grad_hidden,
            steps, batch, size,
        )  # fmt: skip
    else:
        carried = grad.new_zeros(batch, size)
        direct = torch.empty_like(carried)
        for t in reversed(range(steps)):
            _launch(
                "gru_step_vjp", grad,
                carried, grad[t], saved[t], states[t], grad_inputs[t], grad_hidden[t], direct,
                batch, size,
            )  # fmt: skip
            if t:  # h = 0 at the start is a constant
                torch.addmm(direct, grad_hidden[t], weight, out=carried)
    flat = grad_hidden.flatten(0, 1)
    grad_weight = torch.mm(flat.t(), states[:-1].flatten(0, 1))
    return grad_inputs, grad_weight, flat[:, 2 * size :].sum(0)


def _backward_by_torch(
    grad: Tensor, states: Tensor, saved: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for a cotangent without memory of its own: one of many that torch takes at once."""
    steps, size = grad.shape[0], grad.shape[-1]
    if not steps:
        empty = grad.new_zeros(*grad.shape[:-1], 3 * size)
        return empty, torch.zeros_like(weight), weight.new_zeros(size)
    grad_inputs, grad_hidden = [], []
    carried = torch.zeros_like(grad[0])
    for t in reversed(range(steps)):
        r, z, n, hn = saved[t].chunk(4, -1)
        total = grad[t] + carried
        grad_n = total * (1 - z) * (1 - n * n)
        grad_z = total * (states[t] - n) * z * (1 - z)
        grad_r = grad_n * hn * r * (1 - r)
        grad_inputs.append(torch.cat([grad_r, grad_z, grad_n], -1))
        grad_hidden.append(torch.cat([grad_r, grad_z, grad_n * r], -1))
        carried = total * z + grad_hidden[-1] @ weight
    hidden = torch.stack(grad_hidden[::-1])
    flat = hidden.reshape(-1, 3 * size)
    grad_weight = flat.transpose(0, 1) @ states[:-1].reshape(-1, size)
    return torch.stack(grad_inputs[::-1]), grad_weight, flat[:, 2 * size :].sum(0)
