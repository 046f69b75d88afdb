"""Streams of random numbers: one for each (seed, purpose, number), none shared.

Sums and shifts of seed and iteration give one number for two streams (seed 1 iteration 2, seed 2
iteration 1), and torch's generators on the CPU read only the lowest 32 bits of their seed. So a stream
is named by what it is for, and its whole state is a hash of the name.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Generator

_WORDS = 624  # of the Mersenne twister
_KEY = 8  # bytes


def stream_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A seed of 63 bits for a stream, for what reads all of them: simulators, generators of GPUs.

        the first 63 bits of SHAKE-256(seed, purpose, numbers)

    Args:
        seed: of the run.
        purpose: what the numbers are for.
        numbers: which of the streams of this purpose, for example the iteration.

    Returns:
        An integer in 0 .. 2**63 - 1.
    """
    return int.from_bytes(_bytes(_KEY, seed, purpose, *numbers), "little") >> 1


def stream(seed: int, purpose: str, *numbers: int, device: torch.device | str = "cpu") -> Generator:
    """A torch generator at the start of a stream.

    On the CPU it is a Mersenne twister whose 624 words are all taken from the hash; on a GPU it is
    Philox, with `stream_seed` as its key. The two draw different numbers.

    Args:
        seed, purpose, numbers: as in `stream_seed`.
        device: of the generator.
    """
    generator = Generator(device)
    if generator.device.type != "cpu":
        return generator.manual_seed(stream_seed(seed, purpose, *numbers))
    generator.manual_seed(0)
    state = generator.get_state()
    # seed [8 bytes], words left [4], seeded [4], next word [8], then the words, 8 bytes each.
    words = np.frombuffer(_bytes(4 * _WORDS, seed, purpose, *numbers), "<u4").astype(np.uint64)
    state.numpy()[24 : 24 + 8 * _WORDS] = words.view(np.uint8)
    generator.set_state(state)
    return generator


def _bytes(count: int, seed: int, purpose: str, *numbers: int) -> bytes:
    name = repr((int(seed), purpose, *map(int, numbers)))
    return hashlib.shake_256(name.encode()).digest(count)
