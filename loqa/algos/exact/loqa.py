"""Exact LOQA: the expected gradient of its actor loss, for memory-1 policies of any number of players."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from loqa._checks import Checked, Range, Rate, Share, integer
from loqa.algos.exact import chain
from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.policies import Parameterisation
from loqa.runtime.random import stream


@dataclass(frozen=True)
class LOQASettings(Checked):
    """Of exact LOQA: what `loqa.algos.loqa` samples, with exact values as critics.

    Attributes:
        lr: learning rate of Adam.
        shaping_weight: w; 0 is the naive learner.
        softmax_temperature: tau of the opponents' softmax.
        dice_discount: lambda, discount of distant causal influence.
        stop_normaliser_gradient: whether the log-normaliser of pihat is a constant: d log pihat / d Qhat
            is 1/tau with it, (1 - pihat)/tau without.
        exploration: e, share of uniformly random play of everybody while they learn.
        episode_length: T of the episodes that are not sampled.
    """

    lr: Rate = 0.04
    shaping_weight: Rate = 1.0
    softmax_temperature: Annotated[float, Range(1e-9)] = 1.0
    dice_discount: Share = 0.7
    stop_normaliser_gradient: bool = True
    exploration: Share = 0.05
    episode_length: Annotated[int, Range(1, 2**20)] = 50


class Gradient(NamedTuple):
    """d J / d logit of C in each state, `[..., 2^n + 1]`; J is maximised.

    Attributes:
        naive: through my own policy.
        shaping: through the opponents', not yet times w.
    """

    naive: Tensor
    shaping: Tensor


@torch.no_grad()
def loqa_gradient(
    game: ExactGame, logits: Tensor, settings: LOQASettings, seat: int = 0
) -> Gradient:
    """The expected gradient of LOQA's actor loss (with the sign of a return).

        J = (1/T) E sum_t l_t A_t + w sum_{j != i} (1/T) E sum_t log pihat^j_t A_t

    with l = log mu, A_t = r_t + g V(s_{t+1}) - V(s_t), Qhat^j by loaded DiCE. Values are those of the game
    without end, constants. With d_k the distribution of s_k, A(s, o) = W^i(o) - V^i(s) and Q^j(s, a) what
    i's action a is worth to j:

        e^j_0 = 0,   e^j_{k+1}(s') = g lambda (e^j_k P)(s') + g sum_s d_k(s) pi(s'|s) c^j(s, b_j) A(s, s')
        dJ/dx(s) = dmu/dx (1/T) sum_{k<T} [ d_k(s) (Q^i(s,C) - Q^i(s,D))
                                            + w sum_j e^j_k(s) (Q^j(s,C) - Q^j(s,D)) ]
        dmu/dx = (1-e) p (1-p),   c^j = 1/tau, or (1 - pihat^j(b_j|s)) / tau through the normaliser

    An action of mine at step k touches j's returns from each earlier step t by g (g lambda)^(k-t-1): the
    trace e adds up what these steps were worth to me. With c = 1/tau it is the expectation of the sampled
    gradient (`loqa.algos.loqa`, "td0", `played_policy`, exact critics, returns bootstrapped at T). Through
    the normaliser it is not quite: pihat^j is here the softmax over j's expected action values, there
    j's sampled return stands in it.

    Args:
        game: without end.
        logits: of C for each player from its own point of view, `[n, ..., 2^n + 1]` float64.
        settings: lr and w are not read.
        seat: i.

    Raises:
        ValueError: a game of so many steps, a shape that does not fit, or no such seat.
    """
    players = game.num_players
    _endless(game)
    if logits.shape[:1] != (players,) or logits.shape[-1:] != (game.num_states,):
        raise ValueError(
            f"logits must be [{players}, ..., {game.num_states}] for {players} players, "
            f"got {list(logits.shape)}"
        )
    integer("seat", seat, 0, players - 1)
    mu = chain.played(logits, settings.exploration)
    joint = chain.outcomes(mu)
    worth, value = chain.values(joint, game.outcome_payoffs(logits.dtype), game.discount)
    others = chain.outcomes(mu, without=seat)
    of_actions = [chain.action_values(others, worth[..., one], seat) for one in range(players)]
    gains = [one[..., 0] - one[..., 1] for one in of_actions]  # of each player, by my cooperating
    opponents = [one for one in range(players) if one != seat]
    advantage = worth[..., None, :, seat] - value[..., seat, None]
    paths = (joint * advantage)[..., None, :, :]
    if settings.stop_normaliser_gradient:
        paths = paths / settings.softmax_temperature  # the same for all opponents
    else:
        factors = [_sensitivity(mu, worth, one, settings) for one in opponents]
        paths = paths * torch.stack(factors, -3)
    visits, traces = _visits_and_traces(joint, paths, game.discount, settings)
    naive = visits * gains[seat]
    shaping = (traces * torch.stack([gains[one] for one in opponents], -2)).sum(-2)
    p = chain.played(logits[seat])
    slope = (1 - settings.exploration) * p[..., 0] * p[..., 1]
    view = chain.seen(players)[seat].argsort()  # in my own order
    return Gradient(
        slope * naive.index_select(-1, view) / settings.episode_length,
        slope * shaping.index_select(-1, view) / settings.episode_length,
    )


def _endless(game: ExactGame) -> None:
    if game.steps is not None:
        raise ValueError(f"loqa is of games without end, got one of {game.steps} steps")


def _sensitivity(mu: Tensor, worth: Tensor, one: int, settings: LOQASettings) -> Tensor:
    """(1 - pihat(b|s)) / tau where this player's b is part of the outcome, `[..., 2^n + 1, 2^n]`."""
    others = chain.outcomes(mu, without=one)
    q_values = chain.action_values(others, worth[..., one], one)
    rest = 1 - torch.softmax(q_values / settings.softmax_temperature, -1)
    done = chain.actions(mu.shape[0])[one]
    return rest.index_select(-1, done) / settings.softmax_temperature


