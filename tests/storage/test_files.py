"""Files are written whole or not at all; directories have one writer; readers keep within bounds."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loqa.storage.files import (
    WriteError,
    append_line,
    atomic_file,
    locked,
    output_directory,
    write_json,
)
from loqa.storage.reading import (
    FileError,
    out_of_memory,
    parse_json,
    read_lines,
    read_object,
    short,
)

OLD, NEW = b"old", b"new and longer"


def _leftovers(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith(".loqa-")]


# --- writing


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"a": float("nan")})

    def fail() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_any_name_that_the_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_json(path, 1)
    assert json.loads(path.read_text()) == 1


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_json(tmp_path / "a", 1)
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_full_disk_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, place: str
) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})

    def full(*_: object) -> None:
        raise OSError(number, "full")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if place == "fsync" else (Path, "replace")), full)
        with pytest.raises(WriteError) as caught:
            write_json(path, {"a": 2})
    assert str(caught.value) == f"cannot write {path}: {os.strerror(number)}"
    assert json.loads(path.read_text()) == {"a": 1}
    assert _leftovers(tmp_path) == []


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    """A limit of the file's size, met in the middle of a line."""
    path = tmp_path / "lines.jsonl"
    append_line(path, {"number": 1})
    code = (
        "import resource, sys, pathlib\n"
        "from loqa.storage.files import append_line\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "append_line(pathlib.Path(sys.argv[1]), {'number': 'x' * 500})"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stderr.strip().endswith(f"cannot write {path}: File too large")
    append_line(path, {"number": 2})
    assert read_lines(path, {"number": int}) == [{"number": 1}, {"number": 2}]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from loqa.storage.files import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1]) / 'value') as file:\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        write_json(tmp_path / "other", 1)
        assert len(_leftovers(tmp_path)) == 1  # its writer lives
        process.send_signal(signal.SIGKILL)
        process.wait()
    write_json(tmp_path / "other", 2)
    assert _leftovers(tmp_path) == []
    assert not (tmp_path / "value").exists()


# --- locks


def test_a_directory_has_one_writer(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from loqa.storage.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'run'):\n"
        "    print('holds', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holds\n"
        with (
            pytest.raises(
                BlockingIOError, match=rf"is in use: process {process.pid} on .* writes this run"
            ),
            locked(tmp_path, "run"),
        ):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(tmp_path, "run"):
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_an_output_directory_is_made_and_goes_if_nothing_came_of_it(tmp_path: Path) -> None:
    with output_directory(None, "league") as nowhere:
        assert nowhere is None
    new = tmp_path / "a" / "b"
    with output_directory(new, "evaluation") as directory:
        assert directory == new
        with (
            pytest.raises(
                BlockingIOError, match=rf"process {os.getpid()} .* writes this evaluation;"
            ),
            output_directory(new, "league"),
        ):
            pass
        assert new.exists()
    assert not new.exists()
    with output_directory(str(new), "league"):
        (new / "seatings.jsonl").touch()
    assert [path.name for path in new.iterdir()] == ["seatings.jsonl"]


def test_a_full_disk_keeps_nobody_from_a_lock(tmp_path: Path) -> None:
    code = (
        "import pathlib, resource, sys\n"
        "from loqa.storage.files import locked\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with locked(pathlib.Path(sys.argv[1]), 'run'):\n"
        "    assert (pathlib.Path(sys.argv[1]) / '.lock').exists()\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert list(tmp_path.iterdir()) == []


def test_threads_exclude_each_other_too(tmp_path: Path) -> None:
    refused = []

    def second() -> None:
        try:
            with locked(tmp_path, "run"):
                pass
        except BlockingIOError as error:
            refused.append(str(error))

    with locked(tmp_path, "run"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    second()
    assert len(refused) == 1


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written to after a warning; temporary files of others are not touched."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".loqa-0123456789ab.tmp").touch()
    with pytest.warns(UserWarning, match="without locks"), locked(tmp_path, "run"):
        write_json(tmp_path / "value", 1)
    assert json.loads((tmp_path / "value").read_text()) == 1
    assert _leftovers(tmp_path) == [".loqa-0123456789ab.tmp"]


def test_many_start_at_once_and_one_wins(tmp_path: Path) -> None:
    barrier, won = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        try:
            with locked(tmp_path, "run"):
                won.append(1)
                barrier.wait()
        except BlockingIOError:
            barrier.wait()

    for _ in range(20):
        won.clear()
        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1


# --- reading


def test_json_within_bounds() -> None:
    assert parse_json(b'{"a": [1, 2.5, null]}', "content") == {"a": [1, 2.5, None]}
    for text, words in (
        ("[" * 100_000, "nested too deeply"),
        ("1" * 100, "an integer of 100 digits"),
        (b"\xff", "content: expected JSON"),
        ("[" + "[]," * 6_000_000 + "0]", "at most 5000000 values"),
        ("{", "Expecting property name"),
    ):
        with pytest.raises(FileError, match=words):
            parse_json(text, "content")


def test_lines_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert read_lines(path, {}) == []
    path.write_text('{"iteration": 1}\n{"iteration": 2}\n{"iter')
    assert read_lines(path, {"iteration": int}) == [{"iteration": 1}, {"iteration": 2}]
    for line, words in (
        ("5", "line 2: expected a JSON object, got 5"),
        ('{"x": 1}', "line 2, iteration: expected int, got None"),
        ('{"iteration": true}', "line 2, iteration: expected int, got True"),
        ("{", "line 2: expected JSON"),
    ):
        path.write_text('{"iteration": 1}\n' + line + "\n")
        with pytest.raises(FileError, match=f"lines.jsonl is damaged: {words}"):
            read_lines(path, {"iteration": int})


def test_objects_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text("[1]")
    with pytest.raises(
        FileError, match=r"value.json is damaged: it holds no JSON object, got \[1\]"
    ):
        read_object(path)
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / "none")


def test_what_is_said_of_a_value_is_short() -> None:
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    for value in ("x" * 10**6, 10**5000, nested, {"a": nested}, list(range(10**5))):
        assert len(short(value)) <= 80
    assert short([1, 2]) == "[1, 2]"


def test_what_a_lack_of_memory_is() -> None:
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied"))
