"""Learning in exact games: the published results of naive learners, LOLA, POLA and M-FOS, computed again.

    python benchmarks/exact_games.py [--only ipd pennies chicken tit-for-tat rates mfos reciprocity]
                                     [--seed 5001] [--figure benchmarks/figures/tit_for_tat.png]

One thread; seconds are CPU time of this process. A run is a group of players; the runs of a setting are one
batch, drawn from one seed. Settings are the published ones, or named in the tables; none was chosen on
this seed. "reciprocity" has seeds of its own, 100 to 119. benchmarks/results/exact_games.json keeps the
numbers, of other sections too; the figure is drawn from it, the table of "reciprocity" by report.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from about import about

from loqa.algos.exact import ExactGame, ExactResult, game, train
from loqa.algos.exact.reciprocity import is_tit_for_tat
from loqa.algos.exact.reciprocity import reciprocity as measured
from loqa.plotting.exact import plot_tit_for_tat

RESULTS = Path(__file__).parent / "results" / "exact_games.json"
MANY = 1000
LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "naive": ("naive", {}),
    "LOLA taylor": ("lola", {}),
    "LOLA taylor, eta .5": ("lola", {"inner_lr": 0.5}),
    "LOLA taylor, eta 10": ("lola", {"inner_lr": 10.0}),
    "LOLA taylor-full": ("lola", {"form": "taylor-full"}),
    "LOLA lookahead": ("lola", {"form": "lookahead"}),
    "LOLA lookahead, eta 3": ("lola", {"form": "lookahead", "inner_lr": 3.0}),
    "LOLA lookahead, eta 10": ("lola", {"form": "lookahead", "inner_lr": 10.0}),
    "LOLA lookahead, 3 steps": ("lola", {"form": "lookahead", "inner_steps": 3}),
}
# Zhao et al.'s rates (f: eta, alpha[, beta]); where they found none, those of the nearest f.
_POLA_TABLE = {1.1: 5.0, 1.25: 5.0, 1.33: 5.0, 1.4: 4.0, 1.6: 2.5}
_POLA_NETWORK = {
    1.1: (0.3, 0.03, 0.1), 1.25: (0.25, 0.03, 0.13), 1.33: (0.25, 0.02, 0.13), 1.4: (0.2, 0.03, 0.1),
    1.6: (0.12, 0.03, 0.05),
}  # fmt: skip
_POLA_PRECONDITIONED = {1.1: 0.4, 1.25: 0.5, 1.33: 0.4, 1.4: 0.3, 1.6: 0.3}
_LOLA_NETWORK = {
    1.1: (0.4, 0.05), 1.25: (0.4, 0.05), 1.33: (0.4, 0.05), 1.4: (0.3, 0.1), 1.6: (0.12, 0.05)
}  # fmt: skip
FACTORS = tuple(_POLA_TABLE)
_RATES = {0.01: 400, 0.05: 100, 0.2: 100, 1.0: 100}  # alpha: updates, more of small steps
RUNS = 20


def _lola(policy: str, updates: int, inner_lr: float, lr: float) -> dict[str, Any]:
    return {"algo": "lola", "form": "lookahead", "policy": policy, "updates": updates,
            "inner_lr": inner_lr, "lr": lr}  # fmt: skip


def _pola(policy: str, updates: int, inner_lr: float, lr: float, outer_kl: float) -> dict[str, Any]:
    return {"algo": "pola", "policy": policy, "updates": updates, "inner_lr": inner_lr, "lr": lr,
            "outer_kl": outer_kl}  # fmt: skip


FINDERS: dict[str, Callable[[float], dict[str, Any]]] = {
    "POLA, table": lambda f: _pola("table", 2, _POLA_TABLE[f], 0.3, 0.1),
    "POLA, network": lambda f: _pola("network", 2, *_POLA_NETWORK[f]),
    "POLA, preconditioned": lambda f: _pola(
        "preconditioned", 10, _POLA_PRECONDITIONED[f], 0.05, 0.5
    ),
    "LOLA, table": lambda f: _lola("table", 30, 3.0, 25.0),
    "LOLA, network": lambda f: _lola("network", 100, *_LOLA_NETWORK[f]),
    "LOLA, preconditioned, rates 3, 25": lambda f: _lola("preconditioned", 100, 3.0, 25.0),
    "LOLA, preconditioned, rates 1, 1": lambda f: _lola("preconditioned", 100, 1.0, 1.0),
    "LOLA, preconditioned, rates .4, .05": lambda f: _lola("preconditioned", 100, 0.4, 0.05),
}
META: dict[str, tuple[Callable[[], ExactGame], int, dict[str, Any]]] = {
    "ipd, naive": (lambda: game("ipd"), 600, {}),
    "ipd, lola": (lambda: game("ipd"), 300, {"opponent": "lola"}),
    "matching-pennies, naive": (lambda: game("matching-pennies", discount=0.96), 60, {}),
    "chicken once, naive": (lambda: game("chicken", steps=1), 60, {}),
}


def timed(work: Callable[[], ExactResult]) -> tuple[ExactResult, float]:
    started = time.process_time()
    found = work()
    return found, round(time.process_time() - started, 2)


def on(one: ExactGame, updates: int, seed: int, share: Callable[[ExactResult], dict[str, Any]],
       names: list[str]) -> dict[str, Any]:  # fmt: skip
    """Each learner on a game, many runs."""
    rows = {}
    for name in names:
        algo, settings = LEARNERS[name]
        found, seconds = timed(
            lambda algo=algo, settings=settings: train(one, algo, MANY, updates, seed, **settings)
        )
        last = found.rewards[-1]
        rows[name] = {
            "reward": round(last.mean().item(), 3),
            "sd": round(last.mean(0).std().item(), 3),
            **share(found),
            "seconds": seconds,
        }
        print(name, rows[name], flush=True)
    return {"runs": MANY, "updates": updates, "seed": seed, "rows": rows}


def ipd(seed: int) -> dict[str, Any]:
    def share(found: ExactResult) -> dict[str, Any]:
        players = is_tit_for_tat(found.p_cooperate)
        means = found.p_cooperate.mean((0, 1)).tolist()
        return {
            "both_tit_for_tat": part(players.all(0)),
            "one_tit_for_tat": part(players.any(0)),
            "above_-1.2": part(found.rewards[-1].mean(0) > -1.2),
            "p_cooperate": [round(one, 2) for one in means],
        }

    return on(game("ipd"), 200, seed, share, list(LEARNERS))


def pennies(seed: int) -> dict[str, Any]:
    def share(found: ExactResult) -> dict[str, Any]:
        near = ((found.p_cooperate - 0.5).abs() < 0.1).all(-1).all(0)
        spread = found.rewards[-1, 0].std().item()
        return {"near_nash": part(near), "sd_of_player_1": round(spread, 3)}

    names = [name for name in LEARNERS if "eta" not in name]
    return on(game("matching-pennies"), 200, seed, share, names)


def chicken(seed: int) -> dict[str, Any]:
    def share(found: ExactResult) -> dict[str, Any]:
        return {"crashed": part(found.rewards[-1].mean(0) < -5)}

    names = [name for name in LEARNERS if "eta" not in name]
    return {
        "once": on(game("chicken", steps=1), 100, seed, share, names),
        "repeated": on(game("chicken"), 100, seed, share, names),
    }


def part(which: torch.Tensor) -> float:
    return round(which.double().mean().item(), 3)


def tit_for_tat(seed: int) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name, settings_of in FINDERS.items():
        rows[name] = {}
        for factor in FACTORS:
            one, settings = game("public-goods", factor=factor), settings_of(factor)
            found, seconds = timed(
                lambda one=one, settings=settings: train(
                    one, runs=RUNS, seed=seed, init_std=0.1, **settings
                )
            )
            count = int(found.found_tit_for_tat.sum())
            rows[name][str(factor)] = {"found": count, "seconds": seconds, "settings": settings}
            print(name, factor, f"{count} of {RUNS}, {seconds} s", flush=True)
    return {"runs": RUNS, "seed": seed, "factors": FACTORS, "rows": rows}


def rates(seed: int) -> dict[str, Any]:
    """Whether any rates let LOLA with preconditioned tables find it; and how often POLA's networks do."""
    runs = 40

    def found(factor: float, number: int, settings: dict[str, Any]) -> int:
        made = game("public-goods", factor=factor)
        result = train(made, runs=number, seed=seed, init_std=0.1, **settings)
        return int(result.found_tit_for_tat.sum())

    grid = {
        str(factor): {
            str(inner_lr): [
                found(factor, runs, _lola("preconditioned", updates, inner_lr, lr))
                for lr, updates in _RATES.items()
            ]
            for inner_lr in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0, 3.0)
        }
        for factor in (1.33, 1.4, 1.6)
    }
    networks = {
        str(factor): {
            epochs: found(factor, 100, {**FINDERS["POLA, network"](factor), "updates": epochs})
            for epochs in (2, 4)
        }
        for factor in (1.4, 1.6)
    }
    return {"runs": runs, "seed": seed, "lr": list(_RATES), "lola_preconditioned": grid,
            "pola_network_of_100": networks}  # fmt: skip


