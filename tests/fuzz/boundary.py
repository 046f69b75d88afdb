"""Random calls of environments and kernels with legal and hostile arguments.

Each call gives what the reference says or raises a clear error (ValueError, TypeError, ...); never a
crash, a hang, another number or an error from inside. A case is an environment and up to ten calls of
it, or a call of `loqa.ops` or `torch.ops.loqa.*`; its number alone decides what it does.

    python tests/fuzz/boundary.py --calls 50000           # the long run: some minutes
    python tests/fuzz/boundary.py --seed 1 --case 1234    # one case again, with what it calls

Exits with 1 if anything was wrong. Cases run in a process of their own, so that a crash is a failure
with a number too. `.ci/sanitize` runs it with a core under ASan and UBSan.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

_PATIENCE = 120  # seconds without a further case, after which it hangs


def run_case(seed: int, number: int) -> tuple[Any, str]:
    """The case when it is over, and what went wrong ("" for nothing)."""
    import fuzz_envs
    import fuzz_ops
    import numpy as np

    rng = np.random.default_rng((seed, number))
    is_env = rng.random() < 0.3  # which makes more calls
    case: Any = fuzz_envs.EnvCase(rng) if is_env else fuzz_ops.OpsCase(rng)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (fuzz_envs if is_env else fuzz_ops).run(rng, case)
    except Exception:
        return case, traceback.format_exc()
    return case, ""


def work(seed: int, first: int, calls: int, progress: Path) -> None:
    """Runs cases until that many calls are made; a line for each, before it and after it."""
    made = 0
    number = first
    with progress.open("a", buffering=1) as out:
        while made < calls:
            out.write(f"{number}\n")
            case, wrong = run_case(seed, number)
            now = case.refused + case.carried_out
            made += now + bool(wrong)
            line = {"refused": case.refused, "carried out": case.carried_out, "wrong": bool(wrong)}
            if wrong:
                line |= {"number": number, "calls": case.done, "error": wrong}
            out.write(json.dumps(line) + "\n")
            number += 1


def _follow(options: list[str], progress: Path) -> int | None:
    """Runs cases that write to `progress`; the return code, None where they hung."""
    command = [sys.executable, __file__, *options, "--progress", str(progress)]
    with subprocess.Popen(command) as process:
        size, since = -1, time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            if progress.stat().st_size != size:
                size, since = progress.stat().st_size, time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                process.kill()
                return None
    return process.returncode


def fuzz(seed: int, calls: int) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Counts of calls and what was wrong."""
    counts: Counter[str] = Counter({"refused": 0, "carried out": 0, "wrong": 0})
    failures: list[dict[str, Any]] = []
    first = 0
    while counts.total() < calls:
        with tempfile.TemporaryDirectory() as folder:
            progress = Path(folder) / "progress"
            progress.touch()
            left = calls - counts.total()
            code = _follow(
                ["--seed", str(seed), "--first", str(first), "--calls", str(left)], progress
            )
            lines = progress.read_text().splitlines()
        for line in lines:
            if not line.startswith("{"):
                first = int(line) + 1
                continue
            result = json.loads(line)
            counts.update({name: int(result[name]) for name in counts})
            if result["wrong"]:
                failures.append(result)
        if code != 0:
            if not lines or lines[-1].startswith("{"):
                raise RuntimeError(f"the process of the cases ended with {code}, not within a case")
            error = (
                f"no case for {_PATIENCE} s: it hangs" if code is None else f"it died with {code}"
            )
            counts["wrong"] += 1
            failures.append({"number": first - 1, "calls": [], "error": error})
    return counts, failures


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this one alone, here")
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case is not None:
        case, wrong = run_case(options.seed, options.case)
        print("\n".join([*case.done, wrong]))
        return int(bool(wrong))
    if options.progress is not None:
        work(options.seed, options.first, options.calls, options.progress)
        return 0
    counts, failures = fuzz(options.seed, options.calls)
    for failure in failures[:20]:
        print(f"case {failure['number']}: {' | '.join(failure['calls'][-3:])}\n{failure['error']}")
    print(f"seed {options.seed}: {counts.total()} calls, " + json.dumps(counts))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
