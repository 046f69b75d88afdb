"""Settings of torch that hold for the whole process, set aside while the package computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def usual_torch(matmul: str = "highest", num_threads: int | None = None) -> Iterator[None]:
    """While it lasts, torch is as after its import; then it is again as the program has set it.

    So numbers do not depend on `set_default_dtype`, `set_default_device`, `inference_mode`,
    `set_grad_enabled`, autocast, `use_deterministic_algorithms` or anomaly detection. Works as a
    decorator too.

    Args:
        matmul: what `torch.set_float32_matmul_precision` takes.
        num_threads: of torch; the program's own by default.
    """
    dtype = torch.get_default_dtype()
    precision = torch.get_float32_matmul_precision()
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    with ExitStack() as stack:
        if torch.empty(0).device.type != "cpu":  # the mode costs something in every call of torch
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            torch.set_default_dtype(torch.float32)
            torch.set_float32_matmul_precision(matmul)
            torch.use_deterministic_algorithms(False)
            if num_threads is not None:
                torch.set_num_threads(num_threads)
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_float32_matmul_precision(precision)
            torch.use_deterministic_algorithms(deterministic, warn_only=warns)
            torch.set_num_threads(threads)
