"""Players of `loqa.evaluation.players` as the other seat of a learner's environment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from loqa.envs.coin_game.env import CoinGame
from loqa.envs.matrix_game.env import MatrixGame


class SeatedPlayer:
    """A named strategy, trained agent or policy in one seat of every game of a batch.

    Args:
        env: of two players; the Coin Game with planes, a matrix game with two actions.
        seat: that it plays in.
        given: as `loqa.evaluation.players.as_player` takes it: a name, five probabilities, a path, an
            agent or a policy.

    Raises:
        ValueError, TypeError, FileNotFoundError: there is no such player, or it does not play this game.
    """

    def __init__(self, env: CoinGame | MatrixGame, seat: int, given: Any) -> None:
        # Players know of training, which knows of environments.
        from loqa.evaluation import players
        from loqa.evaluation.matches import Actors

        player = players.as_player(given)
        game = players.COIN if isinstance(env, CoinGame) else players.IPD
        if game not in player.games or env.num_actions not in (2, 4, 5):
            raise ValueError(
                f"opponent {player.name} plays {' or '.join(player.games)}, not {env.spec.game}"
            )
        if isinstance(env, CoinGame):
            players.check_rules([player], env.preset.name)
            players.common_grid([player], env.height, env.width)
            if player.policy is not None and env.spec.obs != "planes":
                raise ValueError(f"opponent {player.name} reads obs='planes', got {env.spec.obs!r}")
        elif env.num_actions != 2:
            raise ValueError(
                f"opponent {player.name} plays games of 2 actions, this one has {env.num_actions}"
            )
        self.env, self.seat = env, seat
        learner = players.as_player("always-cooperate")  # fills the seat; what it does is dropped
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
            seen = env.joint_index() if isinstance(env, MatrixGame) else obs
            return self._actors.choose(seen, draws)[:, self.seat]
