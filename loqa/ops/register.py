"""How native kernels become torch operators `loqa::*`: checks, addresses, launch, registration.

Every kernel checks its arrays where it takes their addresses, so that an operator that is called
directly (`torch.ops.loqa.*`) reads and writes no memory but that of its arguments and results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import TransformType
from torch._ops import _len_torch_dispatch_stack_pre_dispatch
from torch.autograd import forward_ad

from loqa._checks import plural
from loqa._native import core

_library: Any = torch.library.Library("loqa", "DEF")  # type: ignore[no-untyped-call]
_PLAIN = (Tensor, torch.nn.Parameter)
_DTYPE_CODES = {torch.float32: 0, torch.float64: 1}
SUFFIXES = {torch.float32: "f32", torch.float64: "f64"}
"""Of kernels that have one function for each type."""


class WithoutMemory(TypeError):
    """A tensor has a shape and no memory: torch's dispatcher may know what it stands for."""


def describe(x: object) -> str:
    """Shape, type and device of a tensor; type and value of anything else."""
    if not isinstance(x, Tensor):
        return f"{type(x).__name__} {x!r}"
    if x.is_nested or x.layout is not torch.strided:
        return f"a {'nested' if x.is_nested else str(x.layout).removeprefix('torch.')} tensor"
    return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')} on {x.device}"


def check_sequence(name: str, x: object) -> None:
    """The first array of a call, which the others must fit: [T, ...], dense, of a kernel's type."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch tensor [T, ...], got {describe(x)}")
    if x.dtype not in _DTYPE_CODES or x.layout is not torch.strided or x.is_nested or not x.dim():
        raise ValueError(
            f"{name} must be a dense tensor [T, ...] of float32 or float64, got {describe(x)}"
        )


def check_like(name: str, x: object, like: Tensor, shape: tuple[int, ...]) -> None:
    """An array that must have this shape and the type and device of `like`."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch tensor {list(shape)}, got {describe(x)}")
    if (
        x.is_nested
        or x.shape != shape
        or x.dtype is not like.dtype
        or x.layout is not torch.strided
        or x.device != like.device
    ):
        wanted = f"{list(shape)} {str(like.dtype).removeprefix('torch.')} on {like.device}"
        raise ValueError(f"{name} must be {wanted}, got {describe(x)}")


def check_rows(name: str, x: object, like: Tensor, steps: int) -> None:
    """An array of `steps` rows like those of `like`."""
    check_like(name, x, like, (steps, *like.shape[1:]))


def check_ends(ends: object, like: Tensor, steps: int) -> None:
    """Codes of how steps end episodes (csrc/kernels/formulas.h), or None."""
    if ends is None:
        return
    shape = (steps, *like.shape[1:])
    if not isinstance(ends, Tensor):
        raise TypeError(f"ends must be None or a torch tensor {list(shape)}, got {describe(ends)}")
    fits = ends.layout is torch.strided and not ends.is_nested and ends.shape == shape
    if not fits or ends.dtype != torch.uint8 or ends.device != like.device:
        raise ValueError(
            f"ends must be None or {list(shape)} uint8 on {like.device}, got {describe(ends)}"
        )


def check_window(n: int, steps: int, smallest: int = 1) -> None:
    """The length of a window that must fit into T steps."""
    if not smallest <= n <= steps:
        raise ValueError(f"n must be between {smallest} and T = {steps}, got {n}")


def new(like: Tensor, steps: int | None = None) -> Tensor:
    """An uninitialised contiguous array as wide as `like`, [steps, ...]."""
    if steps is None:
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    return like.new_empty((steps, *like.shape[1:]))


class Launch(NamedTuple):
    """A call of a kernel on `steps` rows as wide as those of `like`, on its device.

    Attributes:
        kernel: its name in the core.
        reads: arrays of any strides; None for one that is left out.
        writes: arrays of `new`, the results.
        numbers: the kernel's other arguments.
    """

    kernel: str
    steps: int
    like: Tensor
    reads: tuple[Tensor | None, ...]
    writes: tuple[Tensor, ...]
    numbers: tuple[float, ...]


