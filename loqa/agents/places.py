"""Observations that say where the ones are: planes on small boards, sums of rows of weights on large ones.

An observation of integers that are fewer than the features of a network holds places in the flattened
features, plane included (the Coin Game's "cells": player k at plane k, the coin at plane A + colour).
The features are 1 there and 0 elsewhere. What an integer means is decided here alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from loqa.ops.register import check_range

# CPU seconds of a first layer of 128 units, forward and backward, for 51 x 1024 observations of three
# ones (one thread; AMD EPYC, AVX2, torch 2.13), by the side of a board of four planes:
#
#     side        3      5      7      9     15     31
#     planes   0.037  0.050  0.076  0.149  0.410  2.096
#     rows     0.050  0.051  0.045  0.050  0.052  0.053
_MOST_PLANES = 128
"""Features up to which planes are made: 5 x 5 boards have 100, 6 x 6 have 144."""


def are_places(obs: Tensor, lead: int, size: int) -> bool:
    """Whether observations `[lead dimensions, ...]` are places of ones among `size` features."""
    return not obs.is_floating_point() and obs.ndim == lead + 1 and obs.shape[-1] < size


def as_rows(size: int) -> bool:
    """Whether a first layer of so many features is a sum of rows of its weights, no product."""
    return size > _MOST_PLANES


def ones(places: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Features that are 1 at N places and 0 elsewhere, `[..., N]` integers -> `[..., size]`.

    Raises:
        ValueError: a place is out of range (looked at on the CPU only).
    """
    check_range("places", places, size)
    features = places.new_zeros((*places.shape[:-1], size), dtype=dtype)
    return features.scatter_(-1, places.long(), 1.0)


@dataclass(frozen=True)
class Places:
    """Features that are 1 at N places and 0 elsewhere, and the features that come after them.

    Attributes:
        where: `[..., N]` integers in 0..size-1.
        size: features that `where` counts.
        others: `[..., M]`, all features after those; M may be 0.
    """

    where: Tensor
    size: int
    others: Tensor

    @classmethod
    def of(cls, places: Tensor, size: int, dtype: torch.dtype) -> Places:
        """Nothing but `ones`."""
        check_range("places", places, size)
        return cls(places, size, places.new_zeros((*places.shape[:-1], 0), dtype=dtype))

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, index: int | slice) -> Places:
        return Places(self.where[index], self.size, self.others[index])

    @property
    def shape(self) -> torch.Size:
        """`[..., size + M]`."""
        return torch.Size((*self.where.shape[:-1], self.size + self.others.shape[-1]))

    @property
    def dtype(self) -> torch.dtype:
        return self.others.dtype

    def with_others(self, others: Tensor) -> Places:
        """With further features `[..., M]` at the end."""
        return Places(self.where, self.size, torch.cat([self.others, others], -1))

    def linear(self, weight: Tensor, bias: Tensor) -> Tensor:
        """`weight x + bias`, `[..., O]`, for weight `[O, size + M]`: the features are never made."""
        rows = weight[:, : self.size].t().contiguous()  # of a feature
        where = self.where.reshape(-1, self.where.shape[-1])
        if where.dtype != torch.int64:
            where = where.int()  # the bag reads no shorter ones
        summed = functional.embedding_bag(where, rows, mode="sum")
        summed = summed.reshape(*self.where.shape[:-1], -1)
        return summed + functional.linear(self.others, weight[:, self.size :], bias)


Features = Tensor | Places
"""What the first layer of a network reads, `[..., F]`."""


def linear(x: Features, weight: Tensor, bias: Tensor) -> Tensor:
    """`weight x + bias`, `[..., F]` -> `[..., O]`."""
    return functional.linear(x, weight, bias) if isinstance(x, Tensor) else x.linear(weight, bias)
