"""Exact games of any number of players: chains, payoffs, best responses and what policies are called."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import loqa
from loqa.agents import memory1
from loqa.algos.exact import ExactGame, chain, game
from loqa.algos.exact.best_response import best_response, best_response_gain
from loqa.algos.exact.policies import Counts, PolicySettings
from loqa.algos.exact.reciprocity import KINDS, reciprocity


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def table(answers, players, c=1.0, d=0.0):
    """P(C) of a policy of counts, from its answers: start, C and D with n - 1 ... 0 others who cooperated."""
    p = torch.tensor([c if one == "C" else d for one in answers], dtype=torch.float64)
    return p[chain.counted(players)][None]


# ---- states and payoffs


def test_states_of_three_players_by_hand():
    assert chain.state_names(3) == [
        "start", "CCC", "CCD", "CDC", "CDD", "DCC", "DCD", "DDC", "DDD"
    ]  # fmt: skip
    names = chain.state_names(3)
    for outcome, views in {"CCD": ("CCD", "CDC", "DCC"), "DCD": ("DCD", "CDD", "DDC")}.items():
        where = names.index(outcome)
        assert [names[view] for view in chain.seen(3)[:, where].tolist()] == list(views)
    assert chain.counted(3).tolist() == [0, 1, 2, 2, 3, 4, 5, 5, 6]
    assert chain.state_names(2) == ["start", "CC", "CD", "DC", "DD"]
    assert chain.counted(2).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("players", [2, 3, 5, 8])
def test_the_simulator_pays_the_same(players):
    """Level 1 is C; the simulator counts in float32."""
    done = chain.actions(players).mT
    for name, settings in (("n-ipd", {}), ("public-goods", {"factor": 1.4})):
        env = loqa.make(name, len(done), num_players=players, **settings)
        paid = env.step(1 - done)[1].double()
        exact = game(name, num_players=players, **settings).outcome_payoffs().mT
        torch.testing.assert_close(paid, exact, rtol=0, atol=1e-6)


def test_tables_of_states_are_the_same_whatever_torchs_defaults_are():
    """They are kept for later callers too."""
    expected = [one(3) for one in (chain.actions, chain.seen, chain.counted)]
    for one in (chain.actions, chain.seen, chain.counted):
        one.cache_clear()
    p = draw(9)
    with torch.device("meta"):
        found = [one(3) for one in (chain.actions, chain.seen, chain.counted)]
        gain = best_response_gain(game("n-ipd", num_players=3), p)
    assert all(map(torch.equal, found, expected))
    assert gain.item() == best_response_gain(game("n-ipd", num_players=3), p).item()


@pytest.mark.parametrize("players", [2, 3, 4])
def test_the_next_outcome(players):
    """Each player's probability of what it did, as it saw the state; without one player the factor is 1."""
    mu = chain.played(4 * draw(players, 2**players + 1) - 2, 0.1)
    joint, others = chain.outcomes(mu), chain.outcomes(mu, without=1)
    torch.testing.assert_close(joint.sum(-1), torch.ones(2**players + 1, dtype=torch.float64))
    names = chain.state_names(players)
    for state, name in enumerate(names):
        for outcome, done in enumerate(names[1:]):
            factors = []
            for one in range(players):
                own = name if state == 0 else name[one:] + name[:one]
                factors.append(mu[one, names.index(own), "CD".index(done[one])].item())
            assert joint[state, outcome].item() == pytest.approx(math.prod(factors))
            assert others[state, outcome].item() == pytest.approx(math.prod(factors) / factors[1])


def test_payoffs_by_hand():
    """b/(n-1) for each other who cooperates, c = 1; the pot times f is shared."""
    one = game("n-ipd", num_players=3).outcome_payoffs()
    names = chain.state_names(3)[1:]
    assert one[:, names.index("CCC")].tolist() == [-1, -1, -1]
    assert one[:, names.index("DDD")].tolist() == [-2, -2, -2]
    assert one[:, names.index("DCD")].tolist() == [-1, -3, -1]
    pot = game("public-goods", num_players=4, factor=2.0).outcome_payoffs()
    assert pot[:, chain.state_names(4)[1:].index("CDCC")].tolist() == [0.5, 1.5, 0.5, 0.5]
    assert game("n-ipd").payoff == game("ipd").payoff
    assert game("public-goods").payoff == game("public-goods", factor=1.33).payoff
    assert game("public-goods").payoff[0][0] == pytest.approx((0.33, 1.33 / 2 - 1))
    assert ExactGame("x", range(24), num_players=3).outcome_payoffs()[:, 1].tolist() == [1, 10, 20]


