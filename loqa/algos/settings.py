"""What every actor-critic learner of the package depends on: LOQA, the naive learner, Advantage Alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loqa._checks import Checked, Range, Share


@dataclass(frozen=True)
class ActorCriticSettings(Checked):
    """What losses and updates depend on, whatever shapes the other players.

    Attributes:
        gamma: reward discount.
        shaping_weight: w, weight of the gradient through the other players; 0 is naive.
        advantage: the agent's own: "td0", r_t + gamma V_{t+1} - V_t; "gae", the generalised advantage
            (Schulman et al. 2016); or "mc", G_t - V_t.
        shaping_advantage: the agent's advantage A_s in the shaping term: "same" as `advantage`, or "td0".
            A_s is multiplied with the opponent's R_k - v_k at later steps k > s of the same episode. A longer
            advantage contains the rewards of those steps too, so the two factors are correlated; the one-step
            advantage does not.
        advantage_lambda: weight of longer returns in "gae"; 0 is "td0".
        advantage_gradient: whether gradients pass through the "td0" advantage into actor and critic
            (published code) or it is a constant (paper). The others are always constants.
        advantage_baseline: "batch" subtracts the mean over the batch at each step.
        advantage_scale: "batch" then divides by the root mean square over batch and time.
        entropy_bonus: beta, weight of the policy's entropy.
        clip_norm: largest global norm of the actor step's gradient; None does not clip.
        played_policy: whether log-probabilities and values in the losses are those of the policy that acts,
            mu = (1 - e) pi + e / K (true), or those of pi, the softmax of the logits (false). As pi becomes
            deterministic, the expectation under mu of A grad log mu vanishes; that of A grad log pi does not.
        critic_warmup: iterations at the start in which only the critic learns. The errors of an untrained
            critic push the policy in arbitrary directions, from which it recovers slowly.
        critic_target: "sarsa": one step, then the target network's value of the action taken; "argmax": its
            maximum over actions instead; "lambda": the lambda-return; "returns": the full discounted return.
        critic_lambda: weight of longer returns in "lambda"; 0 is "sarsa".
        actor_lr: Adam's learning rate of the actor.
        critic_lr: Adam's learning rate of the critic.
        network_lr: Adam's learning rate of an actor's network that has a table of logits beside it
            (`loqa.agents.networks.StateHead`); the table learns at `actor_lr`.
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
