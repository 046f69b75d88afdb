"""Exact LOQA: analytic oracles, and the sampled losses, whose expectation it is."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from loqa.agents.ends import Ends
from loqa.agents.outputs import SeatOutputs
from loqa.algos import loqa as sampled
from loqa.algos.exact import ExactGame, chain, game, train
from loqa.algos.exact.loqa import LOQASettings, loqa_gradient
from loqa.algos.exact.reciprocity import reciprocity

GAMMA = 0.96
pytestmark = pytest.mark.usefixtures("one_thread")


def draw(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def per_count(players, gradient):
    """Summed over who the others were: the derivative for policies of counts."""
    zeros = torch.zeros(2 * players + 1, dtype=torch.float64)
    return zeros.index_add(0, chain.counted(players), gradient)


def uniform(players, **settings):
    settings = {"exploration": 0.0, "dice_discount": 0.9, **settings}
    logits = torch.zeros(players, 2**players + 1, dtype=torch.float64)
    found = loqa_gradient(game("n-ipd", num_players=players), logits, LOQASettings(**settings))
    return per_count(players, found.naive), per_count(players, found.shaping)


# ---- analytic oracles


@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_gradients_at_uniform_play(players):
    """Every state leads to every outcome alike, and a deed changes nothing but this step's rewards.

    b = 2, c = 1, T = 50. Naive: P(state) T-1/T (-c)/4. Shaping: an answer C of mine is worth b to all others
    together, and comes after an outcome that was worth A0 = r - E r to me.
    """
    naive, shaping = uniform(players)
    b, c, steps, n = 2, 1, 50, players
    expected_naive, expected_shaping = [-c / 4 / steps], [0.0]
    for own, others in itertools.product((1, 0), range(n - 1, -1, -1)):
        share = math.comb(n - 1, others) / 2**n
        advantage = b / (n - 1) * others - c * own - (b / 2 - c / 2)
        expected_naive.append((steps - 1) / steps * share * -c / 4)
        expected_shaping.append((steps - 1) / steps * share * GAMMA * advantage * b / 4)
    assert naive.tolist() == pytest.approx(expected_naive, abs=1e-12)
    assert shaping.tolist() == pytest.approx(expected_shaping, abs=1e-12)


@pytest.mark.parametrize(("players", "after_c", "after_d"), [
    (2, (0.0588, -0.1764), (0.1764, -0.0588)),
    (3, (0.0294, -0.0588, -0.0882), (0.0882, 0.0588, -0.0294)),
    (4, (0.0147, -0.0147, -0.0735, -0.0441), (0.0441, 0.0735, 0.0147, -0.0147)),
])  # fmt: skip
def test_shaping_at_uniform_play_in_numbers(players, after_c, after_d):
    """With n - 1 ... 0 others who cooperated: reciprocity, nothing else."""
    assert uniform(players)[1].tolist() == pytest.approx([0, *after_c, *after_d], abs=5e-5)


@pytest.mark.parametrize("players", [2, 3, 4])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_through_the_normaliser_at_uniform_play(players, temperature):
    """The factor 1 - pihat(b) differs between b = C and D, so the trace has a mean m, which stays in it:
    e_k(s) = 2^-n (g c A0(s) + g l E_{k-1}),  E_k = m + g l E_{k-1}."""
    _, shaping = uniform(
        players, stop_normaliser_gradient=False, softmax_temperature=temperature, dice_discount=0.7
    )
    sure = 1 / (1 + math.exp(1 / temperature))  # pihat(C): it costs 1
    states = list(itertools.product((0, 1), repeat=players))
    paid = [-2 + 2 / (players - 1) * (players - 1 - sum(o[1:])) - (1 - o[0]) for o in states]
    mean = sum(paid) / len(paid)
    factor = [(sure if o[1] else 1 - sure) / temperature for o in states]
    source = [GAMMA * f * (r - mean) / len(states) for f, r in zip(factor, paid, strict=True)]
    total, traces = 0.0, [0.0] * len(states)
    for _ in range(49):
        now = [s + GAMMA * 0.7 * total / len(states) for s in source]
        total = sum(now)
        traces = [a + b for a, b in zip(traces, now, strict=True)]
    # Each opponent stands in another place of the outcome: by symmetry n - 1 times the first one's, counted.
    expected = torch.tensor([0.0, *(x * 2 / 4 / 50 for x in traces)], dtype=torch.float64)
    assert shaping.tolist() == pytest.approx(per_count(players, expected).tolist(), abs=1e-12)


def test_through_the_normaliser_in_numbers():
    """It forgives CD and DD."""
    shaping = uniform(2, stop_normaliser_gradient=False)[1]
    assert shaping.tolist() == pytest.approx([0, 0.190, 0.099, 0.276, 0.131], abs=5e-4)


def test_the_critical_weight():
    """At uniform play the logit after CC rises from w / tau = 1.04."""
    for weight, sign in ((1.03, -1), (1.05, 1)):
        naive, shaping = uniform(2)
        assert sign * (naive + weight * shaping)[1] > 0


# ---- the sampled losses


class Episodes:
    """Memory-1 players, their exact critics, and episodes as the sampled losses read them."""

    def __init__(self, players, exploration, discount=0.9, scale=1.0):
        payoff = draw(players, 2**players, seed=5)
        self.game = ExactGame("any", payoff.tolist(), discount, num_players=players)
        self.logits = draw(players, 2**players + 1, seed=1, scale=scale)
        self.mu = chain.played(self.logits, exploration)
        self.joint = chain.outcomes(self.mu)
        self.payoffs = self.game.outcome_payoffs()
        self.worth = chain.values(self.joint, self.payoffs, discount)[0]
        self.players, self.exploration = players, exploration

    def every(self, steps):
        """All of them, `[steps + 1, B]` states, and their probabilities."""
        count = 2**self.players
        outcomes = torch.cartesian_prod(*[torch.arange(count)] * steps).reshape(-1, steps).mT
        states = torch.cat([torch.zeros(1, count**steps, dtype=torch.int64), outcomes + 1])
        return states, self.joint[states[:-1], outcomes].prod(0)

    def some(self, steps, number, generator):
        states = [torch.zeros(number, dtype=torch.int64)]
        for _ in range(steps):
            states.append(
                1 + torch.multinomial(self.joint[states[-1]], 1, generator=generator)[:, 0]
            )
        return torch.stack(states)

    def seat(self, one, states, logits=None):
        """What this seat's heads say; the policy that is played stands in it."""
        table = self.mu[one] if logits is None else chain.played(logits, self.exploration)
        seen = chain.seen(self.players)[one][states]
        q_table = chain.action_values(
            chain.outcomes(self.mu, without=one), self.worth[:, one], one
        )[states]
        actions = chain.actions(self.players)[one][states[1:] - 1]
        return SeatOutputs(table.log()[seen], q_table, actions)

    def losses(self, states, settings, seat=0):
        """And the leaf that they are differentiable in."""
        leaf = self.logits[seat].clone().requires_grad_()
        rewards = self.payoffs[:, states[1:] - 1]
        cut = torch.zeros(states[1:].shape, dtype=torch.bool)
        ends = Ends(cut, torch.cat([cut[:-1], ~cut[-1:]]))
        others = [
            (self.seat(one, states), rewards[one]) for one in range(self.players) if one != seat
        ]
        return leaf, sampled.actor_losses(
            self.seat(seat, states, leaf), others, rewards[seat], settings, ends
        )


