"""Meta-episodes of M-FOS on the Coin Game, small."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import loqa
from loqa.algos.mfos_play import MFOS, Inner, MFOSSettings, NaiveLearner, Steering

TINY: dict[str, Any] = {"inner_episodes": 3, "epochs": 2, "inner_epochs": 3}


def tiny(seed: int = 0, **fields: Any) -> MFOS:
    env = loqa.make("coin_game", num_envs=4, preset="mfos22", episode_length=4)
    return MFOS(env, MFOSSettings(**{**TINY, **fields}), seed)


def test_twenty_updates_are_finite_and_a_function_of_the_seed() -> None:
    def trained(seed: int, count: int) -> tuple[MFOS, list[float]]:
        # Half of the time against naive learners, in the end against each other.
        learner, told = tiny(seed, self_play_decay=0.05), []
        for iteration in range(1, count + 1):
            numbers = learner.iterate(iteration)
            assert set(numbers) == {"reward 0", "reward 1", "loss 0", "loss 1"}
            told += [number.item() for number in numbers.values()]
        return learner, told

    (one, first), (_, again), (_, other) = trained(3, 20), trained(3, 5), trained(4, 5)
    assert first[:20] == again != other
    assert torch.tensor(first).isfinite().all()
    for agent, fresh in zip(one.agents, tiny(3).agents, strict=True):
        for now, before in zip(agent.parameters(), fresh.parameters(), strict=True):
            assert now.isfinite().all()
            assert not torch.equal(now, before)
    assert not torch.equal(one.agents[0].actor_end.weight, one.agents[1].actor_end.weight)


def test_what_was_acted_is_what_the_loss_evaluates() -> None:
    """Step by step with a state and a memory, and the whole meta-episode at once."""
    learner = tiny()
    told = learner.play([Steering(one) for one in learner.agents], 1, "test")
    for agent, episodes in zip(learner.agents, told, strict=True):
        obs = torch.stack([one.obs for one in episodes])
        actions = torch.stack([one.actions for one in episodes])
        table, _ = agent(obs)
        taken = table.gather(-1, actions[..., None])[..., 0]
        acted = torch.stack([one.log_probs for one in episodes])
        torch.testing.assert_close(taken, acted, rtol=1e-5, atol=1e-6)
        memory = agent.next_memory(obs.transpose(0, 1))
        assert not torch.equal(memory[0], torch.ones_like(memory[0]))
    # The planes of the rules: what one is paid the other sees as the other's.
    mine, other = told[0][0].obs, told[1][0].obs
    assert torch.equal(mine[:, :, 4], other[:, :, 5])
    assert torch.equal(mine[1:, :, 4, 0, 0], told[0][0].rewards[:-1])


def test_a_naive_learner_goes_on_learning_and_each_meta_episode_has_a_new_one() -> None:
    learner = tiny()

    class Watched(NaiveLearner):
        def after(self, episode: Any) -> None:
            super().after(episode)
            seen.append(copy.deepcopy(self.actor[-1].weight.detach()))

    seen: list[torch.Tensor] = []
    shape = learner.env.spec.obs_shape
    learner.play([Steering(learner.agents[0]), Watched(shape, 4, learner.settings)], 1, "test")
    assert len(seen) == 3
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    naive = [learner._naive(*which).critic[-1].weight for which in ((1, 0), (2, 0), (1, 1))]
    assert not torch.equal(naive[0], naive[1])
    assert not torch.equal(naive[0], naive[2])


def test_a_naive_learner_learns_what_pays() -> None:
    """Paid for action 2 alone, wherever it is."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        naive = NaiveLearner((7, 3, 3), 4, MFOSSettings(inner_discount=0.0))
        obs = torch.rand(4, 16, 7, 3, 3)
        for _ in range(3):
            with torch.no_grad():
                table = naive.act(obs.flatten(0, 1)).unflatten(0, (4, 16))
            actions = torch.multinomial(table.exp().flatten(0, 1), 1).reshape(4, 16)
            taken = table.gather(-1, actions[..., None])[..., 0]
            naive.after(Inner(obs, actions, taken, (actions == 2).float()))
        likely = naive.act(obs.flatten(0, 1))[:, 2].exp().mean()
    assert likely > 0.5


def test_wrong_games_and_settings() -> None:
    with pytest.raises(ValueError, match=r"observations \[C, H, W\], got 2 players and \[4\]"):
        MFOS(loqa.make("ipd", num_envs=2), MFOSSettings())
    with pytest.raises(ValueError, match="inner_episodes"):
        MFOSSettings(inner_episodes=0)
    with pytest.raises(ValueError, match="meta_discount"):
        MFOSSettings(meta_discount=1.5)
