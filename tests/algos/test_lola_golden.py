"""LOLA-DiCE and POLA-DiCE against the numbers of their published code, in float64.

`lola_dice.npz`: alexis-jacq/LOLA_DiCE ec3f3f6; `rivals/pola_dice_*.npz`: Silent-Zebra/POLA b248b52. The
algorithms run whole: what they play is replaced by the recorded batches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.networks import GRUHead, Head, LogitsHead
from loqa.agents.outputs import SeatOutputs
from loqa.agents.states import PRISONERS
from loqa.algos.base import Context
from loqa.algos.lola import LOLA, Other
from loqa.algos.lookahead import LOLASettings, POLASettings
from loqa.algos.trajectory import Trajectory

Arrays = dict[str, np.ndarray]
PAYOFF = torch.tensor([[-1.0, -3.0], [0.0, -2.0]], dtype=torch.float64)
CLOSE: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10}


class OneValue(Head):
    """A critic as published: one value for all actions, and no time."""

    def __init__(self, num_inputs: int, num_actions: int) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.linear_end = torch.nn.Linear(1, num_actions)  # says how many actions there are
        del self.linear_end.weight, self.linear_end.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x[..., :-1]).expand(*x.shape[:-1], self.linear_end.out_features)


class TableCritic(OneValue):
    """Of the five states."""

    def __init__(self, values: Tensor) -> None:
        super().__init__(5, 2)
        self.table = torch.nn.Parameter(values)

    def value(self, x: Tensor) -> Tensor:
        return self.table[PRISONERS.from_bits(x), None]


class GRUCritic(OneValue):
    """Recurrent."""

    recurrent = True

    def __init__(self, num_inputs: int, num_actions: int, hidden: int) -> None:
        super().__init__(num_inputs + 1, num_actions)
        self.value = GRUHead(num_inputs, 1, hidden, layers_before_gru=1)


def recorded(batches: Iterator[Trajectory]) -> Context:
    return Context(play=lambda seats, name: next(batches))


class Recorded(LOLA):
    """Keeps what the steps were made of."""

    def _look_ahead(self, seat: int, outer: int) -> Any:
        self.ahead, numbers = super()._look_ahead(seat, outer)
        return self.ahead, numbers

    def _actor_optimizer_step(self, gradients: Any) -> None:
        self.gradients = gradients
        super()._actor_optimizer_step(gradients)


# --- alexis-jacq/LOLA_DiCE: five logits


def table_agent(logits: np.ndarray, values: np.ndarray) -> Agent:
    actor = LogitsHead()
    actor.double()
    with torch.no_grad():
        actor.logits[:, 0] = torch.from_numpy(logits)
    return Agent(actor, TableCritic(torch.from_numpy(values)).double(), "states")


def table_batch(file: Arrays, number: int) -> Trajectory:
    """`[T, 2, B]` recorded, seat 0 is who looks ahead."""
    states, actions = (
        torch.from_numpy(file[name][number]).transpose(1, 2) for name in ("states", "actions")
    )
    obs = torch.cat([states, torch.zeros_like(states[:1])])
    own, other = actions[..., 0].long(), actions[..., 1].long()
    return Trajectory(obs, actions, torch.stack([PAYOFF[own, other], PAYOFF[other, own]], -1))


@pytest.mark.parametrize("baseline", ["none", "critic"])
@pytest.mark.parametrize("me", [0, 1])
def test_lola_dice(golden: Callable[[str], Arrays], baseline: str, me: int) -> None:
    prefix = "baseline/" if baseline == "critic" else "nobaseline/"
    whole = golden("lola_dice.npz")
    file = {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)}
    mine, other = (table_agent(file["theta"][i], file["values"][i]) for i in (me, 1 - me))
    batches = [table_batch(file, n) for n in (me, me + 2, me + 4)]
    # Two logits a state move apart at twice the rate of one.
    settings = LOLASettings(
        baseline=baseline,
        inner_steps=2,
        inner_lr=0.15,
        inner_critic_lr=0.0,
    )
    algorithm = Recorded(mine, settings, recorded(iter(batches)))
    algorithm.before([mine, other], 0)
    numbers = algorithm.update(batches[0])
    (logits,) = algorithm.ahead[1].parameters.values()
    found = (logits[:, 0] - logits[:, 1]).detach()
    np.testing.assert_allclose(found, file["inner_theta"][2, 1 - me], **CLOSE)
    np.testing.assert_allclose(algorithm.gradients[0][:, 0], file["outer_grad"][me], **CLOSE)
    np.testing.assert_allclose(numbers["loss/agent"], file["objectives"][4 + me], **CLOSE)


# --- Silent-Zebra/POLA: recurrent networks


def layers(file: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """Recorded parameters or gradients under our names, one value for all actions."""

    def of(name: str) -> np.ndarray:
        return file[f"{prefix}/{name}"]

    gates = [[of(f"GRUCell/{one}{gate}/kernel").T for gate in "rzn"] for one in "ih"]
    return {
        "linear1.weight": of("linear1/kernel").T,
        "linear1.bias": of("linear1/bias"),
        "weight_ih": np.concatenate(gates[0]),
        "weight_hh": np.concatenate(gates[1]),
        "bias_ih": np.concatenate([of(f"GRUCell/i{gate}/bias") for gate in "rzn"]),
        "bias_hn": of("GRUCell/hn/bias"),
        "linear_end.weight": of("linear_end/kernel").T,
        "linear_end.bias": of("linear_end/bias"),
    }


def recurrent_agent(file: Arrays, who: str, value: str | None = None) -> Agent:
    policy, critic = layers(file, f"{who}/policy"), layers(file, f"{value or who}/value")
    hidden, inputs = policy["linear1.weight"].shape
    actions = len(policy["linear_end.bias"])
    actor = GRUHead(inputs, actions, hidden, layers_before_gru=1).double()
    values = GRUCritic(inputs, actions, hidden).double()
    for head, arrays in ((actor, policy), (values.value, critic)):
        head.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    return Agent(actor, values, observes="features")


def batch(file: Arrays, name: str) -> Trajectory:
    """Both players see the same."""
    obs, actions, rewards = (torch.from_numpy(file[f"{name}/{what}"])
                             for what in ("obs", "actions", "rewards"))  # fmt: skip
    both = obs[:, :, None].expand(-1, -1, 2, -1)
    return Trajectory(both, actions.transpose(1, 2), rewards.transpose(1, 2))


CASES = [
    ("pola_dice_ipd.npz", "pola/"),
    ("pola_dice_ipd.npz", "lola/"),
    ("pola_dice_ipd.npz", "nobaseline/"),
    ("pola_dice_ipd.npz", "revkl_gae/"),
    ("pola_dice_coin.npz", ""),
]


@pytest.mark.parametrize(("name", "prefix"), CASES)
def test_pola_dice(
    golden: Callable[[str], Arrays], name: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = golden(f"rivals/{name}")
    file = {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)}
    meta = json.loads(str(file["meta"]))
    steps = meta["inner_steps"]
    if meta[
        "reverse_kl"
    ]:  # a switch that no published run has, and we have not: its GAE is compared
        forward = SeatOutputs.kl_of
        monkeypatch.setattr(SeatOutputs, "kl_of", lambda own, other: forward(other, own))
    settings = POLASettings(
        gamma=meta["gamma"],
        objective="loaded" if meta["baseline"] else "dice",
        baseline="none",
        advantage_lambda=meta["gae_lambda"],
        inner_steps=steps,
        inner_lr=meta["lr_in"],
        inner_critic_lr=meta["lr_v"],
        inner_kl=meta["inner_beta"],
        outer_kl=meta["outer_beta"],
        outer_steps=1,
        actor_lr=meta["lr_out"],
        critic_lr=meta["lr_v"],
    )
    batches = [batch(file, f"inner{step}") for step in range(steps)] + [batch(file, "outer")]
    mine, other = (recurrent_agent(file, who) for who in ("agent1", "agent2"))
    algorithm = Recorded(mine, settings, recorded(iter(batches)))
    algorithm.before([mine, other], 0)
    reference = Other.of(recurrent_agent(file, "reference1", "agent1"))
    numbers = algorithm._outer_step(0, 0, reference)

    def compare(found: dict[str, Tensor], expected: str) -> None:
        for layer, value in layers(file, expected).items():
            scale = np.abs(value).max()
            np.testing.assert_allclose(
                found[layer].detach(), value, rtol=1e-8, atol=1e-10 * scale, err_msg=layer
            )

    after = algorithm.ahead[1]
    compare({name.removeprefix("actor."): one for name, one in after.parameters.items()},
            f"inner{steps - 1}/policy_after")  # fmt: skip
    names = [name for name, _ in mine.actor.named_parameters()]
    compare(dict(zip(names, algorithm.gradients, strict=True)), "outer/grad_policy")
    if settings.has_critic:
        compare({name.removeprefix("critic.value."): one for name, one in after.critic.items()},
                f"inner{steps - 1}/value_after")  # fmt: skip
    compare(dict(mine.actor.named_parameters()), "outer/policy_after_adam")
    if settings.has_critic:
        total = numbers["loss/agent"] + numbers["loss/critic"]
        np.testing.assert_allclose(total, file["outer/loss"], **CLOSE)
    if settings.outer_kl:
        np.testing.assert_allclose(numbers["kl"], file["outer/kl"], **CLOSE)
