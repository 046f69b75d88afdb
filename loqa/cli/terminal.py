"""What commands print: to terminals, pipes and files, whatever they can show and however long they stay."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.text import Text

from loqa.storage.files import WriteError

_WIDE = 100_000  # columns of what is no terminal: nothing is cut there
_GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.ESHUTDOWN)  # nobody reads any more
_ASCII = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "-",
}

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Codes of exit."""


def _in_other_words(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: what the encoding lacks is written in other characters, not lost."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(
        _ASCII.get(one) or one.encode("ascii", "backslashreplace").decode() for one in text
    ), error.end


codecs.register_error("loqa", _in_other_words)


class Output:
    """A text stream that drops what nobody can read any more, so that work goes on.

    Args:
        stream: to write to; None where the process was started without it.

    Attributes:
        closed_by_reader: whether a pipe or terminal has been closed at its other end.
        needed: whether any other failure to write (a full disk) raises, or drops the text too.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self.closed_by_reader = False
        self.needed = True
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="loqa")  # type: ignore[union-attr]

    def write(self, text: str) -> int:
        """Writes, or drops."""
        if self._stream is not None and not self.closed_by_reader:
            with self._losses():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hands on what has been written."""
        if self._stream is not None and not self.closed_by_reader:
            with self._losses():
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether somebody looks at a terminal."""
        return self._stream is not None and not self.closed_by_reader and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _losses(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._forget()
            if error.errno in _GONE:
                self.closed_by_reader = True
            elif self.needed:
                raise WriteError(error.errno, error.strerror, "the standard output") from error

    def _forget(self) -> None:
        """Sends what the stream still holds nowhere: it would be tried again at exit."""
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # type: ignore[union-attr]
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[None]:
    """While it lasts, `sys.stdout` and `sys.stderr` are `Output`s."""
    _open_standard_files()
    before = sys.stdout, sys.stderr
    outputs = Output(before[0]), Output(before[1])
    sys.stdout, sys.stderr = outputs
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for output in outputs:
            output.needed = False  # a command has said already what failed
            output.flush()


def _open_standard_files() -> None:
    """Keeps numbers 0 to 2 from files of a run, where the process was started without them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class Terminal(Console):
    """Where a command speaks. Strings are shown as they are: styles come as rich's Text.

    What is no terminal gets no escape codes, also where the environment asks for colours, and lines
    as long as they are.

    Args:
        quiet: says nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        terminal = sys.stdout is not None and sys.stdout.isatty()
        super().__init__(
            quiet=quiet,
            markup=False,
            emoji=False,
            highlight=False,
            force_terminal=terminal,
            width=None if terminal else _WIDE,
        )

    def say(self, *things: Any) -> None:
        """A line, however long."""
        self.print(*things, sep="", soft_wrap=True)

    @contextmanager
    def busy(self, text: str) -> Iterator[Callable[[str], None]]:
        """On a terminal, a line that lives while it lasts; yields what changes its text."""
        if not self.is_terminal:
            yield lambda text: None
            return
        with self.status(Text(text)) as status:
            yield lambda text: status.update(Text(text))

    def progress(self, *columns: ProgressColumn) -> Progress:
        """On a terminal, bars that vanish at the end."""
        return Progress(*columns, console=self, transient=True, disable=not self.is_terminal)

    @property
    def unheard(self) -> bool:
        """Whether nobody reads on: the other end of a pipe or terminal is closed."""
        return getattr(self.file, "closed_by_reader", False)

    @contextmanager
    def not_needed(self) -> Iterator[None]:
        """While it lasts, text that cannot be written, for whatever reason, is dropped."""
        outputs = [one for one in (sys.stdout, sys.stderr) if isinstance(one, Output)]
        for output in outputs:
            output.needed = False
        try:
            yield
        finally:
            for output in outputs:
                output.needed = True
