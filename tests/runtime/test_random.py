"""Streams of random numbers: none is shared by two seeds, purposes or iterations."""

import itertools

import numpy as np
import pytest
import torch

from loqa.runtime import random as _random
from loqa.runtime.random import stream, stream_seed
from loqa.training.config import CoinConfig, IPDConfig
from loqa.training.trainer import Trainer
from loqa.training.trainer import make_agent as make_coin_agent
from loqa.training.trainer import make_agent as make_ipd_agent

# Equal modulo 2**24, 2**32, 2**40 and 2**62, and the largest.
SEEDS = [
    0,
    1,
    2,
    3,
    2**24,
    2**24 + 1,
    2**32,
    2**32 + 1,
    2**40,
    2**62,
    2**62 + 1,
    2**63 - 2,
    2**63 - 1,
]
TWINS = [(3, 3 + 2**24), (3, 3 + 2**32), (3, 3 + 2**40), (3, 3 + 2**62)]


def test_no_two_streams_are_one():
    purposes = ("training", "opponents", "self_play")
    names = list(itertools.product(SEEDS, purposes, range(500)))
    seeds = {stream_seed(seed, purpose, iteration) for seed, purpose, iteration in names}
    assert len(seeds) == len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)
    few = [name for name in names if name[2] < 8]
    first = {tuple(torch.rand(4, generator=stream(*name)).tolist()) for name in few}
    assert len(first) == len(few)


def test_what_a_stream_is_called_is_read_one_way():
    names = [(1, "a", 23), (12, "a", 3), (1, "a", 2, 3), (1, "a"), (1, "a', 23"), (2, "a", 1, 3)]
    assert len({stream_seed(*name) for name in names}) == len(names)
    assert stream_seed(7, "a", np.int64(3)) == stream_seed(7, "a", 3)


def test_stream_seed_is_pinned():
    """Runs of one seed stay what they are: 63 bits of SHAKE-256, here by hashlib's own hand."""
    import hashlib

    digest = hashlib.shake_256(b"(5, 'training', 3)").digest(8)
    assert stream_seed(5, "training", 3) == int.from_bytes(digest, "little") // 2


def test_a_stream_is_a_mersenne_twister_of_624_hashed_words():
    """Against NumPy's, in the same state: torch takes the low 24 bits for a float32."""
    generator = stream(5, "training", 3)
    words = np.frombuffer(_random._bytes(4 * 624, 5, "training", 3), "<u4")
    twister = np.random.MT19937()
    state = twister.state
    state["state"] = {"key": words, "pos": 624}
    twister.state = state
    expected = (twister.random_raw(2000) % 2**24) * 2.0**-24
    assert torch.rand(2000, generator=generator).tolist() == expected.tolist()


@pytest.mark.parametrize(("seed", "twin"), TWINS)
@pytest.mark.parametrize(
    "make",
    [
        lambda seed: make_ipd_agent(IPDConfig(seed=seed)),
        lambda seed: make_coin_agent(CoinConfig(seed=seed)),
    ],
)
def test_seeds_that_agree_in_low_bits_start_from_other_weights(make, seed, twin):
    one, two = make(seed).critic.state_dict(), make(twin).critic.state_dict()
    weights = [name for name in one if "weight" in name and "hh" not in name]
    assert weights
    assert not any(torch.equal(one[name], two[name]) for name in weights)


def episodes(trainer):
    trainer.iterate()
    return trainer._last[0].actions


@pytest.mark.parametrize(("seed", "twin"), TWINS)
@pytest.mark.parametrize("game", ["logits", "gru", "coin"])
def test_runs_of_such_seeds_play_other_episodes(game, seed, twin):
    small = {"batch_size": 32, "episode_length": 8}

    def trainer(seed):
        if game == "coin":
            return Trainer(CoinConfig(seed=seed, opponents=4, **small))
        return Trainer(IPDConfig(seed=seed, actor=game, **small))

    one, two = trainer(seed), trainer(twin)
    two.agent.load_state_dict(one.agent.state_dict())
    assert not torch.equal(episodes(one), episodes(two))


def test_iterations_and_purposes_of_a_run_have_other_draws(monkeypatch):
    """Every generator and environment seed that two iterations of the Coin Game ask for."""
    asked, states = [], []

    def noted_seed(*name):
        asked.append(stream_seed(*name))
        return asked[-1]

    def noted_stream(*name, **where):
        generator = stream(*name, **where)
        states.append(bytes(generator.get_state()))
        return generator

    monkeypatch.setattr("loqa.training.trainer.stream_seed", noted_seed)
    for module in ("trainer", "opponents"):
        monkeypatch.setattr(f"loqa.training.{module}.stream", noted_stream)
    config = CoinConfig(batch_size=8, opponents=2, episode_length=4, evaluate_every=1,
                        evaluation_episodes=8)  # fmt: skip
    trainer = Trainer(config)
    for _ in range(2):
        trainer.iterate()
        trainer.evaluate(0.0)
    assert len(asked) == len(set(asked)) == 10  # two environments, and four plays an iteration
    assert len(states) == len(set(states)) == 11  # the weights too