def settings_of(episodes, steps, **more):
    """The same settings of both."""
    common = {"softmax_temperature": 1.5, "dice_discount": 0.8, "stop_normaliser_gradient": True}
    common |= more
    exact = LOQASettings(exploration=episodes.exploration, episode_length=steps, **common)
    plain = sampled.LOQASettings(
        gamma=episodes.game.discount, advantage_baseline="none", played_policy=True, **common
    )
    return exact, plain


@pytest.mark.parametrize(("players", "steps"), [(2, 1), (2, 2), (2, 5), (3, 4), (4, 3), (5, 2)])
@pytest.mark.parametrize("exploration", [0.0, 0.3])
def test_it_is_the_expectation_of_the_sampled_gradient(players, steps, exploration):
    """Over every sequence of actions, each with its probability: no noise, payoffs without any symmetry."""
    episodes = Episodes(players, exploration)
    states, probabilities = episodes.every(steps)
    assert probabilities.sum().item() == pytest.approx(1)
    exact, plain = settings_of(episodes, steps)
    for seat in (0, players - 1):
        found = loqa_gradient(episodes.game, episodes.logits, exact, seat)
        leaf, losses = episodes.losses(states, plain, seat)
        for part, loss in ((found.naive, losses.agent), (found.shaping, losses.opponent)):
            (down,) = torch.autograd.grad((probabilities * loss).sum(), leaf, retain_graph=True)
            torch.testing.assert_close(part, -down, rtol=0, atol=1e-10)
        assert found.naive.abs().max() > 1e-3
        assert (found.shaping.abs().max() > 1e-3) == (steps > 1)


