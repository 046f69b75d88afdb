"""The kernels against numbers recorded from the official LOQA code (see tests/golden)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from loqa import ops
from loqa.reference import kernels as reference

Arrays = dict[str, np.ndarray]
# Largest error over the largest magnitude of the array: roundings of float32 and float64.
TOLERANCE = {"f32": 1e-6, "f64": 1e-14}


def check(got: Tensor | None, expected: np.ndarray, tolerance: float) -> None:
    got = torch.zeros(expected.shape) if got is None else got.detach().cpu()
    largest = max(float(np.abs(expected).max(initial=0)), 1e-30)
    error = float(np.abs(got.numpy() - expected).max(initial=0))
    assert error <= tolerance * largest


def check_all(data: Arrays, tolerance: float, module: object, device: str = "cpu") -> None:
    for case in json.loads(str(data["meta"]))["cases"]:
        check_case(data, case, tolerance, module, device)


def check_case(
    data: Arrays, case: dict[str, object], tolerance: float, module: object, device: str
) -> None:
    """Values, vector-Jacobian products and, where recorded, whole Jacobians of one case."""
    gamma, dice_discount, steps = case["gamma"], case["dice_discount"], case["T"]

    def recorded(name: str) -> np.ndarray:
        return np.ascontiguousarray(data[f"{case['key']}{name}"].T)  # time-major

    rewards, values, logps = (
        torch.from_numpy(recorded(name)).to(device).requires_grad_()
        for name in ("rewards", "values", "logps")
    )
    cotangent = torch.from_numpy(recorded("cotangent")).to(device)
    inputs = {"rewards": rewards, "values": values, "logps": logps}

    def check_vjps(out: Tensor, name: str) -> None:
        check(out, recorded(name), tolerance)
        names = [key for key in inputs if f"{case['key']}{name}_vjp_{key}" in data]
        grads = torch.autograd.grad(
            out,
            [inputs[key] for key in names],
            cotangent[: len(out)],
            allow_unused=True,
            retain_graph=True,
        )
        for key, grad in zip(names, grads, strict=True):
            check(grad, recorded(f"{name}_vjp_{key}"), tolerance)

    check_vjps(module.discounted_returns(rewards, gamma), "returns")
    dice = module.loaded_dice_returns(rewards, values, logps, gamma, dice_discount)
    check_vjps(dice, "dice")
    if f"{case['key']}dice_jac_logps" in data:
        jacobian = data[f"{case['key']}dice_jac_logps"]  # [B, T, T]
        for s in range(steps):
            (row,) = torch.autograd.grad(dice[s].sum(), logps, retain_graph=True)
            assert (
                np.abs(row.T.cpu().numpy() - jacobian[:, s]).max()
                <= tolerance * np.abs(jacobian).max()
            )
    baseline = torch.from_numpy(data[f"{case['key']}baseline"]).to(device)
    for n in case["n"]:
        out = module.n_step_dice_returns(rewards, values, logps, gamma, n, baseline)
        check_vjps(out, f"nstep{n}")
        plain = module.n_step_returns(rewards, values, gamma, n)
        check(plain, recorded(f"nstep{n}_nologps"), tolerance)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_golden(golden: Callable[[str], Arrays], dtype: str, kernel_device: str) -> None:
    check_all(golden(f"kernels_{dtype}.npz"), TOLERANCE[dtype], ops, kernel_device)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_golden_reference(golden: Callable[[str], Arrays], dtype: str) -> None:
    check_all(golden(f"kernels_{dtype}.npz"), TOLERANCE[dtype], reference)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_golden_whole_files(dtype: str) -> None:
    """The full files, which go to T = 128; the copies in the repository stop at T = 16."""
    directory = os.environ.get("LOQA_GOLDEN_DIR")
    if not directory:
        pytest.skip("LOQA_GOLDEN_DIR is not set")
    with np.load(Path(directory) / f"kernels_{dtype}.npz", allow_pickle=False) as arrays:
        check_all(dict(arrays), TOLERANCE[dtype], ops)
