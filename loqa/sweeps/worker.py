"""A process that does runs, one after the other.

A line of JSON comes in for each run (`loqa.sweeps.work.Task`), and one goes out when it has ended
(`Outcome`). When no more can come, because the sweep stops or is no more, the run saves and the process ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import TextIO


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a run prints is no answer
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, tasks), daemon=True).start()
    from loqa.sweeps.work import work  # seconds, once: torch

    while task := tasks.get():
        answers.write(json.dumps(work(json.loads(task))) + "\n")
        answers.flush()


def _read(lines: TextIO, tasks: queue.SimpleQueue[str]) -> None:
    """Hands tasks on; at their end the run is stopped as by a batch system, and then the process."""
    for line in lines:
        tasks.put(line)
    tasks.put("")
    os.kill(os.getpid(), signal.SIGTERM)
