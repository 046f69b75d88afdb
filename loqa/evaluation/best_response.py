"""A trained best response: a learner that plays nobody but one frozen player.

Its opponent never changes, so the game is an ordinary (partially observed) decision process. It is
solved by PPO (Schulman et al. 2017) with generalized advantages (Schulman et al. 2016):

    L = -mean( min( r_t A_t, clip(r_t, 1 - c, 1 + c) A_t ) ) - beta H + mean( (q(s_t, a_t) - G_t)^2 ) / 2

r_t is the ratio of the new to the old probability of a_t, A_t the advantage over V = sum_a pi(a) q(a)
(normalised over the batch), G_t = A_t + V_t the lambda-return. What it finds is a lower bound of the
best response's reward: a learner may fall short, and never does better than the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from loqa import _checks, ops
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.player import Player
from loqa.evaluation.evaluate import seat_threads
from loqa.evaluation.match_settings import Settings, make_env, settings_of
from loqa.evaluation.matches import Actors, uniform
from loqa.evaluation.players import as_player
from loqa.runtime.random import stream, stream_seed

NETWORKS = ("mlp", "gru")
Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class ResponseSettings:
    """How a best response is trained.

    Attributes:
        iterations: batches of episodes.
        batch_size: episodes in a batch, all in the same seat; the seats take turns.
        network: "mlp" sees the present only; "gru" remembers the episode, which can pay against a player
            with memory, but learns slower: against the published agent loqa_1 it found 0.354 a step
            (8 updates a batch), where "mlp" found 0.366 (32 updates); one run each.
        hidden: units of each layer.
        learning_rate: of Adam at the start; it falls linearly to 0.
        discount, trace: gamma and lambda of the advantages.
        clip: c.
        entropy: beta at the start; it falls linearly to 0.
        epochs, minibatches: passes over a batch, and the parts of each.
    """

    iterations: int = 300
    batch_size: int = 128
    network: str = "mlp"
    hidden: int = 64
    learning_rate: float = 2e-3
    discount: float = 0.99
    trace: float = 0.95
    clip: float = 0.2
    entropy: float = 0.02
    epochs: int = 4
    minibatches: int = 8

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "hidden", "epochs", "minibatches"):
            _checks.integer(name, getattr(self, name), 1, 2**20)
        for name in ("discount", "trace", "entropy"):
            _checks.real(name, getattr(self, name), 0, 1)
        for name in ("learning_rate", "clip"):
            _checks.real(name, getattr(self, name), 1e-9, 10)
        _checks.one_of("network", self.network, NETWORKS)


def train_best_response(
    player: Any,
    *,
    game: str | None = None,
    seed: int = 0,
    report: Report | None = None,
    training: ResponseSettings | None = None,
    **settings: Any,
) -> Player:
    """Trains a response to a frozen player.

    Args:
        player: of any kind, as `loqa.evaluation.players.as_player` takes it.
        game: its name; by default the first that the player knows.
        seed: of everything random.
        report: called after each batch with iteration, reward (per step, of the learner), entropy.
        training: `ResponseSettings()` by default.
        settings: of the environment: preset, episode_length; height, width; payoff, noise... By default
            those that the player was made for.

    Returns:
        The response, to be played by `loqa.evaluate`.

    Raises:
        ValueError, TypeError, FileNotFoundError: no such player, or a value out of range.
    """
    opponent = as_player(player)
    training = training or ResponseSettings()
    seed = _checks.integer("seed", seed, 0, 2**63 - 1)
    played = settings_of([opponent], game, settings, None, seed)
    with seat_threads(1):
        learner = _Learner(opponent, played, training, seed)
        for iteration in range(training.iterations):
            line = learner.iterate(iteration)
            if report is not None:
                report({"iteration": iteration + 1, **line})
    agent = learner.agent.eval().requires_grad_(False)
    made_for = {**played.make, "preset": learner.env.spec.preset,
                "episode_length": learner.env.spec.episode_length}  # fmt: skip
    found = as_player(agent, f"response to {opponent.name}")
    return replace(
        found,
        group="best response",
        games=(played.game,),
        made_for=made_for,
        **played.matches.traits_in(learner.env),
    )


class _Learner:
    def __init__(
        self, opponent: Player, played: Settings, training: ResponseSettings, seed: int
    ) -> None:
        self.training = training
        self.generator = stream(seed, "best response")
        self.env = make_env(
            played, training.batch_size, stream_seed(seed, "best response episodes"), 1
        )
        self.opponent = opponent
        played.matches.check_seat(self.env, opponent)
        self.agent: Agent = build_agent(
            training.network,
            training.network,
            played.matches.num_inputs(self.env),
            self.env.spec.num_actions,
            actor_hidden=training.hidden,
            critic_hidden=training.hidden,
            generator=self.generator,
        )
        self.me = as_player(self.agent)
        self.optimiser = torch.optim.Adam(self.agent.parameters(), training.learning_rate)

    def iterate(self, iteration: int) -> dict[str, float]:
        left = 1 - iteration / self.training.iterations
        for group in self.optimiser.param_groups:
            group["lr"] = self.training.learning_rate * left
        obs, actions, rewards = self._play(seat=iteration % self.env.spec.num_players)
        with torch.no_grad():
            before = self.agent.evaluate(obs, actions)
            values = before.values.clone()
            values[-1] = 0  # nothing is paid after the end
            advantages = ops.generalized_advantage(
                rewards, values, self.training.discount, self.training.trace
            )
            targets = advantages + values[:-1]
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        for _ in range(self.training.epochs):
            order = torch.randperm(actions.shape[1], generator=self.generator, device="cpu")
            for part in order.chunk(self.training.minibatches):
                now = self.agent.evaluate(obs[:, part], actions[:, part])
                ratio = (now.taken_log_probs - before.taken_log_probs[:, part]).exp()
                gain = advantages[:, part]
                low, high = 1 - self.training.clip, 1 + self.training.clip
                surrogate = torch.minimum(ratio * gain, ratio.clamp(low, high) * gain)
                loss = (
                    -surrogate.mean()
                    - self.training.entropy * left * now.entropies.mean()
                    + (now.taken_q_values - targets[:, part]).square().mean() / 2
                )
                self.optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                for head in (self.agent.actor, self.agent.critic):
                    clip_grad_norm_(head.parameters(), 0.5)
                self.optimiser.step()
        return {"reward": float(rewards.mean()), "entropy": float(before.entropies.mean())}

    @torch.no_grad()
    def _play(self, seat: int) -> tuple[Tensor, Tensor, Tensor]:
        """One batch of episodes: the learner's observations `[T+1, B, ...]`, actions and rewards
        `[T, B]`."""
        env = self.env
        obs = env.reset()
        seats = [self.opponent] * env.spec.num_players
        seats[seat] = self.me
        actors = Actors(env, seats)
        seen, chosen, paid = [obs[:, seat].clone()], [], []
        for draw in uniform((env.spec.episode_length, env.num_envs, len(seats)), self.generator):
            actions = actors.choose(obs, draw)
            obs, rewards, _, _ = env.step(actions)
            seen.append(obs[:, seat].clone())
            chosen.append(actions[:, seat].clone())
            paid.append(rewards[:, seat].clone())
        return torch.stack(seen), torch.stack(chosen), torch.stack(paid)
