"""Rewards concluded from how a policy changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from loqa.algos import reward_inference
from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.loqa import LOQASettings as ExactSettings
from loqa.algos.exact.loqa import loqa_gradient
from loqa.algos.loqa import LOQASettings
from loqa.algos.reward_inference import RewardInference

MINE = torch.tensor([-1.0, -3.0, 0.0, -2.0])
SETTINGS = LOQASettings(
    shaping_weight=3.0, softmax_temperature=3.0, dice_discount=0.9, stop_normaliser_gradient=True
)
EXACT = ExactSettings(softmax_temperature=3.0, dice_discount=0.9, exploration=0.2)


def cosine(one: Tensor, other: Tensor) -> float:
    one, other = one.double() - one.mean(), other.double() - other.mean()
    return float(one @ other / (one.norm() * other.norm()))


def counts(log_odds: Tensor, visits: float) -> Tensor:
    """What is counted if both play as they mean to."""
    played = 0.8 * torch.sigmoid(log_odds) + 0.1
    return visits * torch.stack([played, 1 - played], -1)


def infer(theirs: Tensor, shapes: bool, windows: int, seed: int) -> RewardInference:
    """Of a player paid `theirs`, who moves up its gradient, scaled by state, while I change at random."""
    draw = torch.Generator().manual_seed(seed)
    both = 0.5 * torch.randn(2, 5, generator=draw, dtype=torch.float64)
    one = RewardInference(SETTINGS, exploration=0.2)
    for _ in range(windows):
        for _ in range(reward_inference.WINDOW):
            one.observe(*counts(both, 1e7), MINE)
        gradients = [gradient(outcome, both, shapes) for outcome in torch.eye(4)]
        rows = torch.nn.functional.normalize(torch.stack(gradients, -1), dim=-1)
        both[1] += 0.1 * rows @ theirs.double() / theirs.norm()
        both[0] += 0.1 * torch.randn(5, generator=draw, dtype=torch.float64)
    return one


def gradient(theirs: Tensor, both: Tensor, shapes: bool) -> Tensor:
    game = ExactGame("game", [MINE.tolist(), theirs.tolist()], SETTINGS.gamma)
    found = loqa_gradient(game, both, EXACT, seat=1)
    return found.naive + shapes * SETTINGS.shaping_weight * found.shaping


@pytest.mark.parametrize("shapes", [False, True])
@pytest.mark.parametrize("theirs", [[-1.0, -3.0, 0.0, -2.0], [1.0, 0.0, -1.0, 2.0]])
def test_rewards_of_who_follows_its_gradient(
    monkeypatch: pytest.MonkeyPatch, theirs: list[float], shapes: bool
) -> None:
    """Naive, or shaping me as I shape it: which of them it is comes out too. What is left is the ridge."""
    paid = torch.tensor(theirs)
    found = infer(paid, shapes, 12, 0).rewards
    assert cosine(found, paid) > 0.85
    monkeypatch.setattr(reward_inference, "_RIDGE", 0.0)
    found = infer(paid, shapes, 12, 0).rewards
    assert cosine(found, paid) > 0.999
    # The scale cannot be known: it is that of my own.
    torch.testing.assert_close(found.norm(), (MINE - MINE.mean()).norm().double())
    assert abs(float(found.mean())) < 1e-12


def test_nothing_is_concluded_at_first() -> None:
    paid = torch.tensor([3.0, 1.0, 4.0, 0.0])
    assert not infer(paid, False, reward_inference.WARM_UP, 0).rewards.any()
    assert infer(paid, False, reward_inference.WARM_UP + 1, 0).rewards.any()


def test_a_player_that_does_not_change_tells_nothing() -> None:
    one = RewardInference(SETTINGS, exploration=0.2)
    table = counts(torch.zeros(2, 5, dtype=torch.float64), 1e7)
    for _ in range(8 * reward_inference.WINDOW):
        one.observe(*table, MINE)
    assert not one.rewards.any()


def test_states_that_hardly_came_do_not_count() -> None:
    """Few visits, or a share so near 0 or 1 that its log-odds are noise: no wild numbers."""
    one = RewardInference(SETTINGS, exploration=0.2)
    draw = torch.Generator().manual_seed(3)
    for _ in range(8 * reward_inference.WINDOW):
        odds = torch.tensor([[0.0] * 5, [30.0, -30.0, 30.0, -30.0, 0.0]], dtype=torch.float64)
        table = counts(odds + torch.randn(2, 5, generator=draw, dtype=torch.float64), 1e7)
        table[1, 4] = torch.tensor([1.0, 1.0])
        one.observe(*table, MINE)
    assert not one.rewards.any()


def test_it_goes_on_where_it_was_saved() -> None:
    whole, part = (RewardInference(SETTINGS, exploration=0.2) for _ in range(2))
    draw = torch.Generator().manual_seed(1)
    tables = [
        counts(torch.randn(2, 5, generator=draw, dtype=torch.float64), 1e4) for _ in range(95)
    ]
    for table in tables:
        whole.observe(*table, MINE)
    for table in tables[:47]:
        part.observe(*table, MINE)
    resumed = RewardInference(SETTINGS, exploration=0.2)
    resumed.load_state_dict(part.state_dict())
    for table in tables[47:]:
        resumed.observe(*table, MINE)
    assert whole.rewards.any()
    assert torch.equal(whole.rewards, resumed.rewards)
