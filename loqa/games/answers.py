"""What a player of the iterated prisoner's dilemma answers, and the classical strategy that this is."""

from __future__ import annotations

import torch

from loqa.agents.actor_critic import Agent
from loqa.agents.networks import NUM_IPD_STATES
from loqa.runtime.random import stream

STATES = ("start", "CC", "CD", "DC", "DD")
COOPERATES = 0.9
"""A strategy is said to cooperate in a state if it does so with at least this probability..."""
DEFECTS = 0.2
"""... and to defect if it cooperates with at most this one."""

# Answers (C or D) at the start and after CC, CD, DC, DD, own action first.
STRATEGIES = {
    "tit-for-tat": "CCDCD",
    "always-defect": "DDDDD",
    "always-cooperate": "CCCCC",
    "win-stay-lose-shift": "CCDDC",
    "grim": "CCDDD",
}
_EVALUATION_EPISODES = 512


def strategy_name(p_cooperate: dict[str, float]) -> str:
    """The classical strategy that these five probabilities are, or "other"."""
    answers = "".join(
        "C" if p >= COOPERATES else "D" if p <= DEFECTS else "?"
        for p in (p_cooperate[state] for state in STATES)
    )
    return next((name for name, pattern in STRATEGIES.items() if pattern == answers), "other")


def nearest_strategy(p_cooperate: dict[str, float]) -> str:
    """The classical strategy that these five probabilities are nearest to, in their mean distance."""

    def distance(name: str) -> float:
        answers = zip(p_cooperate.values(), STRATEGIES[name], strict=True)
        return sum(abs(p - (answer == "C")) for p, answer in answers)

    return min(STRATEGIES, key=distance)


def cooperation(agent: Agent, episode_length: int) -> list[float]:
    """P(C) in each of `STATES`, of an agent of two actions, the first of them to cooperate.

    Exact for agents without memory. For a recurrent agent: the mean over the steps of episodes in
    which both players' actions are drawn uniformly, grouped by the last joint action.
    """
    device = next(agent.parameters()).device
    with torch.no_grad():
        if not agent.actor.recurrent:
            every_state = torch.arange(NUM_IPD_STATES, device=device)[None]
            table: list[float] = agent.log_probs(every_state)[0, :, 0].exp().tolist()
            return table
        generator = stream(0, "cooperation")
        index = torch.randint(
            1, NUM_IPD_STATES, (episode_length + 1, _EVALUATION_EPISODES), generator=generator
        )
        index[0] = 0
        probabilities = agent.log_probs(index.to(device))[..., 0].exp().cpu()
        return [float(probabilities[index == state].mean()) for state in range(NUM_IPD_STATES)]


def cooperation_own_play(
    agent: Agent, episode_length: int, exploration: float = 0.0, seed: int = 0
) -> list[float]:
    """P(C) in each of `STATES` where the agent meets itself; NaN in a state that never came.

    Exact for agents without memory, and the same as `cooperation`. For a recurrent agent: the mean of
    its own probabilities, exploration not counted, over the steps of episodes that two copies of it
    play, grouped by the last joint action. Without exploration it hardly sees some of these states.
    """
    if not agent.actor.recurrent:
        return cooperation(agent, episode_length)
    device = next(agent.parameters()).device
    rows = 2 * _EVALUATION_EPISODES
    shape = (episode_length, rows)
    draws = torch.rand(shape, generator=stream(seed, "own play")).to(device)
    totals = torch.zeros(2, NUM_IPD_STATES, dtype=torch.float64, device=device)
    index = torch.zeros(rows, dtype=torch.int64, device=device)
    state = agent.initial_state(rows)
    with torch.no_grad():
        step = agent.stepper()
        for draw in draws:
            log_probs, state = step(index, state)
            p = log_probs[:, 0].exp()
            totals.index_add_(1, index, torch.stack([p, torch.ones_like(p)]).double())
            defects = (draw >= p * (1 - exploration) + exploration / 2).long()
            # The copies of a game lie half of the rows apart.
            index = 1 + 2 * defects + defects.roll(_EVALUATION_EPISODES)
    means: list[float] = (totals[0] / totals[1]).tolist()
    return means
