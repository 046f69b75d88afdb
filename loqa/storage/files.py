"""Writing: a file is there whole or not at all, and a directory has one writer at a time.

Locks are `flock`s: the system frees them when their process ends, however it ends. A file system that
has none (some network mounts) is written to all the same, after a warning; nothing then keeps two
processes apart, and temporary files of killed processes stay.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_PREFIX, _SUFFIX = ".loqa-", ".tmp"
_LOCK = ".lock"


class WriteError(OSError):
    """A file could not be written: the disk is full, or a limit of its size was met."""

    def __str__(self) -> str:
        return f"cannot write {self.filename}: {self.strerror}"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Says of a failed write which file it was."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and not isinstance(error, WriteError):
            raise WriteError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to; it becomes `path` at the end, on the disk, or vanishes on an error.

    A reader sees the old file or the whole new one, also if the process is killed in between. What
    killed processes left half written in the directory is removed.

    Raises:
        WriteError: the disk is full.
        OSError: the directory cannot be written.
    """
    remove_leftovers(path.parent)
    with _naming(path):
        temporary, file = _new_temporary(path)
        with file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        sync_directory(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a whole file, atomically."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Writes a whole file in UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_line(path: Path, value: Any) -> None:
    """Adds `value` as a line of JSON: whole, or not at all if the disk is full.

    Raises:
        WriteError: the disk is full.
    """
    data = memoryview((json.dumps(value) + "\n").encode())
    with _naming(path), path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise


def sync(path: Path) -> None:
    """Waits until a file's content is on the disk."""
    with _naming(path), path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Waits until a directory's names are on the disk, where its file system can."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_leftovers(directory: Path) -> None:
    """Removes the temporary files of processes that are no more."""
    for leftover in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError), leftover.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
            leftover.unlink()


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Keeps other processes, and other threads, from writing in a directory.

    Args:
        directory: that exists.
        what: is kept, for the message: "run", "league".

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: it cannot be written.
    """
    path = directory / _LOCK
    while True:
        # Unbuffered: what a full disk refuses would be tried again at the end.
        file = path.open("a+b", buffering=0)
        try:
            held = _try_lock(file)
        except BlockingIOError:
            file.seek(0)
            owner = (
                file.read(200).decode(errors="replace").strip() or "another process writes in it"
            )
            file.close()
            raise BlockingIOError(
                f"{directory} is in use: {owner}; wait for its end, or stop it"
            ) from None
        except BaseException:
            file.close()
            raise
        if _is_at(file, path):
            break
        file.close()  # its last owner removed it between the two calls
    with file:
        if not held:
            warnings.warn(
                f"{directory} is on a file system without locks: do not write this {what} from "
                f"two processes",
                stacklevel=3,
            )
        with suppress(OSError):  # of a full disk: the lock holds without a name in it
            file.truncate(0)
            who = f"process {os.getpid()} on {socket.gethostname()}"
            file.write(f"{who} writes this {what}\n".encode())
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def output_directory(path: str | Path | None, what: str) -> Iterator[Path | None]:
    """A directory to write in, made where it is not there, and `locked`; None for None.

    If nothing is written in a new one, it is removed.

    Args:
        path, what: as in `locked`.
    """
    if path is None:
        yield None
        return
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    fresh = not any(directory.iterdir())
    try:
        with locked(directory, what):
            yield directory
    finally:
        if fresh:
            with suppress(OSError):  # it holds something
                directory.rmdir()


def _new_temporary(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, locked so that others see that its writer lives."""
    while True:
        # Shorter than any suffix added to the target's name, which may be as long as names can be.
        temporary = path.parent / f"{_PREFIX}{secrets.token_hex(6)}{_SUFFIX}"
        file = temporary.open("x+b")
        with suppress(BlockingIOError):
            _try_lock(file)
            if _is_at(file, temporary):
                return temporary, file
        file.close()  # taken for a leftover before it was locked


def _try_lock(file: BinaryIO) -> bool:
    """Locks a file, or raises BlockingIOError; False where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
