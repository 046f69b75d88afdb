"""An agent reads what it declares, of any integer type, and refuses what is something else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import loqa
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.networks import MLPHead
from loqa.agents.states import PRISONERS
from loqa.training.trainer import make_agent

INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16]


def agent(actor: str = "logits", features: int = 4, **more: str) -> Agent:
    made = build_agent(
        actor, "mlp", features, 2, generator=torch.Generator().manual_seed(0), **more
    )
    if actor == "logits":
        with torch.no_grad():
            made.actor.logits[:, 0] = torch.arange(5.0)
    return made


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("actor", ["logits", "mlp", "gru"])
def test_every_integer_type_of_the_index(actor: str, dtype: torch.dtype) -> None:
    one = agent(actor)
    index = torch.tensor([[0, 1, 2], [3, 4, 0]])
    expected = one.log_probs(PRISONERS.to_bits(index))
    for function in (one.log_probs, one.q_values, one.values):
        torch.testing.assert_close(function(index.to(dtype)), function(PRISONERS.to_bits(index)))
    step, _ = one.step(index[0].to(dtype), one.initial_state(3))
    torch.testing.assert_close(step, expected[0])
    found = one.evaluate(index.to(dtype), torch.tensor([[1, 0, 1]]).to(dtype))
    torch.testing.assert_close(found.taken_log_probs, expected[0, [0, 1, 2], [1, 0, 1]][None])


def test_an_environments_own_index() -> None:
    env = loqa.make("ipd", 8, obs="index")
    for actor in ("logits", "mlp"):
        one = agent(actor)
        log_probs, _ = one.step(env.reset()[:, 0], one.initial_state(8))
        assert log_probs.shape == (8, 2)


@pytest.mark.parametrize("actor", ["logits", "mlp", "gru"])
@pytest.mark.parametrize("bad", [-1, 5])
def test_index_out_of_range(actor: str, bad: int) -> None:
    one = agent(actor)
    index = torch.tensor([[0, 1], [bad, 2]], dtype=torch.int8)
    message = r"the state index must be in 0\.\.4, got"
    actions = torch.zeros(1, 2, dtype=torch.int64)
    for call in (
        lambda: one.log_probs(index),
        lambda: one.q_values(index),
        lambda: one.evaluate(index, actions),
        lambda: one.step(index[1], one.initial_state(2)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    if actor == "logits":
        indexed = one.evaluate(index.clamp(0, 4), actions)
        with pytest.raises(ValueError, match=message):
            indexed.of_seat(index, actions)


def test_what_is_no_index() -> None:
    one = agent("mlp")
    for wrong in (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="the state index must be of an integer dtype"):
            one.log_probs(wrong)
    with pytest.raises(ValueError, match=r"obs must be \[T\+1, B, \.\.\.\] with 4 features each, or the "
                                         r"state index \[T\+1, B\], got \[2, 3, 5\]"):  # fmt: skip
        one.log_probs(torch.zeros(2, 3, 5))


def test_integers_that_are_features() -> None:
    """A number for each game, in an environment of one's own; four of them are no state either."""
    single = agent("mlp", 1)
    assert single.observes == "features"
    obs = torch.tensor([[7, 8, 9], [1, -5, 3]], dtype=torch.int16)
    torch.testing.assert_close(single.log_probs(obs), single.log_probs(obs[..., None].float()))
    four = agent("mlp", 4, observes="features")
    torch.testing.assert_close(
        four.log_probs(torch.full((2, 3, 4), 7)), four.log_probs(torch.full((2, 3, 4), 7.0))
    )
    with pytest.raises(ValueError, match=r"with 4 features each, got \[2, 3\]"):
        four.log_probs(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="36 features each"):
        agent("mlp", 36).log_probs(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="an actor of 4 inputs or more, got 3"):
        Agent(MLPHead(3, 2), MLPHead(4, 2), "states")
    with pytest.raises(ValueError, match="observes must be one of"):
        agent("mlp", 4, observes="state")


def test_actions_are_integers_in_range() -> None:
    one = agent()
    obs = torch.zeros(2, 3, dtype=torch.int64)
    for actions, message in (
        (torch.full((1, 3), 0.9), "actions must be of an integer dtype"),
        (torch.full((1, 3), 2), r"actions must be in 0\.\.1, got 2 to 2"),
        (torch.full((1, 3), -1), r"actions must be in 0\.\.1"),
    ):
        with pytest.raises(ValueError, match=message):
            one.evaluate(obs, actions)


def test_agents_of_runs_declare_what_they_read() -> None:
    state = make_agent(loqa.IPDConfig.of_preset("default"))
    planes = make_agent(loqa.CoinConfig.of_preset("default", actor_hidden=4, height=1, width=3))
    assert (state.observes, planes.observes) == ("states", "features")
    assert state.config == loqa.IPDConfig.of_preset("default")
    assert (
        np.prod(loqa.make("coin_game", 1, height=1, width=3).obs_shape) == planes.actor.num_inputs
    )