@pytest.mark.parametrize("players", [2, 3, 5])
def test_the_sampled_gradient_averages_to_it(players):
    """Within four standard errors in every state, and within a fifth of its length in all."""
    episodes = Episodes(players, 0.1, scale=0.5)
    steps = 12
    exact, plain = settings_of(episodes, steps)
    parts = loqa_gradient(episodes.game, episodes.logits, exact)
    generator = torch.Generator().manual_seed(3)
    drawn = []
    for _ in range(60):
        leaf, losses = episodes.losses(episodes.some(steps, 500, generator), plain)
        downs = [
            torch.autograd.grad(one.mean(), leaf, retain_graph=True)[0]
            for one in (losses.agent, losses.opponent)
        ]
        drawn.append(-torch.stack(downs))
    mean, error = torch.stack(drawn).mean(0), torch.stack(drawn).std(0) / math.sqrt(60)
    for part, found, spread in zip(parts, mean, error, strict=True):
        assert ((part - found).abs() <= 4 * spread + 1e-12).all()
        assert (part - found).norm() < 0.2 * part.norm()


@pytest.mark.parametrize(("players", "steps"), [(2, 4), (3, 3)])
@pytest.mark.parametrize("stop", [True, False])
def test_the_double_sum(players, steps, stop):
    """sum_{t<k} A_t c^j(b_t) g (g l)^(k-t-1) (Q^j(s_k, a_k) - V^j(s_k)) dlog mu(a_k), over all episodes."""
    episodes = Episodes(players, 0.2)
    states, probabilities = episodes.every(steps)
    exact, _ = settings_of(episodes, steps, stop_normaliser_gradient=stop)
    discount, tau = episodes.game.discount, exact.softmax_temperature
    mine = episodes.seat(0, states, leaf := episodes.logits[0].clone().requires_grad_())
    value = chain.values(episodes.joint, episodes.payoffs, discount)[1]
    earned = episodes.worth[states[1:] - 1, 0] - value[states[:-1], 0]
    others = chain.outcomes(episodes.mu, without=0)
    total = 0.0
    for one in range(1, players):
        theirs = episodes.seat(one, states)
        taken = theirs.taken_q_values / tau
        share = (taken - torch.logsumexp(theirs.q_table[:-1] / tau, -1)).exp()
        factor = (1 if stop else 1 - share) / tau
        worth = chain.action_values(others, episodes.worth[:, one], 0)
        touched = worth[states[:-1]].gather(-1, mine.actions[..., None])[..., 0]
        touched = touched - value[states[:-1], one]
        for t, k in itertools.combinations(range(steps), 2):
            trace = discount * (discount * exact.dice_discount) ** (k - t - 1)
            total = total + trace * (earned * factor)[t] * touched[k] * mine.taken_log_probs[k]
    (expected,) = torch.autograd.grad((probabilities * total).sum() / steps, leaf)
    found = loqa_gradient(episodes.game, episodes.logits, exact).shaping
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_seats_and_batches():
    """Who sits one seat further sees the same; runs of a batch do not touch each other."""
    one = game("public-goods", num_players=4, factor=1.7)
    logits, settings = draw(4, 3, 17), LOQASettings(stop_normaliser_gradient=False)
    found = loqa_gradient(one, logits, settings)
    turned = loqa_gradient(one, logits.roll(1, 0), settings, seat=1)
    torch.testing.assert_close(found, turned)
    alone = loqa_gradient(one, logits[:, 1], settings)
    torch.testing.assert_close(tuple(part[1] for part in found), tuple(alone))


