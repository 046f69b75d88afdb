"""What the benchmarks share: results with the machine beside them, and the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from about import about


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]
) -> None:
    """Replaces the plugin's machine and commit by what the tables show, and drops raw data."""
    output_json.update(about())
    for benchmark in output_json["benchmarks"]:
        benchmark["stats"].pop("data", None)
        for repeated in ("options", "params", "param"):
            benchmark.pop(repeated, None)


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    """Whether results are checked and nothing is timed (--benchmark-disable)."""
    return bool(request.config.getoption("benchmark_disable"))


@pytest.fixture
def timed(benchmark: Any) -> Callable[..., None]:
    """timed(function, env_steps, **about): times calls of `function` in at least 5 rounds."""

    def run(function: Callable[[], object], env_steps: int, **about: Any) -> None:
        for _ in range(3):
            function()
        benchmark.extra_info.update(about, env_steps=env_steps)
        benchmark(function)
        if benchmark.stats is not None:  # None when only checking
            stats = benchmark.stats.stats
            benchmark.extra_info["env_steps_per_second"] = env_steps / stats.median

    return run
