"""One run: collect, update, opponents, and what is said of it. There is one trainer for every game."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.canonical import CanonicalHead
from loqa.agents.gaussian import build_gaussian_agent
from loqa.agents.networks import GRUHead
from loqa.agents.policy import Policy
from loqa.agents.sets import AgentSets
from loqa.algos import registry as algorithms
from loqa.algos.base import Adapting, Algorithm, Context, Number
from loqa.algos.trajectory import Trajectory
from loqa.envs.base import Env
from loqa.games.base import Making
from loqa.runtime.device import PhaseClock, fetch, training_device
from loqa.runtime.distributed import ProcessGroup
from loqa.runtime.graphs import Replayed, recorder_for
from loqa.runtime.random import stream, stream_seed
from loqa.training.collect import Played, collect, collect_by_steps, collect_natively
from loqa.training.config import TrainConfig
from loqa.training.monitor import Monitor
from loqa.training.opponents import Fixed, Learning, MetaLearners, Naive, Opponents, Past


def make_agent(config: TrainConfig, seat: int = 0) -> Agent:
    """The untrained agent of a configuration; of another seat than 0 with other first weights."""
    network, inputs = config.network, config.record().inputs(config.env)
    generator = stream(config.loop.seed, "initial weights", *([seat] if seat else []))
    own = algorithms.entry(config.algo).agent
    if own is not None:
        return own(config, inputs, generator)
    given: dict[str, Any] = {
        **vars(network),
        "num_features": inputs.num_features,
        "generator": generator,
        "observes": inputs.observes,
        "config": config,
        "obs_shape": inputs.obs_shape,
    }
    one_hot, table = given.pop("actor_one_hot"), given.pop("actor_table")
    if inputs.action_box is not None:
        if not config.loop.exploration:
            raise ValueError(
                "exploration must be > 0 where actions are numbers of a box: it is the standard "
                "deviation of the policies over the width of the box, got 0"
            )
        low, high = inputs.action_box
        return build_gaussian_agent(
            action_size=inputs.action_size,
            box=inputs.action_box,
            sigma=config.loop.exploration * (high - low),
            episode_length=config.env.episode_length,
            **given,
        )
    del given["ridge_decay"]
    if inputs.observes == "states":
        given |= {"actor_one_hot": one_hot, "actor_table": table}
    if inputs.moves:
        given["moves"] = inputs.moves
    return build_agent(num_actions=inputs.num_actions, **given)


class Trainer:
    """One run's agent and everything around it.

    Randomness is counted: iteration n is a function of the configuration, of n and of the state, so
    that a run goes on bit for bit from `state_dict` and the files of `Opponents.save_files`.

    On a GPU rollouts and updates are CUDA graphs; updates not where processes exchange gradients inside.

    Args:
        config: of the run.
        processes: that share its batch. Every process plays its part of the episodes that one alone
            would play.
        fixed: who sits in the other seats where the run meets "fixed"; by default the players that its
            configuration names.
    """

    def __init__(
        self,
        config: TrainConfig,
        processes: ProcessGroup | None = None,
        fixed: Sequence[Policy | str] | None = None,
    ) -> None:
        self.config = config
        self.game = config.record()
        self.device = training_device(config.loop.device)
        self.processes = processes or ProcessGroup()
        self.iteration = 0
        self.record = recorder_for(self.device)
        self._plays: dict[str, Replayed] = {}
        self.rates: dict[str, float] = {}
        self._defers = defers(self.device)
        self._finite: FiniteWatch | None = None
        self.agent = make_agent(config).to(self.device)
        self.algorithm = self._make_algorithm(self.agent, config.algo)
        self.env = self.make_env(config.loop.batch_size, "training episodes")
        self.opponents = self._make_opponents(fixed)
        if type(self.algorithm).before is not Algorithm.before:  # refuses whom it cannot meet
            self._before(self._sitting(1), self.opponents.seat(1))
        self.monitor = Monitor(self)
        self._clock = PhaseClock(self.device)
        self._last: tuple[Trajectory, Mapping[str, Number]] | None = None

    # --- one iteration

    def iterate(self) -> None:
        """One iteration: B episodes, then one update. On a GPU it may return before they are done.

        Raises:
            FloatingPointError: the update was not finite; on a GPU at the next `settle`.
        """
        self.iteration += 1
        self._set_rates()
        with self._clock.phase("rollout"):
            seat, sitting = self.opponents.seat(self.iteration), self._sitting(self.iteration)
            trajectory, recorded = self._episodes(sitting, "training")
        with self._clock.phase("update"):
            trained = trajectory.shared() if self.config.loop.shared_reward else trajectory
            outputs = self.opponents.outputs(trained, recorded)
            self._before(sitting, seat)
            numbers = self.algorithm.update(trained, outputs, seat, self.iteration)
            beside = self.opponents.after(self.iteration, trained, outputs)
            self._check({**numbers, **beside})
        self._last = (trajectory, numbers)

    def _sitting(self, iteration: int) -> Sequence[Policy | str]:
        seat, others = self.opponents.seat(iteration), self.opponents.seats(iteration)
        return [*others[:seat], self.algorithm.policy(), *others[seat:]]

    def _episodes(self, sitting: Sequence[Policy | str], purpose: str) -> Played:
        """What an update learns from; between several batches in a row who sits there may adapt."""
        seats = [self.seat_of(one) for one in sitting]
        exploration, count = self.config.loop.exploration, self.algorithm.episodes
        if count == 1:
            return self.play(self.env, seats, purpose, exploration)
        parts = []
        for number in range(count):
            # Nobody is the same for long: nothing is recorded.
            name = f"{purpose}, episode {number}"
            played, _ = self.play(self.env, seats, name, exploration, False)
            paid = played.shared() if self.config.loop.shared_reward else played
            for seat, one in enumerate(seats):
                if isinstance(one, Adapting):
                    one.after(paid.seat(seat))
            parts.append(played)
        return Trajectory.in_a_row(parts), (None,) * len(seats)

    def _before(self, sitting: Sequence[Policy | str], seat: int) -> None:
        self.algorithm.before(sitting, seat)
        for other, algorithm in enumerate(self.opponents.algorithms, 1):
            algorithm.before(sitting, other)

    def _play_beside(self, seats: Sequence[Policy | str], name: str) -> Trajectory:
        """A fresh batch of episodes for an algorithm."""
        seats = [self.seat_of(one) for one in seats]
        trajectory, _ = self.play(self.env, seats, name, self.config.loop.exploration, False)
        return trajectory.shared() if self.config.loop.shared_reward else trajectory

    def evaluate(self, seconds: float) -> None:
        """Called after each iteration, with the seconds of training so far."""
        if self.evaluates_now:
            with self._clock.phase("evaluate"):
                self.monitor.evaluate(seconds)

    def play(
        self,
        env: Env,
        seats: Sequence[Policy | str],
        purpose: str,
        exploration: float = 0.0,
        records: bool = True,
    ) -> Played:
        """This process's part of the episodes of (seed, purpose, iteration); with `records` a GPU keeps a
        recording of the purpose for the iterations to come."""
        name = (self.config.loop.seed, purpose, self.iteration)
        seed = stream_seed(*name)
        steps, players = env.spec.episode_length, env.spec.num_players
        each = () if env.spec.action_box is None else (env.spec.action_size,)

        def draws() -> Tensor:
            episodes = env.num_envs * self.processes.size
            numbers = torch.rand(
                (steps, players, episodes, *each),
                generator=stream(*name, device=self.device), device=self.device,
            )  # fmt: skip
            return numbers[:, :, self.processes.share(episodes)]

        if self.record is None or not records or not getattr(env, "recordable", True):
            return collect(env, seats, draws, seed, exploration)
        natively = collect_natively(env, seats, draws, seed, exploration)
        if natively is not None:  # one kernel for whole episodes
            return natively
        if purpose not in self._plays:
            by_steps = partial(collect_by_steps, env, exploration=exploration)
            self._plays[purpose] = Replayed(by_steps, self.record)
        played: Played = self._plays[purpose](tuple(seats), draws(), env.reset(seed=seed))
        return played

    def seat_of(self, policy: Policy | str) -> Policy | str:
        """What sits in a seat for an agent: one of recurrent features is laid out for stepping."""
        if isinstance(policy, Agent) and policy.observes == "features":
            return (
                AgentSets.of(policy)
                if isinstance(policy.actor, GRUHead | CanonicalHead)
                else policy
            )
        return policy

    @property
    def evaluates_now(self) -> bool:
        """Whether `evaluate` does something after this iteration."""
        every = self.config.evaluation.evaluate_every
        last = self.iteration == self.config.loop.iterations
        return bool(every) and (self.iteration % every == 0 or last)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.monitor.stops or self.iteration >= self.config.loop.iterations

    @property
    def env_steps(self) -> int:
        """Environment steps played for training so far."""
        steps: int = self.config.env.episode_length
        algorithms = (self.algorithm, *self.opponents.algorithms)
        each = self.algorithm.episodes + sum(one.batches_beside for one in algorithms)
        batches = self.iteration * each + self.opponents.batches_beside(self.iteration)
        return self.config.loop.batch_size * steps * batches

    # --- what is said of it

    def metrics(self) -> dict[str, Any]:
        """Numbers of the last iteration. "reward" is what was paid, under exploration, per step, to the
        agent that learns and then to the others; seconds by phase are those since the last call."""
        assert self._last is not None
        trajectory, numbers = self._last
        means = [_value(number).mean() for number in numbers.values()]
        paid, *rest = fetch([trajectory.rewards.mean((0, 1)), *means])
        paid.insert(0, paid.pop(self.opponents.seat(self.iteration)))
        plain: dict[str, float] = {}
        loss: dict[str, float] = {}
        for name, (value,) in zip(numbers, rest, strict=True):
            (loss if name.startswith("loss/") else plain)[name.removeprefix("loss/")] = value
        return {
            "reward": paid,
            **plain,
            "loss": loss,
            "phase_seconds": self._clock.take(),
            **self.opponents.metrics(),
            **self.monitor.metrics(),
        }

    def summary(self) -> dict[str, Any]:
        """What the run has come to."""
        return self.monitor.summary()

    # --- saved and restored

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next iteration depends on, less the files of `Opponents.save_files`."""
        state = {
            "iteration": self.iteration,
            "learner": self.algorithm.state_dict(),
            **self.opponents.state_dict(),
            **self.monitor.state_dict(),
        }
        if hasattr(self.env, "state_dict"):
            state["env"] = self.env.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any], run: Path) -> None:
        """Goes on where `state_dict` was taken, before the first iteration; `run` has the files."""
        self.iteration = int(state["iteration"])
        self.algorithm.load_state_dict(state["learner"])
        self.opponents.load_state_dict(state, run)
        self.monitor.load_state_dict(state)
        if hasattr(self.env, "load_state_dict"):
            self.env.load_state_dict(state["env"])

    # --- finite

    def settle(self) -> None:
        """Waits until the device has done all that it was asked; raises what `iterate` could not yet."""
        if self._defers and self._finite is not None:
            self._finite.check()

    def _check(self, numbers: Mapping[str, Number]) -> None:
        """Looks whether an update was finite: on the CPU at once, on a GPU at the next `settle`."""
        names = tuple(name for name in numbers if name.startswith(("loss/", "grad_norm")))
        watched = [_value(numbers[name]).mean() for name in names]
        if not self._defers and all(map(math.isfinite, watched)):
            return
        if self._finite is None:
            self._finite = FiniteWatch(names, self.device)
        self._finite.note(self.iteration, watched)
        if not self._defers:
            self._finite.check()

    # --- what it is made of

    def make_env(self, episodes: int, purpose: str) -> Env:
        """An environment for this process's part of so many episodes."""
        part = self.processes.share(episodes)
        count, threads = part.stop - part.start, self.config.loop.num_threads
        seed = stream_seed(self.config.loop.seed, purpose)
        making = Making(count, seed, self.device, threads, first_env=part.start)
        return self.game.make_env(self.config.env, making)

    def _make_algorithm(self, agent: Agent, algo: str) -> Algorithm:
        loop, play = self.config.loop, self._play_beside
        context = Context(self.processes, loop.exploration, self.record, loop.seed, play)
        return algorithms.entry(algo).algorithm(agent, self.config.settings(algo), context)

    def _make_opponents(self, sitting: Sequence[Policy | str] | None) -> Opponents:
        others, players = self.config.others, self.env.spec.num_players
        if others.meets == "past":
            records = self.algorithm.reads_others
            return Past(self.agent, self.config, players, records, self.processes)
        if others.meets == "learners":
            theirs = self.config.algo if others.other_algo == "same" else others.other_algo
            learning = [
                self._make_algorithm(make_agent(self.config, seat).to(self.device), theirs)
                for seat in range(1, players)
            ]
            if self.algorithm.episodes > 1:
                return MetaLearners(self.algorithm, learning, self.config, self._episodes)
            return Learning(learning)
        if others.meets == "naive":
            return Naive(self.algorithm)
        if others.meets == "fixed":
            fixed = others.fixed * (players - 1) if len(others.fixed) == 1 else others.fixed
            if len(fixed) != players - 1:
                raise ValueError(f"fixed must name {players - 1} players, got {', '.join(fixed)}")
            if others.take_turns and self.algorithm.keeps_seat:
                algo = self.config.algo
                raise ValueError(f"take_turns is not for {algo}: it knows who sits where")
            seats = [self._player(name) for name in fixed] if sitting is None else sitting
            return Fixed(seats, others.take_turns)
        return Fixed([self.agent] * (players - 1))  # the agent as it is now, in every seat

    def _player(self, name: str) -> Policy | str:
        """A player by its name in the game, or the agent of a run, of a checkpoint or of the package."""
        from loqa.training.train import TRAINED, load_agent  # which trains, by this module

        if name in TRAINED or Path(name).exists():
            agent = load_agent(name).to(self.device).requires_grad_(False)
            assert agent.config is not None
            made = vars(agent.config.record().inputs(agent.config.env))
            shown = vars(self.game.inputs(self.config.env))
            differing = [key for key in made if made[key] != shown[key]]
            if differing:
                told = ", ".join(f"{key} {made[key]} (here {shown[key]})" for key in differing)
                raise ValueError(f"{name} learned what this run does not show: {told}")
            return self.seat_of(agent)
        try:
            return self.game.player(name)
        except ValueError as error:
            raise ValueError(
                f"{error}; there is no run or checkpoint of that name either"
            ) from error

    def _set_rates(self) -> None:
        """Tells the algorithms the rates of this iteration, and the opponents whether annealing has begun."""
        self.opponents.began = self.monitor.began
        schedule, first = self.config.schedule, self.config.settings()
        share = schedule.share(self.iteration, self.monitor.began)
        rates = {"shaping_weight": self.monitor.shaping_weight}
        for field, name in schedule.finals().items():
            final, begin = getattr(schedule, field), getattr(first, name, None)
            if final is not None and begin is not None:
                rates[name] = begin + share * (final - begin)
        rates = {name: rate for name, rate in rates.items() if name in self.algorithm.rates}
        if rates != self.rates:
            self.algorithm.set_rates(**rates)
            beside = dict(rates)
            if not self.monitor.shaping_weight:  # who shapes beside a naive agent goes on to
                beside.pop("shaping_weight", None)
            for algorithm in self.opponents.algorithms:
                algorithm.set_rates(**beside)
            self.rates = rates


