"""LOLA-DiCE and POLA-DiCE: derivatives of sampled games, runs, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import loqa
from loqa.algos.lookahead import LOLASettings, POLASettings, dice_objective, value_loss
from loqa.cli.main import main
from loqa.training.trainer import Trainer

GAMMA, STEPS = 0.9, 6
PAYOFF = torch.tensor([-1.0, -3.0, 0.0, -2.0], dtype=torch.float64)  # CC, CD, DC, DD
OTHERS_VIEW = [0, 1, 3, 2, 4]


def exact_value(mine: Tensor, other: Tensor, payoff: Tensor) -> Tensor:
    """sum_t gamma^t E[r_t] of memory-1 logits, by the distribution over joint actions step by step."""
    p, q = torch.sigmoid(mine), torch.sigmoid(other)[OTHERS_VIEW]
    joint = torch.stack([p * q, p * (1 - q), (1 - p) * q, (1 - p) * (1 - q)], 1)
    now, total = joint[0], mine.new_zeros(())
    for t in range(STEPS):
        total = total + GAMMA**t * (now @ payoff)
        now = now @ joint[1:]
    return total


def mixed(value: Any, mine: Tensor, other: Tensor) -> Tensor:
    """d2 V / d mine d other, `[5, 5]`."""
    (first,) = torch.autograd.grad(value, other, create_graph=True)
    return torch.stack([torch.autograd.grad(one, mine, retain_graph=True)[0] for one in first])


@pytest.mark.parametrize(
    ("objective", "baseline"), [("dice", "none"), ("dice", "batch"), ("dice", "critic"), ("loaded", "none")]
)  # fmt: skip
def test_the_mixed_second_derivative_is_unbiased(objective: str, baseline: str) -> None:
    generator = torch.Generator().manual_seed(1)
    mine, other = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(2))
    mine.requires_grad_()
    other.requires_grad_()
    settings = LOLASettings(gamma=GAMMA, objective=objective, baseline=baseline)  # type: ignore[arg-type]
    theirs = PAYOFF[[0, 2, 1, 3]]  # to the other, by my view
    expected = mixed(exact_value(mine, other, theirs), mine, other)
    # A critic that errs: it changes no expectation.
    critic = torch.linspace(-2, 1, 5, dtype=torch.float64)
    env = loqa.make("ipd", num_envs=500, episode_length=STEPS, obs="index", seed=3)
    found = []
    for batch in range(100):
        env.reset(seed=batch)
        probabilities = [torch.sigmoid(one.detach()).tolist() for one in (mine, other)]
        obs, actions, rewards = env.rollout_memory1(probabilities, STEPS)
        seats = []
        for seat, logits in enumerate((mine, other)):
            chosen = logits[obs[:-1, :, seat].long()]
            sign = 1.0 - 2.0 * actions[:, :, seat]
            seats.append(torch.nn.functional.logsigmoid(sign * chosen))
        values = critic[obs[:, :, 1].long()] * 1.0
        values[-1] = 0  # nothing is paid after the last step
        paid = rewards[:, :, 1].double()
        estimate = dice_objective(paid, sum(seats), values, settings)  # type: ignore[arg-type]
        found.append(mixed(estimate, mine, other))
    samples = torch.stack(found)
    error = samples.std(0) / len(samples) ** 0.5
    if baseline == "batch":  # the mean of a batch has the episode itself in it
        expected = expected * (1 - 1 / 500)
    distance = ((samples.mean(0) - expected).abs() / error.clamp_min(1e-12)).max()
    assert distance < 4  # the largest of 25, in standard errors
    assert error.max() < 0.15 * expected.abs().max()


def test_values_and_objectives_of_three_steps_worked_by_hand() -> None:
    rewards = torch.tensor([[1.0], [2.0], [4.0]])
    values = torch.tensor([[3.0], [1.0], [5.0], [8.0]], requires_grad=True)
    # G = 4 + 8/2, 2 + 8/2, 1 + 6/2
    assert value_loss(rewards, values, 0.5).item() == (4 - 3) ** 2 + (6 - 1) ** 2 + (8 - 5) ** 2
    logps = torch.tensor([[-0.1], [-0.2], [-0.3]], requires_grad=True)
    settings = LOLASettings(gamma=0.5, baseline="none")
    value = dice_objective(rewards, logps, None, settings)
    assert value.item() == 1 + 2 / 2 + 4 / 4
    (gradient,) = torch.autograd.grad(value, logps)
    assert gradient.flatten().tolist() == [1 + 1 + 1, 1 + 1, 1]  # rewards from each step on


def test_an_episode_that_ends_starts_anew() -> None:
    """Two episodes one after the other are two episodes beside each other, of half the weight."""
    generator = torch.Generator().manual_seed(0)
    rewards, logps = torch.randn(2, 3, 2, generator=generator, dtype=torch.float64)
    settings = LOLASettings(gamma=0.7, baseline="none")
    beside = dice_objective(rewards, logps.requires_grad_(), None, settings)
    (expected,) = torch.autograd.grad(beside, logps)
    one = logps.detach().T.reshape(-1, 1).requires_grad_()
    terminated = torch.tensor([False, False, True, False, False, False])[:, None]
    after = dice_objective(rewards.T.reshape(-1, 1), one, None, settings, terminated)
    (found,) = torch.autograd.grad(after, one)
    torch.testing.assert_close(after, 2 * beside)
    torch.testing.assert_close(found.reshape(2, 3).T, 2 * expected)


SMALL: dict[str, Any] = {"batch_size": 16, "episode_length": 5, "log_every": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"algo": "lola", "actor": "logits"},
        {"algo": "lola", "actor": "mlp", "baseline": "critic", "optimizer": "sgd"},
        {"algo": "lola", "actor": "gru", "critic": "gru", "objective": "loaded"},
        {"algo": "lola", "meets": "self"},
        {"algo": "lola", "opponent_model": True},
        {"algo": "pola", "actor": "gru", "critic": "gru", "outer_steps": 2},
        {"algo": "pola", "outer_steps": 3, "opponent_model": True, "fresh_optimizer": False},
    ],
)
def test_a_run_goes_on_bit_for_bit(fields: dict[str, Any], tmp_path: Path) -> None:
    config = loqa.IPDConfig.of_preset("default", **{**SMALL, **fields}, iterations=4)
    whole = loqa.train(config, tmp_path / "whole")
    loqa.train(config.replace(iterations=2), tmp_path / "parts")
    parts = loqa.resume(tmp_path / "parts", iterations=4)
    one, two = (loqa.load_agent(each["out"]).state_dict() for each in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)
    learners = 2 if config.meets == "learners" else 1
    played = 1 + config.outer_steps * (config.inner_steps + 1) * learners
    assert whole["env_steps"] == 4 * 16 * 5 * played
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    assert "agent" in json.loads(lines[-1])["loss"]


def test_on_the_coin_game(tmp_path: Path) -> None:
    config = loqa.CoinConfig.of_preset(
        "default", algo="pola", batch_size=8, iterations=2, outer_steps=2, inner_steps=1,
        actor_hidden=8, critic_hidden=8, episode_length=5, evaluate_every=0,
    )  # fmt: skip
    assert loqa.train(config, tmp_path / "run")["iterations"] == 2


def test_without_steps_of_the_others_it_is_the_policy_gradient() -> None:
    """eta 0: the gradient is that of one's own return alone."""
    config = loqa.IPDConfig.of_preset("default", algo="lola", **SMALL, inner_lr=0.0)
    trainer = Trainer(config)
    algorithm: Any = trainer.algorithm
    ahead, _ = algorithm._look_ahead(0, 0)
    for name, value in ahead[1].parameters.items():
        assert torch.equal(value, algorithm._others[1].parameters[name])
        assert not any(
            gradient is not None and gradient.any()
            for gradient in torch.autograd.grad(
                value.sum(), algorithm._actor, allow_unused=True, retain_graph=True
            )
        )


