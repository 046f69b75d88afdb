"""Network heads: small modules that map a sequence of observations to one number per action.

Every head maps `[T+1, B, features]` (time-major) to `[T+1, B, K]` and has a step-wise form with
carried state that gives the same numbers: `initial_state(B)` and `step(x [B, features], state)`.
Heads without memory carry an empty state `[B, 0]`.

Initialisation follows the published code (Aghajohari et al. 2024): lecun-normal truncated kernels,
orthogonal recurrent kernels, zero biases, zero logits, all drawn from the generator that is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.overrides import TorchFunctionMode

from loqa.agents.places import Features, linear
from loqa.agents.states import PRISONERS, States
from loqa.ops.gru import fold, gru, gru_every_order, gru_step

NUM_IPD_STATES = 5  # start, CC, CD, DC, DD

Step = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
"""x `[B, features]` and the state `[B, S]` to the output `[B, K]` and the next state."""

# Of new parameters, whatever torch's defaults are.
FLOATS: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}

# Standard deviation of a unit normal truncated to [-2, 2].
_TRUNCATED_STD = 0.87962566103423978


class _NoStorage(TorchFunctionMode):
    """Whatever device a tensor is asked for, it has none."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **({**kwargs, "device": "meta"} if "device" in kwargs else kwargs))


@contextmanager
def shapes_only() -> Iterator[None]:
    """Networks built inside have the shapes of their parameters, and take no memory."""
    with torch.device("meta"), _NoStorage():
        yield


def lecun_normal_(weight: Tensor, generator: Generator | None = None) -> Tensor:
    """Fill `weight [out, in]` from a normal of variance 1/in, truncated at two deviations.

    The deviation is enlarged so that the variance after the truncation is 1/in (LeCun et al. 1998).
    """
    if weight.is_meta:  # a network built for its shapes alone
        return weight
    std = weight.shape[1] ** -0.5 / _TRUNCATED_STD
    with torch.no_grad():
        return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)


# Built without storage first: torch's own initialisation draws from the global generator.
_UNDRAWN: dict[str, Any] = {"dtype": torch.float32, "device": "meta"}


def _linear(inputs: int, outputs: int, generator: Generator | None) -> nn.Linear:
    layer: nn.Linear = _drawn(nn.Linear(inputs, outputs, **_UNDRAWN), generator)
    return layer


def _convolution(inputs: int, outputs: int, generator: Generator | None) -> nn.Conv2d:
    layer: nn.Conv2d = _drawn(nn.Conv2d(inputs, outputs, 3, padding=1, **_UNDRAWN), generator)
    return layer


def _drawn(layer: Any, generator: Generator | None) -> Any:
    layer = layer.to_empty(device="cpu")
    lecun_normal_(layer.weight.flatten(1), generator)  # a view
    nn.init.zeros_(layer.bias)
    return layer


