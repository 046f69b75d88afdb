"""What commands print: nothing is lost, whatever the terminal, pipe or file."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import loqa
from loqa.cli.main import main
from loqa.cli.tables import reward_table
from loqa.cli.terminal import Output, Terminal
from loqa.evaluation.evaluate import evaluate
from loqa.games.matrix_game import IPD

LONG_NAMES = ["zd-extort-2", "stochastic-win-stay-lose-shift", "stochastic-cooperator"]


def run_loqa(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "loqa", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )


def test_output_without_a_reader_is_dropped() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        output = Output(stream)
        output.write("heard")
        output.flush()
        os.close(reader)
        output.write("not heard")
        assert not output.closed_by_reader
        output.flush()
        assert output.closed_by_reader
        output.write("not heard either")
        output.flush()


def test_a_full_disk_raises_unless_the_text_is_not_needed() -> None:
    with open("/dev/full", "w", encoding="utf-8") as stream:
        output = Output(stream)
        output.write("lost")
        output.needed = False
        output.flush()
    with open("/dev/full", "w", encoding="utf-8") as stream:
        output = Output(stream)
        output.write("needed")
        with pytest.raises(OSError, match="No space left"):
            output.flush()


def test_a_process_without_stdout_prints_nowhere() -> None:
    output = Output(None)
    assert output.write("text") == 4
    output.flush()
    assert not output.isatty()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"0.1+-0.2 caf\\xe9\\u2026 \\udcff".replace(b"\\u2026", b"...")),
        ("utf-8", "0.1±0.2 café… \\udcff".encode()),
        ("latin-1", "0.1±0.2 café... \\udcff".encode("latin-1")),
    ],
)
def test_what_an_encoding_lacks_is_written_otherwise(encoding: str, expected: bytes) -> None:
    """A file's name that is no UTF-8 reaches Python as a surrogate."""
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, encoding=encoding))
    output.write("0.1±0.2 café… \udcff")
    output.flush()
    assert raw.getvalue() == expected


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("eval tft --against ad --game ipd --episodes 2", "evaluation.csv"),
        ("eval tft --against ad --game ipd --episodes 2 --json", "evaluation.csv"),
        ("exploit tft --game ipd --iterations 1 --episodes 2", "exploitability.json"),
        ("league tft ad --game ipd --episodes 4", "algorithms.svg"),
    ],
)
def test_files_are_written_before_anything_is_printed(
    tmp_path: Path, command: str, file: str
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "loqa", *command.split(), "--out", tmp_path / "out"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1, "loqa: cannot write the standard output: No space left on device\n"
    )  # fmt: skip
    assert (tmp_path / "out" / file).exists()


def test_the_figures_of_a_run_are_drawn_before_its_report_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("loqa.cli.train.game", lambda _: dataclasses.replace(IPD, outcome=fail))
    run = tmp_path / "run"
    assert main(["train", "ipd", "--batch-size", "4", "--iterations", "1", "--out", str(run)]) == 2
    assert sorted(path.name for path in (run / "figures").iterdir()) == [
        "cooperation.png", "reward.png", "strategy.png"
    ]  # fmt: skip


def test_nothing_but_the_answer_goes_into_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "tft", "--against", "ad", "--game", "ipd", "--episodes", "2",
                 "--json"]) == 0  # fmt: skip
    assert capsys.readouterr().out.startswith("[")


def test_one_of_a_thing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["train", "ipd", "--batch-size", "1", "--iterations", "1", "--episode-length", "1",
                 "--out", str(run)]) == 0  # fmt: skip
    printed = capsys.readouterr().out
    assert "1 iteration of 1 episode of 1 step\n" in printed
    assert "\n1 iteration, " in printed
    env = loqa.make("ipd", 1, episode_length=1)
    assert ": 1 environment of 2 players" in repr(env)
    assert "episodes of 1 step, on cpu" in repr(env)


def test_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("runs/lr[red]x", "a[/b]", ":smile: [bold]", "x" * 300):
        Terminal().say(text)
        assert capsys.readouterr().out == f"{text}\n"


def test_brackets_in_the_path_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "lr[red]x"
    assert main(["train", "ipd", "--batch-size", "8", "--iterations", "2", "--out", str(run)]) == 0
    assert f"{run}: summary.json" in capsys.readouterr().out
    assert main(["eval", str(run), "--against", "ad", "--episodes", "2"]) == 0
    assert "lr[red]x: ipd" in capsys.readouterr().out


def test_nothing_is_cut_or_coloured_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["eval", "tft", "--against", *LONG_NAMES, "--episodes", "2", "--game", "ipd"]) == 0
    out = capsys.readouterr().out
    assert "\033" not in out
    for name in LONG_NAMES:
        assert any(line.split()[:2] == [name, "both"] for line in out.splitlines())


def test_a_narrow_terminal_folds_names() -> None:
    result = evaluate("tft", "stochastic-win-stay-lose-shift", game="ipd", episodes=2)
    console = Console(file=io.StringIO(), width=70, force_terminal=True, color_system=None)
    console.print(reward_table([result], "tit-for-tat", console))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 70
    first = next(number for number, line in enumerate(lines) if " both " in line)
    width = lines[first].index("both")
    last = next(number for number, line in enumerate(lines[first:]) if line.split()[:1] == ["0"])
    folded = "".join(line[:width].strip() for line in lines[first : first + last])
    assert folded == "stochastic-win-stay-lose-shift"


@pytest.mark.parametrize(
    "command",
    [
        ["eval", "tft", "--against", "ad", "--episodes", "2", "--game", "ipd"],
        ["league", "tft", "ad", "--episodes", "8", "--game", "ipd"],
        ["info"],
        ["train", "--help"],
        ["watch", "ac", "ad", "--steps", "1"],
    ],
    ids=lambda command: command[0],
)
def test_commands_on_an_ascii_terminal(command: list[str], tmp_path: Path) -> None:
    more = ["--out", str(tmp_path / "league")] if command[0] == "league" else []
    done = run_loqa(*command, *more, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_an_error_that_names_a_file_of_other_letters() -> None:
    done = run_loqa("plot", "caf\u00e9", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert b"loqa: error: caf\\xe9" in done.stderr
    assert b"Traceback" not in done.stderr


def test_json_is_ascii_and_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "caf\u00e9[red]"
    assert main(["train", "ipd", "--batch-size", "8", "--iterations", "2", "--out", str(run)]) == 0
    capsys.readouterr()
    out = tmp_path / "out"
    assert main(["eval", str(run), "--against", "ad", "--episodes", "2", "--json",
                 "--out", str(out)]) == 0  # fmt: skip
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