def mfos(seed: int) -> dict[str, Any]:
    rows = {}
    for name, (made, updates, settings) in META.items():
        found, seconds = timed(
            lambda made=made, updates=updates, settings=settings: train(
                made(), "mfos", 1, updates, seed, **settings
            )
        )
        curve = {
            update: [round(one, 3) for one in found.rewards[update - 1, :, 0].tolist()]
            for update in (1, 25, 50, 75, 100, 150, 200, 300, 400, 500, 600)
            if update <= updates
        }
        last = [round(one, 2) for one in found.p_cooperate[0, 0].tolist()]
        rows[name] = {"curve": curve, "p_cooperate": last, "seconds": seconds}
        print(name, rows[name], flush=True)
    return {"seed": seed, "batch_size": 256, "rows": rows}


SEEDS = range(100, 120)  # seeds 0 to 5 chose the recipe
_SLOW = {"lr": 0.02, "updates": 800, "exploration": 0.02}
MANY_PLAYERS: dict[str, tuple[int, dict[str, Any]]] = {
    **{f"LOQA, {n} players": (n, {}) for n in (2, 3, 4, 5)},
    **{f"without shaping, {n} players": (n, {"shaping_weight": 0.0}) for n in (3, 4, 5)},
    **{f"policies of counts, {n} players": (n, {"policy": "counts"}) for n in (4, 5)},
    **{f"lambda .9, {n} players": (n, {"dice_discount": 0.9}) for n in (3, 4, 5)},
    **{f"lambda .9, e .02, {n} players": (n, {"dice_discount": 0.9, "exploration": 0.02})
       for n in (3, 4, 5)},
    **{f"exploration .1, {n} players": (n, {"exploration": 0.1}) for n in (3, 4, 5)},
    **{f"through the normaliser, {n} players": (n, {"stop_normaliser_gradient": False})
       for n in (3, 4, 5)},
    "first logits N(0, 1), 5 players": (5, {"init_std": 1.0}),
    "LOQA, 6 players": (6, {}),
    "e .02, rate .02, 800 updates, 6 players": (6, _SLOW),
}  # fmt: skip


