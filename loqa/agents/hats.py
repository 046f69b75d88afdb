"""Hats over the last actions: what a player of numbers tells apart who remembers one step. Heads of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from loqa.agents.networks import FLOATS, Head
from loqa.runtime.distributed import ProcessGroup

Box = tuple[float, float]
"""The lowest and the highest number of an action."""
KNOTS = (0.0, 0.5, 1.0)
NUM_HATS = 1 + len(KNOTS) ** 2
_RIDGE = 1e-3  # keeps what was never seen at 0


def hats(obs: Tensor, box: Box) -> Tensor:
    """Bilinear hats on 3 x 3 knots of (own last action, mean of the others'), after a start flag.

        h_k(x) = max(0, 1 - abs(x - k) / .5),  k = 0, .5, 1;     phi_kl = h_k(own) h_l(others)

    with actions on the scale on which the box is [0, 1]. What is linear in phi is bilinear between knots.

    Args:
        obs: `[..., 1 + n]`: 1 (0 before the first step), the own last action, then those of the others.
        box: of an action.

    Returns:
        `[..., 10]`: the flag, 1 before the first step, and the hats, which are 0 then.
    """
    low, high = box
    knots = torch.tensor(KNOTS, dtype=obs.dtype, device=obs.device)
    started, last = obs[..., :1], obs[..., 1:]
    if last.shape[-1] > 2:
        last = torch.stack([last[..., 0], last[..., 1:].mean(-1)], -1)
    away = ((last - low) / (high - low)).unsqueeze(-1).sub(knots).abs()
    near = torch.clamp(away.mul(-2).add(1), min=0)  # [..., own or others', knot]
    both = near[..., 0, :, None] * near[..., 1, None, :]
    return torch.cat([started.neg().add(1), started * both.flatten(-2)], -1)


class HatsHead(Head):
    """A sum of `hats` with free weights, zero at first: `[..., 1 + n]` -> `[..., D]`."""

    def __init__(self, num_inputs: int, num_outputs: int, box: Box) -> None:
        super().__init__()
        self.num_inputs, self.num_outputs, self.box = num_inputs, num_outputs, box
        self.weight = nn.Parameter(torch.zeros(NUM_HATS, num_outputs, **FLOATS))

    def forward(self, x: Tensor) -> Tensor:
        return hats(x, self.box) @ self.weight


class RidgeHead(Head):
    """A critic that is fitted, not trained: the mean return of each step, and what the state says besides.

        V_t(s) = mean_B(G_t) + beta . (phi(s) - mean_B(phi(s_t))),    mean_B(G_T) = 0

    G is the discounted return. beta is the ridge regression of returns on features, both centred at each
    step, over the batches so far:

        H <- rho H + sum phi phi' / B,   b <- rho b + sum phi G / B,   beta = (H + 10^-3)^-1 b

    Args:
        num_inputs: features of an observation and, last, the step index.
        episode_length: T.
        decay: rho, of older batches, in [0, 1).
        box: of an action, where phi is `hats` of the observation; None where it is the observation.
    """

    num_outputs = 1
    products: Tensor
    moments: Tensor

    def __init__(self, num_inputs: int, episode_length: int, decay: float, box: Box | None) -> None:
        super().__init__()
        self.num_inputs, self.decay, self.box = num_inputs, decay, box
        count, steps = (num_inputs - 1 if box is None else NUM_HATS), episode_length + 1
        self.weight = nn.Parameter(torch.zeros(count, **FLOATS))
        self.mean_return = nn.Parameter(torch.zeros(steps, **FLOATS))
        self.mean_features = nn.Parameter(torch.zeros(steps, count, **FLOATS))
        self.register_buffer("products", torch.zeros(count, count, **FLOATS))
        self.register_buffer("moments", torch.zeros(count, **FLOATS))

    def forward(self, x: Tensor) -> Tensor:
        t = x[..., -1].long()
        beside = (self._features(x) - self.mean_features[t]) @ self.weight
        return (self.mean_return[t] + beside).unsqueeze(-1)

    @torch.no_grad()
    def fit(self, x: Tensor, returns: Tensor, processes: ProcessGroup) -> None:
        """One batch more.

        Args:
            x: `[T+1, B, num_inputs]`, of episodes of T steps.
            returns: `[T, B]`, G.
            processes: that have each a part of the batch.
        """
        features = self._features(x)
        means = [features.mean(1), returns.mean(1)]
        processes.mean_(means)
        centred, errors = (features - means[0][:, None])[:-1], returns - means[1][:, None]
        sums = [
            torch.einsum("tbi,tbj->ij", centred, centred) / x.shape[1],
            torch.einsum("tbi,tb->i", centred, errors) / x.shape[1],
        ]
        processes.mean_(sums)
        self.products.mul_(self.decay).add_(sums[0])
        self.moments.mul_(self.decay).add_(sums[1])
        ridge = torch.full_like(self.weight, _RIDGE).diag()
        found, _ = torch.linalg.solve_ex(self.products + ridge, self.moments)
        self.weight.copy_(found)
        self.mean_features.copy_(means[0])
        self.mean_return[:-1] = means[1]

    def _features(self, x: Tensor) -> Tensor:
        obs = x[..., :-1]
        return obs if self.box is None else hats(obs, self.box)
