"""Actions, masks and states as callers give them: what is meant, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from loqa._checks import plural

# Codes of the C++ enum ActionType. What is wider than a byte and not signed is read as signed: what
# is negative then is out of range before and after.
ACTION_TYPES = {
    torch.bool: 0,
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.uint16: 2,
    torch.int32: 3,
    torch.uint32: 3,
    torch.int64: 4,
    torch.uint64: 4,
}
Shape = tuple[int | None, ...]


def as_array(values: Any) -> np.ndarray:
    """Values in the CPU's memory as an array, whatever torch's default device and modes are.

    Raises:
        TypeError: they are on another device, are a tensor without memory, or no numbers.
    """
    if isinstance(values, Tensor):
        if not values.is_cpu:
            raise TypeError(f"a tensor on {values.device}")
        try:
            _check_storage(values)
            return values.detach().resolve_conj().resolve_neg().numpy()
        except (RuntimeError, NotImplementedError) as error:
            raise TypeError(str(error)) from None
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(str(error)) from None
    if array.dtype.kind not in "biufc":
        raise TypeError(f"no numbers, but {array.dtype}")
    return array


def array_of(values: Any, wanted: str) -> np.ndarray:
    """`as_array`, whose error says what was wanted."""
    try:
        return as_array(values)
    except TypeError as error:
        raise TypeError(f"{wanted}, got {type(values).__name__} ({error})") from None


def copied_actions(actions: Any, shape: Shape, device: torch.device) -> np.ndarray:
    """Actions as a new C-ordered, aligned array of the machine's byte order.

    Args:
        actions: a tensor, an array or nested sequences, of any integer type or bool (True is 1), of
            any strides, alignment and byte order.
        shape: that they must have; None for any number of steps in front.
        device: of the environment, for the message.
    """
    wanted = _wanted(shape, device)
    if isinstance(actions, Tensor) and not actions.is_cpu:
        raise ValueError(f"{wanted}, got {described(actions)}")
    array = array_of(actions, wanted)
    is_integer = array.dtype.kind in "biu"
    if not (is_integer and _fits(array.shape, shape)):
        message = f"{wanted}, got {described(actions, array)}"
        raise (ValueError if is_integer else TypeError)(message)
    return np.array(array, array.dtype.newbyteorder("="), order="C", copy=True, subok=False)


def device_actions(actions: Any, shape: Shape, device: torch.device) -> Tensor:
    """Actions as a contiguous, aligned tensor on the environment's device; a copy on the CPU (where only
    tests run a device's code)."""
    if isinstance(actions, np.ndarray) and device.type != "cpu":
        raise TypeError(
            f"{_wanted(shape, device)}, got a NumPy array, which is in the CPU's memory: "
            f"torch.as_tensor(actions, device={str(device)!r}) copies it"
        )
    if device.type == "cpu":
        actions = torch.from_numpy(copied_actions(actions, shape, device))
    if not isinstance(actions, Tensor):
        raise TypeError(f"{_wanted(shape, device)}, got {type(actions).__name__}")
    is_integer = actions.dtype in ACTION_TYPES
    if not (is_integer and actions.device == device and _fits(actions.shape, shape)):
        message = f"{_wanted(shape, device)}, got {described(actions)}"
        raise (ValueError if is_integer else TypeError)(message)
    moves: Tensor = actions.contiguous()
    return moves.clone() if moves.data_ptr() % moves.element_size() else moves