def test_values_of_two_players_are_those_of_the_other_formula():
    one = ExactGame("any", np.arange(8.0).reshape(2, 2, 2) ** 2, 0.9)
    logits = 4 * draw(2, 7, 5) - 2
    joint = chain.outcomes(chain.played(logits))
    value = chain.values(joint, one.outcome_payoffs(), 0.9)[1][:, 0]
    own, other = one.values(logits[0], logits[1], 0)
    torch.testing.assert_close(value, torch.stack([own, other], -1), rtol=1e-12, atol=1e-12)


def test_values_are_expected_sums():
    """Of three players, against powers of the chain."""
    one = game("n-ipd", num_players=3, discount=0.8)
    joint = chain.outcomes(chain.played(4 * draw(3, 9) - 2))
    worth, value = chain.values(joint, one.outcome_payoffs(), 0.8)
    state = torch.eye(9, dtype=torch.float64)
    total = torch.zeros(9, 3, dtype=torch.float64)
    for step in range(200):
        outcome = state @ joint
        total += 0.8**step * outcome @ one.outcome_payoffs().mT
        state = torch.nn.functional.pad(outcome, (1, 0))
    torch.testing.assert_close(value, total)
    torch.testing.assert_close(worth, one.outcome_payoffs().mT + 0.8 * value[1:])


# ---- best response


def test_best_response_to_one_is_that_of_memory1():
    one, opponents = game("ipd"), draw(20, 5)
    found, gains = best_response(one, opponents), best_response_gain(one, opponents)
    for row, p in enumerate(opponents.numpy()):
        expected = memory1.best_response(p)
        np.testing.assert_allclose(found.values[row], expected.state_values, rtol=1e-10)
        assert found.p_cooperate[row].tolist() == expected.strategy.tolist()
        assert gains[row].item() == pytest.approx(0.04 * memory1.exploitability(p), abs=1e-10)


@pytest.mark.parametrize("players", [2, 3, 4])
def test_best_response_is_where_value_iteration_ends(players):
    one, p = game("public-goods", num_players=players, discount=0.8), draw(6, 2**players + 1)
    values = torch.zeros_like(p)
    others = chain.outcomes(torch.stack([p, 1 - p], -1).expand(players, *p.shape, 2), without=0)
    for _ in range(150):
        worth = one.outcome_payoffs()[0] + 0.8 * values[:, 1:]
        values = chain.action_values(others, worth, 0).amax(-1)
    torch.testing.assert_close(best_response(one, p).values, values, rtol=1e-10, atol=1e-10)


def test_no_deterministic_answer_is_better():
    """All 512 of three players."""
    one, p = game("n-ipd", num_players=3), draw(9)
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9)), dtype=torch.float64)
    probabilities = torch.stack([every, p.expand(512, 9), p.expand(512, 9)])
    joint = chain.outcomes(torch.stack([probabilities, 1 - probabilities], -1))
    value = chain.values(joint, one.outcome_payoffs()[:1], one.discount)[1][..., 0]
    found = best_response(one, p)
    torch.testing.assert_close(found.values, value.amax(0))
    torch.testing.assert_close(value[(every == found.p_cooperate).all(1)][0], found.values)


def test_gains_by_hand():
    """Against tit-for-tat none; from always-cooperate 2/(n-1) (n-1) - 0 instead of -1: one a step."""
    for players in (2, 3, 5):
        one = game("n-ipd", num_players=players)
        cooperates = table("C" * (2 * players + 1), players)
        assert best_response_gain(one, cooperates).item() == pytest.approx(1)
        assert best_response_gain(one, 1 - cooperates).item() == 0
    assert best_response_gain(game("n-ipd"), table("CCDCD", 2)).item() == pytest.approx(
        0, abs=1e-12
    )