# ---- learning


def test_reciprocity_is_learned_by_any_number_of_players():
    """Bounds of the prisoner's dilemma of n players; without shaping all defect."""
    for players, updates in ((2, 300), (3, 300), (5, 400)):
        one = game("n-ipd", num_players=players)
        found = train(one, "loqa", 4, updates, seed=11)
        assert found.p_cooperate.shape == (1, 4, 2**players + 1)
        assert found.rewards.shape == (updates + 1, 1, 4)
        said = reciprocity(one, found.p_cooperate[0])
        assert said.strict.all(), players
        assert said.self_play.min() >= -1.1
        assert said.lone_defector.max() <= -1.8
        assert said.best_response_gain.max() <= 0.1
        one_defected = chain.counted(players) == 2
        assert (found.p_cooperate[0][:, one_defected].mean(1) < 0.2).all()
        naive = train(one, "loqa", 4, updates, seed=11, shaping_weight=0.0)
        assert reciprocity(one, naive.p_cooperate[0]).counts == {"defection": 4}
    two = train("ipd", "loqa", 4, 300, seed=11)
    assert two.found_tit_for_tat.all()


def test_policies_of_counts_and_networks():
    one = game("n-ipd", num_players=4)
    found = train(one, "loqa", 2, 3, policy="counts")
    assert found.parameters["players"].shape == (1, 2, 9)
    assert torch.equal(found.p_cooperate[..., 2], found.p_cooperate[..., 3])  # CCCD, CCDC
    assert train("ipd", "loqa", 2, 3, policy="network", hidden=3).p_cooperate.shape == (1, 2, 5)
    table = train("ipd", "loqa", 3, 5, seed=2)
    assert torch.equal(train("ipd", "loqa", 3, 5, seed=2, policy="counts").rewards, table.rewards)


@pytest.mark.parametrize(("fields", "said"), [
    ({"dice_discount": 1.5}, "dice_discount must be a finite number in"),
    ({"softmax_temperature": 0.0}, r"softmax_temperature must be a finite number in \[1e-09"),
    ({"softmax_temperature": math.inf}, "softmax_temperature must be a finite number"),
    ({"shaping_weight": -1.0}, "shaping_weight must be a finite number in"),
    ({"exploration": math.nan}, "exploration must be a finite number in"),
    ({"episode_length": 0}, "episode_length must be an integer in"),
    ({"inner_lr": 1.0}, "loqa has no setting 'inner_lr'"),
    ({"game": "matching-pennies"}, "matching-pennies does not pay every player the same"),
    ({"game": game("ipd", steps=7)}, "games without end, got one of 7 steps"),
    ({"game": game("n-ipd", num_players=3), "algo": "lola"}, "lola is of two players, got 3: loqa"),
    ({"game": game("n-ipd", num_players=3), "algo": "mfos"}, "mfos is of two players, got 3"),
    ({"game": game("n-ipd", num_players=3), "policy": "network"}, "'network' is of two players"),
    ({"game": game("n-ipd", num_players=3), "policy": "preconditioned"}, "is of two players"),
])  # fmt: skip
def test_what_is_refused(fields, said):
    with pytest.raises((ValueError, TypeError), match=said):
        train(**{"game": "ipd", "algo": "loqa", "updates": 1, "runs": 2, **fields})


@pytest.mark.parametrize(("one", "shape", "seat", "said"), [
    ("n-ipd", (2, 9), 0, r"logits must be \[3, \.\.\., 9\] for 3 players, got \[2, 9\]"),
    ("n-ipd", (3, 8), 0, "logits must be"),
    ("n-ipd", (3, 9), 3, "seat must be an integer in"),
])  # fmt: skip
def test_gradients_of_other_shapes(one, shape, seat, said):
    with pytest.raises(ValueError, match=said):
        loqa_gradient(game(one, num_players=3), torch.zeros(shape, dtype=torch.float64),
                      LOQASettings(), seat)  # fmt: skip
