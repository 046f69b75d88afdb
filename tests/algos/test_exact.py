"""Exact games: values, policies and learners, held to recorded numbers of published code."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from loqa.agents.memory1 import discounted_value
from loqa.algos.exact import ExactGame, game, train
from loqa.algos.exact.lola import LOLASettings, POLASettings, proximal_step
from loqa.algos.exact.play import NaiveSettings, Play, both, gradient
from loqa.algos.exact.policies import Network, PolicySettings, Preconditioned, Table, kl
from loqa.algos.exact.reciprocity import finds_tit_for_tat, is_tit_for_tat

GOLDEN = Path(__file__).parents[1] / "golden"
PUBLIC_GOODS = game("public-goods", factor=1.33)
FORMS = ("taylor", "taylor-full", "lookahead")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pola():
    return np.load(GOLDEN / "rivals_exact_pola.npz", allow_pickle=False)


@pytest.fixture(scope="module")
def lola():
    return np.load(GOLDEN / "rivals_exact_tf.npz", allow_pickle=False)


def draw(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def seats_first(array):
    """[n, ..., player, state] as [player, n, ..., state]."""
    return torch.tensor(np.moveaxis(np.asarray(array, np.float64), -2, 0))


def path_of(step, parameters, updates):
    """As recorded: [n, update, player, state]."""
    path = [parameters]
    for _ in range(updates):
        path.append(step(path[-1]).detach())
    return torch.stack(path).permute(2, 0, 1, 3).numpy()


# ---- values


@pytest.mark.parametrize(
    "name", ["ipd", "matching-pennies", "chicken", "stag-hunt", "public-goods"]
)
@pytest.mark.parametrize("steps", [None, 2, 7])
def test_values_are_those_of_probabilities(name, steps):
    """Of `loqa.agents.memory1`, from both seats, also where a policy is nearly deterministic."""
    one = game(name, steps=steps)
    first, second = draw(40, 5), draw(40, 5, seed=1)
    first[:8] *= 10
    mine, theirs = torch.stack([first, second]), torch.stack([second, first])
    own, others = one.values(mine, theirs)
    expected = discounted_value(
        torch.sigmoid(first).numpy(), torch.sigmoid(second).numpy(), one.discount,
        payoff=one.payoff, steps=steps,
    )  # fmt: skip
    np.testing.assert_allclose(own.T, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(others.flip(0).T, expected, rtol=1e-10, atol=1e-10)
    for seat in (0, 1):
        alone = one.values(mine[seat], theirs[seat], seat)
        torch.testing.assert_close(alone, (own[seat], others[seat]), rtol=1e-13, atol=1e-13)


def test_a_game_of_one_step_by_hand():
    """V = x' R y: with P(C) 1/4 and 1/2 in Chicken each outcome is an eighth or three of them."""
    one = game("chicken", steps=1)
    mine = torch.tensor([[math.log(1 / 3)]], dtype=torch.float64)
    own, other = one.values(mine, torch.zeros(1, 1, dtype=torch.float64), 0)
    assert own.item() == pytest.approx((0 - 1 + 3 * 1 - 3 * 100) / 8)
    assert other.item() == pytest.approx((0 + 1 - 3 * 1 - 3 * 100) / 8)
    assert one.weight == 1


@pytest.mark.parametrize(("discount", "steps", "expected"), [
    (0.96, None, 0.04), (1.0, 4, 0.25), (0.5, 2, 1 / 1.5), (0.0, 3, 1.0), (1 - 1e-9, 10, 0.1),
])  # fmt: skip
def test_weight_makes_rewards_per_step(discount, steps, expected):
    assert ExactGame("one", [[1, 1], [1, 1]], discount, steps).weight == pytest.approx(expected)


def test_payoffs_are_of_each_seat():
    payoff = np.arange(8.0).reshape(2, 2, 2)
    one = ExactGame("any", payoff, 0.5, steps=1)
    cooperates, defects = (torch.full((1,), x, dtype=torch.float64) for x in (40.0, -40.0))
    assert one.values(cooperates, defects, 0) == (pytest.approx(1), pytest.approx(6))
    assert one.values(defects, cooperates, 1) == (pytest.approx(6), pytest.approx(1))


@pytest.mark.parametrize("policy", [Table(), Preconditioned(), Network(hidden=3)])
@pytest.mark.parametrize("steps", [None, 3])
def test_derivatives_of_first_and_second_order(policy, steps):
    play = Play(game("matching-pennies", steps=steps), policy)
    parameters = policy.start(2, torch.Generator().manual_seed(3))
    inputs = both(parameters)
    assert torch.autograd.gradcheck(play.values, inputs)
    assert torch.autograd.gradgradcheck(play.values, inputs)


