"""PettingZoo parallel environment: every player of one game by name.

Needs `pettingzoo>=1.24` and `gymnasium>=1.1` (`pip install loqa[pettingzoo]`).
"""

from __future__ import annotations

import operator
from typing import Any

import gymnasium
import numpy as np
import pettingzoo
import torch

import loqa
from loqa import _checks
from loqa.envs.actions import array_of, described
from loqa.envs.device import require_cpu
from loqa.envs.registry import settings_of


class ParallelEnv(pettingzoo.ParallelEnv[str, np.ndarray, int]):
    """One game of `loqa.make` with agents `player_0`, `player_1`, ...

    An episode ends for all at once: truncated after `episode_length` steps, or terminated where the
    game ends at random.
    """

    def __init__(self, game: str, *, render_mode: str | None = None, **settings: Any) -> None:
        if settings.get("autoreset"):
            raise ValueError(
                "a parallel environment does not reset itself: autoreset must be False"
            )
        _checks.known_settings(
            "parallel_env", settings, ["game", "render_mode", *settings_of(game)]
        )
        self.env = loqa.make(game, 1, **settings)
        require_cpu(self.env.device, "PettingZoo's")
        if render_mode is not None:
            _checks.one_of("render_mode", render_mode, ["rgb_array"])
        self.render_mode = render_mode
        self.metadata: dict[str, Any] = {
            "name": f"{self.env.spec.name}_{self.env.spec.preset}_v{self.env.spec.version}",
            "render_modes": ["rgb_array"],
            "render_fps": 4,
        }
        self.possible_agents = [f"player_{player}" for player in range(self.env.num_players)]
        self.agents: list[str] = []
        self.observation_spaces = self._spaces("single_observation_space")
        self.action_spaces = self._spaces("single_action_space")

    def _spaces(self, name: str) -> dict[str, gymnasium.Space[Any]]:
        """A space of its own for each agent: they draw and are seeded apart."""
        return {agent: getattr(self.env, name) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """A new episode: observations and (empty) infos by agent."""
        self.agents = list(self.possible_agents)
        obs = self.env.reset(seed=seed)
        return self._by_agent(obs), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[dict[str, Any], ...]:  # type: ignore[override]
        """One step of everybody: observations, rewards, terminations, truncations, infos."""
        if not self.agents:
            raise RuntimeError(
                "call reset before the first step, and after an episode has ended: there are no agents"
            )
        if not isinstance(actions, dict) or set(actions) != set(self.agents):
            came = ", ".join(map(str, actions)) if isinstance(actions, dict) else repr(actions)
            raise ValueError(
                f"actions must be a dict with one for each of {', '.join(self.agents)}, "
                f"got {came or 'none'}"
            )
        joint = np.array([[self._action(agent, actions[agent]) for agent in self.agents]])
        obs, rewards, terminated, truncated = self.env.step(joint)
        over, cut = bool(terminated[0]), bool(truncated[0])
        agents = self.agents
        result: tuple[dict[str, Any], ...] = (
            self._by_agent(obs),
            {agent: float(rewards[0, player]) for player, agent in enumerate(agents)},
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, cut),
            {agent: {} for agent in agents},
        )
        if over or cut:
            self.agents = []
        return result

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The board as an RGB array, or None without a render mode."""
        return None if self.render_mode is None else self.env.render()

    def close(self) -> None:
        """Nothing is left to close."""

    def _action(self, agent: str, value: Any) -> Any:
        if self.env.spec.action_box is not None:  # whether it is inside, `step` checks
            wanted = f"the action of {agent} must be [{self.env.spec.action_size}] of floats"
            array = array_of(value, wanted)
            if array.shape != (self.env.spec.action_size,):
                raise ValueError(f"{wanted}, got {described(value, array)}")
            return array
        try:
            action = operator.index(value)
        except TypeError:
            raise TypeError(
                f"the action of {agent} must be an integer, got {type(value).__name__} {value!r}"
            ) from None
        if not 0 <= action < self.env.num_actions:
            raise ValueError(
                f"the action of {agent} must be in 0..{self.env.num_actions - 1}, got {action}"
            )
        return action

    def _by_agent(self, obs: torch.Tensor) -> dict[str, np.ndarray]:
        seen = obs[0].numpy().copy()
        return {agent: seen[player] for player, agent in enumerate(self.possible_agents)}


def parallel_env(game: str = "coin_game", **settings: Any) -> ParallelEnv:
    """The environment by its name and settings, see `loqa.make`."""
    return ParallelEnv(game, **settings)
