"""A trained best response: a learner that plays nobody but one frozen player.

Its opponent never changes, so the game is an ordinary (partially observed) decision process. It is a run
of PPO (`loqa.algos.ppo`) that meets fixed players and takes every seat in turn; after the last step
nothing is paid. What it finds is a lower bound of the best response's reward: a learner may fall short,
and never does better than the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from loqa import _checks
from loqa._checks import Checked, Count, Range
from loqa.agents.player import Player
from loqa.algos.ppo import PPOSettings
from loqa.evaluation.evaluate import seat_threads
from loqa.evaluation.match_settings import Settings, make_env, settings_of
from loqa.evaluation.players import as_player
from loqa.evaluation.sitter import Sitter
from loqa.games.base import Game, Inputs
from loqa.training.config import TrainConfig
from loqa.training.trainer import Trainer

NETWORKS = ("mlp", "gru")
Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class ResponseSettings(Checked):
    """How a best response is trained.

    Attributes:
        iterations: batches of episodes.
        batch_size: episodes in a batch, all in the same seat; the seats take turns.
        network: "mlp" sees the present only; "gru" remembers the episode, which can pay against a player
            with memory, but learns slower: against the published agent loqa_1 it found 0.354 a step
            (8 updates a batch), where "mlp" found 0.366 (32 updates); one run each.
        hidden: units of each layer.
        learning_rate: of Adam at the start; it falls linearly to 0.
        minibatches: parts of a batch. All else is as in `PPOSettings`; the entropy bonus falls to 0 too.
    """

    iterations: Count = 300
    batch_size: Count = 128
    network: Literal["mlp", "gru"] = "mlp"
    hidden: Count = 64
    learning_rate: Annotated[float, Range(1e-9, 10)] = 2e-3
    minibatches: Count = 8

    def fields(self) -> dict[str, Any]:
        """The same as fields of a run."""
        learning = PPOSettings(
            bootstrap=False,  # what counts is what is paid in an episode
            minibatches=self.minibatches,
            actor_lr=self.learning_rate,
            critic_lr=self.learning_rate,
        )
        final = dict.fromkeys(("entropy_final", "actor_lr_final", "critic_lr_final"), 0.0)
        return {
            **vars(learning),
            **final,
            "anneal": self.iterations,
            "iterations": self.iterations,
            "batch_size": self.batch_size,
            "actor": self.network,
            "critic": self.network,
            "actor_hidden": self.hidden,
            "critic_hidden": self.hidden,
        }


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
        PolicyError: the player's policy fails, or its answers are no log-probabilities.
    """
    opponent = as_player(player)
    training = training or ResponseSettings()
    seed = _checks.integer("seed", seed, 0, 2**63 - 1)
    played = settings_of([opponent], game, settings, None, seed)
    env = make_env(played, 1, 0, 1)
    played.matches.check_seat(env, opponent)
    sitter = Sitter(env, opponent)
    others = [sitter if sitter.script is None else sitter.script] * (env.spec.num_players - 1)
    config = _config(played, env, training, seed)
    with seat_threads(1):
        trainer = Trainer(config, fixed=others)
        while not trainer.finished:
            trainer.iterate()
            if report is not None:
                line = trainer.metrics()
                reward, entropy = line["reward"][0], line["entropy"]
                report({"iteration": trainer.iteration, "reward": reward, "entropy": entropy})
    agent = trainer.agent.eval().requires_grad_(False)
    agent.config = None  # of no registered game
    found = as_player(agent, f"response to {opponent.name}")
    return replace(
        found,
        group="best response",
        games=(played.game,),
        made_for={
            **played.make,
            "preset": env.spec.preset,
            "episode_length": env.spec.episode_length,
        },
        **played.matches.traits_in(env),
    )


@dataclass(frozen=True)
class _Settings:
    """Of the game of a run for a best response: all else is said by the matches' own settings."""

    episode_length: int


def _config(played: Settings, env: Any, training: ResponseSettings, seed: int) -> TrainConfig:
    """A run on the environment of matches, whatever their rules."""
    rules, spec = played.matches, env.spec
    shape = tuple(spec.obs_shape)
    inputs = Inputs(
        rules.observes, rules.num_inputs(env), spec.num_actions, shape, "", spec.action_box
    )
    found = Game(
        name=played.game,
        env_name=played.game,
        settings=_Settings,
        make_env=lambda _, making: make_env(
            played, making.num_envs, making.seed, making.num_threads
        ),
        inputs=lambda _: inputs,
    )

    class Responding(TrainConfig):
        """A run that no file says anything of."""

        game = played.game

        @classmethod
        def record(cls) -> Game:
            return found

    return Responding(
        algo="ppo",
        meets="fixed",
        fixed=("the player",),
        take_turns=True,
        seed=seed,
        episode_length=spec.episode_length,
        **training.fields(),
    )
