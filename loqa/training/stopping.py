"""What ends a run: an error, or a signal, before which it saves."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2")
"""Ctrl-C; what batch systems send before they end a job; a terminal that is closed; the limit on
processor time. Ctrl-\\ (SIGQUIT) is left out: it ends a process at once."""

_OWN = (signal.SIGINT, signal.SIGTERM)  # handled whatever their handler was


class TrainingError(RuntimeError):
    """A run cannot go on: a loss is NaN or infinite, the device's memory or the disk is full, or a user's
    environment fails after the first iteration."""


class StopRequest:
    """Turns the signals `SIGNALS` into a request that is met between two iterations.

    A signal that is ignored (as by nohup) stays so, and so do handlers of the program's own for the
    signals but Ctrl-C and SIGTERM. A second Ctrl-C changes nothing: the iteration ends and is saved.
    Outside the main thread signals stay as they are.

    Args:
        speaks: whether to say on stderr, at once, that the request has been heard.
    """

    def __init__(self, speaks: bool = True) -> None:
        self.requested = False
        self._speaks = speaks
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = signal.Signals[name]
                handler = signal.getsignal(number)
                if handler is signal.SIG_DFL or (
                    number in _OWN and handler not in (signal.SIG_IGN, None)
                ):
                    self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._speaks:
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            said = f"\nloqa: {name}: saving after this iteration (Ctrl-\\ ends at once, unsaved)\n"
            # Not by print: the signal may have come in the middle of one.
            with suppress(OSError):
                os.write(2, said.encode())
