"""Public goods in plain Python: the specification of the native simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from loqa.envs.public_goods.presets import PublicGoodsPreset
from loqa.reference.played import Played


class PublicGoods(Played):
    """B games in which n players contribute one of K levels at once, again and again.

    Player i earns base + gain * (sum of the others' levels) + own * (own level), in float32, from left to
    right. Every step, each sees what all did last. Nothing is random.

    Observation of one player, whose last level is l, and the others' sum is s:

    - `index`: 0 before the first step, else 1 + l ((n - 1) (K - 1) + 1) + s.
    - `count`: one-hot l (K places), one-hot s ((n - 1) (K - 1) + 1 places); zeros before the first step.
    - `joint`: one-hot level of oneself, then of the seats after one's own, in turn; zeros likewise.
    """

    num_actions: int

    def __init__(
        self,
        num_envs: int,
        preset: PublicGoodsPreset,
        *,
        num_players: int = 3,
        num_levels: int = 2,
        obs: str = "count",
        episode_length: int | None = None,
        seed: int = 0,
        first_env: int = 0,
        **payoff: Any,
    ) -> None:
        self.num_actions, self.num_sums = num_levels, (num_players - 1) * (num_levels - 1) + 1
        worth = preset.payoff(num_players, num_levels, **payoff)
        self.base, self.gain, self.own = (np.float32(value) for value in worth)
        self.obs = obs
        self.last_actions = [[-1] * num_players for _ in range(num_envs)]
        length = preset.episode_length if episode_length is None else episode_length
        super().__init__(num_envs, num_players, length, seed, first_env)

    def start(self, env: int) -> None:
        self.last_actions[env] = [-1] * self.num_players

    def observe(self) -> np.ndarray:
        """What each player sees now, [B, n, *obs_shape]."""
        return np.array(
            [
                [self._see(self._from(env, p)) for p in range(self.num_players)]
                for env in range(self.num_envs)
            ],
            np.int64 if self.obs == "index" else np.float32,
        )

    def play(self, env: int, actions: Any) -> list[Any]:
        levels = [int(action) for action in actions]
        self.last_actions[env] = levels
        return [
            self.base + self.gain * np.float32(sum(levels) - level) + self.own * np.float32(level)
            for level in levels
        ]

    def script(self, name: str, env: int, player: int) -> int:
        """All; nothing; what the others gave on average, rounded down; or all if everybody did, else
        nothing. At first the last two give all."""
        levels, most = self.last_actions[env], self.num_actions - 1
        others = levels[:player] + levels[player + 1 :]
        started = levels[0] >= 0
        return {
            "always-cooperate": most,
            "always-defect": 0,
            "conditional-cooperator": sum(others) // len(others) if started else most,
            "grim": most if not started or min(levels) == most else 0,
        }[name]

    def index(self, env: int, player: int) -> int:
        return self._index(self._from(env, player))

    def get_state(self) -> dict[str, np.ndarray]:
        """last_actions [B, n] (-1 before the first step) and t [B]."""
        return {"last_actions": np.array(self.last_actions), "t": np.array(self.t)}

    def _from(self, env: int, player: int) -> list[int]:
        """The last levels, a player's own first."""
        return self.last_actions[env][player:] + self.last_actions[env][:player]

    def _index(self, levels: list[int]) -> int:
        return 1 + levels[0] * self.num_sums + sum(levels[1:]) if levels[0] >= 0 else 0

    def _see(self, levels: list[int]) -> Any:
        """What is seen by who played levels[0]."""
        if self.obs == "index":
            return self._index(levels)
        k, sums = self.num_actions, self.num_sums
        started = levels[0] >= 0
        own, others = levels[0], sum(levels[1:])
        joint = self.obs == "joint"
        seen = np.zeros(self.num_players * k if joint else k + sums, np.float32)
        if started:
            seen[
                [i * k + level for i, level in enumerate(levels)] if joint else [own, k + others]
            ] = 1
        return seen
