"""What benchmarks/gpu.sh runs on a machine with a GPU, as far as it goes without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import loqa

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FAILS_AND_MEASURES = """
import time
def test_fails(): assert 1 + 1 == 3
def test_measures(benchmark):
    benchmark.extra_info["env_steps_per_second"] = 5e9
    benchmark.extra_info.update(contender="loqa", call="step", obs="cells", num_envs=8)
    benchmark(time.time)
def test_hangs():
    print("it hangs now", flush=True)
    time.sleep(600)
"""


def run(*command: object, **options: object) -> subprocess.Popen[str]:
    paths = [Path(loqa.__file__).parents[1], BENCHMARKS, BENCHMARKS / "gpu"]
    # Not as a worker of pytest-xdist, where pytest-benchmark measures nothing; nor with this run's options.
    plain = {
        name: value
        for name, value in os.environ.items()
        if "XDIST" not in name and name != "PYTEST_ADDOPTS"
    }
    environment = {**plain, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def test_smoke_rehearsed_on_the_cpu(tmp_path: Path) -> None:
    lines = tmp_path / "smoke.jsonl"
    smoke = run(BENCHMARKS / "gpu" / "smoke.py", "--device", "cpu", "--lines", lines)
    said, _ = smoke.communicate(timeout=300)
    assert smoke.returncode == 0, said
    checks = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(checks) == said.count("PASS ") == 15
    assert all(check["error"] is None for check in checks)


def test_smoke_goes_on_after_a_failure(tmp_path: Path) -> None:
    """Without a GPU every check of one fails, with its traceback, and the next one still runs."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    smoke = run("-c", f"import os; os.environ.update({hidden}); import smoke; "
                "raise SystemExit(smoke.main('--device', 'cuda'))")  # fmt: skip
    said, _ = smoke.communicate(timeout=300)
    assert smoke.returncode == 15, said
    assert said.count("FAIL ") == 15


def test_a_killed_session_keeps_what_it_measured(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILS_AND_MEASURES)
    lines = tmp_path / "simulator.jsonl"
    session = run("-m", "pytest", "-q", "-s", "-p", "lines", "-p", "no:cacheprovider", "--lines", lines,
                  "--benchmark-max-time", "0.01", "test_it.py", cwd=tmp_path)  # fmt: skip
    assert session.stdout is not None
    said = ""
    while "it hangs now" not in said:
        said += (came := session.stdout.readline())
        assert came, said
    session.kill()
    session.communicate()
    about, failed, measured = (json.loads(line) for line in lines.read_text().splitlines())
    assert about["versions"]["torch"]
    assert (failed["outcome"], measured["outcome"]) == ("failed", "passed")
    assert "assert (1 + 1) == 3" in failed["error"]
    assert "assert (1 + 1) == 3" in said  # printed as it happened
    assert measured["median"] > 0

    with lines.open("a") as file:
        file.write('{"case": "cut in the mid')
    table = run(BENCHMARKS / "gpu" / "table.py", tmp_path)
    shown, _ = table.communicate(timeout=300)
    assert table.returncode == 0, shown
    assert "a line that is cut" in shown
    assert "loqa step cells B = 8" in shown
    assert "5.000" in shown


def test_the_commit_where_there_is_no_git() -> None:
    asked = "import about; print(about.commit())"
    environment = f"import os; os.environ.update(PATH='', LOQA_COMMIT='0123456789ab'); {asked}"
    named = run("-c", environment)
    assert named.communicate(timeout=300)[0].strip() == "0123456789ab"
