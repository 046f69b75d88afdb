"""The command: what it prints, writes and returns."""

import json
import subprocess
import sys
import time

import pytest
from PIL import Image

from loqa.cli import bench
from loqa.cli.main import main

QUICK = ["--iterations", "12", "--batch-size", "8", "--checkpoint-every", "5"]


def run(capsys, *arguments):
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit_:  # argparse
        code = exit_.code
    out, err = capsys.readouterr()
    return code, out, err


def unboxed(text):
    """What a page of boxes says, in one line."""
    return " ".join(text.translate(dict.fromkeys(map(ord, "╭╮╰╯│─"), " ")).split())


def test_train_writes_everything_and_names_the_strategy(tmp_path, capsys):
    code, out, _ = run(capsys, "train", "ipd", "--out", tmp_path / "run", "--seed", "3", *QUICK)
    assert code == 0
    assert out.splitlines()[-1].startswith("Strategy learned: ")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["seed"] == 3
    names = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert names == {"cooperation.png", "strategy.png", "reward.png"}
    for path in (tmp_path / "run" / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_default_directory_is_new_each_time(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = "ipd-default-loqa-iterations=12-batch_size=8-checkpoint_every=5-seed0"
    for name in (base, f"{base}-2"):
        code, out, _ = run(capsys, "train", "ipd", *QUICK)
        assert code == 0
        assert f"runs/{name}" in out
        assert (tmp_path / "runs" / name / "summary.json").exists()


def test_plot_of_one_and_of_several(tmp_path, capsys):
    for name, extra in (("a", []), ("b", ["--algo", "naive", "--shared-reward"])):
        run(capsys, "train", "ipd", "--out", tmp_path / name, *QUICK, *extra)
    (tmp_path / "a" / "figures" / "reward.png").unlink()
    code, out, _ = run(capsys, "plot", tmp_path / "a")
    assert (code, len(out.split())) == (0, 3)
    assert (tmp_path / "a" / "figures" / "reward.png").exists()
    code, _, _ = run(capsys, "plot", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c.png")
    assert code == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_time_limit_then_resume(tmp_path, capsys):
    code, out, _ = run(
        capsys, "train", "ipd", "--out", tmp_path / "run", "--time-limit", "0", *QUICK
    )
    assert code == 0
    assert f"loqa resume {tmp_path / 'run'}" in out
    code, out, _ = run(capsys, "resume", tmp_path / "run")
    assert code == 0
    assert "2 iterations" in out


def test_resume_changes_what_does_not_change_learning(tmp_path, capsys):
    out = tmp_path / "run"
    run(capsys, "train", "ipd", "--out", out, "--time-limit", "0", *QUICK)
    # Still limited: one more iteration.
    code, printed, _ = run(capsys, "resume", out, "--num-threads", "2", "--log-every", "1")
    assert code == 0
    assert "on cpu, 2 threads" in printed
    config = json.loads((out / "config.json").read_text())
    assert (config["num_threads"], config["log_every"], config["time_limit"]) == (2, 1, 0)
    assert json.loads((out / "summary.json").read_text())["iterations"] == 2
    code, _, _ = run(capsys, "resume", out, "--time-limit", "none", "--checkpoint-every", "7")
    config = json.loads((out / "config.json").read_text())
    assert (code, config["time_limit"], config["checkpoint_every"]) == (0, None, 7)
    assert json.loads((out / "summary.json").read_text())["iterations"] == 12
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == list(range(2, 13))
    before = (out / "config.json").read_text()
    for option, field in (("--gamma=0.5", "gamma"), ("--shared-reward", "shared_reward"),
                          ("--preset=paper", "preset"), ("--seed=1", "seed")):  # fmt: skip
        code, _, err = run(capsys, "resume", out, option)
        assert code == 2
        assert f"a run keeps its {field} to the end" in err
    assert (out / "config.json").read_text() == before


def test_watch_in_the_terminal_and_as_a_film(tmp_path, capsys):
    players = ["always-cooperate", "always-defect"]
    code, out, _ = run(capsys, "watch", *players, "--steps", "3", "--width", "4")
    assert code == 0
    assert out.count("t  ") == 4
    film = tmp_path / "film.gif"
    code, out, _ = run(capsys, "watch", *players, "--steps", "3", "--gif", film)
    assert (code, out.strip()) == (0, str(film))
    with Image.open(film) as image:
        assert image.format == "GIF"
    code, out, _ = run(capsys, "watch", "always-defect", "--steps", "1")
    assert (code, out.count("always-defect")) == (0, 4)  # both seats, in both frames
    code, _, err = run(capsys, "watch", "always-cooperat", "random")
    assert code == 2
    assert "did you mean 'always-cooperate'" in err


def test_info(capsys):
    code, out, _ = run(capsys, "info")
    assert code == 0
    for word in ("loqa", "torch", "instruction set", "CUDA in the core"):
        assert word in out


def test_bench_prints_a_line_a_game(capsys):
    code, out, _ = run(capsys, "bench", "--num-envs", "4", "--num-threads", "1")
    assert code == 0
    header, *lines = out.splitlines()
    assert header.split()[:3] == ["million", "env", "steps/s"]
    assert [line.split()[0] for line in lines] == ["coin_game", "ipd", "continuous-ipd", "cournot"]
    for line in lines:
        assert all(float(number.replace(",", "")) > 0 for number in line.split()[1:])


def test_bench_compares_before_it_times(monkeypatch):
    python = bench.loqa.reference.make
    # Another noise: every action is as likely to be replaced as not.
    monkeypatch.setattr(
        bench.loqa.reference, "make", lambda game, count: python(game, count, noise=0.5)
    )
    with pytest.raises(RuntimeError, match="ipd: the native game differs"):
        bench.bench("ipd", num_envs=8, seconds=0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["trian"], "did you mean 'train'"),
        (
            ["sweep", "ipd", "--iterations", "30"],
            "--iterations 30 (options of the runs are given as --set",
        ),
        (["bench", "--num-envs", "0"], "num_envs must be an integer in [1, 16777216], got 0"),
        (["train", "chess"], "chess"),
        (["train", "ipd", "--shaping-wieght", "3"], "you meant: --shaping-weight FLOAT"),
        (["train", "ipd", "--preset", "papper"], "Expected one of ('default', 'paper')"),
        (["train", "ipd", "--algo", "sarsa"], "'loqa', 'mfos', 'naive'"),
        (["train", "ipd", "--actor", "lstm"], "Expected one of ('logits', 'mlp', 'gru'"),
        (["train", "ipd", "--iterations", "many"], "'many'"),
        (["train", "ipd", "--shared-reward=perhaps"], "perhaps"),
        (["train", "ipd", "--gamma", "1.5"], "gamma must be a finite number in [0, 1], got 1.5"),
        (["train", "ipd", "--payoff", "1,2,nan,4"], "payoff must be a finite number"),
        (["resume", "nowhere"], "no run directory"),
        (["plot", "nowhere"], "no run directory"),
    ],
)
def test_wrong_usage_is_2_and_writes_nothing(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in unboxed(err)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_directory(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "train", "ipd", "--out", tmp_path / "file" / "run", *QUICK)
    assert code == 2
    assert "file" in err


def test_ctrl_c_of_the_process(tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "loqa", "train", "ipd", "--out", out, "--iterations", "1000000"],
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(2)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert f"loqa resume {out}" in printed
    assert json.loads((out / "summary.json").read_text())["status"] == "interrupted"
    assert list((out / "checkpoints").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("game", "fields", "wrong"),
    [
        ("ipd", ("--batch-size", "7"), "batch_size must be a multiple of the 2 processes, got 7"),
        ("coin", ("--opponents", "1"), "opponents must be a multiple of the 2 processes, got 1"),
    ],
)
def test_one_process_of_several_says_what_is_wrong(
    tmp_path, capsys, monkeypatch, game, fields, wrong
):
    """And torchrun, which prints a page of its own, ends it with each one's sentence."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    sentence = f"loqa: error: {wrong}"
    for rank, heard in (("0", f"{sentence}\n"), ("1", "")):
        file = tmp_path / f"error-{rank}.json"
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
        code, _, errors = run(capsys, "train", game, "--out", tmp_path / "run", *QUICK, *fields)
        assert (code, errors) == (2, heard)
        assert json.loads(file.read_text(encoding="utf-8"))["message"] == sentence
    assert not (tmp_path / "run").exists()


def test_one_process_of_several_shows_options(capsys, monkeypatch):
    for arguments, expected in ((["--help"], 0), (["--shaping-wieght", "3"], 2)):
        for rank, speaks in (("0", True), ("1", False)):
            monkeypatch.setenv("RANK", rank)
            code, out, errors = run(capsys, "train", "ipd", *arguments)
            assert (code, bool(out or errors)) == (expected, speaks)


def test_torchrun_is_told_of_wrong_options(tmp_path, capsys, monkeypatch):
    """Whoever parses them ends the process; the file says what was asked for, at least."""
    for rank, arguments in (("0", ["train", "ipd", "--shaping-wieght", "3"]), ("1", ["trian"])):
        file = tmp_path / f"error-{rank}.json"
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
        assert run(capsys, *arguments)[0] == 2
        said = json.loads(file.read_text(encoding="utf-8"))["message"]
        assert said == f"loqa: wrong usage: loqa {' '.join(arguments)}"
    file.unlink()
    assert run(capsys, "train", "ipd", "--help")[0] == 0
    assert not file.exists()


def test_games_of_many_players_are_matrix_games_too(tmp_path):
    for number, given in enumerate((["--game", "public-goods"], ["--game=n-ipd"])):
        out = tmp_path / str(number)
        fields = ["--num-players", "3", "--iterations", "1", "--batch-size", "4", "--out", str(out)]
        assert main(["train", "matrix", *given, *fields]) == 0
        config = json.loads((out / "config.json").read_text())
        payoffs = given[-1].removeprefix("--game=")
        assert (config["game"], config["payoffs"], config["num_players"]) == (
            "public-goods",
            payoffs,
            3,
        )
