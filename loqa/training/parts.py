"""The parts of a run's configuration that every game and every algorithm has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loqa._checks import Checked, Count, Range, Rate, Share, check_fields
from loqa.runtime.device import check_name

MATMUL_PRECISION = {"float32": "highest", "tf32": "high", "bfloat16": "medium"}
"""What `torch.set_float32_matmul_precision` calls them."""
Often = Annotated[int, Range(0, 2**31 - 1)]
"""A number of iterations; 0 is never."""


@dataclass(frozen=True)
class Loop:
    """How long a run learns, from how much, and where.

    Attributes:
        seed: of all random numbers; a run is a function of its configuration.
        iterations: number of updates.
        time_limit: seconds of training after which the run (or, if it was resumed, this session) stops early;
            None is no limit.
        batch_size: B, episodes in an iteration.
        exploration: e, probability that a player takes a uniformly random action while episodes are sampled.
            Where actions are continuous: the standard deviation of the Gaussian policy, as a share of the
            width of the box; it must be above 0.
        shared_reward: whether every player's reward is replaced by the mean of all players' rewards.
        num_threads: threads of torch and of the simulator. One is fastest for the prisoner's dilemma; the
            Coin Game's default takes a third less time with two, if both cores are free, and much
            more if they are not. Another number rounds sums differently, so that the same seed gives another
            run. The default does not depend on the machine.
        matmul: "float32"; "tf32" for matrix products that round their factors to 11 bits on GPUs; or
            "bfloat16", 8 bits where the processor is faster at it, on GPUs before the recurrent layers
            (the rest is tf32 there). Sums stay float32.
        device: where the run takes place, "cpu", "cuda" or "cuda:N". A GPU draws other random numbers
            than the CPU, so that the same seed gives another run there.
        log_every: iterations between two lines of metrics.jsonl.
        wandb: project of Weights & Biases to send the metrics to; None sends nothing. Where
            TensorBoard is installed, its files are written to the run directory.
        checkpoint_every: iterations between two checkpoints.
    """

    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    iterations: Count = 1000
    time_limit: Annotated[float | None, Range(0)] = None
    batch_size: Count = 256
    exploration: Share = 0.0
    shared_reward: bool = False
    num_threads: Annotated[int, Range(1, 1024)] = 1
    matmul: Literal["float32", "tf32", "bfloat16"] = "float32"
    device: str = "cpu"
    log_every: Count = 10
    wandb: str | None = None
    checkpoint_every: Count = 500

    def __post_init__(self) -> None:
        check_fields(self)
        check_name(self.device)


@dataclass(frozen=True)
class Network(Checked):
    """The agent's networks.

    Attributes:
        actor: "logits" (a row for each state; where the game shows a state index), "mlp", "gru", "cnn"
            (3 x 3 convolutions; where the game shows a board), or "hats" (of last actions; where they are
            numbers and the game shows them, `loqa.agents.hats`).
        actor_one_hot: whether an "mlp" or "gru" actor reads a state index as a one-hot vector; else in bits.
        actor_table: whether a table of logits, one row for each state, is added to the output of an "mlp" or
            "gru" actor that reads a state index. Then `actor_lr` is the table's learning rate and
            `network_lr` the network's. Without the table some seeds never learn to cooperate in the first
            step.
        critic: "mlp", "gru", "cnn"; or, where actions are numbers, "ridge" (fitted to returns in each
            iteration, `loqa.agents.hats`).
        actor_hidden: units of the actor's hidden layers and GRU.
        critic_hidden: units of the critic's.
        layers_before_gru: linear layers before the recurrent one, 0, 1 or 2.
        ridge_decay: factor by which a ridge critic discounts the data of earlier iterations, per iteration.
    """

    actor: Literal["logits", "mlp", "gru", "cnn", "hats"] = "logits"
    actor_one_hot: bool = False
    actor_table: bool = False
    critic: Literal["mlp", "gru", "cnn", "ridge"] = "mlp"
    actor_hidden: Annotated[int, Range(1, 2**16)] = 16
    critic_hidden: Annotated[int, Range(1, 2**16)] = 16
    layers_before_gru: Annotated[int, Range(0, 2)] = 2
    ridge_decay: Share = 0.8


@dataclass(frozen=True)
class Others:
    """Whom the agent meets.

    Attributes:
        meets: who sits in the other seats. "self": copies of the agent as it is now. "past": earlier versions
            of the agent. "learners": in each seat a separate agent that learns at the same time. "naive": a
            naive learner, new in every iteration, that learns from each of its episodes (for algorithms that
            learn from several episodes in a row: M-FOS). "fixed": the players of `fixed`.
        other_algo: what the other seats learn by where they are learners: "same", or an algorithm that reads
            the same settings (naive beside loqa).
        fixed: scripted players of the game, runs, checkpoints or agents of the package; one for each other
            seat, or one for all.
        take_turns: whether the agent that meets fixed players takes another seat in every iteration; else
            it sits in seat 0.
        opponents: K, number of past agents that a batch is played against, with B / K episodes each; K must
            divide B. The published code draws one for each episode.
        replay_capacity: largest number of past agents that are kept.
        replay_every: iterations between two past agents that are kept.
        early_opponents: once annealing has begun, the share of opponents that is drawn only from agents kept
            before it began. Those agents defect, and an agent that keeps meeting them does not forget how to
            retaliate. With 0 all opponents are drawn from all agents kept.
    """

    meets: Literal["self", "past", "learners", "naive", "fixed"] = "self"
    other_algo: str = "same"
    fixed: tuple[str, ...] = ()
    take_turns: bool = False
    opponents: Count = 32
    replay_capacity: Count = 10_000
    replay_every: Count = 10
    early_opponents: Share = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.other_algo != "same" and self.meets != "learners":
            raise ValueError(f"other_algo needs meets learners, got {self.meets}")
        if (self.meets == "fixed") != bool(self.fixed):
            raise ValueError(f"meets fixed needs the players of --fixed, got {self.fixed}")
        if self.take_turns and self.meets != "fixed":
            raise ValueError(f"take_turns is of an agent that meets fixed, got meets {self.meets}")


@dataclass(frozen=True)
class Schedule(Checked):
    """How rates change: along a straight line from their first to their final value.

    Attributes:
        anneal: iterations over which the entropy bonus and the learning rates go from their first to
            their final value; 0 keeps the first.
        anneal_after: iterations before annealing begins.
        anneal_once: "answers" also waits for the first evaluation in which the agent does well enough against
            always-defect (in the Coin Game: as its threshold "strong" demands); "at_once" does not wait.
        entropy_final: the final entropy bonus; None keeps the first.
        actor_lr_final: the actor's final learning rate; None keeps the first.
        network_lr_final: the final learning rate of a network beside a table; None keeps the first. A
            recurrent network that goes on learning comes to forgive defections caused by exploration.
        critic_lr_final: the critic's final learning rate; None keeps the first.
    """

    anneal: Often = 0
    anneal_after: Often = 0
    anneal_once: Literal["at_once", "answers"] = "at_once"
    entropy_final: float | None = None
    actor_lr_final: float | None = None
    network_lr_final: float | None = None
    critic_lr_final: float | None = None

    @staticmethod
    def finals() -> dict[str, str]:
        """The field of each final value, and the rate that goes there."""
        rates = {f"{name}_final": name for name in ("actor_lr", "network_lr", "critic_lr")}
        return {"entropy_final": "entropy_bonus", **rates}

    def share(self, iteration: int, began: int | None) -> float:
        """How far the rates have gone in an iteration, in [0, 1], if annealing `began` after another."""
        after = 0 if began is None else max(0, iteration - began)
        return min(1.0, after / self.anneal) if self.anneal else 0.0


@dataclass(frozen=True)
class Steering(Checked):
    """How the shaping weight follows the reward in self-play.

    Attributes:
        self_play_target: reward a step in self-play that the shaping weight is steered to once annealing
            begins: every evaluation below it raises the weight, every one above it lowers it. None keeps
            the weight, and a `shaping_weight` of 0 stays 0.
        steering_rate: change of the weight's logarithm in an iteration for a missing reward of 1.
        steering_limit: largest factor by which the weight may leave its first value.
    """

    self_play_target: float | None = None
    steering_rate: Rate = 0.05
    steering_limit: Annotated[float, Range(1)] = 2.5


@dataclass(frozen=True)
class Evaluations(Checked):
    """How a run is evaluated on the way.

    Attributes:
        evaluate_every: iterations between two evaluations, of the agent against itself and the game's
            scripted players; 0 evaluates nothing.
        evaluation_episodes: episodes against each of them.
        stop_at: ends the run at the first evaluation that meets this threshold of the game, in the Coin
            Game "weak", "medium" or "strong"; "never" goes on.
    """

    evaluate_every: Often = 0
    evaluation_episodes: Annotated[int, Range(1, 2**16)] = 256
    stop_at: str = "never"
