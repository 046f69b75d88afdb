"""Agents that others published, as files of named arrays (npz or safetensors).

The architecture is told from the names. Kernels of flax are `[in, out]`, those of torch `[out, in]`.

- LOQA and Advantage Alignment: `actor_head/...`, `qvalue_head/...`, each linear1, linear2, GRUCell,
  linear_end as present.
- POLA: the same names without a head in front; its actions in the order (1, 0, 3, 2).
- M-FOS: torch names `conv_a_0.weight` ... `linear_a.bias`; only what acts.

Files are data: nothing in them is run, and what they claim about sizes is checked before memory is
reserved.
"""

from __future__ import annotations

import io
import json
import math
import sys
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loqa._checks import plural
from loqa.agents.actor_critic import Agent
from loqa.agents.networks import GRUHead, shapes_only
from loqa.agents.policy import HeadPolicy, MFOSPolicy, Policy
from loqa.agents.published import safe_pickle
from loqa.runtime.torch_settings import usual_torch
from loqa.storage.reading import MAX_BYTES, parse_json, read_bytes, reading, short, wrong
from loqa.storage.tensor_file import format_of, load_tensors, save_tensors

Arrays = dict[str, NDArray[Any]]

_MAX_MEMBERS = 1000
_MAX_HEADER = 10_000
_MAX_RATIO, _SPARE = 100, 2**20  # unpacked bytes for one of the file, and for the smallest file
_MAX_ARRAYS, _MAX_DEPTH, _MAX_KEY = 10_000, 32, 200  # of a pickle
_MAX_SIDE = 255  # of a board
_NPY_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA reserves what its header asks for
FORMAT = "loqa-published-1"
_SAYS = "is not a readable published agent"
_HEAD_PARTS = ("linear1", "linear2", "linear_end", "GRUCell")


@dataclass(frozen=True)
class PublishedAgent:
    """An agent read from a file.

    Attributes:
        policy: plays the Coin Game by the rules of loqa24.
        algorithm: as the file says, else the family of its architecture.
        meta: what the file says of itself.
        arrays: everything in the file that is not a parameter (recorded outputs, for example).
        grid: height and width of the board; square if the file does not say.
    """

    policy: Policy
    algorithm: str
    meta: dict[str, Any]
    arrays: Arrays
    grid: tuple[int, int]


