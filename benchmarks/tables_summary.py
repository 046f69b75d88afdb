"""The README's one table of results: a few lines of the others, from the same files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from statistics import median
from typing import Any

from tables_coin import PUBLISHED_SECONDS

from loqa.plotting.coin_wall_clock import PUBLISHED, PUBLISHED_SIZES

Load = Callable[[str], dict[str, Any]]
Row = tuple[str, str, str, str]


def tables(load: Load) -> str:
    """Rows of what was measured, loqa's number, what stands beside it, and on which machine."""
    lines = ["| measured | result | beside it | machine |", "|---|---|---|---|"]
    for row in (*_speed(load), *_learners(load), *_boards(load)):
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "Speeds are medians, those beside them from the same run; rates are steps a second, so larger is "
        f"better. The published code's {PUBLISHED_SECONDS} s were measured on another two-core machine. "
        "Boards: seconds of training until an evaluation first meets the LOQA paper's strong threshold, in "
        "self-play and against always-defect; in brackets, from when on every evaluation meets it; "
        "published: the mean time on an A100. "
        "CPU: the median of three seeds a board. "
        "GPU: the median of three seeds, without early opponents and with a self-play target of all that "
        "cooperation pays.",
    ]
    return "\n".join(lines)


def _speed(load: Load) -> Iterator[Row]:
    for file, game, call, obs, peers in (
        ("coin_game", "Coin Game", "step", "float32", ("numba-2", "jax", "jaxmarl")),
        ("coin_game", "Coin Game", "rollout", "float32", ("jax", "jaxmarl")),
        ("matrix_game", "Prisoner's dilemma", "rollout", "index", ("jax", "numpy")),
    ):
        results = load(file)
        rates = {
            about["contender"]: about["env_steps_per_second"] / 1e6
            for about in (one["extra_info"] for one in results["benchmarks"])
            if "contender" in about
            and (about["call"], about["obs"], about["num_envs"]) == (call, obs, 8192)
        }  # fmt: skip
        beside = ", ".join(f"{_titles[name]} {_number(rates[name])}" for name in peers)
        yield (
            f"{game}, `{call}`, {obs} observations, 8,192 environments",
            f"{_number(rates['loqa-2'])} million steps a second",
            beside,
            _machine(results, 2),
        )
    results = load("gpu_environments")
    rate = {
        (one["contender"], one["call"], one["obs"]): one["env_steps_per_second"] / 1e6
        for one in results["lines"]
        if one["num_envs"] == 1_048_576
    }
    yield (
        "Coin Game, `rollout`, float32 observations, 1,048,576 environments",
        f"{rate['loqa-cuda', 'rollout', 'float32']:,.0f} million steps a second",
        f"JAX {rate['jax-cuda', 'rollout', 'float32']:,.0f}",
        _machine(results),
    )
    results = load("kernels")
    times = {
        about["contender"]: one["stats"]["median"] * 1e3
        for one, about in ((one, one["extra_info"]) for one in results["benchmarks"])
        if about.get("kernel") == "loaded_dice_returns" and about.get("shape") == [50, 8192]
        and about["mode"] == "forward and backward" and "contender" in about
    }  # fmt: skip
    yield (
        "`loaded_dice_returns` of [50, 8192], forward and backward",
        f"{times['loqa']:.2f} ms",
        ", ".join(f"{one} {times[one]:.1f}" for one in ("torch.compile", "eager loop", "JAX scan")),
        _machine(results, 2),
    )  # fmt: skip
    results = load("train_coin_phases")
    phase = next(
        one for one in results["training"]
        if (one["name"], one["threads"]) == ("published size, K = 512", 2)
    )  # fmt: skip
    yield (
        "An iteration of LOQA, Coin Game, published size",
        f"{phase['rollout'] + phase['update']:.1f} s",
        f"published code about {PUBLISHED_SECONDS}",
        _machine(results, 2),
    )


def _learners(load: Load) -> Iterator[Row]:
    results = load("train_rivals")
    for name in ("LOQA", "LOLA-DiCE", "POLA-DiCE", "naive"):
        found = results["training"][name]
        strategies = ", ".join(f"{one} on {count}" for one, count in found["strategies"].items())
        low, _, high = found["lowest_median_highest"]["self_play"]
        reward = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        seconds = found["lowest_median_highest"]["seconds"][1]
        yield (
            f"Prisoner's dilemma, {name}, {found['runs']} seeds",
            strategies,
            f"reward {reward} a step, {seconds:.1f} s a run",
            _machine(results, 1),
        )


def _boards(load: Load) -> Iterator[Row]:
    results = load("train_coin_boards")
    for board in (3, 5, 7):
        of_board = [run for run in results["training"] if run["name"] == f"{board}x{board}"]
        first, held = (
            sorted(run[name]["strong"] or inf for run in of_board)[len(of_board) // 2]
            for name in ("seconds_to_threshold", "seconds_to_threshold_for_good")
        )
        yield _board(board, f"{_whole(first)} s ({_whole(held)})", _machine(results, 1))
    results = load("gpu_boards")
    for board in (3, 7):
        mine = [one for one in results["lines"] if one["board"] == board]
        first, held = (
            median(one[name][1] for one in mine if one[name]) for name in ("strong", "held")
        )
        yield _board(board, f"{first:.1f} s ({held:.1f})", _machine(results))


def _board(side: int, ours: str, machine: str) -> Row:
    published = PUBLISHED["LOQA", "strong"][PUBLISHED_SIZES.index(side)]
    name = f"Coin Game, {side} x {side}, strong threshold"
    return name, ours, f"published (A100) {published:,}", machine


_titles = {"numba-2": "numba", "jax": "JAX", "jaxmarl": "JaxMARL", "numpy": "NumPy"}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _whole(seconds: float) -> str:
    return "not reached" if seconds == inf else f"{seconds:.0f}"


def _machine(results: dict[str, Any], cores: int = 0) -> str:
    machine = results["machine_info"]
    if "gpu" in machine:
        return str(machine["gpu"].removeprefix("NVIDIA "))
    return f"{cores} {'core' if cores == 1 else 'cores'}"
