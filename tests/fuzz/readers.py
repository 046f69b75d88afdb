"""Feeds damaged files to every reader; see README.md beside this file."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import pickletools
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from loqa import CoinConfig, IPDConfig, resume, train
from loqa.agents.published.arrays import import_pickle, load_published, save_published
from loqa.evaluation.league_store import _read_lines
from loqa.evaluation.players import as_player
from loqa.plotting.runs import read_run
from loqa.storage.reading import FileError
from loqa.storage.tensor_file import save_tensors
from loqa.training import checkpoint
from loqa.training.run_directory import RunDirectory
from loqa.training.train import _newest_state, export_agent, load_agent

SECONDS, BYTES = 5.0, 512 * 2**20
GATES = ("ir", "iz", "in", "hr", "hz", "hn")
TINY = {"batch_size": 4, "episode_length": 4, "actor_hidden": 3, "critic_hidden": 3,
        "checkpoint_every": 2, "log_every": 1}  # fmt: skip
COIN = {"iterations": 70, "opponents": 2, "evaluation_episodes": 4, "evaluate_every": 35,
        "replay_every": 1, "replay_capacity": 100}  # fmt: skip
# Values that a JSON file should not hold there.
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**64), 10**39, 0.5, 1e308, "", "x" * 300, [], {},
    [[]], [1], {"$tensor": "config"}, {"$dict": []}, {"$dict": [[1, 2, 3]]}, "ipd", "coin", "cuda",
)  # fmt: skip


class TooSlow(BaseException):
    """An input took longer than it may."""


# --- valid files, and their readers


def pola_arrays(hidden: int = 3) -> dict[str, np.ndarray]:
    """A published network of random numbers, for a board of 3 x 3."""
    shapes = {
        "linear1/kernel": (36, hidden),
        "linear1/bias": (hidden,),
        **{f"GRUCell/{gate}/kernel": (hidden, hidden) for gate in GATES},
        **{f"GRUCell/{gate}/bias": (hidden,) for gate in ("ir", "iz", "in", "hn")},
        "linear_end/kernel": (hidden, 4),
        "linear_end/bias": (4,),
    }
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Names with slashes as nested dicts."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split("/")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = array
    return tree


class Targets:
    """Valid files by name, and what reads each; made once in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        ipd, coin = directory / "ipd", directory / "coin"
        train(IPDConfig.of_preset(**TINY, iterations=4, critic="gru", actor="gru"), ipd)
        train(CoinConfig.of_preset(**TINY, **COIN), coin)
        self.runs = {"ipd": RunDirectory(ipd), "coin": RunDirectory(coin)}
        export_agent(coin, directory / "exported.safetensors")
        save_published(directory / "published.safetensors", pola_arrays(), {"grid": [3, 3]})
        np.savez_compressed(directory / "deflated.npz", **pola_arrays(),
                            meta=np.array(json.dumps({"grid": [3, 3], "algorithm": "POLA"})))  # fmt: skip
        np.savez(directory / "stored.npz", **pola_arrays())
        line = {"names": ["a", "b"], "rewards": [[0.1, 0.01], [0.2, 0.02]], "episodes": 50}
        (directory / "seatings.jsonl").write_text(
            "".join(json.dumps({"key": str(n), **line}) + "\n" for n in range(3))
        )  # fmt: skip
        self.seeds: dict[str, bytes] = {
            name: (directory / name).read_bytes()
            for name in ("exported.safetensors", "published.safetensors", "deflated.npz",
                         "stored.npz", "seatings.jsonl")
        }  # fmt: skip
        for protocol in (0, 2, 4):
            tree = {"agent0": {"params": nested(pola_arrays())}, "hp": {"lr": 1e-3, "seed": 3}}
            self.seeds[f"agent{protocol}.pkl"] = pickle.dumps(tree, protocol=protocol)
        for game, run in self.runs.items():
            newest = run.latest_checkpoint()
            assert newest is not None
            self.seeds[f"{game}-checkpoint.safetensors"] = newest.read_bytes()
            for file in (run.config_file, run.metrics_file, run.summary_file):
                self.seeds[f"{game}-{file.name}"] = file.read_bytes()
        block = next((coin / "replay").iterdir())
        self.seeds["block.safetensors"] = block.read_bytes()
        self.block = block

    def read(self, name: str, data: bytes) -> object:
        """Reads `data` as the file of this name; puts what was there back."""
        for game, run in self.runs.items():
            newest = run.latest_checkpoint()
            assert newest is not None
            places = {
                f"{game}-checkpoint.safetensors": newest,
                f"{game}-config.json": run.config_file,
                f"{game}-metrics.jsonl": run.metrics_file,
                f"{game}-summary.json": run.summary_file,
            }
            if name in places:
                return self._read_in_run(run, places[name], name, data)
        if name == "block.safetensors":
            return self._read_in_run(self.runs["coin"], self.block, name, data)
        path = self.directory / f"input.{name.rpartition('.')[2]}"
        path.write_bytes(data)
        if name == "seatings.jsonl":
            return _read_lines(path)
        if name.endswith(".pkl"):
            return import_pickle(path, self.directory / "imported.safetensors")
        if name == "exported.safetensors":
            return load_agent(path)
        return as_player(path) if "safetensors" in name else load_published(path)

    def _read_in_run(self, run: RunDirectory, path: Path, name: str, data: bytes) -> object:
        kept = {file: file.read_bytes() for file in (path, run.config_file, run.metrics_file)}
        path.write_bytes(data)
        try:
            if "metrics" in name or "summary" in name:
                read_run(run.path)
                return run.metrics()
            if "config" in name:
                return _newest_state(run, run.config())
            if "checkpoint" in name:
                checkpoint.load_checkpoint(path)
                load_agent(run.path)
            return resume(run.path)  # at its end already: it reads everything and trains nothing
        finally:
            for file, content in kept.items():
                file.write_bytes(content)