def _launch(call: Launch) -> Any:
    """Runs a kernel and returns its results; of no steps they are zeros."""
    kernel, steps, like, reads, writes, numbers = call
    code = _DTYPE_CODES[like.dtype]
    unaligned = 7 if code else 3  # NumPy can make such arrays
    addresses, copies = [], []
    for x in reads:
        # Also before a copy: torch makes one with no look at the storage's size.
        address = 0 if x is None else address_of(x)
        if x is not None and (address & unaligned or not x.is_contiguous()):
            copies.append(x.clone(memory_format=torch.contiguous_format))
            address = copies[-1].data_ptr()
        addresses.append(address)
    for x in writes:
        addresses.append((x if steps else x.zero_()).data_ptr())
    width = like.numel() // like.shape[0] if like.shape[0] else 0
    run(kernel, like, code, *addresses, *numbers, steps, width)
    return _results(writes)


def _results(writes: tuple[Tensor, ...]) -> Any:
    return writes if len(writes) > 1 else writes[0]


def run(name: str, like: Tensor, *numbers: Any) -> None:
    """Calls `core.<name>` on the device of `like`; on a GPU on torch's current stream."""
    if like.is_cuda:
        device = like.get_device()
        with torch.cuda.device(device):
            stream = torch._C._cuda_getCurrentRawStream(device)
            getattr(core, name + "_cuda")(*numbers, stream)
    else:
        getattr(core, name)(*numbers, torch.get_num_threads())


def address_of(x: Tensor) -> int:
    """Where the memory of a tensor begins, which must hold all of its elements.

    Raises:
        WithoutMemory: a wrapper, or zeros that are not written down.
        ValueError: its storage was made smaller.
    """
    try:
        address, held = x.data_ptr(), x.untyped_storage().nbytes()
    except (RuntimeError, NotImplementedError):
        raise WithoutMemory(f"a tensor {describe(x)} has no memory of its own") from None
    if not address or x.storage_offset() or held < x.nbytes or not x.is_contiguous():
        needed = (x.storage_offset() + extent_of(x)) * x.itemsize  # the whole truth, more slowly
        if x._is_zerotensor():
            raise WithoutMemory(f"a tensor {describe(x)} of lazy zeros has no memory")
        if x.numel() and (not address or held < needed):
            raise ValueError(
                f"a tensor {describe(x)} needs a storage of {needed} {plural(needed, 'byte')}, "
                f"got {held}"
            )
    return address


def extent_of(x: Tensor) -> int:
    """Elements of the memory that a tensor lies in, from its first one on."""
    if x.is_contiguous():
        return x.numel()
    return 1 + sum((n - 1) * stride for n, stride in zip(x.shape, x.stride(), strict=True))


def is_recorded() -> bool:
    """Whether somebody compiles, traces or watches what is called."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or _len_torch_dispatch_stack_pre_dispatch()  # type: ignore[no-untyped-call]
        or torch._C._is_tracing()
    )


def is_plain(*tensors: Tensor) -> bool:
    """Whether all are tensors with memory, and nobody records or transforms what torch does.

    Raises:
        ValueError: a storage was made smaller.
    """
    if is_recorded() or torch._C._are_functorch_transforms_active():
        return False
    for x in tensors:
        if type(x) not in _PLAIN or x.is_neg():
            return False
        try:
            address_of(x)
        except WithoutMemory:
            return False
    return True


def _plain(x: Tensor) -> Tensor:
    """The tensor below a subclass whose methods may be anybody's."""
    if not isinstance(x, Tensor):  # to be refused
        return x  # type: ignore[unreachable]
    with torch._C.DisableTorchFunctionSubclass():
        return Tensor.as_subclass(x, Tensor)


