"""Puts the results of the benchmarks into the pages of `PAGES`: no number of theirs is typed by hand.

    python benchmarks/report.py

Each line `<!-- table: NAME -->` is followed, up to `<!-- end -->`, by the tables of
benchmarks/results/NAME.json; NAME.SECTION is a section of it, and `summary` has lines of several files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import tables_coin
import tables_environments
import tables_evaluation
import tables_exact
import tables_gpu
import tables_kernels
import tables_rivals
import tables_summary
import tables_training

HERE = Path(__file__).parent
_ALGOS = HERE.parent / "loqa" / "algos"
PAGES = (
    HERE.parent / "README.md",
    HERE / "README.md",
    _ALGOS / "README.md",
    _ALGOS / "exact" / "README.md",
)
TABLES = {
    "matrix_game": tables_environments.tables,
    "native_games": tables_environments.tables,
    "coin_game": tables_environments.tables,
    "coin_instructions": tables_environments.instructions,
    "kernels": tables_kernels.tables,
    "train_coin_learners": tables_coin.learners,
    "train_coin_ablations": tables_coin.by_seed,
    "train_coin_schedule": tables_coin.by_seed,
    "train_coin_processes": tables_coin.processes,
    "train_coin_boards": tables_coin.boards,
    "train_coin_phases": tables_coin.phases,
    "train_ipd": tables_training.tables,
    "train_public_goods": tables_training.public_goods,
    "train_unknown_values": tables_training.unknown_values,
    "train_continuous": tables_training.continuous,
    "train_rivals": tables_rivals.tables,
    "update_costs": tables_rivals.costs,
    "coin_rivals": tables_rivals.coin,
    "look_aheads": tables_rivals.look_aheads,
    "published_code.lola": tables_rivals.published_lola,
    "published_code.mfos": tables_rivals.published_mfos,
    "gpu_environments": tables_gpu.environments,
    "gpu_environments_h100": tables_gpu.environments,
    "gpu_kernels": tables_gpu.kernels,
    "gpu_kernels_h100": tables_gpu.kernels,
    "gpu_phases": tables_gpu.phases,
    "gpu_launches": tables_gpu.launches,
    "gpu_boards": tables_gpu.boards,
    "gpu_ablations": tables_gpu.ablations,
    "coin_ablations": tables_coin.parts,
    "exact_games.rates": tables_exact.rates,
    "exact_games.reciprocity": tables_exact.reciprocity,
    "exploitability": tables_evaluation.exploitability,
    "league": tables_evaluation.league,
    "tournament": tables_evaluation.tournament,
}


def about(results: dict[str, Any]) -> str:
    """Machine, commit and versions, beside every table."""
    machine = results["machine_info"]
    named = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    gpu = f"{machine['gpu']}, " if "gpu" in machine else ""
    load = machine.get("load_at_the_end")
    return (
        f"*Measured on: {gpu}{machine['processor']}, {machine['cores']} cores, "
        f"{machine['instruction_set']}, {machine['system']}"
        f"{'' if load is None else f', load {load} at the end'}; commit {results['commit_info']['id']}; "
        f"{named}.*"
    )


def load(name: str) -> dict[str, Any]:
    """The results of benchmarks/results/NAME.json."""
    found: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text())
    return found


def table(name: str) -> str:
    """What stands under a table's mark."""
    if name == "summary":
        return tables_summary.tables(load)
    file, _, part = name.partition(".")
    results = load(file)[part] if part else load(file)
    return f"{TABLES[name](results)}\n\n{about(results)}"


def filled(text: str) -> str:
    """A page with every table as the results have it now."""
    return re.sub(
        r"<!-- table: ([\w.]+) -->\n.*?<!-- end -->",
        lambda mark: f"<!-- table: {mark[1]} -->\n{table(mark[1])}\n<!-- end -->",
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