def test_a_strong_penalty_holds_the_policy_where_it_is() -> None:
    moved = []
    for outer_kl in (0.0, 1e4):
        config = loqa.IPDConfig.of_preset(
            "default", algo="pola", batch_size=64, episode_length=20, iterations=1,
            outer_steps=30, outer_kl=outer_kl, actor_lr=0.05,
        )  # fmt: skip
        trainer = Trainer(config)
        before = trainer.agent.memory1()
        trainer.iterate()
        moved.append((trainer.agent.memory1() - before).abs().max().item())
    assert moved[1] < 0.02 < 0.1 < moved[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algo", "lola", "--inner-steps", "0"], "inner_steps must be an integer in [1, "),
        (["--algo", "lola", "--inner-lr", "-1"], "inner_lr must be"),
        (["--algo", "lola", "--actor-lr", "-0.1"], "actor_lr must be"),
        (["--algo", "pola", "--inner-kl", "nan"], "inner_kl must be"),
        (
            [
                "--algo",
                "lola",
                "--meets",
                "fixed",
                "--fixed",
                "tit-for-tat",
                "--take-turns",
                "--opponent-model",
            ],
            "take_turns is not for lola: it knows who sits where",
        ),
        (["--algo", "pola", "--outer-kl", "nan"], "outer_kl must be"),
        (["--algo", "pola", "--outer-steps", "0"], "outer_steps must be an integer in [1, "),
        (
            ["--algo", "lola", "--meets", "fixed", "--fixed", "tit-for-tat"],
            "needs the other player's parameters",
        ),
        (["--algo", "pola", "--meets", "past"], "needs the other player's parameters"),
    ],
)
def test_refused_with_a_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["train", "ipd", *arguments])
    except SystemExit as exit_:  # of tyro
        code = exit_.code
    assert code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("algo", ["lola", "pola"])