def define(
    schema: str,
    plan: Callable[..., Launch],
    backward: Callable[..., tuple[Tensor | None, ...]],
    keeps: Sequence[str],
) -> Callable[..., Any]:
    """Registers `loqa::<schema>` and returns the fastest differentiable way to call it.

    Args:
        schema: its arguments; those that can have a gradient come first.
        plan: checks the arguments and makes the results; reads no array.
        backward: gradients of the first arguments, from a context and the cotangents; numbers are
            attributes of the context.
        keeps: arguments that it reads from `ctx.saved_tensors`, or "output".
    """
    name = "loqa::" + schema.partition("(")[0]
    listed = schema.partition("(")[2].partition(")")[0].split(", ")
    places = {one.partition("=")[0].split()[1]: place for place, one in enumerate(listed)}
    saved = [places.get(one) for one in keeps]
    numbers = [(one, places[one]) for one in places if "Tensor" not in listed[places[one]]]

    def kernel(*args: Any) -> Any:
        call = plan(*args)
        if not (call.like.is_cpu or call.like.is_cuda):
            first = plan.__code__.co_varnames[0]
            raise ValueError(f"{first} must be on cpu or cuda, got {describe(call.like)}")
        return _launch(call)

    def dispatched(*args: Any) -> Any:
        return kernel(*(arg if type(arg) in _PLAIN else _plain(arg) for arg in args))

    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*(output if at is None else inputs[at] for at in saved))
        for attribute, at in numbers:
            setattr(ctx, attribute, inputs[at])

    def gradients(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        found = backward(ctx, *cotangents)
        return *found, *(None,) * (len(listed) - len(found))

    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, dispatched, "CPU")
    _library.impl(name, dispatched, "CUDA")
    torch.library.register_fake(name, lambda *args: _results(plan(*args).writes), lib=_library)
    torch.library.register_autograd(name, gradients, setup_context=save, lib=_library)
    operator = getattr(torch.ops.loqa, name.removeprefix("loqa::")).default

    def batched(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        """The columns of all samples side by side: the batch becomes the last dimension."""
        moved = [
            arg
            if not isinstance(arg, Tensor)
            else arg.unsqueeze(-1).expand(*arg.shape, info.batch_size)
            if dim is None
            else arg.movedim(dim, -1)
            for arg, dim in zip(args, in_dims, strict=True)
        ]
        out = call(*moved)
        # Counted from the front: torch 2.6 takes a negative number for something else.
        return out, (out.dim() - 1 if isinstance(out, Tensor) else tuple(x.dim() - 1 for x in out))

    def forward(ctx: Any, *args: Any) -> Any:
        output = kernel(*args)
        save(ctx, args, output)
        return output

    # What register_autograd makes takes three times as long as `eager`, and torch.func (grad, vmap,
    # jacrev) refuses both: it wants a separate setup_context, which takes as long again.
    parts: dict[str, Any] = {"backward": staticmethod(gradients)}
    eager: Any = type(
        f"{name}_eager", (torch.autograd.Function,), {"forward": staticmethod(forward), **parts}
    )
    # Without what `apply` does for torch.func alone.
    eager_apply = super(torch.autograd.Function, eager).apply
    parts |= {"setup_context": staticmethod(save), "vmap": staticmethod(batched)}
    transformable: Any = type(
        f"{name}_transformable",
        (torch.autograd.Function,),
        {"forward": staticmethod(lambda *args: operator(*args)), **parts},
    )
    if hasattr(torch.library, "register_vmap"):
        torch.library.register_vmap(name, batched, lib=_library)

    def call(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return operator(*args)
        if torch._C._are_functorch_transforms_active():
            level = torch._C._functorch.peek_interpreter_stack()
            if level is not None and level.key() == TransformType.Functionalize:
                return operator(*args)  # it has no rule for functions of one's own
            return transformable.apply(*args)
        if (
            torch._C._len_torch_dispatch_stack()
            or _len_torch_dispatch_stack_pre_dispatch()  # type: ignore[no-untyped-call]
            or torch._C._is_tracing()
            or torch._C._autograd._profiler_enabled()
        ):
            return operator(*args)
        # Nobody watches: past torch's dispatcher, which takes as long again as all the rest of a
        # call (5 microseconds, or 30 after a kernel has swept its code from the cache).
        differentiable = False
        for arg in args:
            if isinstance(arg, Tensor):
                if type(arg) not in _PLAIN or arg.is_neg():
                    return operator(*args)
                differentiable = differentiable or arg.requires_grad
        try:
            if differentiable and torch.is_grad_enabled():
                return eager_apply(*args)
            if forward_ad._current_level >= 0:  # `apply` says that there is no such mode
                return eager_apply(*args)
            return kernel(*args)
        except WithoutMemory:  # a wrapper that the dispatcher may know: batched, or lazy zeros
            return operator(*args)

    return call


def check_range(name: str, values: Tensor, count: int) -> None:
    """ValueError unless all integers are in 0..count-1. On the CPU only: elsewhere a look would wait."""
    if values.is_cpu and values.numel():
        low, high = values.aminmax()
        if int(low) < 0 or int(high) >= count:
            raise ValueError(f"{name} must be in 0..{count - 1}, got {int(low)} to {int(high)}")