def _value(number: Number) -> Tensor:
    return number if isinstance(number, Tensor) else number()


class FiniteWatch:
    """Notes on the device in which iteration one of an algorithm's numbers first was NaN or infinite."""

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self._names = names
        self._where = torch.zeros(len(names), dtype=torch.float64, device=device)  # 0: never
        self._value = torch.zeros(len(names), device=device)

    def note(self, iteration: int, numbers: list[Tensor]) -> None:
        """Looks at the numbers of an iteration (from 1) without waiting for them."""
        values = torch.stack(numbers).float()
        fine = values.isfinite() | (self._where != 0)
        self._where = torch.where(fine, self._where, float(iteration))
        self._value = torch.where(fine, self._value, values)

    def check(self) -> None:
        """Waits for the device; FloatingPointError names what was not finite first, and its iteration."""
        where, values = fetch([self._where, self._value])
        bad = [found for found in zip(where, values, self._names, strict=True) if found[0]]
        if bad:
            iteration, value, name = min(bad, key=lambda found: found[0])
            kind, of, player = name.partition(" of ")
            loss = f"{kind.removeprefix('loss/')} loss"
            what = "norm of the actor's gradient" if kind == "grad_norm" else loss
            raise FloatingPointError(
                f"the {what}{of}{player} is {value} at iteration {int(iteration)}"
            )


def defers(device: torch.device) -> bool:
    """Whether synchronising is expensive, so that a run looks at its numbers now and then only."""
    return device.type != "cpu"