def test_gradients_are_finite_differences_of_the_other_formula():
    one = game("ipd")
    mine, theirs = draw(1, 5), draw(1, 5, seed=1)
    mine.requires_grad_()
    found = gradient(one.values(mine, theirs, 0)[0], mine)[0]
    for state in range(5):
        ends = []
        for sign in (1, -1):
            moved = mine.detach().clone()
            moved[0, state] += sign * 1e-5
            p, q = torch.sigmoid(moved).numpy(), torch.sigmoid(theirs).numpy()
            ends.append(discounted_value(p, q, one.discount, payoff=one.payoff)[0, 0])
        assert found[state].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-7)


def test_numbers_do_not_depend_on_settings_of_torch():
    """Of the whole process: default type, inference mode."""
    expected = train("stag-hunt", "lola", 2, 3, seed=8).rewards
    torch.set_default_dtype(torch.float16)
    try:
        with torch.inference_mode():
            one = ExactGame("stag-hunt", [4, 1, 3, 2], 0.96)
            assert torch.equal(train(one, "lola", 2, 3, seed=8).rewards, expected)
            one.values(draw(1, 5), draw(1, 5), 0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(train(one, "lola", 2, 3, seed=8).rewards, expected)


# ---- policies


def test_network_sees_both_last_actions():
    """Against a plain network with one-hot inputs."""
    policy = Network(hidden=4)
    parameters = policy.start(3, torch.Generator().manual_seed(0))[1, 2]
    weights, bias = parameters[:24].reshape(6, 4), parameters[24:28]
    inputs = torch.zeros(5, 6, dtype=torch.float64)  # own C, D, none; other C, D, none
    for state, (own, other) in enumerate([(2, 2), (0, 0), (0, 1), (1, 0), (1, 1)]):
        inputs[state, own] = inputs[state, 3 + other] = 1
    expected = torch.tanh(inputs @ weights + bias) @ parameters[28:32] + parameters[32]
    torch.testing.assert_close(policy.logits(parameters), expected)
    assert parameters.abs().max() <= 0.5 + 1e-12


def test_preconditioned_is_the_published_matrix():
    matrix = torch.eye(5, dtype=torch.float64)
    matrix[:4, 4] = -2
    parameters = draw(3, 5)
    torch.testing.assert_close(Preconditioned().logits(parameters), parameters @ matrix.T)


def test_kl_by_hand():
    """P(C) 1/2 from 1/4 in one of five states: log(2) / 2 + log(2/3) / 2."""
    reference = torch.zeros(5, dtype=torch.float64)
    current = reference.clone()
    current[3] = math.log(1 / 3)
    expected = math.log(2) / 2 + math.log(2 / 3) / 2
    assert kl(reference, current).item() == pytest.approx(expected)
    assert kl(current, current).item() == 0


# ---- published code


def test_recorded_values_and_gradients(pola):
    play = Play(PUBLIC_GOODS, Table())
    mine, theirs = both(seats_first(pola["logits"]))
    own, others = play.values(mine, theirs)
    np.testing.assert_allclose(own.detach().T, pola["pgg_value"], rtol=0, atol=1e-10)
    for value, of_me in ((own, True), (others, False)):
        for parameters, by_me in ((mine, True), (theirs, False)):
            found = gradient(value, parameters)
            for seat in (0, 1):
                i, j = (seat if me else 1 - seat for me in (of_me, by_me))
                np.testing.assert_allclose(
                    found[seat], pola["pgg_grad"][:, i, j], rtol=0, atol=1e-8
                )


@pytest.mark.parametrize(("key", "settings"), [
    ("lookahead", LOLASettings(form="lookahead")),
    ("lookahead3", LOLASettings(form="lookahead", inner_steps=3)),
    ("taylor_full", LOLASettings(form="taylor-full")),
    ("lookahead", POLASettings(lr=1, inner_lr=1, outer_steps=1)),
    ("outerkl", POLASettings(lr=1, inner_lr=1, outer_steps=4, outer_kl=0.5, tolerance=0)),
    ("innerkl", POLASettings(lr=1, inner_lr=1, outer_steps=1, inner_kl=2, inner_steps=4)),
])  # fmt: skip
def test_recorded_updates(pola, key, settings):
    play = Play(PUBLIC_GOODS, Table())
    found = path_of(lambda now: settings.step(play, *both(now)), seats_first(pola["logits"]), 8)
    np.testing.assert_allclose(found, pola[f"pgg_{key}_path"], rtol=0, atol=1e-8)


@pytest.mark.parametrize(("key", "policy", "settings"), [
    ("pola_outer", Table(), POLASettings(outer_steps=40)),
    ("pola_outer_full", Table(), POLASettings()),
    ("pola_outer_precond", Preconditioned(),
     POLASettings(lr=0.05, inner_lr=0.4, outer_kl=0.5, outer_steps=40)),
])  # fmt: skip
def test_recorded_outer_pola(pola, key, policy, settings):
    """The same parameters after the same number of steps, also to convergence."""
    play, path = Play(PUBLIC_GOODS, policy), pola[f"{key}_path"]
    now = 0.1 * seats_first(pola["logits"])[:, : len(path)]
    for epoch in (0, 1):
        now, steps = proximal_step(play, *both(now), settings)
        np.testing.assert_allclose(now.transpose(0, 1), path[:, epoch + 1], rtol=0, atol=1e-8)
        assert (steps.T.numpy() == pola[f"{key}_iters"][:, epoch]).all()


@pytest.mark.parametrize("name", ["ipd", "matching-pennies"])
@pytest.mark.parametrize(("key", "form"), [("lola", "taylor"), ("pseudo", "taylor-full")])
def test_recorded_lola(lola, name, key, form):
    """The authors' own code computes in float32: its updates are right to 4e-5 of the largest."""
    key = f"{'ipd' if name == 'ipd' else 'imp'}_{key}"
    play, settings = Play(game(name), Table()), LOLASettings(form=form)
    now = seats_first(lola[f"{key}/path"][:, :-1]).flatten(1, 2)
    delta = (settings.step(play, *both(now)) - now).unflatten(1, (6, 10)).permute(1, 2, 0, 3)
    value = play.values(now, now.flip(0))[0].unflatten(1, (6, 10)).permute(1, 2, 0)
    expected = lola[f"{key}/delta"]
    np.testing.assert_allclose(delta.detach(), expected, rtol=0, atol=4e-5 * abs(expected).max())
    np.testing.assert_allclose(value, lola[f"{key}/value"], rtol=0, atol=1e-4)


# ---- learners


@pytest.mark.parametrize("settings", [
    *(LOLASettings(form=form, inner_lr=0, lr=0.7) for form in FORMS),
    POLASettings(outer_steps=1, inner_lr=0, lr=0.7),
])  # fmt: skip
def test_without_an_expected_step_all_are_naive(settings):
    play, now = Play(game("chicken"), Table()), draw(2, 6, 5)
    torch.testing.assert_close(
        settings.step(play, *both(now)), NaiveSettings(lr=0.7).step(play, *both(now))
    )


@pytest.mark.parametrize(("form", "order"), [("taylor", 1), ("taylor-full", 2)])
def test_how_forms_differ_from_the_lookahead(form, order):
    """By what is of this order in eta: "taylor" leaves one of two terms of the first order out."""
    play, now = Play(game("ipd"), Table()), draw(2, 6, 5)
    differences = []
    for eta in (1e-3, 1e-4):
        one, ahead = (
            LOLASettings(form=each, inner_lr=eta).step(play, *both(now))
            for each in (form, "lookahead")
        )
        differences.append((one - ahead).abs().max().item())
    assert differences[1] == pytest.approx(differences[0] / 10**order, rel=0.1)


def test_lookahead_is_the_derivative_through_the_step():
    """By finite differences of V_i(theta_i, theta_j + eta dV_j/dtheta_j(theta_i, theta_j))."""
    one = game("ipd")
    play, now = Play(one, Table()), draw(2, 1, 5, scale=1.0)

    def ahead(mine):
        theirs = now[1, 0].clone().requires_grad_()
        learned = theirs + 0.5 * gradient(one.values(mine, theirs, 0)[1], theirs)
        return one.values(mine, learned.detach(), 0)[0]

    found = LOLASettings(form="lookahead", inner_lr=0.5).step(play, *both(now))[0, 0] - now[0, 0]
    for state in range(5):
        move = torch.zeros(5, dtype=torch.float64)
        move[state] = 1e-5
        slope = (ahead(now[0, 0] + move) - ahead(now[0, 0] - move)) / 2e-5
        assert found[state].item() == pytest.approx(slope.item(), abs=1e-6)


class Rotated(Table):
    """A table in coordinates that have nothing to do with its states: logits = A theta."""

    matrix = torch.linalg.qr(draw(5, 5, seed=9))[0] @ torch.diag(
        torch.tensor([0.7, 1, 1.4, 0.8, 1.3], dtype=torch.float64)
    )

    def logits(self, parameters):
        return parameters @ self.matrix.T


def test_pola_does_not_depend_on_coordinates():
    """With both loops near convergence POLA's policies are the same after an update in other coordinates;
    LOLA's are not."""
    logits = draw(2, 4, 5, scale=0.5)
    rotated = torch.linalg.solve(Rotated.matrix, logits[..., None])[..., 0]

    def moved(learner):
        plain = learner.step(Play(PUBLIC_GOODS, Table()), *both(logits))
        other = Rotated().logits(learner.step(Play(PUBLIC_GOODS, Rotated()), *both(rotated)))
        return plain, kl(plain, other).max().item()

    near = {"inner_lr": 0.5, "inner_steps": 15, "inner_kl": 5.0, "lr": 0.4, "outer_kl": 5.0}
    near["outer_steps"] = 100
    shaped, difference = moved(POLASettings(**near, tolerance=1e-9))
    assert difference < 1e-6
    naive, difference = moved(POLASettings(**{**near, "inner_lr": 0.0}, tolerance=1e-9))
    assert difference < 1e-6
    assert kl(shaped, naive).min() > 1e-4  # what is expected of the other counts
    for form in FORMS:
        assert moved(LOLASettings(form=form))[1] > 1e-2, form


# ---- training


def test_runs_are_independent_and_repeat():
    many = train("ipd", "lola", runs=6, updates=5, seed=3)
    again = train("ipd", "lola", runs=6, updates=5, seed=3)
    assert torch.equal(many.parameters["players"], again.parameters["players"])
    assert many.rewards.shape == (6, 2, 6)
    assert not torch.equal(many.p_cooperate, train("ipd", "lola", 6, 5, seed=4).p_cooperate)
    play, now = Play(game("ipd"), Table()), many.parameters["players"][:, 2:3]
    alone = LOLASettings().step(play, *both(now))
    together = LOLASettings().step(play, *both(many.parameters["players"]))[:, 2:3]
    torch.testing.assert_close(alone, together, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("algo", ["naive", "lola", "pola"])
def test_every_learner_plays_every_game(algo):
    few = {"outer_steps": 3} if algo == "pola" else {}
    for name in ("ipd", "matching-pennies", "chicken", "stag-hunt", "hawk-dove", "public-goods"):
        found = train(name, algo, 3, 2, policy="network", hidden=4, lr=0.01, **few)
        assert torch.isfinite(found.rewards).all()
        assert found.p_cooperate.shape == (2, 3, 5)
    once = train(game("chicken", steps=1), algo, 3, 2, lr=0.01, **few)
    assert once.p_cooperate.shape == (2, 3, 1)


def test_naive_learners_defect_and_lola_cooperates():
    """Published: -1.98 and -1.06 a step on the prisoner's dilemma (Foerster et al. 2018)."""
    naive = train("ipd", "naive", 100, 200, seed=1).rewards[-1]
    assert naive.max() < -1.9
    assert naive.mean().item() == pytest.approx(-2, abs=0.02)
    for form in FORMS:
        assert train("ipd", "lola", 50, 100, seed=1, form=form).rewards[-1].mean() > -1.15, form


def test_lola_finds_the_equilibrium_of_matching_pennies():
    """Both mix evenly in every state; naive learners go round it."""
    lola = train("matching-pennies", "lola", 100, 200, seed=1)
    naive = train("matching-pennies", "naive", 100, 200, seed=1)
    near = [((found.p_cooperate - 0.5).abs() < 0.1).all(-1).all(0) for found in (lola, naive)]
    assert near[0].double().mean() > 0.8
    assert near[1].double().mean() < 0.05


def test_the_linearised_opponent_crashes_in_chicken():
    """-100 makes the step that LOLA expects absurd: a known fault of the two Taylor forms."""
    chicken = game("chicken", steps=1)
    crashed = train(chicken, "lola", 200, 100, seed=1).rewards[-1].mean()
    looks = train(chicken, "lola", 200, 100, seed=1, form="lookahead").rewards[-1].mean()
    assert crashed < -50
    assert looks == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize(("factor", "inner_lr"), [(1.1, 5.0), (1.33, 5.0), (1.6, 2.5)])
def test_pola_finds_tit_for_tat(factor, inner_lr):
    """Published: 20 of 20 tables at every f; LOLA with preconditioned tables never (Zhao et al. 2022)."""
    goods = game("public-goods", factor=factor)
    rates = {"inner_lr": inner_lr, "lr": 0.3, "outer_kl": 0.1}
    assert train(goods, "pola", 5, 2, seed=1, init_std=0.1, **rates).found_tit_for_tat.all()
    for inner_lr, lr in ((3.0, 25.0), (1.0, 1.0)):
        rates = {"form": "lookahead", "inner_lr": inner_lr, "lr": lr}
        found = train(
            goods, "lola", 20, 100, seed=1, init_std=0.1, policy="preconditioned", **rates
        )
        assert not found.found_tit_for_tat.any()


def test_watch_sees_every_update_and_can_end_it():
    seen = []

    def watch(update, p_cooperate, rewards):
        seen.append((update, tuple(p_cooperate.shape), tuple(rewards.shape)))
        return update == 3

    found = train("ipd", "naive", 4, 100, watch=watch)
    assert seen == [(n, (2, 4, 5), (2, 4)) for n in range(4)]
    assert len(found.rewards) == 4


def test_definitions_of_tit_for_tat():
    tit_for_tat = torch.tensor([0.9, 0.9, 0.1, 0.9, 0.1], dtype=torch.float64)
    grim = torch.tensor([0.9, 0.9, 0.1, 0.1, 0.1], dtype=torch.float64)
    assert is_tit_for_tat(torch.stack([tit_for_tat, grim])).tolist() == [True, False]
    both_players = torch.stack([tit_for_tat, grim])[:, None]
    for reward, expected in ((0.27, True), (0.26, False)):  # .8 * .33 = .264
        rewards = torch.full((2, 1), reward, dtype=torch.float64)
        assert finds_tit_for_tat(PUBLIC_GOODS, both_players, rewards).tolist() == [expected]
    forgiving = both_players.clone()
    forgiving[0, 0, 2] = 0.7
    assert not finds_tit_for_tat(PUBLIC_GOODS, forgiving, rewards + 1)


# ---- bad input


@pytest.mark.parametrize(("fields", "said"), [
    ({"algo": "lolla"}, "did you mean 'lola'"),
    ({"game": "pgg"}, "game must be one of"),
    ({"runs": 0}, "runs must be an integer in"),
    ({"inner_steps": 0, "form": "lookahead"}, "inner_steps must be an integer in"),
    ({"inner_steps": 2}, "inner_steps is of form lookahead"),
    ({"lr": -1.0}, "lr must be a finite number in"),
    ({"algo": "pola", "outer_kl": math.nan}, "outer_kl must be a finite number in"),
    ({"algo": "pola", "inner_kl": -1.0}, "inner_kl must be a finite number in"),
    ({"algo": "naive", "inner_lr": 1.0}, "naive has no setting 'inner_lr'"),
    ({"form": "taylor2"}, "form must be one of"),
    ({"policy": "gru"}, "policy must be one of"),
    ({"game": game("chicken", steps=1), "policy": "network"}, "a game of one step has none"),
    ({"game": game("chicken", steps=1), "policy": "preconditioned"}, "a game of one step has none"),
])  # fmt: skip
def test_bad_settings(fields, said):
    with pytest.raises((ValueError, TypeError), match=said):
        train(**{"updates": 1, "runs": 2, **fields})


@pytest.mark.parametrize(("make", "said"), [
    (lambda: ExactGame("x", [[1, 2, 3]] * 3), "payoff must be of two actions"),
    (lambda: ExactGame("x", [1, 2, 3]), "payoff must be"),
    (lambda: ExactGame("x", [[math.nan, 0], [0, 0]]), "payoff must be finite"),
    (lambda: ExactGame("x", [[1, 0], [0, 0]], 1.0), "discount must be below 1"),
    (lambda: ExactGame("x", [[1, 0], [0, 0]], steps=0), "steps must be an integer in"),
    (lambda: game("ipd", factor=1.2), "factor is of the game public-goods"),
    (lambda: game("public-goods", factor=1.2, payoff=[0, 1, 2, 3]), "give one of them"),
    (lambda: game("public-goods", factor=math.inf), "factor must be a finite number"),
    (lambda: game("chikken"), "did you mean 'chicken'"),
])  # fmt: skip
def test_bad_games(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_what_diverges_says_so():
    with pytest.raises(FloatingPointError, match="no longer finite after update"):
        train("ipd", "lola", 2, 5, lr=1e308, policy="network")


def test_settings_are_of_the_learner():
    assert PolicySettings(policy="network", hidden=3).made(5) == Network(hidden=3)
    assert PolicySettings(init_std=0.1).made(1) == Table(1, 0.1)


def test_the_snippet_of_the_page():
    page = Path(game.__code__.co_filename).with_name("README.md").read_text()
    block = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, object] = {}
    shorter = block.replace("runs=1000", "runs=2").replace("runs=20", "runs=2, outer_steps=9")
    exec(shorter, names)
    assert names["found"].rewards.shape == (201, 2, 2)
