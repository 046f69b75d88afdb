"""Seconds an update of the rivals' published code and of ours, in one process on one thread, in turn.

    python benchmarks/published_code.py --lola FOLDER --mfos FOLDER

The folders are checkouts of the authors' code, which is not part of this repository:

    --lola   alexis-jacq/LOLA_DiCE on GitHub; it has ipd_DiCE.py
    --mfos   luchris429/Model-Free-Opponent-Shaping on GitHub; it has src/environments.py and src/ppo.py

Their functions run as they are; gym and the files of the Coin Game, which these functions do not use, are
stood in for. Before anything is timed, both must mean the same by a return (`same_returns`), and both
learn from a few seeds. Then both run with the same batch, length and look-aheads, one after the other,
several times: CPU seconds of an update, and the median of their ratios.
benchmarks/results/published_code.json keeps the numbers; report.py puts them into loqa/algos/README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from about import about
from torch import Tensor

from loqa import IPDConfig
from loqa.agents.memory1 import discounted_value
from loqa.algos import exact
from loqa.algos.exact.mfos import MFOS, MFOSSettings
from loqa.runtime.torch_settings import usual_torch
from loqa.training.trainer import Trainer

RESULTS = Path(__file__).parent / "results" / "published_code.json"
FILES = {
    "lola": ("ipd_DiCE.py", "envs/prisoners_dilemma.py"),
    "mfos": ("src/environments.py", "src/ppo.py"),
}
FROM = {
    "lola": "alexis-jacq/LOLA_DiCE",
    "mfos": "luchris429/Model-Free-Opponent-Shaping",
}
REPEATS = 5
LOOK_AHEADS = (1, 2, 3)
BATCH = 256  # published: 4096, where an iteration of theirs takes a quarter of a minute
# Their one logit is the difference of our two, which moves twice as fast.
OURS = {"algo": "lola", "batch_size": 128, "episode_length": 150, "actor_lr": 0.1, "inner_lr": 0.15}
_STATES = [0, 4, 3, 2, 1]  # start, CC, CD, DC, DD in their order: start, DD, DC, CD, CC


def _stand_in(name: str, **names: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(names)
    sys.modules[name] = module


class _Space:
    """What their environment builds and never asks."""

    def __init__(self, *_: Any) -> None:
        pass


def modules(which: str, folder: Path) -> list[Any]:
    """Their modules, in the order of `FILES`."""
    missing = [name for name in FILES[which] if not (folder / name).is_file()]
    if missing:
        raise SystemExit(
            f"--{which} must be a checkout of {FROM[which]} (on GitHub) with {', '.join(FILES[which])}; "
            f"{folder} has no {', '.join(missing)}"
        )
    if which == "lola":
        _stand_in("gym", Env=object)
        _stand_in("gym.spaces", Discrete=_Space, Tuple=_Space)
        _stand_in("envs.common", OneHot=_Space)
        _stand_in("envs.coin_game", CoinGameVec=None)
    paths = [folder / name for name in FILES[which]]
    sys.path.insert(0, str(paths[0].parent))
    return [
        importlib.import_module(path.relative_to(paths[0].parent).as_posix()[:-3].replace("/", "."))
        for path in paths
    ]


def cpu_seconds(update: Callable[[], object], times: int) -> float:
    """Of one of so many updates."""
    started = time.process_time()
    for _ in range(times):
        update()
    return (time.process_time() - started) / times


def in_turn(theirs: Callable[[], object], ours: Callable[[], object], times: int) -> dict[str, Any]:
    """One of theirs and so many of ours, which are shorter, after one another."""
    theirs(), ours()
    found = [(cpu_seconds(theirs, 1), cpu_seconds(ours, times)) for _ in range(REPEATS)]
    return {
        "theirs": [round(one, 5) for one, _ in found],
        "ours": [round(one, 5) for _, one in found],
        "ratio": round(median(one / other for one, other in found), 1),
    }


# --- LOLA-DiCE


def their_update(lola: Any, first: Any, second: Any, steps: int) -> None:
    """An update of both, with their functions, in their order; without their evaluation."""
    ahead = [
        one.detach().clone().requires_grad_()
        for agent in (first, second)
        for one in (agent.theta, agent.values)
    ]
    theta_1, values_1, theta_2, values_2 = ahead
    for _ in range(steps):
        of_2 = first.in_lookahead(theta_2, values_2)
        of_1 = second.in_lookahead(theta_1, values_1)
        theta_2, theta_1 = theta_2 - lola.hp.lr_in * of_2, theta_1 - lola.hp.lr_in * of_1
    first.out_lookahead(theta_2, values_2)
    second.out_lookahead(theta_1, values_1)


def reward_a_step(first: Any, second: Any) -> float:
    """Of both, the exact mean over the 150 steps, not discounted; P(C) of each in our order."""
    steps = int(OURS["episode_length"])
    return float(mean(discounted_value(first, second, 1.0, steps=steps))) / steps


def their_reward(first: Any, second: Any) -> float:
    # Their action 0, whose logit theta is, is to defect.
    answers = [torch.sigmoid(-one.theta.detach().double())[_STATES] for one in (first, second)]
    return reward_a_step(*(one.tolist() for one in answers))


def our_lola(steps: int, seed: int = 0) -> Trainer:
    return Trainer(IPDConfig.of_preset("default", seed=seed, inner_steps=steps, **OURS))


def our_reward(trainer: Trainer) -> float:
    agents = [trainer.agent, *(one.agent for one in trainer.opponents.algorithms)]
    answers = [agent.memory1() for agent in agents]  # action 0 is C
    return reward_a_step(*(one[:, 0].double().tolist() for one in answers if one is not None))


def same_returns_of_lola(lola: Any) -> float:
    """Largest difference between the mean reward that their episodes pay and the exact one, in standard
    errors: the games and the order of states are the same."""
    torch.manual_seed(0)
    largest = 0.0
    for _ in range(3):
        first, second = lola.Agent(), lola.Agent()
        for one in (first, second):
            one.theta.data = torch.randn(5)
        paid = torch.tensor(
            [
                mean(lola.step(first.theta, second.theta, first.values, second.values))
                for _ in range(10)
            ]
        )
        error = paid.std() / len(paid) ** 0.5
        largest = max(largest, float((paid.mean() - their_reward(first, second)).abs() / error))
    if largest > 5:
        raise SystemExit(
            f"their episodes are of another game: off by {largest:.1f} standard errors"
        )
    return round(largest, 2)


def lola_results(lola: Any, seeds: int) -> dict[str, Any]:
    found: dict[str, Any] = {"standard_errors": same_returns_of_lola(lola), "rows": []}
    for steps in LOOK_AHEADS:
        learned: dict[str, list[float]] = {"theirs": [], "ours": []}
        for seed in range(seeds):
            torch.manual_seed(42 + seed)  # 42 is of their figure
            first, second = lola.Agent(), lola.Agent()
            trainer = our_lola(steps, seed)
            for _ in range(lola.hp.n_update):
                their_update(lola, first, second, steps)
                trainer.iterate()
            learned["theirs"].append(round(their_reward(first, second), 3))
            learned["ours"].append(round(our_reward(trainer), 3))
            print(
                "LOLA", steps, seed, {name: each[-1] for name, each in learned.items()}, flush=True
            )
        first, second, trainer = lola.Agent(), lola.Agent(), our_lola(steps)
        timed = in_turn(
            lambda: their_update(lola, first, second, steps),  # noqa: B023
            trainer.iterate,
            10,
        )
        found["rows"].append({"look_aheads": steps, **timed, "learned": learned})
        print(found["rows"][-1], flush=True)
    return found


# --- M-FOS in exact games


class Theirs:
    """Their M-FOS against naive learners: an iteration of their main program, less its prints."""

    def __init__(self, environments: Any, ppo: Any, batch: int) -> None:
        self.env = environments.MetaGames(batch, opponent="NL", game="IPD")
        settings = MFOSSettings()
        self.ppo = ppo.PPO(
            10, 5, settings.lr, (0.9, 0.999), settings.meta_discount, settings.epochs, settings.clip,
            settings.entropy_bonus,
        )  # fmt: skip
        self.memory = ppo.Memory()
        self.steps = settings.meta_steps

    def iterate(self) -> tuple[float, float]:
        state, paid = self.env.reset(), []
        for _ in range(self.steps):
            action = self.ppo.policy_old.act(state, self.memory)
            state, reward, others, _ = self.env.step(action)
            self.memory.rewards.append(reward)
            paid.append(torch.stack([reward.mean(), others.mean()]))
        self.ppo.update(self.memory)
        self.memory.clear_memory()
        mine, others = torch.stack(paid).mean(0).tolist()
        return mine, others


class Ours:
    """Ours, with the same settings."""

    def __init__(self, batch: int, seed: int = 0) -> None:
        self.meta = MFOS(exact.game("ipd"), MFOSSettings(batch_size=batch), 1, seed)
        self.iteration = 0

    def iterate(self) -> tuple[float, float]:
        self.iteration += 1
        mine, others = self.meta.iterate(self.iteration)[1][:, 0].tolist()
        return mine, others


def same_returns_of_mfos(environments: Any) -> float:
    """Largest difference of their values and ours, of random logits."""
    torch.manual_seed(0)
    logits: list[Tensor] = [torch.randn(64, 5) for _ in range(2)]
    *theirs, _ = environments.ipd_batched(64)[1](logits)
    ours = exact.game("ipd").values(*(one.double() for one in logits), 0)
    largest = max(
        float((one[:, 0] + other).abs().max()) for one, other in zip(theirs, ours, strict=True)
    )
    if largest > 1e-3:  # float32, values up to 75
        raise SystemExit(f"their values are of another game: they differ by {largest:.1e}")
    return largest


def mfos_results(environments: Any, ppo: Any, iterations: int) -> dict[str, Any]:
    found: dict[str, Any] = {"value_difference": same_returns_of_mfos(environments), "rows": []}
    torch.manual_seed(0)
    learners: dict[str, Theirs | Ours] = {
        "theirs": Theirs(environments, ppo, BATCH),
        "ours": Ours(BATCH),
    }
    learned: dict[str, list[list[float]]] = {name: [] for name in learners}
    for iteration in range(1, iterations + 1):
        paid = {name: one.iterate() for name, one in learners.items()}
        if iteration == 1 or iteration % 25 == 0:
            for name, each in paid.items():
                learned[name].append([iteration, *(round(one, 3) for one in each)])
            print("M-FOS", iteration, paid, flush=True)
    timed = in_turn(learners["theirs"].iterate, learners["ours"].iterate, 1)
    found["rows"].append({"batch": BATCH, **timed})
    print(found["rows"][-1], flush=True)
    return {**found, "learned": learned}


def _sha256(folder: Path, which: str) -> dict[str, str]:
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16] for name in FILES[which]
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, where in FROM.items():
        parser.add_argument(f"--{name}", type=Path, help=f"a checkout of {where}")
    parser.add_argument(
        "--seeds", type=int, default=3, help="that LOLA learns from, 200 updates each"
    )
    parser.add_argument("--iterations", type=int, default=100, help="that M-FOS learns, batch 256")
    options = parser.parse_args()
    if options.lola is None and options.mfos is None:
        parser.error("nothing to compare with: give --lola, --mfos or both")
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    warnings.simplefilter("ignore", UserWarning)
    for which, folder in (("lola", options.lola), ("mfos", options.mfos)):
        if folder is None:
            continue
        theirs = modules(which, folder)
        with usual_torch("highest", 1):
            if which == "lola":
                found = lola_results(theirs[0], options.seeds)
            else:
                found = mfos_results(*theirs, options.iterations)
        code = {"from": FROM[which], "sha256": _sha256(folder, which)}
        kept = {**kept, which: {**about(), "code": code, **found}}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