def float_actions(actions: Any, shape: Shape, device: torch.device) -> Tensor | np.ndarray:
    """Actions of a box in float32, contiguous and aligned: an array on the CPU, which may share the
    caller's memory; elsewhere a tensor on the environment's device.

    Raises:
        TypeError: they are no numbers (of the CPU, of the device).
        ValueError: another shape, or another device.
    """
    wanted = _wanted(shape, device, "floats")
    floats: Tensor | np.ndarray
    if device.type == "cpu":
        if isinstance(actions, Tensor) and not actions.is_cpu:
            raise ValueError(f"{wanted}, got {described(actions)}")
        array = array_of(actions, wanted)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{wanted}, got {described(actions, array)}")
        floats = np.require(array, np.float32, ["C", "A"])
    elif not isinstance(actions, Tensor):
        raise TypeError(f"{wanted}, got {type(actions).__name__}")
    elif actions.device != device or actions.dtype == torch.bool or actions.is_complex():
        raise ValueError(f"{wanted}, got {described(actions)}")
    else:
        floats = actions.detach().to(torch.float32, copy=True).contiguous()
    if not _fits(tuple(floats.shape), shape):
        raise ValueError(f"{wanted}, got {described(actions)}")
    return floats


def probabilities_of(given: Any, shape: Shape, num_envs: int, device: torch.device) -> Tensor:
    """Probabilities of `shape`, or of that for each of B environments, as float32 on the device.

    Raises:
        TypeError: they are no numbers.
        ValueError: another shape or device, or one is not in [0, 1] (on a GPU nobody looks).
    """
    own = (num_envs, *shape)
    wanted = f"probabilities must be {list(shape)} or {list(own)} on {device}"
    if isinstance(given, Tensor) and not given.is_cpu:
        table, came = given.detach(), str(given.device)
    else:
        array = array_of(given, wanted)
        if array.dtype.kind not in "buif":
            raise TypeError(f"{wanted}, got {array.dtype}")
        array = array.astype(np.float32)
        table = torch.from_numpy(array)
        came = "cpu" if isinstance(given, Tensor) else str(device)
    if tuple(table.shape) not in (shape, own) or came != str(device):
        raise ValueError(f"{wanted}, got {list(table.shape)} on {came}")
    if table.is_cpu:
        inside = (array >= 0) & (array <= 1)  # NaN fails too
        if not inside.all():
            raise ValueError(f"probabilities must be in [0, 1], got {array[~inside][0]}")
    return table.to(device, torch.float32).contiguous()


def described(given: Any, array: np.ndarray | None = None) -> str:
    """Shape, type and place of what was given, for messages."""
    if isinstance(given, Tensor):
        if given.is_nested:
            return "a nested tensor"
        return f"{list(given.shape)} {given.dtype} on {given.device}"
    array = np.asarray(given) if array is None else array
    return f"{list(array.shape)} {array.dtype}"


def check_range(actions: Any, low: float, high: float, where: str) -> None:
    """Raises ValueError unless every action is in [low, high], of which `where` tells; NaN is not."""
    array = as_array(actions.cpu() if isinstance(actions, Tensor) else actions)
    if array.dtype == bool:
        array = array.view(np.uint8)  # bytes of any value can be called bool
    outside = ~((array >= low) & (array <= high))
    if outside.any():
        place = np.argwhere(outside)[0].tolist()
        bad = array[tuple(place)].item()
        raise ValueError(
            f"actions must be in {where}, got {f'{bad:g}' if isinstance(bad, float) else bad} at {place}; "
            "no environment was stepped"
        )


def _wanted(shape: Shape, device: torch.device, kind: str = "an integer type") -> str:
    letters = ", ".join("T" if size is None else str(size) for size in shape)
    return f"actions must be [{letters}] of {kind} on {device}"


def _fits(came: tuple[int, ...], shape: Shape) -> bool:
    return len(came) == len(shape) and all(
        size in (None, length) for size, length in zip(shape, came, strict=True)
    )


def _check_storage(tensor: Tensor) -> None:
    """Raises TypeError if a tensor's storage is smaller than the tensor (it was resized), or if it has
    none (lazy zeros, of which torch 2.6 makes arrays all the same)."""
    if tensor._is_zerotensor():
        raise TypeError("a tensor of lazy zeros, which has no memory")
    held = tensor.untyped_storage().nbytes()
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + last + 1) * tensor.element_size() if tensor.numel() else 0
    if held < needed:
        raise TypeError(f"a tensor of {needed} {plural(needed, 'byte')} whose storage has {held}")