# --- damage


def _bits(data: bytes, rng: random.Random, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 4, 32))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _bytes(data: bytes, rng: random.Random, other: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    length = rng.choice((1, 2, 4, 8))
    filling = rng.choice((b"\0", b"\xff", b"\x7f", b"[", b"9", b"\x80"))
    return data[:place] + filling * length + data[place + length :]


def _cut(data: bytes, rng: random.Random, other: bytes) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return rng.choice((data[:first], data[first:], data[:first] + data[last:]))


def _splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    first, second = rng.randrange(len(data) + 1), rng.randrange(len(other) + 1)
    length = rng.randrange(1, 200)
    return data[:first] + other[second : second + length] + data[first + rng.randrange(length) :]


def _repeat(data: bytes, rng: random.Random, other: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    piece = data[place : place + rng.randrange(1, 64)]
    return data[:place] + piece * rng.choice((2, 10, 1000)) + data[place:]


PLAIN = (_bits, _bytes, _cut, _splice, _repeat)


def change_json(value: Any, rng: random.Random) -> Any:
    """One value somewhere inside is replaced, removed, doubled or wrapped."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        copy: Any = dict(value) if isinstance(value, dict) else list(value)
        move = rng.random()
        if move < 0.1:
            del copy[key]
        elif move < 0.2 and isinstance(copy, dict):
            copy[rng.choice(("", "x", "$dict", "$tensor", "format", str(key) * 2))] = copy.pop(key)
        elif move < 0.2:
            copy.insert(key, copy[key])
        else:
            copy[key] = change_json(copy[key], rng)
        return copy
    deep: Any = 0
    for _ in range(rng.choice((1, 5, 3000))):
        deep = [deep]
    return rng.choice((*ODD, deep, [value, value], {"a": value}))


def dumps(value: Any) -> bytes:
    """JSON of what may be nested more deeply than `json.dumps` goes."""
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 100_000 + b"]" * 100_000


def _change_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    number = rng.randrange(len(lines) - 1)
    lines[number] = dumps(change_json(json.loads(lines[number]), rng))
    return b"\n".join(lines)


def _change_header(data: bytes, rng: random.Random) -> bytes:
    count = int.from_bytes(data[:8], "little")
    header = dumps(change_json(json.loads(data[8 : 8 + count]), rng))
    length = rng.choice((len(header),) * 8 + (0, 2**63, 2**64 - 1, len(header) + 1))
    return struct.pack("<Q", length) + header + data[8 + count :]


def _sign_again(data: bytes, rng: random.Random, directory: Path) -> bytes:
    """A checkpoint with changed values or tensors and a checksum that fits."""
    path = directory / "signed.safetensors"
    path.write_bytes(data)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    metadata.pop("sha256")
    for key in ("state", "meta"):
        if key in metadata and rng.random() < 0.7:
            metadata[key] = dumps(change_json(json.loads(metadata[key]), rng)).decode()
    if tensors and rng.random() < 0.5:
        name = rng.choice(list(tensors))
        tensor = tensors.pop(name)
        odd = (tensor[:0] if tensor.ndim else tensor.reshape(1), tensor.double(), tensor.int(),
               torch.full_like(tensor, 2.0), tensor[None], torch.zeros(0, 10**6),
               torch.full((2,), float("nan")))  # fmt: skip
        if rng.random() < 0.8:
            tensors[name] = rng.choice(odd)
    save_tensors(path, tensors, metadata)
    return path.read_bytes()


def _change_zip(data: bytes, rng: random.Random) -> bytes:
    """A zip with a changed member, or changed fields in its directory."""
    if rng.random() < 0.5:
        places = [place for place in range(len(data) - 4) if data[place : place + 2] == b"PK"]
        place = rng.choice(places) + rng.randrange(4, 46)
        return data[:place] + rng.choice((b"\0", b"\xff" * 4, b"\x0e\0", b"\1")) + data[place + 2 :]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    header = bytearray(members[name])
    new = rng.choice((b"<U9", b"|O", b"<f2", b"<f8", b"(2,)", b"99999999999", b"-1", b"[", b"\\N"))
    place = rng.randrange(10, 90)
    header[place : place + len(new)] = new
    members[name] = rng.choice((bytes(header), _bits(members[name], rng, b"")))
    target = io.BytesIO()
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    with zipfile.ZipFile(target, "w", rng.choice(kinds)) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return target.getvalue()


def _change_pickle(data: bytes, rng: random.Random) -> bytes:
    """Instructions of a pickle dropped, doubled, moved, replaced or added."""
    places = [place for _, _, place in pickletools.genops(data) if place is not None]
    parts = [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]
    extra = (b"}", b"]", b")", b"(", b"0", b"1", b"2", b"R", b"b", b"t", b"u", b"s", b"a", b"e",
             b"N", b"\x85", b"\x86", b"\x94", b"h\x00", b"h\x03", b"cos\nsystem\n", b"K\x07",
             b"\x8a\x08" + b"\x7f" * 8, b"c_codecs\nencode\n", b"ccollections\nOrderedDict\n",
             b"cnumpy\ndtype\n", b"p99999999999999999999\n", b"Q", b"\x81")  # fmt: skip
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, move = rng.randrange(len(parts)), rng.random()
        if move < 0.3 and len(parts) > 1:
            del parts[at]
        elif move < 0.5:
            parts.insert(at, rng.choice(parts))
        elif move < 0.6:
            parts[at : at + 1] = [parts[at]] * rng.choice((2, 100, 10_000))
        else:
            parts[at : at + rng.randrange(2)] = [rng.choice(extra)]
    return b"".join(parts)


def damaged(targets: Targets, number: int, seed: int) -> tuple[str, bytes]:
    """Input `number` of a seed: the name of a valid file, and its content, changed."""
    rng = random.Random(f"{seed}/{number}")
    name = rng.choice(list(targets.seeds))
    data = targets.seeds[name]
    other = targets.seeds[rng.choice(list(targets.seeds))]
    if rng.random() < 0.4:
        for _ in range(rng.choice((1, 1, 2, 5))):
            data = rng.choice(PLAIN)(data, rng, other)
        return name, data
    if name.endswith(".json"):
        return name, dumps(change_json(json.loads(data), rng))
    if name.endswith(".jsonl"):
        return name, _change_lines(data, rng)
    if name.endswith(".npz"):
        return name, _change_zip(data, rng)
    if name.endswith(".pkl"):
        return name, _change_pickle(data, rng)
    if rng.random() < 0.4:
        return name, _change_header(data, rng)
    return name, _sign_again(data, rng, targets.directory)


# --- the run


@contextmanager
def limited() -> Iterator[None]:
    """Ends what runs longer than an input may."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 4 * SECONDS)  # of a machine that others use too
    started = time.process_time()
    try:
        yield
        if time.process_time() - started > SECONDS:
            raise TooSlow
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(read: Callable[[], object]) -> str:
    """ "read", "refused", or what went wrong."""
    try:
        with limited():
            read()
        return "read"
    except (FileError, FileNotFoundError) as error:
        return "refused" if len(str(error)) < 5000 else f"a message of {len(str(error))} letters"
    except TooSlow:
        return "TooSlow"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:200]}\n{traceback.format_exc()}"


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 if any input did what it must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, default=Path("failures"))
    parser.add_argument("--only", type=int, help="one input, of this number")
    options = parser.parse_args(arguments)
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        targets = Targets(Path(directory))
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + BYTES, resource.RLIM_INFINITY))
        numbers = range(options.inputs) if options.only is None else [options.only]
        for number in numbers:
            name, data = damaged(targets, number, options.seed)
            found = outcome(lambda name=name, data=data: targets.read(name, data))
            counts[f"{name}: {found if found in ('read', 'refused') else 'WRONG'}"] += 1
            if found in ("read", "refused"):
                continue
            failures += 1
            options.save.mkdir(parents=True, exist_ok=True)
            (options.save / f"{options.seed}-{number}-{name}").write_bytes(data)
            print(f"input {number} of seed {options.seed}, {name}: {found}", flush=True)
    for what, count in sorted(counts.items()):
        print(f"{count:7} {what}")
    print(f"{sum(counts.values())} inputs, {failures} that did what they must not")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
