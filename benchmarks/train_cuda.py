"""LOQA on a GPU: seconds an iteration by phase, and seconds to the thresholds.

    python benchmarks/train_cuda.py phases FILE.jsonl [--seconds 40] [--device cuda]
    python benchmarks/train_cuda.py launches FILE.jsonl [--seconds 40] [--device cuda]
    python benchmarks/train_cuda.py thresholds FILE.jsonl [--seconds 70] [--device cuda]

The published scalability setting: 3 x 3, batch 2048, actor hidden 128, critic hidden 64. FILE gets a
line of JSON after every case, so that being stopped loses nothing but the case in hand. "launches" is
phases with networks stepped by torch's operators, and with steps and sequences in one launch each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from about import about, append

import loqa
from loqa.runtime.device import current
from loqa.training.config import CoinConfig
from loqa.training.head_steps import HeadSteps
from loqa.training.parts import MATMUL_PRECISION
from loqa.training.trainer import Trainer

PUBLISHED = {"batch_size": 2048, "actor_hidden": 128, "critic_hidden": 64}
# Name, preset, fields, whether graphs are used.
PHASES: list[tuple[str, str, dict[str, Any], bool]] = [
    ("K = 32", "paper", {"opponents": 32}, True),
    ("K = 32, tf32", "paper", {"opponents": 32, "matmul": "tf32"}, True),
    ("K = 32, bfloat16", "paper", {"opponents": 32, "matmul": "bfloat16"}, True),
    ("K = 32, no graphs", "paper", {"opponents": 32}, False),
    ("K = 2048, as published", "paper", {"opponents": 2048}, True),
    ("default's losses, K = 32, tf32", "default", {"opponents": 32, "matmul": "tf32"}, True),
    ("5 x 5, K = 32, tf32", "paper",
     {"opponents": 32, "matmul": "tf32", "height": 5, "width": 5}, True),
    ("7 x 7, K = 32, tf32", "paper",
     {"opponents": 32, "matmul": "tf32", "height": 7, "width": 7}, True),
]  # fmt: skip
LAUNCHES: list[tuple[str, str, dict[str, Any]]] = [
    ("default's losses, 3 x 3", "default", {}),
    ("default's losses, 7 x 7", "default", {"height": 7, "width": 7}),
    ("published losses, 3 x 3", "paper", {}),
]
THRESHOLDS: list[tuple[str, str, dict[str, Any]]] = [
    ("default's losses, published size, K = 32, tf32", "default", {"matmul": "tf32"}),
    ("published settings, K = 32, tf32", "paper", {"matmul": "tf32"}),
]
_WARM_UP, _TIMED = 5, 20


def phases(config: CoinConfig, graphs: bool, one_launch: bool = True) -> dict[str, Any]:
    """Mean seconds an iteration after the first few, by the GPU's clock and by the wall's."""
    torch.set_num_threads(config.num_threads)
    torch.set_float32_matmul_precision(MATMUL_PRECISION[config.matmul])
    with ExitStack() as patches:
        if not graphs:
            patches.enter_context(
                mock.patch("loqa.training.trainer.recorder_for", return_value=None)
            )
        if not one_launch:
            patches.enter_context(mock.patch.object(HeadSteps, "of", return_value=None))
            patches.enter_context(mock.patch("loqa.ops.gru._in_one_launch", return_value=False))
        return _timed(config)


def _timed(config: CoinConfig) -> dict[str, Any]:
    trainer = Trainer(config)
    with current(trainer.device):
        for _ in range(_WARM_UP):
            trainer.iterate()
        trainer.settle()
        trainer.metrics()
        started = time.perf_counter()
        for _ in range(_TIMED):
            trainer.iterate()
        host = time.perf_counter() - started
        trainer.settle()
        seconds = time.perf_counter() - started
        line = trainer.metrics()
    by_phase = {name: value / _TIMED for name, value in line["phase_seconds"].items()}
    on_gpu = trainer.device.type == "cuda"
    return {
        "iteration": seconds / _TIMED,
        "host": host / _TIMED,
        **by_phase,
        "memory_mib": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", choices=["phases", "launches", "thresholds"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=40.0, help="after which no case begins")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=PUBLISHED["batch_size"])
    options = parser.parse_args()
    started = time.perf_counter()
    append(options.file, about())
    common = {**PUBLISHED, "batch_size": options.batch_size, "device": options.device}

    def left() -> float:
        return options.seconds - (time.perf_counter() - started)

    cases: list[tuple[dict[str, Any], str, dict[str, Any], tuple[bool, ...]]] = []
    if options.study == "phases":
        cases = [
            ({"case": name, "graphs": graphs}, preset, fields, (graphs,))
            for name, preset, fields, graphs in PHASES
        ]
    elif options.study == "launches":
        cases = [
            ({"case": name, "one_launch": one}, preset, fields | {"opponents": 32, "matmul": "tf32"},
             (True, one))
            for name, preset, fields in LAUNCHES for one in (False, True)
        ]  # fmt: skip
    for shown, preset, fields, how in cases:
        if left() <= 0:
            break
        fields = {**fields, "opponents": min(fields["opponents"], options.batch_size)}
        config = CoinConfig.of_preset(preset, **{**common, **fields})
        if options.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        try:
            measured = phases(config, *how)
        except Exception as error:  # the next case may do
            measured = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({**shown, **measured}), flush=True)
        append(options.file, {**shown, **measured, "config": config.to_dict()})
    if options.study != "thresholds":
        return
    for index, (name, preset, fields) in enumerate(THRESHOLDS):
        share = left() / (len(THRESHOLDS) - index)
        config = CoinConfig.of_preset(
            preset, **common, **fields, opponents=32, stop_at="strong", time_limit=max(share, 0.0),
            evaluation_episodes=1024,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            try:
                summary = loqa.train(config, Path(folder) / "run")
            except Exception as error:
                summary = {"error": f"{type(error).__name__}: {error}"}
            summary.pop("out", None)
        print(json.dumps({"case": name, **summary}), flush=True)
        append(options.file, {"case": name, **summary, "config": config.to_dict()})


if __name__ == "__main__":
    main()
