"""Pictures of the Coin Game: players, colours, scores and pick-ups are there to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import loqa
from loqa.envs.coin_game.film import CoinFrame, draw_frame, frames_of, save_gif, text_frame
from loqa.envs.coin_game.render import COLOURS


def has(image: np.ndarray, colour: np.ndarray) -> bool:
    return bool((image == colour).all(-1).any())


def test_render() -> None:
    env = loqa.make("coin_game", num_envs=2, height=3, width=4)
    env.set_state(
        players_pos=np.array([[[0, 0], [2, 3]]] * 2),
        coin_pos=np.array([[1, 1], [1, 2]]),
        coin_owner=np.array([0, 1]),
        t=np.array([0, 0]),
    )
    image = env.render(1)
    assert image.shape == (3 * 48 + 1, 4 * 48 + 1, 3)
    assert image.dtype == np.uint8
    assert has(image[:48, :48], COLOURS[0])
    assert not has(image[:48, :48], COLOURS[1])
    assert has(image[96:, 144:], COLOURS[1])
    assert has(image[48:96, 96:144], COLOURS[1])  # the coin
    assert has(env.render(0)[48:96, 48:96], COLOURS[0])
    with pytest.raises(ValueError, match="index"):
        env.render(2)


@pytest.mark.parametrize("settings", [{}, {"preset": "mfos22"}, {"num_players": 3}])
def test_film(tmp_path: Path, settings: dict[str, object]) -> None:
    env = loqa.make("coin_game", num_envs=3, **settings)
    names = ["always-defect"] * env.num_players
    frames = list(frames_of(env, lambda _: env.scripted_actions(names), 30, index=2))
    assert len(frames) == 31
    assert frames[0].taken == []
    assert any(frame.taken for frame in frames)
    for frame in frames:
        assert all(cell in frame.players for cell in frame.taken)
    path = save_gif(tmp_path / "film.gif", frames, size=16)
    with Image.open(path) as film:
        assert film.n_frames >= 25  # frames without a change may be merged
        assert film.size == (3 * 16 + 1, 3 * 16 + 1 + 20)
    with pytest.raises(ValueError, match="at least one frame"):
        save_gif(path, [])


def test_text_and_score() -> None:
    frame = CoinFrame(2, 3, 7, [[0, 0], [1, 2]], [[0, 2]], [1], [[0, 0]], [1.0, -2.0])
    text = text_frame(frame)
    plain = text
    while "\033" in plain:
        start = plain.index("\033")
        plain = plain[:start] + plain[plain.index("m", start) + 1 :]
    assert plain == "t   7   0: +1  1: -2\n|0* | . |o  |\n| . | . |1  |"
    assert has(draw_frame(frame), np.array([255, 225, 90]))
    monochrome = text_frame(frame, colour=False)
    assert "\033" not in monochrome
    assert monochrome.splitlines()[1:] == ["|0* | . |o1 |", "| . | . |1  |"]


NAMES = ("always-cooperate", "runs/coin-default-loqa-board=5x5-num_threads=2-seed0")


def test_a_film_names_its_players() -> None:
    frame = CoinFrame(2, 3, 7, [[0, 0], [1, 2]], [[0, 2]], [1], [], [1.0, -12.0], NAMES)
    lines = text_frame(frame, colour=False).splitlines()
    assert lines[1].split() == ["0", "+1", NAMES[0]]
    assert lines[2].split() == ["1", "-12", NAMES[1]]
    image = draw_frame(frame)
    rows = image[: image.shape[0] - (2 * 48 + 1)].astype(int)[20:].reshape(2, 14, -1, 3)
    red_over_blue = rows[..., 0] - rows[..., 2]  # letters have soft edges
    assert red_over_blue[0].max() > 100
    assert red_over_blue[1].min() < -100
    # Each frame of a film is as wide, whatever the score.
    later = CoinFrame(2, 3, 50, [[0, 0], [1, 2]], [[0, 2]], [1], [], [-100.0, 100.0], NAMES)
    assert draw_frame(later).shape == image.shape
    env = loqa.make("coin_game", num_envs=1)
    act = lambda _: env.scripted_actions(["random"] * 2)  # noqa: E731
    assert next(frames_of(env, act, 1, names=NAMES)).names == NAMES
    with pytest.raises(ValueError, match="names must be 2, one a player"):
        next(frames_of(env, act, 1, names=["alone"]))


@pytest.mark.parametrize(("suffix", "kind"), [(".gif", "GIF"), (".PNG", "PNG"), (".webp", "WEBP")])
def test_a_film_is_what_its_suffix_says(tmp_path: Path, suffix: str, kind: str) -> None:
    frames = [CoinFrame(2, 3, t, [[0, t], [1, 2]], [[0, 2]], [1], [], [0.0, 0.0]) for t in range(3)]
    with Image.open(save_gif(tmp_path / f"film{suffix}", frames)) as film:
        assert (film.format, film.n_frames) == (kind, 3)


@pytest.mark.parametrize("name", ["film.mp4", "film", "film.gif.zip"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"must end in \.gif, .*film"):
        save_gif(tmp_path / name, [])
    assert not list(tmp_path.iterdir())