# ---- what policies are called


@pytest.mark.parametrize(("players", "answers", "kind", "tolerates", "errors"), [
    (2, "CCDCD", "strict", 0, 1),  # tit-for-tat echoes a defection until somebody errs
    (2, "CCDDD", "grim", 0, 2),
    (2, "DDDDD", "defection", -1, 2),
    (2, "CCCCC", "threshold", 1, 0),
    (3, "CCDCDCD", "strict", 0, 1),  # all D; one C by mistake, and all return
    (3, "CCDDDDD", "grim", 0, 3),
    (3, "CCDCCCD", "contrite", 0, 0),  # D then C alone after the own lone defection
    (3, "CCCDCDD", "threshold", 1, 0),
    (3, "CCCCCCC", "threshold", 2, 0),
    (4, "CCDCDDCDD", "strict", 0, 2),  # two must err at once
    (3, "DCDCDCD", "defection", 0, 1),
])  # fmt: skip
def test_kinds(players, answers, kind, tolerates, errors):
    one = game("n-ipd", num_players=players)
    found = reciprocity(one, table(answers, players))
    assert found.kinds == [kind]
    assert found.counts == {kind: 1}
    assert kind in KINDS
    assert found.tolerates.item() == tolerates
    assert found.errors_to_return.item() == errors
    softer = reciprocity(one, table(answers, players, 0.999, 0.001))
    assert softer.kinds == [kind]


def test_rewards_by_hand():
    """Three of tit-for-tat's kind: they cooperate; a lone defector has one good step of 50."""
    found = reciprocity(game("n-ipd", num_players=3), table("CCDCDCD", 3))
    assert found.self_play.item() == -1
    assert found.lone_defector.item() == pytest.approx(-2 * 49 / 50)
    assert found.share.item() == 1
    threshold = reciprocity(game("n-ipd", num_players=3), table("CCCDCDD", 3))
    assert threshold.lone_defector.item() == 0
    assert not threshold.strict.item()


def test_policies_of_counts_see_nothing_else():
    policy = Counts(9)
    parameters = policy.start(2, torch.Generator().manual_seed(0))
    assert parameters.shape == (2, 2, 7)
    names = chain.state_names(3)
    seen = [0] + [1 + 3 * (name[0] == "D") + name[1:].count("D") for name in names[1:]]
    assert torch.equal(policy.logits(parameters), parameters[..., seen])


@pytest.mark.parametrize(("make", "said"), [
    (lambda: game("n-ipd", num_players=9), r"num_players must be an integer in \[2, 8\], got 9"),
    (lambda: game("n-ipd", num_players=1), r"num_players must be an integer in \[2, 8\], got 1"),
    (lambda: game("chicken", num_players=3), "public-goods and n-ipd take any number"),
    (lambda: game("n-ipd", num_players=3, factor=1.5), "factor is of the game public-goods"),
    (lambda: ExactGame("x", [1, 2, 3], num_players=3), "payoff must be 8 numbers for 3 players"),
    (lambda: ExactGame("x", [[1, 0], [0, 0]], num_players=3), "or 3 times as many"),
    (lambda: ExactGame("x", [math.nan] * 8, num_players=3), "payoff must be finite"),
    (lambda: ExactGame("x", "abc", num_players=3), "payoff must be an array of numbers"),
    (lambda: best_response(game("ipd"), draw(3)), r"p_cooperate must be \[\.\.\., 5\] for 2 players"),
    (lambda: best_response(game("ipd"), 2 + draw(5)), "must be probabilities"),
    (lambda: best_response(game("ipd"), draw(5) * math.nan), "must be probabilities"),
    (lambda: best_response(game("ipd", steps=3), draw(5)), "game without end, got one of 3 steps"),
    (lambda: reciprocity(game("matching-pennies"), draw(1, 5)), "matching-pennies is not one"),
    (lambda: reciprocity(game("ipd", steps=2), draw(1, 5)), "games without end"),
    (lambda: reciprocity(game("ipd"), draw(5)), r"p_cooperate must be \[N, 5\]"),
    (lambda: PolicySettings("counts").made(1), "a game of one step has none"),
])  # fmt: skip
def test_what_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
