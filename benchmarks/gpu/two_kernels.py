"""What the profiler looks at: the step that writes float32 planes and the rollout that writes cells.

    ncu --kernel-name regex:coin_play ... python benchmarks/gpu/two_kernels.py [--device cuda]

Each runs four times on a million environments; the first four launches are the step's.
"""

from __future__ import annotations

import argparse

import torch

import loqa

NUM_ENVS, TIMES, STEPS = 1 << 20, 4, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    actions = torch.randint(4, (STEPS, NUM_ENVS, 2), dtype=torch.uint8, device=device)
    planes = loqa.make("coin_game", NUM_ENVS, device=device)
    cells = loqa.make("coin_game", NUM_ENVS, device=device, obs="cells")
    for _ in range(TIMES):
        planes.step(actions[0])
    for _ in range(TIMES):
        cells.rollout(actions)
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