def reciprocity(_: int) -> dict[str, Any]:
    """The prisoner's dilemma of n players: a run for each seed, as 20 seeds would be run one by one."""
    rows = {}
    for name, (players, settings) in MANY_PLAYERS.items():
        one = game("n-ipd", num_players=players)
        started = time.process_time()
        policies = [train(one, "loqa", 1, seed=seed, **settings).p_cooperate[0] for seed in SEEDS]
        seconds = round(time.process_time() - started, 1)
        said = measured(one, torch.cat(policies))
        rows[name] = {
            "strict": int(said.strict.sum()),
            "kinds": said.counts,
            "self_play": spread(said.self_play),
            "lone_defector": spread(said.lone_defector),
            "best_response_gain": spread(said.best_response_gain),
            "errors_to_return": sorted(set(said.errors_to_return.tolist())),
            "seconds": seconds,
        }
        print(name, rows[name], flush=True)
    return {"seeds": [SEEDS[0], SEEDS[-1]], "rows": rows}


def spread(values: torch.Tensor) -> list[float]:
    """Mean, least and largest."""
    return [round(one.item(), 3) for one in (values.mean(), values.min(), values.max())]


SECTIONS = {
    "ipd": ipd,
    "pennies": pennies,
    "chicken": chicken,
    "tit-for-tat": tit_for_tat,
    "rates": rates,
    "mfos": mfos,
    "reciprocity": reciprocity,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seed", type=int, default=5001)
    parser.add_argument("--figure", type=Path, help="of tit-for-tat against f")
    options = parser.parse_args()
    for name in options.only:
        measured = {**about(), **SECTIONS[name](options.seed)}
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        found = {**kept, name: measured}
        ordered = {one: found[one] for one in SECTIONS if one in found}
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    if options.figure:
        plot_tit_for_tat(RESULTS, options.figure)


if __name__ == "__main__":
    main()
