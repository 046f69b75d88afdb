"""Instructions that a `step` of the Coin Game takes, by part: counted by callgrind, not sampled.

    python benchmarks/instruction_counts.py              then python benchmarks/report.py

Needs valgrind and addr2line on Linux, and a core with debug information, which does not change its code:
`pip install . -Ccmake.define.CMAKE_CXX_FLAGS=-g -Ccmake.define.CMAKE_STRIP= -Cinstall.strip=false`.

Valgrind does not know AVX-512, so this is the AVX2 core, on one thread. The difference between two runs
of different length is what steps take; an instruction belongs to the innermost function or file of PARTS
that the compiler inlined it from. Writes benchmarks/results/coin_instructions.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

NUM_ENVS = 8192
RUNS = (4, 104)  # steps; multiples of four, since one block of random numbers serves four steps
ISA = "avx2"
OBS = {"cells": (3, 6), "uint8": (3, 72), "float32": (2, 288)}  # ObsType, bytes of an environment
PARTS = {
    "range of actions": {"game_take", "take_actions", "pack", "pack_any", "all_legal"},
    "reading actions": {"load_actions", "split_actions"},
    "moves": {"move_players"},
    "pick-ups, rewards": {"take_coins", "write_rewards"},
    "random numbers (Philox)": {"load_words", "refresh_words", "philox_lanes"},
    "new places of coins": {"place_coins", "free_cells"},
    "writing observations": {"coin_game_obs.h", "coin_game_bits.h", "place_ones"},
    "state, time, truncation": {"move_state", "load_times", "step_lanes", "step_block"},
}
REST = "loops and calls"
WHERE = Path(__file__).parent / "results" / "coin_instructions.json"


def play(core_file: str, obs_name: str, steps: int) -> None:
    """What runs under valgrind: the core alone, without torch or NumPy, which take far longer."""
    spec: Any = importlib.util.spec_from_file_location("_core", core_file)
    core: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(core)
    core.set_isa(ISA)
    code, size = OBS[obs_name]

    def zeros(size: int) -> Any:
        return core.Memory(size * NUM_ENVS)

    rules = {
        "height": 3, "width": 3, "num_players": 2, "num_coins": 1, "num_actions": 4, "left": 0,
        "right": 1, "up": 2, "down": 3, "relative": 1, "cells": int(obs_name == "cells"),
    }  # fmt: skip
    off = (
        "distinct_start", "coin_anywhere", "first_takes", "channels_last", "egocentric", "history",
        "zero_last_reward",
    )  # fmt: skip
    batch = core.GameBatch(
        game="coin-game", rules={**rules, **dict.fromkeys(off, 0)}, num_envs=NUM_ENVS, num_players=2,
        obs_type=code, episode_length=50, first_env=0, states=zeros(7), t=zeros(4), episode=zeros(4),
    )  # fmt: skip
    # obs, rewards, terminated, truncated
    game = core.GameSimulator(batch, zeros(size), zeros(8), zeros(1), zeros(1), num_threads=1)
    game.set_seed(0)
    game.show(())
    which = core.Memory(NUM_ENVS)
    memoryview(which)[:] = bytes([1]) * NUM_ENVS
    game.start(which)
    random.seed(0)
    byte_to_action = bytes(byte & 3 for byte in range(256))
    moves = [core.Memory(2 * NUM_ENVS) for _ in range(8)]
    for now in moves:
        memoryview(now)[:] = random.randbytes(2 * NUM_ENVS).translate(byte_to_action)
    for step in range(steps):
        game.step(moves[step % 8])


def counted(core_file: str, obs: str, steps: int) -> Counter[int]:
    """Instructions carried out by address in the core; 0 stands for everything outside."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [
            "valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no",
            "--compress-strings=no", f"--callgrind-out-file={out}", sys.executable, "-S", __file__,
            "--core", core_file, "--play", obs, str(steps),
        ]  # fmt: skip
        fixed = {**os.environ, "PYTHONHASHSEED": "0"}  # two runs start with the same instructions
        subprocess.run(command, check=True, capture_output=True, env=fixed)
        lines = out.read_text().splitlines()
    counts: Counter[int] = Counter()
    inside = call = False  # after "calls=" comes the cost of the callee, which has lines of its own
    for line in lines:
        if line.startswith("ob="):
            inside = line.removeprefix("ob=") == core_file
        elif line.startswith("calls="):
            call = True
        elif line.startswith("0x"):
            address, _, cost = line.split()[:3]
            if not call:
                counts[int(address, 16) if inside else 0] += int(cost)
            call = False
    return counts


def part_of(core_file: str, addresses: list[int]) -> dict[int, str]:
    """The part that each address belongs to, by the functions it was inlined from."""
    found = subprocess.run(
        ["addr2line", "-a", "-f", "-i", "-C", "-e", core_file],
        input="\n".join(map(hex, addresses)), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    parts = {}
    for address, block in zip(addresses, re.split(r"^0x.*\n", found, flags=re.M)[1:], strict=True):
        lines = block.replace("(anonymous namespace)::", "").splitlines()
        names = [  # function, file:line, the function it was inlined into, ...
            re.sub(r"[<(].*", "", line).split("::")[-1]
            if i % 2 == 0
            else re.split("[/:]", line)[-2]
            for i, line in enumerate(lines)
        ]
        known = [part for name in names for part, group in PARTS.items() if name in group]
        parts[address] = known[0] if known else REST
    return parts


def by_part(core_file: str, obs: str) -> dict[str, float]:
    """Instructions of an environment's step."""
    short, long = (counted(core_file, obs, steps) for steps in RUNS)
    long.subtract(short)
    parts = part_of(core_file, sorted(address for address in long if address))
    totals = dict.fromkeys([*PARTS, REST], 0.0)
    for address, count in long.items():
        totals[parts.get(address, REST)] += count / (RUNS[1] - RUNS[0]) / NUM_ENVS
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--core", help="the compiled core; by default the installed one")
    parser.add_argument("--play", nargs=2, metavar=("OBS", "STEPS"), help="what valgrind runs")
    args = parser.parse_args()
    if args.play:
        play(args.core, args.play[0], int(args.play[1]))
        return
    from about import about

    from loqa._native import core

    core.set_isa(ISA)
    core_file = str(Path(args.core or core.__file__).resolve())
    counts = {obs: by_part(core_file, obs) for obs in OBS}
    measured = about()
    tool = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    measured["versions"]["valgrind"] = tool.stdout.strip().removeprefix("valgrind-")
    WHERE.write_text(
        json.dumps({**measured, "num_envs": NUM_ENVS, "counts": counts}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
