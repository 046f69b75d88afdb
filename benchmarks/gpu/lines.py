"""A pytest plugin for machines that may stop at any moment: every test is a line at once.

    pytest -p lines --lines FILE ...

FILE gets a line of JSON for each test as it ends, with what a benchmark measured; a failure's
traceback is printed at once, also by the workers of pytest-xdist.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from about import about, append

_MEASURED = "measured"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lines", type=Path, help="a file that gets a line of JSON for each test")


class Lines:
    """What writes them, in the process that reports."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        self._config = config
        self._file = file
        append(file, about())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            terminal: Any = self._config.pluginmanager.get_plugin("terminalreporter")
            terminal.write_line(f"\nFAILED {report.nodeid}\n{report.longreprtext}")
        elif report.when != "call" and not report.skipped:
            return
        line = {"case": report.nodeid, "outcome": report.outcome, "seconds": report.duration}
        line.update(dict(report.user_properties).get(_MEASURED, {}))  # type: ignore[arg-type]
        if report.failed:
            line["error"] = report.longreprtext[-2000:]
        elif report.skipped:
            line["error"] = report.longreprtext[-200:]
        append(self._file, line)


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--lines")
    if file and not hasattr(config, "workerinput"):  # a worker's reports come to the first process
        config.pluginmanager.register(Lines(config, file))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport]:
    report = yield
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    if report.when == "call" and benchmark is not None and benchmark.stats is not None:
        stats = benchmark.stats.stats
        measured = {
            "group": benchmark.group,
            "median": stats.median,
            "quartiles": [stats.q1, stats.q3],
            "rounds": stats.rounds,
            **benchmark.extra_info,
        }
        report.user_properties.append((_MEASURED, measured))
    return report
