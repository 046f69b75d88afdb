"""Philox4x32-10, the counter-based generator, in plain Python.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3.
"""

from __future__ import annotations

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MASK = 0xFFFFFFFF


def philox(key: int, c0: int, c1: int, c2: int, c3: int) -> tuple[int, int, int, int]:
    """Four random 32-bit words: a pure function of a 64-bit key and four 32-bit counter words.

    In loqa the key is the seed and the counter is (environment, episode, step, draw), where `draw`
    numbers what the block is for; so no draw depends on another, on the batch or on the thread.
    """
    k0, k1 = key & _MASK, key >> 32
    for _ in range(_ROUNDS):
        product0 = _MULTIPLIERS[0] * c0
        product1 = _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0,
            product1 & _MASK,
            (product0 >> 32) ^ c3 ^ k1,
            product0 & _MASK,
        )
        k0 = (k0 + _WEYL[0]) & _MASK
        k1 = (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def uniform(word: int) -> float:
    """Uniform in [0, 1) from the upper 24 bits, exact in float32: floor(word / 2^8) / 2^24."""
    return (word >> 8) / 2**24


def bounded(word: int, bound: int) -> int:
    """Uniform in {0, ..., bound - 1} by multiply-shift: floor(word * bound / 2^32)."""
    return (word * bound) >> 32
