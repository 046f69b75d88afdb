"""What every actor-critic learner of the package depends on: LOQA, the naive learner, Advantage Alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loqa._checks import Range, Share, check_fields


@dataclass(frozen=True)
class ActorCriticSettings:
    """What losses and updates depend on, whatever shapes the other players.

    Attributes:
        gamma: reward discount.
        shaping_weight: w, weight of the gradient through the other players; 0 is naive.
        advantage: "td0", r_t + gamma V_{t+1} - V_t; "gae", a mixture of all numbers of steps
            (Schulman et al. 2016); or "mc", G_t - V_t.
        shaping_advantage: the A_s that weighs what the other did after it: "same" as `advantage`, or
            "td0". The gradient through the other is made of its R_k - v_k of the steps k > s of the same
            episode. A longer advantage has the rewards of those steps in it too, so that the mean of the
            product is not the product of the means; the one-step advantage ends before them.
        advantage_lambda: weight of longer returns in "gae"; 0 is "td0".
        advantage_gradient: whether gradients pass through the "td0" advantage into actor and critic
            (published code) or it is a constant (paper). The others are always constants.
        advantage_baseline: "batch" subtracts the mean over the batch at each step.
        advantage_scale: "batch" then divides by the root mean square over batch and time.
        entropy_bonus: beta, weight of the policy's entropy.
        clip_norm: largest global norm of the actor step's gradient; None does not clip.
        played_policy: whether log-probabilities and values in the losses are those of the policy that
            is played, mu = (1 - e) pi + e / K, with pi the softmax of the logits; off, of pi. E over
            mu of grad log pi A does not vanish as pi comes to be sure of itself, of grad log mu A
            it does.
        critic_warmup: iterations at the start in which only the critic learns. What an untrained
            critic says of states and steps drives the first answers anywhere, and those come back late.
        critic_target: "sarsa" one step through the target network, "argmax" its maximum over
            actions, "lambda" a mixture of all numbers of steps, "returns" the full discounted return.
        critic_lambda: weight of longer returns in "lambda"; 0 is "sarsa".
        actor_lr: Adam's learning rate of the actor.
        critic_lr: that of the critic.
        network_lr: that of an actor's network where it has a table beside it
            (`loqa.agents.networks.StateHead`); the table's is `actor_lr`.
        target_ema: decay of the target network.

    Raises:
        ValueError: an unknown choice, or a number out of its range.
    """

    gamma: Share = 0.96
    shaping_weight: float = 1.0
    advantage: Literal["td0", "gae", "mc"] = "td0"
    shaping_advantage: Literal["same", "td0"] = "same"
    advantage_lambda: Share = 0.7
    advantage_gradient: bool = False
    advantage_baseline: Literal["none", "batch"] = "batch"
    advantage_scale: Literal["none", "batch"] = "none"
    entropy_bonus: float = 0.0
    clip_norm: Annotated[float | None, Range(1e-9)] = None
    played_policy: bool = False
    critic_warmup: Annotated[int, Range(0, 2**31 - 1)] = 0
    critic_target: Literal["sarsa", "argmax", "lambda", "returns"] = "sarsa"
    critic_lambda: Share = 0.9
    actor_lr: float = 1e-3
    critic_lr: float = 1e-2
    network_lr: float = 1e-3
    target_ema: Share = 0.99

    def __post_init__(self) -> None:
        check_fields(self)