def _visits_and_traces(
    joint: Tensor, paths: Tensor, discount: float, settings: LOQASettings
) -> tuple[Tensor, Tensor]:
    """sum_k d_k `[..., 2^n + 1]` and sum_k e^j_k `[..., j, 2^n + 1]`; `joint` is pi, `paths` pi c^j A."""
    where = joint.new_zeros(joint.shape[:-1])
    where[..., 0] = 1
    trace = joint.new_zeros(paths.shape[:-1])
    visits, traces = where.clone(), trace.clone()
    for _ in range(settings.episode_length - 1):
        ahead = trace @ joint * settings.dice_discount
        ahead = ahead + (where[..., None, None, :] @ paths)[..., 0, :]
        trace = torch.nn.functional.pad(discount * ahead, (1, 0))  # nothing leads to the start
        where = torch.nn.functional.pad((where[..., None, :] @ joint)[..., 0, :], (1, 0))
        visits += where
        traces += trace
    return visits, traces


def self_play(
    game: ExactGame, policy: Parameterisation, settings: LOQASettings, runs: int, seed: int
) -> Iterator[tuple[dict[str, Tensor], Tensor, Tensor]]:
    """One policy a run, in every seat: before the first update and after each, what is learned, P(C) and
    rewards per step, as `loqa.algos.exact.learn` takes them, with one player.

    Raises:
        ValueError: the game is not the same for every player, or ends.
    """
    if not game.symmetric:
        raise ValueError(
            f"loqa plays against copies of itself: {game.name} does not pay every player the same"
        )
    _endless(game)
    parameters = policy.start(runs, stream(seed, "exact games"))[0].requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=settings.lr, maximize=True)
    payoffs = game.outcome_payoffs(parameters.dtype)[:1]
    while True:
        logits = policy.logits(parameters)
        everybody = logits.detach().expand(game.num_players, *logits.shape)
        joint = chain.outcomes(chain.played(everybody))
        rewards = game.weight * chain.values(joint, payoffs, game.discount)[1][..., 0, 0]
        yield (
            {"players": parameters.detach().clone()[None]},
            torch.sigmoid(logits.detach())[None],
            rewards[None],
        )
        found = loqa_gradient(game, everybody, settings)
        optimizer.zero_grad()
        torch.autograd.backward(logits, found.naive + settings.shaping_weight * found.shaping)
        optimizer.step()
