"""Players of `loqa.evaluation.players` as the other seat of a learner's environment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from loqa.envs.native import VectorEnv


class SeatedPlayer:
    """A named strategy, trained agent or policy in one seat of every game of a batch.

    Args:
        env: of two players, as their game's rules of matches (`loqa.games.matches`) allow it.
        seat: that it plays in.
        given: as `loqa.evaluation.players.as_player` takes it: a name, five probabilities, a path, an
            agent or a policy.

    Raises:
        ValueError, TypeError, FileNotFoundError: there is no such player, or it does not play this game.
    """

    def __init__(self, env: VectorEnv, seat: int, given: Any) -> None:
        # Players know of training, which knows of environments.
        from loqa.evaluation.matches import Actors
        from loqa.evaluation.players import as_player
        from loqa.games.registry import meeting_in

        player = as_player(given)
        game, self._rules = meeting_in(env.spec.name)
        if game not in player.games:
            raise ValueError(
                f"opponent {player.name} plays {' or '.join(player.games)}, not {env.spec.name}"
            )
        self._rules.check_seat(env, player)
        self.env, self.seat = env, seat
        learner = as_player("always-cooperate")  # fills the seat; what it does is dropped
        seats = [learner, learner]
        seats[seat] = player
        self._actors = Actors(env, seats)
        self._first_states = list(self._actors.states)

    def choose(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Its actions [B] now; with fresh memory where an episode begins.

        Args:
            obs: [B, 2, *obs_shape], what `reset` or `step` returned last.
            generator: of the CPU, for what it draws.
        """
        env, states = self.env, self._actors.states
        begins = (env._t == 0)[:, None]
        for seat, (now, first) in enumerate(zip(states, self._first_states, strict=True)):
            if now is not None and first is not None:
                fresh = begins.reshape(-1, *[1] * (now.ndim - 1))
                states[seat] = torch.where(fresh, first, now)
        draws = torch.rand(
            (env.num_envs, 2), generator=generator, dtype=torch.float32, device="cpu"
        )
        with torch.inference_mode():
            return self._actors.choose(self._rules.seen(env, obs), draws)[:, self.seat]
