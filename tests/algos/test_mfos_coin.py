"""M-FOS on the Coin Game against the numbers of its published code, in float64.

`rivals_mfos_coin_ppo.npz`: luchris429/Model-Free-Opponent-Shaping 3efb169, `coin_game_mfos_agent.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from loqa.agents.mfos import MFOSActor, MFOSCritic
from loqa.algos.mfos import MetaEpisode, meta_outputs, meta_returns
from loqa.algos.mfos_play import normalised

Arrays = dict[str, np.ndarray]
CLOSE: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10}
GAMMA = 0.995
Heads = tuple[MFOSActor, MFOSCritic]
TRUNKS = {"0.trunk": "a", "1.trunk": "v", "0.meta": "t"}
ENDS = {"0.end": "a", "1.end": "v", "0.meta_end": "t"}


@pytest.fixture
def file(golden: Callable[[str], Arrays]) -> Arrays:
    return golden("rivals_mfos_coin_ppo.npz")


def published(name: str) -> str:
    """The recorded name of a parameter of ours, of the actor (0) or of the critic (1)."""
    head, part, *layer, kind = name.split(".")
    if not layer:
        return f"linear_{ENDS[f'{head}.{part}']}.{kind}"
    stem, _, number = layer[0].replace("gru", "GRU").partition("_")
    return "_".join(x for x in (stem, TRUNKS[f"{head}.{part}"], number) if x) + f".{kind}"


def heads(file: Arrays, group: str) -> Heads:
    found = MFOSActor((7, 3, 3), 4, 4, channels=3, hidden=3), MFOSCritic((7, 3, 3), 4, 3, 3)
    both = torch.nn.ModuleList(found).double()
    recorded = {name: file[f"{group}/{published(name)}"] for name, _ in both.named_parameters()}
    assert len(recorded) == sum(name.startswith(f"{group}/") for name in file)
    both.load_state_dict({name: torch.from_numpy(one) for name, one in recorded.items()})
    return found


def meta_episode(file: Arrays) -> MetaEpisode:
    rewards = torch.from_numpy(file["rewards"]).unflatten(0, (3, 4))
    return MetaEpisode(
        torch.from_numpy(file["states"]).double(),
        torch.from_numpy(file["actions"]),
        torch.from_numpy(file["logprobs"]),
        normalised(meta_returns(rewards, GAMMA)),
    )


def test_memory_and_policy_of_the_acting_network(file: Arrays) -> None:
    (actor, critic), played = heads(file, "parameters"), meta_episode(file)
    with torch.no_grad():
        memory = actor.next_memory(played.obs.transpose(0, 1)[:, :-1])
        table, _ = meta_outputs(actor, critic, played.obs)
    np.testing.assert_allclose(memory, file["th"][1:, 0], **CLOSE)
    taken = table.gather(-1, played.actions.long()[..., None])[..., 0]
    np.testing.assert_allclose(taken, file["logprobs"], **CLOSE)
    # As a head it plays the same, one step after the other.
    with torch.no_grad():
        said = actor(played.obs.flatten(0, 1).flatten(2)).log_softmax(-1)
    np.testing.assert_allclose(said, table.flatten(0, 1), **CLOSE)


def test_returns_values_loss_and_gradient(file: Arrays) -> None:
    (actor, critic), played = heads(file, "parameters_updated"), meta_episode(file)
    np.testing.assert_allclose(played.returns.flatten(0, 1), file["returns_normalised"], **CLOSE)
    values = meta_outputs(actor, critic, played.obs)[1].detach()
    np.testing.assert_allclose(values.flatten(0, 1), file["values"], **CLOSE)
    first = critic(torch.nn.functional.pad(played.obs[0].flatten(2), (0, 1)))
    np.testing.assert_allclose(first[..., 2].detach(), values[0], **CLOSE)
    loss = played.loss(actor, critic)
    np.testing.assert_allclose(loss.detach(), file["loss"], **CLOSE)
    both = torch.nn.ModuleList((actor, critic))
    names, parameters = zip(*both.named_parameters(), strict=True)
    for name, gradient in zip(names, torch.autograd.grad(loss, parameters), strict=True):
        expected = file[f"grad/{published(name)}"]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-10 * scale, err_msg=name)


def test_meta_returns_by_hand() -> None:
    """Two inner episodes of one step on two boards: the future is the mean of both boards."""
    rewards = torch.tensor([[[1.0, 3.0]], [[2.0, 6.0]]])
    found = meta_returns(rewards, 0.5)
    assert found.tolist() == [[[3.0, 5.0]], [[2.0, 6.0]]]


def test_values_teach_the_meta_trunk_nothing() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        actor, critic = MFOSActor((7, 3, 3), 4, 4, 4, 8), MFOSCritic((7, 3, 3), 4, 4, 8)
    obs = torch.randn(3, 4, 5, 7, 3, 3, generator=torch.Generator().manual_seed(0))
    table, values = meta_outputs(actor, critic, obs)
    meta = list(actor.meta.parameters())
    of_values = torch.autograd.grad(values.sum(), meta, allow_unused=True, retain_graph=True)
    assert all(one is None for one in of_values)
    assert any(one.abs().max() > 0 for one in torch.autograd.grad(table[..., 0].sum(), meta))
    # Boards hear of each other only by the memory: not in the first inner episode.
    other = obs.clone()
    other[:, :, 1] += 1
    again, _ = meta_outputs(actor, critic, other)
    torch.testing.assert_close(again[0, :, 0], table[0, :, 0])
    assert not torch.allclose(again[1, :, 0], table[1, :, 0])