def test_episodes_that_are_cut_are_refused(algo: str) -> None:
    """Nothing says what the rest of them is worth."""
    trainer = Trainer(loqa.IPDConfig.of_preset("default", algo=algo, **SMALL))
    algorithm: Any = trainer.algorithm
    trajectory, _ = trainer.play(trainer.env, [trainer.agent] * 2, "test")
    cut = torch.zeros_like(trajectory.rewards[..., 0]).bool()
    cut[-1] = True
    cut_off = dataclasses.replace(trajectory, truncated=cut)
    algorithm._play_fresh = lambda seats, name: cut_off
    with pytest.raises(
        ValueError, match="episodes that terminate or fill the batch, got truncated"
    ):
        algorithm.update(trajectory)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="objective"):
        LOLASettings(objective="plain")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inner_kl must be"):
        POLASettings(inner_kl=float("nan"))


@pytest.mark.parametrize("table", [False, True])
def test_a_recurrent_actor_acts_with_second_derivatives(table: bool) -> None:
    fields = {"actor": "gru", "actor_table": table, "actor_one_hot": table, "layers_before_gru": 0}
    config = loqa.IPDConfig(algo="lola", batch_size=3, episode_length=4, **fields)
    torch.manual_seed(0)
    agent = Trainer(config).agent.double()
    if table:  # whose network begins at zero
        torch.nn.init.normal_(agent.actor.network.linear_end.weight)  # type: ignore[union-attr]
    obs, actions = torch.randint(5, (5, 3)), torch.randint(2, (4, 3))
    acting = agent.acting(obs, actions).taken_log_probs
    torch.testing.assert_close(acting, agent.evaluate(obs, actions).taken_log_probs)
    weights = [one for one in agent.actor.parameters() if one.requires_grad]
    first = torch.autograd.grad(acting.square().sum(), weights, create_graph=True)
    norm = sum(one.square().sum() for one in first)
    second = torch.autograd.grad(norm, weights)
    direction = [torch.randn_like(one) for one in weights]
    expected = sum((one * d).sum() for one, d in zip(second, direction, strict=True))

    def moved(share: float) -> Tensor:
        with torch.no_grad():
            for one, d in zip(weights, direction, strict=True):
                one += share * d
        said = agent.acting(obs, actions).taken_log_probs
        found = torch.autograd.grad(said.square().sum(), weights)
        return sum(one.square().sum() for one in found)

    step = 1e-5
    upper, lower = moved(step), moved(-2 * step)
    torch.testing.assert_close((upper - lower) / (2 * step), expected, rtol=1e-5, atol=1e-7)
