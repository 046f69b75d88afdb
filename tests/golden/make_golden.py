"""Make the small copies of the recorded LOQA numbers from the full files in LOQA_GOLDEN_DIR.

`ipd_logits.npz` is kept whole. `ipd_gru.npz` keeps T = 10; the opponents' parameters (their outputs
on the batch are kept), full gradient vectors of all but two configurations (their norms and
per-episode numbers are kept) and the first two update steps are left out. `kernels_f32.npz` and
`kernels_f64.npz` keep the cases up to T = 16.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
VECTORS = ("grad_agent", "grad_opponent", "grad_total_clipped")
CONFIGS_WITH_VECTORS = ("dice_TD0_dcr0", "nstep2_MC")


def keep_gru(key: str) -> bool:
    if key.startswith(("opponents/", "T50/")):
        return False
    parts = key.split("/")
    if parts[-1] in VECTORS:
        return parts[-2] in CONFIGS_WITH_VECTORS
    return not (key.endswith(("/agent", "/ema")) and parts[-2] in ("step1", "step2"))


def main() -> None:
    source = Path(os.environ["LOQA_GOLDEN_DIR"])
    for name, keep in (("ipd_logits", lambda key: True), ("ipd_gru", keep_gru)):
        with np.load(source / f"{name}.npz", allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files if keep(key)}
        np.savez_compressed(HERE / f"{name}.npz", **arrays)
    for name in ("kernels_f32", "kernels_f64"):
        with np.load(source / f"{name}.npz", allow_pickle=False) as data:
            meta = json.loads(str(data["meta"]))
            meta["cases"] = [case for case in meta["cases"] if case["T"] <= 16]
            keys = tuple(case["key"] for case in meta["cases"])
            arrays = {key: data[key] for key in data.files if key.startswith(keys)}
        np.savez_compressed(HERE / f"{name}.npz", meta=np.array(json.dumps(meta)), **arrays)


if __name__ == "__main__":
    main()