@usual_torch()
def load_published(path: str | Path) -> PublishedAgent:
    """Reads a published agent from an npz or safetensors file.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it is damaged, too large, holds NaN or arrays of an unknown architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"published agent {path} does not exist")
    with reading(path, _SAYS):
        arrays, text = _read_npz(path) if _is_zip(path) else _read_safetensors(path)
        meta = parse_json(text, "meta")
        if not isinstance(meta, dict):
            raise ValueError(f"meta must be a JSON object, got {type(meta).__name__}")
        return agent_of_arrays(arrays, meta)


def save_published(path: Path, parameters: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Writes parameters by name and what is known of them, as safetensors; read by `load_published`."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value, np.float32))
               for name, value in parameters.items()}  # fmt: skip
    save_tensors(path, tensors, {"format": FORMAT, "meta": json.dumps(meta)})


def is_published(path: Path) -> bool:
    """Whether a file is a safetensors file of `save_published`."""
    return format_of(path) == FORMAT


def _is_zip(path: Path) -> bool:
    """Whether to read a file as npz: it is, or it is not safetensors either."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[:2] == b"PK" or start[8:] != b"{"


def agent_of_arrays(arrays: Arrays, meta: Mapping[str, Any]) -> PublishedAgent:
    """The agent that named arrays are.

    Raises:
        ValueError: an unknown architecture, an array missing or of the wrong shape, NaN.
    """
    meta = dict(meta)
    policy: Agent | HeadPolicy | MFOSPolicy
    if any(name.startswith("actor_head/") for name in arrays):
        family = "LOQA"
        names, policy = _loqa_policy(arrays)
    elif "GRUCell/hn/kernel" in arrays:
        family = "POLA"
        names, policy = _pola_policy(arrays)
    elif "GRU_a.weight_ih_l0" in arrays:
        family = "M-FOS"
        names, policy = _mfos_policy(arrays, meta)
    else:
        found = ", ".join(sorted(arrays)[:4]) or "none"
        raise ValueError(f"expected the arrays of LOQA, POLA or M-FOS, got {found}")
    grid = _grid_of(policy, meta.get("grid"))
    rest = {name: array for name, array in arrays.items() if name not in names}
    for parameter in policy.parameters():
        parameter.requires_grad_(False)
    algorithm = meta.get("algorithm", family)
    if not isinstance(algorithm, str) or len(algorithm) > 200:
        raise wrong("meta/algorithm", "a name", algorithm)
    return PublishedAgent(policy.eval(), algorithm, meta, rest, grid)


def _grid_of(policy: Agent | HeadPolicy | MFOSPolicy, said: Any) -> tuple[int, int]:
    """The board that a network reads four planes of; a file may say more than "square"."""
    if isinstance(policy, MFOSPolicy):
        return policy.board[1], policy.board[2]
    features = (policy.actor if isinstance(policy, Agent) else policy.head).num_inputs
    side = math.isqrt(features // 4)
    height, width = (side, side) if said is None else _board(said)
    if 4 * height * width != features:
        raise ValueError(
            f"the network reads {features} numbers, not 4 planes of "
            + ("a square board: the grid must be given" if said is None else f"{height} x {width}")
        )
    return height, width


def _board(said: Any) -> tuple[int, int]:
    """Height and width as a file gives them."""
    fine = isinstance(said, list | tuple) and len(said) == 2
    if not fine or not all(type(side) is int and 1 <= side <= _MAX_SIDE for side in said):
        raise wrong("meta/grid", f"height and width from 1 to {_MAX_SIDE}", said)
    return said[0], said[1]


# --- architectures


class _Taker:
    """Hands out arrays by name, checked, and remembers which."""

    def __init__(self, arrays: Arrays, prefix: str) -> None:
        self.arrays, self.prefix = arrays, prefix
        self.taken: set[str] = set()

    def __call__(self, name: str, *shape: int | None) -> torch.Tensor:
        full = self.prefix + name
        if full not in self.arrays:
            raise ValueError(f"array {full} is missing")
        array = self.arrays[full]
        fits = array.ndim == len(shape) and all(
            want in (None, got) for want, got in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.kind != "f" or 0 in array.shape:
            wanted = [("any" if want is None else want) for want in shape]
            raise ValueError(
                f"{full} must be floating {wanted}, got {array.dtype} {list(array.shape)}"
            )
        with np.errstate(over="ignore"):
            narrowed = np.array(array, np.float32)
        if not np.isfinite(narrowed).all():
            raise ValueError(f"{full} holds NaN or infinity, or what is infinite in float32")
        self.taken.add(full)
        return torch.from_numpy(narrowed)


def _gru_head(arrays: Arrays, prefix: str, inputs: int, actions: int) -> tuple[set[str], GRUHead]:
    """A `GRUHead` from flax arrays; inputs 0 takes any number."""
    take = _Taker(arrays, prefix)
    hidden = int(take("GRUCell/hn/kernel", None, None).shape[0])
    layers = sum(f"{prefix}linear{number}/kernel" in arrays for number in (1, 2))
    first = take("linear1/kernel" if layers else "GRUCell/ir/kernel", inputs or None, hidden)
    features = width = int(first.shape[0])
    parameters = {}
    for number in range(1, layers + 1):
        parameters[f"linear{number}.weight"] = take(f"linear{number}/kernel", width, hidden).T
        parameters[f"linear{number}.bias"] = take(f"linear{number}/bias", hidden)
        width = hidden
    for side, rows in (("i", width), ("h", hidden)):
        kernels = [take(f"GRUCell/{side}{gate}/kernel", rows, hidden).T for gate in "rzn"]
        parameters[f"weight_{side}h"] = torch.cat(kernels)
    parameters["bias_ih"] = torch.cat([take(f"GRUCell/i{gate}/bias", hidden) for gate in "rzn"])
    parameters["bias_hn"] = take("GRUCell/hn/bias", hidden)
    parameters["linear_end.weight"] = take("linear_end/kernel", hidden, actions).T
    parameters["linear_end.bias"] = take("linear_end/bias", actions)
    with shapes_only():  # no memory before the shapes are known to be those of the file
        head = GRUHead(features, actions, hidden, layers)
    contiguous = {name: value.contiguous() for name, value in parameters.items()}
    head.load_state_dict(contiguous, assign=True)
    unknown = sorted(name for name in arrays if name not in take.taken
                     and name.startswith(tuple(prefix + part + "/" for part in _HEAD_PARTS)))  # fmt: skip
    if unknown:
        raise ValueError(f"{unknown[0]} belongs to no layer of a head of {layers} layers and a GRU")
    return take.taken, head


def _loqa_policy(arrays: Arrays) -> tuple[set[str], Agent]:
    actor_names, actor = _gru_head(arrays, "actor_head/", 0, 4)
    critic_names, critic = _gru_head(arrays, "qvalue_head/", actor.num_inputs + 1, 4)
    return actor_names | critic_names, Agent(actor, critic)


def _pola_policy(arrays: Arrays) -> tuple[set[str], HeadPolicy]:
    names, head = _gru_head(arrays, "", 0, 4)
    order = list(MFOSPolicy.ACTIONS)
    with torch.no_grad():
        head.linear_end.weight.copy_(head.linear_end.weight[order].clone())
        head.linear_end.bias.copy_(head.linear_end.bias[order].clone())
    return names, HeadPolicy(head)


def _mfos_policy(arrays: Arrays, meta: Mapping[str, Any]) -> tuple[set[str], MFOSPolicy]:
    take = _Taker(arrays, "")
    height, width = _board(meta.get("grid", (3, 3)))
    channels = int(take("conv_a_0.weight", None, 7, 3, 3).shape[0])
    hidden = int(take("linear_a_0.weight", None, channels * height * width).shape[0])
    with shapes_only():
        policy = MFOSPolicy(height, width, channels, hidden)
    parameters = {name: take(name, *value.shape) for name, value in policy.state_dict().items()}
    policy.load_state_dict(parameters, assign=True)
    return take.taken, policy


# --- files


def _read_safetensors(path: Path) -> tuple[Arrays, str]:
    tensors, metadata = load_tensors(path, FORMAT, _SAYS)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()
              if tensor.dtype != torch.bfloat16}  # fmt: skip
    return arrays, metadata.get("meta", "{}")


def _read_npz(path: Path) -> tuple[Arrays, str]:
    arrays = read_npz(path)
    meta = arrays.pop("meta", np.array("{}"))
    if meta.dtype.kind != "U" or meta.ndim:
        raise ValueError(f"meta must be one string, got {meta.dtype} {list(meta.shape)}")
    return arrays, str(meta)


def read_npz(path: Path) -> Arrays:
    """Arrays of an npz file of numbers, booleans and strings, by name.

    Raises:
        FileError: not such a file, cut short, or unpacked larger than `MAX_BYTES` or 100 times itself.
    """
    with reading(path, _SAYS):
        packed = read_bytes(path)
        most = min(MAX_BYTES, _MAX_RATIO * len(packed) + _SPARE)
        try:
            archive = zipfile.ZipFile(io.BytesIO(packed))
        except zipfile.BadZipFile as error:
            raise ValueError(f"it is no npz file, or cut short: {error}") from error
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if len(members) > _MAX_MEMBERS or size > most:
            raise ValueError(
                f"it holds {len(members)} {plural(len(members), 'array')} of {size} bytes "
                f"unpacked, the most allowed are {_MAX_MEMBERS} and {most}"
            )
        arrays = {}
        for member in members:
            if member.compress_type not in _PACKED:
                raise wrong(member.filename, "no compression, or deflate", member.compress_type)
            with archive.open(member) as file:
                # One byte more than promised shows a member that is larger than it says.
                data = file.read(member.file_size + 1)
            if len(data) != member.file_size:
                raise ValueError(f"{member.filename} is not of the size it claims")
            arrays[member.filename.removesuffix(".npy")] = _read_npy(member.filename, data)
        return arrays


def _read_npy(name: str, data: bytes) -> NDArray[Any]:
    """The array of an npy file; its claims are held against the bytes that are there."""
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about odd text
            read = _NPY_HEADERS[np.lib.format.read_magic(file)]
            dims, fortran, kind = read(file, max_header_size=_MAX_HEADER)
    except Exception as error:  # numpy names no end of them
        raise ValueError(f"{name} is no npy array, or its header is damaged: {error}") from error
    if kind.kind not in "biufU" or not kind.itemsize or len(dims) > 32 or min(dims, default=0) < 0:
        raise ValueError(f"{name} must hold numbers or strings, got {kind} {short(dims)}")
    wanted, left = math.prod(dims) * kind.itemsize, len(data) - file.tell()
    if wanted != left:
        raise ValueError(
            f"{name} claims {kind} {short(dims)}, {short(wanted)} {plural(wanted, 'byte')}, but has {left}"
        )
    array = np.frombuffer(data, kind, math.prod(dims), file.tell())
    if kind.kind == "U" and array.size and array.view(kind.byteorder + "u4").max() > sys.maxunicode:
        raise wrong(name, "characters", "codes of none")
    return array.reshape(dims, order="F" if fortran else "C").copy()


@usual_torch()
def import_pickle(
    source: str | Path, target: str | Path, meta: Mapping[str, Any] | None = None
) -> PublishedAgent:
    """Turns a published pickle into a safetensors file that `load_published` reads.

    Nothing in the pickle is run (`loqa.agents.published.safe_pickle`). The agent is the first part of
    it whose arrays are one of the known architectures: of a checkpoint of two agents the first.

    Args:
        source: the pickle.
        target: the safetensors file to write.
        meta: what to note beside the parameters: algorithm, seed, grid...

    Raises:
        FileNotFoundError: there is no such file.
        FileError: the pickle asks for more than arrays and plain containers, is damaged, or holds no
            agent of a known architecture.
        WriteError: the disk is full.
    """
    source = Path(source)
    if not source.is_file():
        raise FileNotFoundError(f"pickle {source} does not exist")
    with reading(source, "cannot be imported"):
        tree = safe_pickle.loads(read_bytes(source))
        parameters = _find_agent(_flatten(tree))
        agent = agent_of_arrays(parameters, meta or {})
    save_published(Path(target), parameters, {**(meta or {}), "grid": agent.grid})
    return agent


def _flatten(tree: Any) -> Arrays:
    """Arrays by the path that leads to them."""
    found: Arrays = {}

    def visit(value: Any, where: tuple[str, ...]) -> None:
        if isinstance(value, np.ndarray):
            if len(found) >= _MAX_ARRAYS:
                raise wrong("content", f"at most {_MAX_ARRAYS} arrays", "more")
            found["/".join(where)] = value
        items = enumerate(value) if isinstance(value, list | tuple) else ()
        for key, item in value.items() if isinstance(value, dict) else items:
            if len(where) < _MAX_DEPTH and len(str(key)) <= _MAX_KEY:  # else none of an agent's
                visit(item, (*where, str(key)))

    visit(tree, ())
    return found


def _find_agent(arrays: Arrays) -> Arrays:
    """The parameters below the first prefix that ends in those of an agent."""
    for sign in ("actor_head/GRUCell/hn/kernel", "GRUCell/hn/kernel", "GRU_a.weight_ih_l0"):
        for name in arrays:
            if f"/{name}".endswith(f"/{sign}"):
                prefix = name[: -len(sign)]
                below = [each for each in arrays if each.startswith(prefix)]
                return {each[len(prefix) :]: arrays[each] for each in below}
    raise ValueError("it holds no agent of LOQA, POLA or M-FOS")
