"""Boards in their canonical image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rollouts import rollout, rollout_by_steps
from torch import Tensor

import loqa
from loqa import CoinConfig
from loqa.agents.actor_critic import Agent, build_agent, build_head
from loqa.agents.canonical import CanonicalHead, images, turned
from loqa.agents.places import Places
from loqa.agents.sets import AgentSets
from loqa.envs.coin_game.presets import COIN_PRESETS
from loqa.training.trainer import Trainer

MOVES = COIN_PRESETS["loqa24"].moves
STEPS, BATCH = 12, 64


def agent(seed: int, height: int = 3, width: int = 3, kind: str = "gru", players: int = 2) -> Agent:
    """Logits spread out, so that actions depend on what is seen."""
    board = (2 * players, height, width)
    draw = torch.Generator().manual_seed(seed)
    made = build_agent(kind, kind, 2 * players * height * width, 4, actor_hidden=16, critic_hidden=8,
                       generator=draw, obs_shape=board, moves=MOVES)  # fmt: skip
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "bias" in name:
                parameter.normal_(0, 0.3, generator=draw)
    return made


def env(height: int = 3, width: int = 3, **settings: Any) -> Any:
    settings = {"obs": "cells", "episode_length": STEPS, "egocentric": True, **settings}
    return loqa.make("coin-game", BATCH, height=height, width=width, **settings)


def draws(seed: int = 3) -> Tensor:
    return torch.rand(STEPS, 2, BATCH, generator=torch.Generator().manual_seed(seed))


def test_every_image_of_a_board_gets_the_same_logits_by_the_new_names_of_actions() -> None:
    head = CanonicalHead(build_head("actor", "gru", 36, 4, 8, generator=torch.Generator().manual_seed(0)),
                        (4, 3, 3), MOVES)  # fmt: skip
    planes = torch.zeros(4, 3, 3)  # no image of this board but itself is the same board
    planes[0, 1, 1] = planes[1, 0, 1] = planes[2, 2, 2] = 1
    shown = {  # the names of left, right, up, down
        "upside down": (planes.flip(1), [0, 1, 3, 2]),
        "right to left": (planes.flip(2), [1, 0, 2, 3]),
        "rows for columns": (planes.transpose(1, 2), [2, 3, 0, 1]),
        "turned": (planes.flip(1).flip(2).transpose(1, 2), [3, 2, 1, 0]),
    }
    state = torch.rand(1, 8)
    expected, after = head.step(planes.reshape(1, 36), state)
    assert expected.unique().numel() == 4
    for name, (image, actions) in shown.items():
        logits, same = head.step(image.reshape(1, 36), state)
        assert torch.equal(logits[:, actions], expected), name
        assert torch.equal(same, after), name


@pytest.mark.parametrize(("height", "width"), [(3, 3), (4, 4), (3, 5), (6, 4), (12, 12)])
def test_the_canonical_image_is_that_of_the_largest_places(height: int, width: int) -> None:
    head = agent(0, height, width).actor
    cells, middle = height * width, (height // 2, width // 2)

    def place(cell: int, image: Any) -> int:
        row, column = turned((cell // width - middle[0], cell % width - middle[1]), image)
        return (row + middle[0]) % height * width + (column + middle[1]) % width

    draw = torch.Generator().manual_seed(1)
    for other, coin in torch.randint(0, cells, (50, 2), generator=draw).tolist():
        own = middle[0] * width + middle[1]
        where = torch.tensor([own, cells + other, 3 * cells + coin])
        seen, image = head.seen(where)
        every = [(place(other, one), place(coin, one)) for one in images(height, width)]
        assert image == every.index(max(every))
        assert seen.tolist() == [own, cells + max(every)[0], 3 * cells + max(every)[1]]
    assert len(images(height, width)) == (8 if height == width else 4)


@pytest.mark.parametrize(("height", "width"), [(3, 3), (4, 4), (3, 5), (6, 4), (12, 12)])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_core_plays_them_as_torch_does(height: int, width: int, mixed: bool, isa: str) -> None:
    """The same actions, and what the critic says up to rounding; also beside a network of plain boards."""
    plain = build_agent(
        "gru", "gru", 4 * height * width, 4, generator=torch.Generator().manual_seed(9)
    )
    first = plain if mixed else agent(1, height, width)
    seats = (AgentSets.of(first), AgentSets.of(agent(2, height, width), records=True))
    assert [one.canonical for one in seats] == [not mixed, True]
    played, said = rollout(env(height, width), seats, draws(), seed=5)
    expected, told = rollout_by_steps(env(height, width), seats, draws(), seed=5)
    same = (played.actions == expected.actions).all(-1).all(0)
    assert same.float().mean() > 0.95  # rounding decides a draw now and then
    assert len(played.actions[:, :, 1].unique()) == 4
    for name in ("taken_log_probs", "taken_q_values"):
        ours, theirs = (getattr(one, name)[:, same] for one in (said, told))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("kind", ["gru", "mlp", "cnn"])
@pytest.mark.parametrize("height", [3, 7])
def test_sequences_and_steps_of_planes_and_places_say_the_same(
    height: int, kind: str, players: int
) -> None:
    """On 7 x 7 the first layer is a sum of rows of weights."""
    one = agent(3, height, height, kind, players)
    seen = []
    for obs in ("cells", "planes"):
        game = env(height, height, obs=obs, num_players=players)
        draw = torch.Generator().manual_seed(4)
        seen.append([game.reset(seed=2)[:, 1].clone()])
        for _ in range(4):
            actions = torch.randint(0, 4, (BATCH, players), generator=draw, dtype=torch.uint8)
            seen[-1].append(game.step(actions)[0][:, 1].clone())
    cells, planes = (torch.stack(some) for some in seen)
    sets = AgentSets(one, {name: torch.stack([value.detach()] * 4)
                           for name, value in one.named_parameters()})  # fmt: skip
    whole = one.log_probs(cells)
    actions = torch.zeros((4, BATCH), dtype=torch.uint8)
    torch.testing.assert_close(one.log_probs(planes), whole)
    torch.testing.assert_close(one.acting(cells, actions).log_prob_table, whole)
    state, stacked, critic = (
        one.initial_state(BATCH),
        sets.initial_state(BATCH),
        sets.critic_state(BATCH),
    )
    q_values = one.q_values(cells)
    for t in range(5):
        for obs in (cells, planes):
            said, after = one.step(obs[t], state)
            torch.testing.assert_close(said, whole[t])
            said, stacked_after = sets.step(obs[t], stacked)
            torch.testing.assert_close(said, whole[t])
            for when in (t, torch.full((BATCH,), t)):
                said, critic_after = sets.critic_step(obs[t], critic, when)
                torch.testing.assert_close(said, q_values[t], rtol=1e-4, atol=1e-5)
        state, stacked, critic = after, stacked_after, critic_after


def test_a_run_learns_and_goes_on_bit_for_bit(tmp_path: Any) -> None:
    config = CoinConfig.of_preset(
        canonical=True, iterations=4, batch_size=16, opponents=4, episode_length=6, actor_hidden=8,
        critic_hidden=8, evaluate_every=2, evaluation_episodes=8, checkpoint_every=2, replay_every=1,
    )  # fmt: skip
    loqa.train(config, tmp_path / "whole")
    loqa.train(config.replace(iterations=2), tmp_path / "part")
    loqa.resume(tmp_path / "part", iterations=4)
    agents = [loqa.load_agent(tmp_path / name) for name in ("whole", "part")]
    first = dict(Trainer(config).agent.named_parameters())
    for (name, one), other in zip(
        agents[0].named_parameters(), agents[1].parameters(), strict=True
    ):
        assert torch.equal(one, other)
        assert not torch.equal(one, first[name])
    x = Places.of(torch.tensor([[[4, 9, 18]]]), 36, torch.float32)
    assert agents[0].actor(x).shape == (1, 1, 4)  # its tables are there


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"egocentric": False}, "of egocentric boards"),
        ({"rules": "mfos22"}, "by rules loqa24"),
        ({"height": 40, "width": 40}, "at most 1024 cells, got 40 x 40"),
    ],
)
def test_boards_that_have_no_canonical_image(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CoinConfig.of_preset(canonical=True, **settings)


def test_heads_that_have_no_canonical_image() -> None:
    network = build_head("actor", "gru", 36, 4, 8)
    with pytest.raises(ValueError, match="the mirror of a move must be a move"):
        CanonicalHead(network, (4, 3, 3), ((0, 1), (1, 0)))
    with pytest.raises(ValueError, match="at most 1024 cells"):
        CanonicalHead(network, (4, 40, 40), MOVES)
