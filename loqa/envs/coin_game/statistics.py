"""What the literature measures of Coin Game episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CoinStatistics:
    """Each field is [A], one number a player, over all steps and environments."""

    mean_rewards: Tensor
    """Reward per step."""
    mean_pickup_rewards: Tensor
    """Reward per step in which any reward was not zero."""
    action_entropy: Tensor
    """Entropy (nats) of the distribution of actions over steps and environments."""
    own_pickups: Tensor
    """Coins of its own colour taken, per step."""
    other_pickups: Tensor
    """Coins of another colour taken, per step."""
    any_pickups: Tensor
    """Coins taken, per step."""
    other_share: Tensor
    """Coins of another colour among those taken."""
    easy_misses: Tensor
    """Steps next to the own coin (4-neighbourhood on the torus, before the move) that do not take it,
    among all steps next to it."""
    near_passes: Tensor
    """The same for coins of other colours."""


def coin_statistics(
    obs: Tensor,
    actions: Tensor,
    rewards: Tensor,
    first_takes: bool = False,
    board: tuple[int, int] | None = None,
    moves: Sequence[tuple[int, int]] | None = None,
) -> CoinStatistics:
    """Statistics of rollouts with relative observations (presets loqa24 and, less history, mfos22).

    A player took a coin if it stands, after the step, where the coin was before it. Shares with
    nothing to count are NaN.

    Args:
        obs: [T+1, B, A, P, H, W] one-hot planes of any type, P at least 2A: players (self first),
            then coins (own first); or, with `board`, cells [T+1, B, A, A + coins] of an integer type.
        actions: [T, B, A] of an integer type.
        rewards: [T, B, A].
        first_takes: of players who step on a coin at once only the first takes it (lola18).
        board: (H, W), if obs are cells.
        moves: rows and columns that each action moves a player by, if obs are egocentric.
    Raises:
        ValueError: shapes do not belong together.
    """
    shape = tuple(rewards.shape)
    players = shape[-1] if len(shape) == 3 else 0
    fits = tuple(obs.shape[:3]) == (shape[0] + 1, *shape[1:]) and tuple(actions.shape) == shape
    if board is None:
        fits = fits and obs.ndim == 6 and obs.shape[3] >= 2 * players
    else:
        fits = fits and obs.ndim == 4 and obs.shape[3] > players
    if not fits:
        kind = "P, H, W" if board is None else "A + coins"
        raise ValueError(
            f"coin_statistics needs obs [T+1, B, A, {kind}], actions and rewards [T, B, A], "
            f"got {list(obs.shape)}, {list(actions.shape)} and {list(shape)}"
        )
    height, width = board or (int(obs.shape[-2]), int(obs.shape[-1]))
    seen = _from_planes(obs, players) if board is None else _from_cells(obs, players, board)
    places = seen[..., [0, *range(players, 2 * players)]]
    if moves is not None:
        places = _on_the_board(places, seen[:, :, 0, :players], actions, moves, (height, width))
    self_before, self_after = places[:-1, ..., 0], places[1:, ..., 0]
    own, others = places[:-1, ..., 1:2], places[:-1, ..., 2:]
    taking = torch.ones_like(self_after, dtype=torch.bool)
    if first_takes:
        for i in range(1, players):
            taking[:, :, i] = (self_after[:, :, :i] != self_after[:, :, i : i + 1]).all(-1)

    def beside(coins: Tensor) -> Tensor:
        here = self_before.unsqueeze(-1)
        down = (coins // width - here // width) % height
        right = (coins % width - here % width) % width
        vertical = ((down == 1 % height) | (down == height - 1)) & (right == 0)
        sideways = ((right == 1 % width) | (right == width - 1)) & (down == 0)
        return ((vertical | sideways) & (coins >= 0)).any(-1)

    def took(coins: Tensor) -> Tensor:
        return taking & (coins == self_after.unsqueeze(-1)).any(-1)

    def missed(coins: Tensor) -> Tensor:
        near = beside(coins)
        return (near & ~took(coins)).double().sum((0, 1)) / near.double().sum((0, 1))

    own_taken, other_taken = took(own).double(), took(others).double()
    taken = own_taken + other_taken
    paid = (rewards != 0).any(-1, keepdim=True).double()
    counts = torch.nn.functional.one_hot(actions.long()).double().mean((0, 1))
    return CoinStatistics(
        mean_rewards=rewards.double().mean((0, 1)),
        mean_pickup_rewards=(rewards * paid).sum((0, 1)) / paid.sum(),
        action_entropy=-(counts * torch.log(counts + 1e-8)).sum(-1),
        own_pickups=own_taken.mean((0, 1)),
        other_pickups=other_taken.mean((0, 1)),
        any_pickups=taken.mean((0, 1)),
        other_share=other_taken.sum((0, 1)) / taken.sum((0, 1)),
        easy_misses=missed(own),
        near_passes=missed(others),
    )


def _from_planes(obs: Tensor, players: int) -> Tensor:
    """[T+1, B, A, 2A]: the cells of players, itself first, and of the coins of each colour, its own
    first; -1 where there is no coin."""
    planes = obs[..., : 2 * players, :, :].flatten(-2).to(torch.bool)
    where = planes.to(torch.uint8).argmax(-1)
    return torch.where(planes.any(-1), where, -1)


def _from_cells(obs: Tensor, players: int, board: tuple[int, int]) -> Tensor:
    """The same of cells."""
    size = board[0] * board[1]
    cells = obs.long()
    coins = cells[..., players:]
    colour = torch.arange(players, 2 * players, device=obs.device)
    found = torch.where(
        coins.unsqueeze(-2) // size == colour[:, None], coins.unsqueeze(-2) % size, -1
    )
    return torch.cat([cells[..., :players] % size, found.amax(-1)], -1)


def _on_the_board(
    places: Tensor,
    seen_by_first: Tensor,
    actions: Tensor,
    moves: Sequence[tuple[int, int]],
    board: tuple[int, int],
) -> Tensor:
    """Egocentric places of two steps made comparable: the cells on a board whose origin is where the
    first player began.

    Args:
        places: [T+1, B, A, N] cells as each player sees them, -1 for none.
        seen_by_first: [T+1, B, A], the cells of all players as the first one sees them.
        actions: [T, B, A].
        moves: of each action.
        board: (H, W).
    """
    size = torch.tensor(board, device=places.device)
    middle = size // 2

    def split(cells: Tensor) -> Tensor:
        return torch.stack([cells // size[1], cells % size[1]], -1)

    taken = torch.tensor(moves, device=places.device)[actions[:, :, 0].long()]
    first = torch.cat([torch.zeros_like(taken[:1]), taken.cumsum(0)])  # [T+1, B, 2]
    own = split(seen_by_first) - middle + first[:, :, None]
    there = (split(places) - middle + own[..., None, :]) % size
    return torch.where(places < 0, places, there[..., 0] * size[1] + there[..., 1])
