"""Tree search against exact dynamic programming."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from coin_dp import CoinModel

import loqa
from loqa.agents.actor_critic import build_agent
from loqa.agents.player import Player
from loqa.evaluation.mcts import MCTSPolicy, SearchSettings, mcts_best_response
from loqa.evaluation.players import as_player


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Products as small as these are slower on two threads, much slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Pendulum:
    """Moves as if it could count: one habit at even steps, the other at odd ones. Its state is the
    number of steps so far."""

    def __init__(self, habits: torch.Tensor) -> None:
        self.habits = habits.log()

    def initial_state(self, batch_size: int) -> torch.Tensor:
        return torch.zeros(batch_size, 1)

    def step(self, obs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.habits[state[:, 0].long() % 2], state + 1


def with_memory(first: list[float], then: list[float]) -> Player:
    policy = Pendulum(torch.tensor([first, then]))
    return Player("pendulum", "test", ("coin_game",), f"{first}{then}", policy=policy)


def regret(
    model: CoinModel, q_values: np.ndarray, policy: MCTSPolicy, t: int, state: torch.Tensor
) -> np.ndarray:
    """What the moves that the search takes give away in each state, `[S]`."""
    _, obs = model.env()
    log_probs, _ = policy.step(obs[:, 0], state)
    taken = log_probs.argmax(-1).numpy()
    assert (log_probs.exp().sum(-1) == 1).all()
    return q_values.max(1) - q_values[np.arange(len(taken)), taken]


def network(model: CoinModel, seed: int) -> tuple[Player, np.ndarray]:
    """A network without memory, sharp enough to be worth knowing, and its probabilities in every
    state as player 1."""
    generator = torch.Generator().manual_seed(seed)
    features = 4 * model.height * model.width
    agent = build_agent("mlp", "mlp", features, 4, generator=generator).requires_grad_(False)
    agent.actor.linear_end.weight.normal_(0, 4, generator=generator)
    _, obs = model.env()
    probabilities = agent.log_probs(obs[None, :, 1]).exp()[0].double().numpy()
    return as_player(agent), probabilities


@pytest.mark.parametrize("board", [(1, 3), (2, 2)])
def test_equals_dynamic_programming_on_small_boards(board: tuple[int, int]) -> None:
    """Four steps from the end, from every state: nearly no regret, and nearly the exact value."""
    model = CoinModel(*board)
    opponent, probabilities = network(model, 3)
    exact = model.best_values(lambda t: probabilities, 4)
    search = SearchSettings(trees=4, simulations=400, horizon=9, discount=1.0)
    policy = mcts_best_response(opponent, guide="random", episode_length=4, height=board[0],
                                width=board[1], search=search).policy  # fmt: skip
    assert isinstance(policy, MCTSPolicy)
    start = policy.initial_state(len(model.states))
    lost = regret(model, exact[0], policy, 0, start)
    by_chance = exact[0].max(1) - exact[0].mean(1)
    assert lost.mean() < 0.05 * by_chance.mean()
    # At the last step nothing is left to search: means are the expected rewards themselves.
    start[:, 0] = 3
    _, obs = model.env()
    counts, means = policy.values(obs[:, 0], start)
    assert (counts.sum(-1) == 1600).all()
    error = 1.5 / counts.sqrt().numpy()  # rewards are in -2..1
    assert (np.abs(means.numpy() - exact[3]) < 5 * error).all()


def test_memory_of_the_opponent_is_carried_along() -> None:
    """A player that alternates between two habits: the search must know where it is in time."""
    model = CoinModel(1, 3)
    habits = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]  # left, then nowhere (up, on one row)
    opponent = with_memory(*habits)
    tables = [np.tile(habit, (len(model.states), 1)) for habit in habits]
    steps = 5
    exact = model.best_values(lambda t: tables[t % 2], steps)
    search = SearchSettings(trees=4, simulations=300, horizon=9, discount=1.0)
    response = mcts_best_response(opponent, guide="random", episode_length=steps, height=1,
                                  width=3, search=search)  # fmt: skip
    policy = response.policy
    assert isinstance(policy, MCTSPolicy)
    # At step 1 the opponent is in its other habit.
    state = policy.initial_state(len(model.states)) + 1
    lost = regret(model, exact[1], policy, 1, state)
    by_chance = exact[1].max(1) - exact[1].mean(1)
    assert lost.mean() < 0.05 * by_chance.mean()
    # Were its memory lost on the way, this is what the best would be worth.
    forgetful = model.best_values(lambda t: tables[0], steps)
    wrong = forgetful[1].argmax(1)
    gap = exact[1].max(1) - exact[1][np.arange(len(wrong)), wrong]
    assert gap.mean() > 0.2 * by_chance.mean()
    # Whole episodes, in both seats.
    value = float(model.start() @ exact[0].max(1)) / steps
    played = loqa.evaluate(response, opponent, episodes=200, episode_length=steps, height=1,
                           width=3)  # fmt: skip
    for score in (played.total, *played.seats):
        assert abs(score.reward[0].mean - value) < 4 * score.reward[0].standard_error + 0.02


def test_reaches_the_exact_optimum_against_scripted_players() -> None:
    """3 x 3, 8 steps: within four standard errors and 0.02 of the best that there is."""
    model = CoinModel(3, 3)
    for name in ("always-cooperate", "always-defect", "random"):
        table = model.scripted(name, draws=60)
        exact = model.best_values(lambda t, table=table: table, 8)[0].max(1)
        value = float(model.start() @ exact) / 8
        search = SearchSettings(trees=4)
        response = mcts_best_response(name, episode_length=8, search=search)
        result = loqa.evaluate(response, name, episodes=100, episode_length=8, statistics=False)
        mine = result.total.reward[0]
        assert abs(mine.mean - value) < 4 * mine.standard_error + 0.02, (name, value, mine)


def test_the_same_again_and_another_seed_differs() -> None:
    search = SearchSettings(trees=2, simulations=5, horizon=4)
    found = [
        loqa.evaluate(
            mcts_best_response("random", guide="random", episode_length=6, seed=seed, search=search),
            "random", episodes=20, episode_length=6, num_threads=threads,
        )
        for seed, threads in ((0, 1), (0, 2), (1, 1))
    ]  # fmt: skip
    assert found[0] == found[1]
    assert found[0].total.reward != found[2].total.reward


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match=r"tit-for-tat plays ipd or .*, not coin_game"):
        mcts_best_response("tft")
    with pytest.raises(ValueError, match="simulations"):
        SearchSettings(simulations=0)
    response = mcts_best_response("random", guide="random", episode_length=3, height=4, width=4)
    with pytest.raises(ValueError, match="4 x 4, got 3 x 3"):
        loqa.evaluate(response, "random", height=3, width=3, episodes=2)
    with pytest.raises(ValueError, match="plays by the rules of loqa24, not pola22"):
        loqa.evaluate(response, "random", preset="pola22", episodes=2)
    assert isinstance(response.policy, MCTSPolicy)
    with pytest.raises(ValueError, match=r"the search knows the planes \[4, 4, 4\]"):
        response.policy.values(torch.zeros(2, 4, 3, 3), torch.zeros(2, 1))
