"""The mirrored view that an ablation of the Coin Game compares with (benchmarks/mirrored.py)."""

import sys
from pathlib import Path

import pytest
import torch

import loqa
from loqa.agents.actor_critic import build_head
from loqa.envs.coin_game.presets import COIN_PRESETS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def head(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    mirrored = (
        pytest.importorskip("mirrored") if BENCHMARKS.exists() else pytest.skip("no benchmarks")
    )
    yield mirrored.MirroredHead(
        build_head("actor", "gru", 36, 4, 8, generator=torch.Generator().manual_seed(0)),
        3,
        COIN_PRESETS["loqa24"].moves,
    )
    sys.modules.pop("mirrored")


def boards(other, coin):
    planes = torch.zeros(4, 3, 3)
    planes[0, 1, 1] = planes[1][other] = planes[2][coin] = 1
    return planes


def test_every_image_of_a_board_gets_the_same_logits_by_the_new_names_of_actions(head):
    # Left, right, up, down. No image of this board but itself is the same board.
    planes = boards((0, 1), (2, 2))
    images = {
        "upside down": (planes.flip(1), [0, 1, 3, 2]),
        "right to left": (planes.flip(2), [1, 0, 2, 3]),
        "rows for columns": (planes.transpose(1, 2), [2, 3, 0, 1]),
        "turned": (planes.flip(1).flip(2).transpose(1, 2), [3, 2, 1, 0]),
    }
    state = torch.rand(1, 8)
    expected, after = head.step(planes.reshape(1, 36), state)
    assert expected.unique().numel() == 4
    for name, (image, actions) in images.items():
        logits, same = head.step(image.reshape(1, 36), state)
        assert torch.equal(logits[:, actions], expected), name
        assert torch.equal(same, after), name


def test_a_sequence_says_what_its_steps_say(head):
    env = loqa.make("coin-game", num_envs=16, egocentric=True)
    seen = [env.reset(seed=1)[:, 0].clone()]
    for _ in range(5):
        seen.append(env.step(torch.randint(0, 4, (16, 2), dtype=torch.uint8))[0][:, 0].clone())
    x = torch.stack(seen).reshape(6, 16, 36)
    state, steps = head.initial_state(16), []
    for one in x:
        logits, state = head.step(one, state)
        steps.append(logits)
    torch.testing.assert_close(head(x), torch.stack(steps))
