"""Memory-1 policies of two actions, as functions of a flat vector of parameters for each run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from loqa import _checks
from loqa.algos.exact.chain import counted, num_players


class Parameterisation(Protocol):
    """How parameters make a policy."""

    def logits(self, parameters: Tensor) -> Tensor:
        """Logits of C in each state, `[..., P]` -> `[..., S]`."""

    def start(self, runs: int, generator: Generator) -> Tensor:
        """First parameters of both players, independent in every run, `[2, runs, P]` float64."""


@dataclass(frozen=True)
class Table:
    """A logit for each state: logits = theta. Starts at N(0, init_std^2)."""

    num_states: int = 5
    init_std: float = 1.0

    def logits(self, parameters: Tensor) -> Tensor:
        return parameters

    def start(self, runs: int, generator: Generator) -> Tensor:
        shape = (2, runs, self.num_states)
        return self.init_std * torch.randn(shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Counts(Table):
    """A logit for the own action and each number of others who cooperated: 2 n + 1 of them.

    In the order start, C and then D with n - 1 ... 0 others who cooperated; for two players a `Table`.
    """

    def logits(self, parameters: Tensor) -> Tensor:
        return parameters.index_select(-1, counted(num_players(self.num_states)))

    def start(self, runs: int, generator: Generator) -> Tensor:
        counts = 2 * num_players(self.num_states) + 1
        return Table(counts, self.init_std).start(runs, generator)


@dataclass(frozen=True)
class Preconditioned(Table):
    """A table in other coordinates (Zhao et al. 2022):

    logits = Q theta,   Q = I with -2 in the column of DD of every other row
    """

    def logits(self, parameters: Tensor) -> Tensor:
        own, after_dd = parameters[..., :-1], parameters[..., -1:]
        return torch.cat([own - 2 * after_dd, after_dd], -1)


_INPUTS = 6  # own and other's last action, each C, D or none yet
_OWN = (2, 0, 0, 1, 1)
_OTHER = (5, 3, 4, 3, 4)


@dataclass(frozen=True)
class Network:
    """A network of both last actions, one-hot: 6 - tanh `hidden` - 1 (Zhao et al. 2022).

    Weights and biases start in U(-k, k), k = 1 / sqrt(inputs of the layer).
    """

    num_states: int = 5
    hidden: int = 16

    def logits(self, parameters: Tensor) -> Tensor:
        weights, bias, last, last_bias = torch.split(parameters, self._sizes(), -1)
        weights = weights.reshape(*weights.shape[:-1], _INPUTS, self.hidden)
        own, other = (weights[..., rows, :] for rows in (_OWN, _OTHER))
        units = torch.tanh(own + other + bias[..., None, :])
        return (units * last[..., None, :]).sum(-1) + last_bias

    def start(self, runs: int, generator: Generator) -> Tensor:
        inputs = (_INPUTS, _INPUTS, self.hidden, self.hidden)
        parts = []
        for size, count in zip(self._sizes(), inputs, strict=True):
            uniform = torch.rand((2, runs, size), generator=generator, dtype=torch.float64)
            parts.append((2 * uniform - 1) / math.sqrt(count))
        return torch.cat(parts, -1)

    def _sizes(self) -> list[int]:
        return [_INPUTS * self.hidden, self.hidden, self.hidden, 1]


@dataclass(frozen=True)
class PolicySettings(_checks.Checked):
    """What the policies are.

    Attributes:
        policy: "table", a logit for each state; "counts", one for the own action and each number of others
            who cooperated; "preconditioned", a table in other coordinates; "network", of both last
            actions of two players, with one hidden layer.
        init_std: standard deviation of a table's first parameters.
        hidden: units of a network.
    """

    policy: Literal["table", "counts", "preconditioned", "network"] = "table"
    init_std: _checks.Rate = 1.0
    hidden: Annotated[int, _checks.Range(1, 2**16)] = 16

    def made(self, num_states: int) -> Parameterisation:
        """The policies of a game of so many states.

        Raises:
            ValueError: they need more than the start, or two players.
        """
        if self.policy != "table" and num_states == 1:
            raise ValueError(
                f"a policy {self.policy!r} reads last actions: a game of one step has none"
            )
        if self.policy in ("preconditioned", "network") and num_states > 5:
            raise ValueError(
                f"a policy {self.policy!r} is of two players: table and counts are of any number"
            )
        if self.policy == "network":
            return Network(num_states, self.hidden)
        tables = {"table": Table, "counts": Counts, "preconditioned": Preconditioned}
        return tables[self.policy](num_states, self.init_std)


def kl(reference: Tensor, current: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two policies, logits of C `[..., S]`, summed over states, `[...]`.

    sum_s sum_a ref(a|s) log ( ref(a|s) / cur(a|s) )
    """
    each = torch.zeros_like(current)
    for sign in (1, -1):
        mine, theirs = sign * reference, sign * current
        each = each + torch.sigmoid(mine) * (logsigmoid(mine) - logsigmoid(theirs))
    return each.sum(-1)
