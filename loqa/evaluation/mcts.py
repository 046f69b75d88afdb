"""A best response to a frozen player by Monte-Carlo tree search, nothing trained.

Before each move the game is played on many times from where it stands. The frozen player is part of
the environment: its memory is carried along every line of play, its choices and those of chance are drawn
afresh. Within the tree the responder's actions are chosen by UCT (Kocsis & Szepesvari 2006),

    argmax_a  mean(s, a) + c sigma sqrt( ln N(s) / n(s, a) ),    sigma: deviation of the root's returns,

beyond it by a guide, a player whose own reward is what the search improves upon. A node is a history: the
children of an action are told apart by the state that came out. Each simulation adds one
node. Several trees a game, independent of each other, are grown side by side and their counts added
(root parallelisation, Chaslot et al. 2008), so that everything is done for all games, trees and lanes
of the simulator at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loqa._checks import Checked, Count, Range, Share
from loqa.agents.player import Player, with_digest
from loqa.evaluation.evaluate import evaluate
from loqa.evaluation.match_settings import make_env, settings_of
from loqa.evaluation.matches import Actors, uniform
from loqa.evaluation.players import as_player
from loqa.games import registry
from loqa.runtime.random import stream


@dataclass(frozen=True)
class SearchSettings(Checked):
    """How moves are searched for.

    Attributes:
        trees: independent trees of each game.
        simulations: lines of play in each tree, before each move.
        horizon: steps that a line of play looks ahead; less at the end of the episode.
        exploration: c.
        discount: of rewards within a line of play.
    """

    trees: Count = 8
    simulations: Count = 48
    horizon: Count = 16
    exploration: Annotated[float, Range(0, 1000)] = 1.0
    discount: Share = 0.96


def mcts_best_response(
    player: Any,
    *,
    guide: Any = None,
    game: str | None = None,
    seed: int = 0,
    search: SearchSettings | None = None,
    **settings: Any,
) -> Player:
    """The response to a frozen player that searches every move.

    Args:
        player: of any kind, as `loqa.evaluation.players.as_player` takes it.
        guide: plays on where the tree ends; by default that one of the game's guides that earns most
            against the player.
        game: its name; by default the first that can be searched.
        seed: of the simulations.
        search: `SearchSettings()` by default.
        settings: of the environment, as in `loqa.evaluate`; the search knows when the episode ends.

    Returns:
        The response, to be played by `loqa.evaluate` against the same player.

    Raises:
        ValueError, TypeError, FileNotFoundError: no such player, a game that cannot be searched, or a
            value out of range.
    """
    opponent = as_player(player)
    given = [] if guide is None else [as_player(guide)]
    models = {one.env_name: rules.search for one, rules in registry.played() if rules.search}
    played = settings_of([opponent, *given], game or next(iter(models)), settings, None, 0)
    model = models.get(played.game)
    if model is None or not model.knows(played.make):
        known = " and ".join(one.said for one in models.values())
        raise ValueError(f"method 'mcts' plays {known} only")
    env = make_env(played, 1, 0, 1)
    made = {**played.make, "episode_length": env.spec.episode_length}  # a preset has its own
    if not given:
        earned = [
            evaluate(name, opponent, game=played.game, episodes=256, seed=seed, statistics=False,
                     **made).total.reward[0].mean
            for name in model.guides
        ]  # fmt: skip
        given = [as_player(model.guides[int(np.argmax(earned))])]
    policy = MCTSPolicy(opponent, given[0], model, made, seed, search or SearchSettings())
    found = Player(f"search against {opponent.name}", "best response", (played.game,), "",
                   policy=policy, made_for={"episode_length": env.spec.episode_length})  # fmt: skip
    return with_digest(replace(found, **played.matches.traits_in(env)))


@dataclass(frozen=True, eq=False)
class MCTSPolicy:
    """Searches every move of one seat against a known opponent in the other.

    State of a game, `[1 + ...]` float64: the step, the opponent's memory and the guide's.

    Args:
        opponent, guide: players of the game.
        model: of the game, `MatchRules.search`.
        settings: of the environment, episode_length among them.
        seed, search: see `mcts_best_response`.
    """

    opponent: Player
    guide: Player
    model: Any
    settings: Mapping[str, Any]
    seed: int
    search: SearchSettings

    def contents(self) -> tuple[Any, ...] | None:
        """Whom it knows, and how it searches."""
        if self.opponent.unknown or self.guide.unknown:
            return None
        known = (self.opponent.digest, self.guide.digest)
        return (*known, dict(self.settings), self.seed, vars(self.search))

    def initial_state(self, batch_size: int) -> Tensor:
        memories = [_flat(player.policy.initial_state(batch_size))
                    for player in (self.opponent, self.guide) if player.policy is not None]  # fmt: skip
        clock = torch.zeros(batch_size, 1, dtype=torch.float64, device="cpu")
        return torch.cat([clock, *memories], -1)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The move that was best in the simulations, with probability 1."""
        counts, means = self.values(obs, state)
        best = torch.where(counts > 0, means, -torch.inf).argmax(-1)
        log_probs = torch.full(counts.shape, -torch.inf, dtype=torch.float64, device="cpu")
        log_probs[torch.arange(len(best), device="cpu"), best] = 0
        after = [state[:, :1] + 1]
        views = (self.model.of_other(obs), obs)
        players = (self.opponent, self.guide)
        for player, memory, seen in zip(players, self._memories(state), views, strict=True):
            if player.policy is not None and memory is not None:
                after.append(_flat(player.policy.step(seen, memory)[1]))
        return log_probs, torch.cat(after, -1)

    def values(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """How often each action was tried, and the mean return after it, both `[B, K]`.

        Args:
            obs: of this seat, `[B, ...]`.
            state: `[B, S]`.
        """
        games, trees = len(obs), self.search.trees
        t = int(state[0, 0])
        # What is drawn must differ from batch to batch, and be the same when played again.
        key = hashlib.sha256(f"{self.seed}/{t}".encode() + obs.numpy().tobytes()).digest()
        grown = _Trees(
            self, self.model.state(obs, t, self.settings), trees, np.random.default_rng(list(key))
        )
        grown.memories = [
            None if memory is None else memory.repeat_interleave(trees, 0)
            for memory in reversed(self._memories(state))
        ]
        for number in range(1, self.search.simulations + 1):
            grown.simulate(number)
        counts = torch.from_numpy(grown.visits[:, 0].reshape(games, trees, -1).sum(1))
        totals = torch.from_numpy(grown.totals[:, 0].reshape(games, trees, -1).sum(1))
        return counts, totals / counts.clamp(min=1)

    def _memories(self, state: Tensor) -> list[Tensor | None]:
        """The opponent's, and the guide's."""
        place = 1
        found: list[Tensor | None] = [None, None]
        for number, player in enumerate((self.opponent, self.guide)):
            if player.policy is not None:
                like = player.policy.initial_state(1)
                own = state[:, place : place + like[0].numel()].to(like.dtype)
                found[number] = own.reshape(len(state), *like.shape[1:])
                place += like[0].numel()
        return found


class _Trees:
    """M trees over N nodes each (node 0 is the root), grown by one line of play at a time.

    The responder is player 0 of the simulations, whatever its seat.

    Attributes:
        visits, totals: of each node and action, `[M, N, K]`: lines of play, and the sum of their
            returns from there.
        memories: of the guide and the opponent at the root.
    """

    def __init__(
        self, policy: MCTSPolicy, root: dict[str, Tensor], trees: int, rng: np.random.Generator
    ) -> None:
        self.search, self.rng = policy.search, rng
        self.players = (policy.guide, policy.opponent)
        self.root = {name: value.repeat_interleave(trees, 0) for name, value in root.items()}
        count, nodes = len(self.root["t"]), policy.search.simulations + 1
        self.model = policy.model
        self.env = policy.model.make(count, policy.settings)
        left = policy.settings["episode_length"] - int(self.root["t"][0])
        self.steps = min(policy.search.horizon, left)
        self.actions = self.env.spec.num_actions
        self.visits = np.zeros((count, nodes, self.actions))
        self.totals = np.zeros((count, nodes, self.actions))
        self.keys = np.full((count, nodes), -1, np.int64)  # how a node was come to
        self.squares = np.zeros(count)  # of the root's returns, summed
        self.lanes = np.arange(count)
        self.memories: list[Tensor | None] = [None, None]
        self.generator = stream(int(rng.integers(2**63)), "simulations")

    def simulate(self, number: int) -> None:
        """One line of play in every tree; a node that it adds is node `number`."""
        obs = self.env.reset(seed=int(self.rng.integers(2**63)))
        self.env.set_state(**self.root)
        actors = Actors(self.env, self.players)
        actors.states = list(self.memories)
        node, inside = np.zeros(len(self.lanes), np.int64), np.ones(len(self.lanes), bool)
        way: list[tuple[Any, Any, Any]] = []
        rewards = np.zeros((self.steps, len(self.lanes)))
        draws = uniform((self.steps, len(self.lanes), 2), self.generator)
        for step, draw in enumerate(draws):
            actions = actors.choose(obs, draw)
            growing = bool(inside.any())
            if growing:
                chosen = self._choose(node)
                mine = actions[:, 0].numpy()
                mine[inside] = chosen[inside]
                way.append((self.lanes[inside], node[inside], chosen[inside]))
            obs, paid, _, _ = self.env.step(actions)
            rewards[step] = paid[:, 0].numpy()
            if growing:
                outcome, outcomes = self.model.outcome(self.env)
                key = (node * self.actions + chosen) * outcomes + outcome
                same = self.keys == key[:, None]
                known = same.any(1)
                self.keys[inside & ~known, number] = key[inside & ~known]
                node = np.where(known, same.argmax(1), 0)
                inside &= known
        returns = np.zeros(len(self.lanes))
        for step in range(self.steps - 1, -1, -1):
            returns = rewards[step] + self.search.discount * returns
            if step < len(way):
                lanes = way[step][0]
                self.visits[way[step]] += 1
                self.totals[way[step]] += returns[lanes]
        self.squares += returns**2

    def _choose(self, node: NDArray[np.int64]) -> NDArray[np.int64]:
        """The action of UCT at a node of each tree; what was never tried comes first."""
        visits = self.visits[self.lanes, node]
        with np.errstate(divide="ignore", invalid="ignore"):
            means = self.totals[self.lanes, node] / visits
            count = self.visits[:, 0].sum(1)
            deviation = np.sqrt(self.squares / count - (self.totals[:, 0].sum(1) / count) ** 2)
            width = np.sqrt(np.log(visits.sum(1, keepdims=True)) / visits)
            bound = means + self.search.exploration * np.nan_to_num(deviation)[:, None] * width
        # Beyond all bounds where nothing was tried; equals in a random order.
        bound = np.where(visits == 0, 1e9, bound)
        bound += 1e-6 * self.rng.random(bound.shape)
        return np.asarray(bound.argmax(1))


def _flat(memory: Tensor) -> Tensor:
    """`[B, ...]` of any type -> `[B, S]` float64, which holds every float32 and integer up to 2^53."""
    return memory.flatten(1).double()
