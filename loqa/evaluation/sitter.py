"""A player in a seat: whatever its policy answers is checked, so that the message names who failed."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from loqa.agents.player import Player
from loqa.agents.policy import PolicyError
from loqa.games import registry

_SUMS_TO_1 = (
    1e-2  # log-probabilities in bfloat16 are that far off, logits and probabilities farther
)


class Sitter:
    """A player of an environment, itself a policy (`loqa.agents.policy.Policy`).

    Every answer is checked: shapes and types, and that the probabilities of each row sum to 1 (NaN does
    not), or that the numbers of an action are inside the box.

    Args:
        env: which knows the scripted players.
        player: who plays.

    Attributes:
        policy: what plays for it; None where the environment's own player `script` does.
        swapped: whether its action 0 is the game's action 1.

    Raises:
        ValueError: a strategy of two actions in a game of more.
    """

    def __init__(self, env: Any, player: Player) -> None:
        self.env, self.name = env, player.name
        self._rules = registry.matches_of(env.spec.name)
        self.policy = self._rules.policy_in(env, player)
        self.swapped = self._rules.swaps_codes(env, player)
        self.script = player.scripted if self.policy is None else None

    def initial_state(self, batch_size: int) -> Tensor:
        """The policy's first state.

        Raises:
            PolicyError: it has none for so many games.
        """
        assert self.policy is not None
        try:
            state = self.policy.initial_state(batch_size)
        except Exception as error:
            raise PolicyError(
                f"{self.name} failed in initial_state({batch_size}): "
                f"{type(error).__name__}: {error}"
            ) from error
        return self._checked_state("initial_state", state, batch_size)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities `[B, K]` of the game's actions (or `[B, D]`, its action in a box), and the next
        state.

        Raises:
            PolicyError: the policy fails, or its answer is none.
        """
        log_probs, state = self.answer(obs, state)
        if self.env.spec.action_box is not None:
            return log_probs, state
        self.check_sums(log_probs.exp().sum(-1))
        return log_probs.flip(-1) if self.swapped else log_probs, state

    def answer(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities `[B, K]` of the actions as the player calls them, sums not checked (or `[B, D]`,
        its action in a box), and the next state.

        Raises:
            PolicyError: as in `step`.
        """
        assert self.policy is not None
        # A copy: what a policy keeps of it must not change with the next step.
        obs = obs.clone()
        if self.swapped:
            obs = self._rules.swapped(obs)
        spec = self.env.spec
        box = spec.action_box
        size = (len(obs), spec.num_actions if box is None else spec.action_size)
        try:
            answer = self.policy.step(obs, state)
        except Exception as error:
            raise PolicyError(
                f"{self.name} failed in step(obs {list(obs.shape)} {obs.dtype}, state "
                f"{list(state.shape)} {state.dtype}): {type(error).__name__}: {error}"
            ) from error
        what = "log-probabilities" if box is None else "actions"
        wanted = f"{self.name}: step must return {what} {list(size)} and the next state"
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise PolicyError(f"{wanted}, got {_told(answer)}")
        log_probs = answer[0]
        if not isinstance(log_probs, Tensor) or not (
            log_probs.shape == size and log_probs.is_floating_point() and log_probs.is_cpu
        ):
            raise PolicyError(f"{wanted} (floating, on the CPU), got {_told(log_probs)}")
        if box is not None and not bool(((log_probs >= box[0]) & (log_probs <= box[1])).all()):
            outside = log_probs[~((log_probs >= box[0]) & (log_probs <= box[1]))][0]
            raise PolicyError(
                f"{self.name}: step must return actions in [{box[0]:g}, {box[1]:g}], "
                f"got {float(outside):g}"
            )
        following = self._checked_state("step", answer[1], len(obs))
        return log_probs.float() if log_probs.dtype.itemsize < 4 else log_probs, following

    def check_sums(self, sums: Tensor) -> None:
        """Looks whether the probabilities of each row sum to 1, `[B]`.

        Raises:
            PolicyError: they do not.
        """
        if not bool(((sums - 1).abs() <= _SUMS_TO_1).all()):  # NaN is no such sum
            first = next(float(one) for one in sums if not abs(float(one) - 1) <= _SUMS_TO_1)
            raise PolicyError(
                f"{self.name}: step must return log-probabilities, the sum of exp over actions "
                f"must be 1, got {first:.6g}"
            )

    def _checked_state(self, method: str, state: Any, count: int) -> Tensor:
        fits = isinstance(state, Tensor) and state.ndim > 0 and len(state) == count and state.is_cpu
        if not fits:
            raise PolicyError(
                f"{self.name}: {method} must return the state as a tensor "
                f"[{count}, S] on the CPU, got {_told(state)}"
            )
        checked: Tensor = state
        return checked


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {value.dtype} on {value.device}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {value!r:.60}"