class Head(nn.Module):
    """A head without memory; subclasses define `forward` and, if they have memory, the state.

    Attributes:
        recurrent: whether the output at t depends on the observations before t.
        reads_places: whether its first layer is linear, so that it reads `loqa.agents.places.Places` too.
        wants_places: whether it reads nothing else where observations are places.
        num_inputs: features that it reads.
    """

    recurrent = False
    reads_places = False
    wants_places = False
    num_inputs: int

    def initial_state(self, batch_size: int) -> Tensor:
        """State before the first step, `[B, S]` (S = 0 without memory)."""
        parameter = next(self.parameters())
        return parameter.new_zeros(batch_size, 0)

    def step(self, x: Features, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step: `x [B, features]`, `state [B, S]` -> (`[B, K]`, the next state)."""
        output: Tensor = self(x)
        return output, state

    def every_order(self, x: Features) -> Tensor:
        """`forward` with derivatives of every order."""
        output: Tensor = self(x)
        return output

    def stepper(self) -> Step:
        """`step` with the parameters as they are now, for many steps: the same numbers without
        gradients, and what all steps have in common is computed once."""
        return self.step


class LogitsHead(Head):
    """One free row of logits for each state, five in the prisoner's dilemma.

    Input: bits `[..., K + M]` of a floating dtype or index `[...]` of an integer dtype
    (`loqa.agents.states`). Output: `[..., K]`. Logits start at zero.
    """

    def __init__(self, states: States = PRISONERS) -> None:
        super().__init__()
        self.states, self.num_inputs = states, states.num_bits
        self.logits = nn.Parameter(torch.zeros(states.count, states.actions, **FLOATS))

    def forward(self, x: Tensor) -> Tensor:
        return _look_up(self.logits, self.states.index(x))


class MLPHead(Head):
    """Linear, relu, linear, relu, linear; 16-16 is the published prisoner's-dilemma critic."""

    reads_places = True

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        hidden_size: int = 16,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.linear1 = _linear(num_inputs, hidden_size, generator)
        self.linear2 = _linear(hidden_size, hidden_size, generator)
        self.linear_end = _linear(hidden_size, num_outputs, generator)

    def forward(self, x: Features) -> Tensor:
        hidden = torch.relu(linear(x, self.linear1.weight, self.linear1.bias))
        output: Tensor = self.linear_end(torch.relu(self.linear2(hidden)))
        return output


class CNNHead(Head):
    """Two 3 x 3 convolutions, each with relu, of a board; linear, relu, linear of all that they say.

    What is not of the board (the critic's step index) joins after the convolutions. The edge is padded
    with zeros.

    Args:
        board: C, H, W of an observation.
        num_outputs: K.
        hidden_size: units of the hidden layer.
        num_others: features after those of the board, 0 or more.
        channels: of both convolutions.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        board: tuple[int, ...],
        num_outputs: int,
        hidden_size: int = 16,
        num_others: int = 0,
        channels: int = 16,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        planes, height, width = board
        self.board = (planes, height, width)
        self.num_inputs = planes * height * width + num_others
        self.conv1 = _convolution(planes, channels, generator)
        self.conv2 = _convolution(channels, channels, generator)
        seen = channels * height * width
        self.linear1 = _linear(seen + num_others, hidden_size, generator)
        self.linear_end = _linear(hidden_size, num_outputs, generator)

    def forward(self, x: Tensor) -> Tensor:
        size = math.prod(self.board)
        planes = x[..., :size].reshape(-1, *self.board)
        planes = torch.relu(self.conv2(torch.relu(self.conv1(planes))))
        seen = torch.cat([planes.reshape(*x.shape[:-1], -1), x[..., size:]], -1)
        output: Tensor = self.linear_end(torch.relu(self.linear1(seen)))
        return output


class GRUHead(Head):
    """The published recurrent head: up to two linear layers, a GRU, a linear layer.

    linear1, relu (if layers_before_gru >= 1), linear2 (if 2; no relu after it), then

        r = sigmoid(W_ir x + b_ir + W_hr h)
        z = sigmoid(W_iz x + b_iz + W_hz h)
        n = tanh(W_in x + b_in + r (W_hn h + b_hn))
        h' = (1 - z) n + z h,   h = 0 at the start

    and linear_end. This is `torch.nn.GRU` with b_hr = b_hz = 0; those two do not exist here, so
    they stay zero in training and are not counted.

    Args:
        num_inputs: features of an observation.
        num_outputs: K.
        hidden_size: units of the linear layers and of the GRU.
        layers_before_gru: 0, 1 or 2, else ValueError.
        generator: source of the initial weights.
    """

    recurrent = True
    reads_places = True

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        hidden_size: int,
        layers_before_gru: int = 2,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if layers_before_gru not in (0, 1, 2):
            raise ValueError(f"layers_before_gru must be 0, 1 or 2, got {layers_before_gru}")
        self.num_inputs = num_inputs
        self.linear1: nn.Linear | None = None
        self.linear2: nn.Linear | None = None
        width = num_inputs
        if layers_before_gru >= 1:
            self.linear1 = _linear(width, hidden_size, generator)
            width = hidden_size
        if layers_before_gru == 2:
            self.linear2 = _linear(width, hidden_size, generator)
        # Gates in the order r, z, n; each gate's kernel is drawn by itself.
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, width, **FLOATS))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size, **FLOATS))
        self.bias_ih = nn.Parameter(torch.zeros(3 * hidden_size, **FLOATS))
        self.bias_hn = nn.Parameter(torch.zeros(hidden_size, **FLOATS))
        for gate in self.weight_ih.detach().chunk(3):
            lecun_normal_(gate, generator)
        for gate in self.weight_hh.detach().chunk(3):
            if not gate.is_meta:
                nn.init.orthogonal_(gate, generator=generator)
        self.linear_end = _linear(hidden_size, num_outputs, generator)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.bias_hn.new_zeros(batch_size, self.bias_hn.shape[0])

    def forward(self, x: Features, every_order: bool = False) -> Tensor:
        return self.after_gates(self.gate_inputs(x), every_order)

    def step(self, x: Features, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.step_after_gates(self.gate_inputs(x), state)

    def every_order(self, x: Features) -> Tensor:
        return self.forward(x, every_order=True)

    def after_gates(self, inputs: Tensor, every_order: bool = False) -> Tensor:
        """`forward` from `gate_inputs` on, `[T+1, B, 3H]` -> `[T+1, B, K]`."""
        sequence = gru_every_order if every_order else gru
        states = sequence(inputs, self.weight_hh, self.bias_hn)
        output: Tensor = self.linear_end(states)
        return output

    def step_after_gates(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """`step` from `gate_inputs` on, `[B, 3H]`."""
        state = gru_step(inputs, state, self.weight_hh, self.bias_hn)
        output: Tensor = self.linear_end(state)
        return output, state

    def gate_inputs(self, x: Features) -> Tensor:
        """W_i x + b_i of what the linear layers make of x, `[..., features]` -> `[..., 3H]`."""
        weight: Tensor = self.weight_ih
        bias: Tensor = self.bias_ih
        if self.linear2 is not None:
            weight, bias = fold(weight, bias, self.linear2.weight, self.linear2.bias)
        with _hidden_precision(bias):
            hidden = x
            if self.linear1 is not None:
                hidden = torch.relu(linear(x, self.linear1.weight, self.linear1.bias))
            return linear(hidden, weight, bias).to(x.dtype)


class StateHead(Head):
    """A network of states (`loqa.agents.states`), with or without a table of logits beside it.

        logits_t = network(x_0 .. x_t) + S[s_t]

    s is the state and x what the network reads of it. Where there is a table S, it and the network's
    last layer start at zero: the head begins as a table, of which the network learns to deviate. Shared
    weights carry what is learned of one state over to the others at once; the table does not.

    Whatever has no memory is computed for the states that exist and looked up.

    Args:
        network: reads S numbers, one-hot, or K + M bits.
        table: whether there is a table.

    Input and output as `LogitsHead`.

    Raises:
        ValueError: the network reads another number of features.
    """

    def __init__(self, network: MLPHead | GRUHead, table: bool, states: States = PRISONERS) -> None:
        super().__init__()
        known = (states.num_bits, states.count)
        if network.num_inputs not in known:
            raise ValueError(
                f"network must have {known[0]} or {known[1]} inputs, got {network.num_inputs}"
            )
        self.states, self.num_inputs = states, states.num_bits
        self.recurrent = network.recurrent
        self.network = network
        self.table: nn.Parameter | None = None
        if table:
            last = network.linear_end
            self.table = nn.Parameter(torch.zeros(states.count, states.actions, **FLOATS))
            if not last.weight.is_meta:
                nn.init.zeros_(last.weight)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.network.initial_state(batch_size)

    def forward(self, x: Features, every_order: bool = False) -> Tensor:
        assert isinstance(x, Tensor)
        index = self.states.index(x)
        if isinstance(self.network, MLPHead):
            return _look_up(self._plus_table(self.network(self._every_input())), index)
        gates = self.network.gate_inputs(self._every_input())
        output = self.network.after_gates(_look_up(gates, index), every_order)
        return self._plus_table(output, index)

    def every_order(self, x: Features) -> Tensor:
        return self.forward(x, every_order=True)

    def step(self, x: Features, state: Tensor) -> tuple[Tensor, Tensor]:
        return self._step()(x, state)

    @torch.no_grad()
    def stepper(self) -> Step:
        return torch.no_grad()(self._step())

    def _step(self) -> Step:
        network = self.network
        if isinstance(network, MLPHead):
            table = self._plus_table(network(self._every_input()))
            return lambda x, state: (_look_up(table, self.states.index(x)), state)
        gates = network.gate_inputs(self._every_input())

        def step(x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            index = self.states.index(x)
            output, state = network.step_after_gates(_look_up(gates, index), state)
            return self._plus_table(output, index), state

        return step

    def _every_input(self) -> Tensor:
        """What the network reads of each state, `[S, K + M or S]`."""
        like = self.network.linear_end.weight
        if self.network.num_inputs == self.num_inputs:
            return self.states.every_bits(like.dtype, like.device)
        return torch.eye(self.states.count, dtype=like.dtype, device=like.device)

    def _plus_table(self, output: Tensor, index: Tensor | None = None) -> Tensor:
        """`output` of all states, or of the states `index`."""
        if self.table is None:
            return output
        return output + (self.table if index is None else _look_up(self.table, index))


def _look_up(rows: Tensor, index: Tensor) -> Tensor:
    """`rows [S, F]` at `index [...]`, `[..., F]`."""
    return rows.index_select(0, index.reshape(-1)).reshape(*index.shape, -1)


def _hidden_precision(like: Tensor) -> torch.autocast:
    """bfloat16 for the layers before the gates, on CUDA where torch's precision is "medium"."""
    # On the CPU torch itself rounds the factors of float32 products then. What comes after the gates stays
    # float32 with TF32 products: a bfloat16 action value errs by more than advantages differ. The cache would
    # keep tensors of a graph that is being captured.
    wanted = like.is_cuda and torch.get_float32_matmul_precision() == "medium"
    return torch.autocast(like.device.type, torch.bfloat16, enabled=wanted, cache_enabled=False)
