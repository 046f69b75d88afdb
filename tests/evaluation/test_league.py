"""The league: all pairs, both seats, incremental, the same whatever the number of threads."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from test_evaluate import RECORDED
from test_published import head_arrays, pola_arrays, reference_agents

import loqa
from loqa.agents.memory1 import discounted_value
from loqa.cli.main import main
from loqa.evaluation.league_store import Store

POOL = {"ac": "ac", "ad": "ad", "tft": "tft", "mixed": [0.8, 0.9, 0.2, 0.7, 0.1]}


def test_values_are_exact_ones(tmp_path: Path) -> None:
    league = loqa.league(POOL, episodes=400, game="ipd", out=tmp_path)
    vectors = np.array([[1.0] * 5, [0.0] * 5, [1, 1, 0, 1, 0], POOL["mixed"]])
    exact = discounted_value(vectors[:, None], vectors[None], 1, steps=50)[..., 0] / 50
    assert league.names == tuple(POOL)
    assert len(league.pairs) == 10
    np.testing.assert_allclose(league.matrix[:3, :3], exact[:3, :3], atol=1e-9)
    errors = {(p.first, p.second): p.reward[0].standard_error for p in league.pairs}
    for i, name in enumerate(league.names):
        assert abs(league.matrix[i, 3] - exact[i, 3]) < 4 * errors[name, "mixed"] + 1e-9
    for pair in league.pairs:
        assert pair.episodes == 400
        assert len(pair.seats) == (1 if pair.first == pair.second else 2)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"league.json", "league.csv", "league.tex", "seatings.jsonl"} < written
    assert (tmp_path / "agents.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "algorithms.svg").read_text()[:1000]
    assert json.loads((tmp_path / "league.json").read_text())["names"] == list(POOL)
    assert league.to_latex().count(r"\\") == 5


def test_only_missing_pairs_are_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = []
    real = Store.play

    def counting(self, seating, *how):
        played.append(tuple(self._players[one].name for one in seating))
        return real(self, seating, *how)

    monkeypatch.setattr(Store, "play", counting)
    settings = {"episodes": 100, "game": "ipd", "out": tmp_path}
    first = loqa.league(["ac", "ad"], **settings)
    assert len(played) == 4
    grown = loqa.league(["ac", "ad", "random"], **settings)
    assert len(played) == 9
    assert grown.pairs[0] == first.pairs[0]
    # A line cut short by a crash is played again, and only that one, whichever it is.
    file = tmp_path / "seatings.jsonl"
    for number in range(9):
        lines = sorted(file.read_text().splitlines(keepends=True))
        last = lines.pop(number)
        file.write_text("".join(lines) + last[:-20])
        assert loqa.league(["ac", "ad", "random"], **settings) == grown
        assert played[9:] == [tuple(json.loads(last)["names"])]
        del played[9:]
    loqa.league(["ac", "ad"], **{**settings, "seed": 1})
    assert len(played) == 13
    # In another order nothing is played, and everybody keeps its numbers.
    other = loqa.league(["random", "ad", "ac"], **settings)
    assert len(played) == 13
    np.testing.assert_array_equal(other.matrix[::-1, ::-1], grown.matrix)
    for pair in other.pairs:
        twin = next(p for p in grown.pairs if {p.first, p.second} == {pair.first, pair.second})
        if pair.first != twin.first:
            assert pair.seats == tuple(seat[::-1] for seat in reversed(twin.seats))
    for lines, said in (
        ("{}\n", r"seatings.jsonl is damaged"),
        (file.read_text().replace('"rewards": [[', '"rewards": [["a", ', 1), "line 1, rewards"),
    ):
        file.write_text(lines)
        with pytest.raises(ValueError, match=said):
            loqa.league(["ac", "ad"], **settings)


def test_interrupted_and_resumed(tmp_path: Path) -> None:
    agents = ["ac", "ad", "random", "tft"]
    whole = loqa.league(agents, episodes=100, game="ipd")

    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loqa.league(agents, episodes=100, game="ipd", out=tmp_path, report=interrupt, num_threads=1)
    kept = (tmp_path / "seatings.jsonl").read_text().count("\n")
    assert 4 <= kept < 16
    assert loqa.league(agents, episodes=100, game="ipd", out=tmp_path) == whole
    assert threading.active_count() < 8


def test_networks_threads_and_groups(tmp_path: Path) -> None:
    for seed in (0, 1):
        actor = head_arrays("actor_head/", 36, 4, 1, seed)
        meta = np.array(json.dumps({"algorithm": "LOQA", "grid": [3, 3]}))
        np.savez(
            tmp_path / f"loqa_{seed}.npz",
            **actor,
            **head_arrays("qvalue_head/", 37, 4, 2),
            meta=meta,
        )
    np.savez(tmp_path / "pola.npz", **pola_arrays())
    runs = [loqa.league([tmp_path, "ad"], episodes=40, num_threads=n) for n in (1, 3)]
    assert runs[0] == runs[1]
    assert runs[0].groups == ("LOQA", "LOQA", "POLA", "always-defect")
    cells = {(pair.first, pair.second): pair.pairs for pair in runs[0].group_pairs}
    assert cells == {
        ("LOQA", "LOQA"): 3,
        ("LOQA", "POLA"): 2,
        ("LOQA", "always-defect"): 2,
        ("POLA", "POLA"): 1,
        ("POLA", "always-defect"): 1,
        ("always-defect", "always-defect"): 1,
    }
    names, matrix = runs[0].group_matrix()
    assert names == ["LOQA", "POLA", "always-defect"]
    np.testing.assert_allclose(matrix[0, 1], runs[0].matrix[:2, 2].mean())
    np.testing.assert_allclose(matrix[1, 0], runs[0].matrix[2, :2].mean())


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="at least two agents, got 1"):
        loqa.league(["ac"])
    with pytest.raises(ValueError, match="episodes must be even"):
        loqa.league(["ac", "ad"], episodes=5)
    for episodes in (2, 3):
        with pytest.raises(
            ValueError, match=rf"episodes must be an integer in \[4, .*got {episodes}"
        ):
            loqa.league(["ac", "ad"], episodes=episodes)
    twins = loqa.league(["ac", "ac"], episodes=4, game="ipd")
    assert twins.names == ("always-cooperate", "always-cooperate (2)")


def run(capsys, *arguments):
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit_:  # argparse
        code = exit_.code
    out, err = capsys.readouterr()
    return code, out, err


def test_command_eval(tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    code, text, _ = run(
        capsys, "eval", "tft", "--against", "ac", "ad", "0.5,0.5,0.5,0.5,0.5", "--out", out
    )
    assert code == 0
    assert "always-defect" in text
    assert "-2.0200" in text
    results = json.loads((out / "evaluation.json").read_text())
    assert [one["opponent"] for one in results] == [
        "always-cooperate",
        "always-defect",
        "0.5,0.5,0.5,0.5,0.5",
    ]
    assert (out / "evaluation.csv").read_text().startswith("agent,opponent,")
    code, text, _ = run(capsys, "eval", "ac", "--against", "ad", "--json", "--episodes", "8")
    assert code == 0
    assert json.loads(text)[0]["game"] == "coin_game"
    code, _, error = run(capsys, "eval", "nobody", "--against", "ad")
    assert code == 2
    assert "'nobody' is no strategy" in error


def test_command_league(tmp_path: Path, capsys) -> None:
    arguments = (
        "league",
        "ac",
        "ad",
        "tft",
        "--game",
        "ipd",
        "--episodes",
        "20",
        "--out",
        tmp_path,
    )
    code, text, _ = run(capsys, *arguments)
    assert code == 0
    assert "tit-for-tat" in text
    before = (tmp_path / "seatings.jsonl").read_text()
    assert run(capsys, *arguments)[0] == 0
    assert (tmp_path / "seatings.jsonl").read_text() == before


def test_watch_agents(tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "pola.npz", **pola_arrays())
    code, text, _ = run(capsys, "watch", tmp_path / "pola.npz", "ad", "--steps", "2")
    assert (code, text.count("t   ")) == (0, 3)
    film = tmp_path / "film.gif"
    assert run(capsys, "watch", tmp_path / "pola.npz", "ac", "--gif", film)[0] == 0
    assert film.read_bytes().startswith(b"GIF")
    code, _, error = run(capsys, "watch", tmp_path / "pola.npz", "tft")
    assert code == 2
    assert "tit-for-tat plays ipd or continuous-ipd or cournot, not coin_game" in error
    code, _, error = run(capsys, "watch", "win-stay-lose-shift")
    assert code == 2
    assert "win-stay-lose-shift plays ipd, which cannot be shown: coin_game and" in error


def test_published_group_means() -> None:
    """A sample of the published league: five of LOQA and of POLA, against the recorded entries.

    Mean of self-play over the first five agents of each algorithm; entries have a standard error of
    0.0055, their mean over ten numbers 0.0017, ours the like.
    """
    directory = reference_agents()
    agents = [directory / f"{name}_{i}.npz" for name in ("loqa", "pola") for i in (1, 2, 3, 4, 5)]
    league = loqa.league(agents, episodes=200)
    diagonal = league.matrix.diagonal()
    recorded = {
        group: [value for i in range(1, 6) for value in RECORDED[f"{name}_{i}"][:2]]
        for group, name in enumerate(("loqa", "pola"))
    }
    for group, numbers in recorded.items():
        found = diagonal[5 * group : 5 * group + 5].mean()
        assert found == pytest.approx(np.mean(numbers), abs=3 * 2**0.5 * 0.0017)
