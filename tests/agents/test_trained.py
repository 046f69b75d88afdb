"""The agents that come with the package play as its README says, and agents can be exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from loqa import evaluate
from loqa.agents.actor_critic import Agent
from loqa.cli.main import main
from loqa.evaluation.players import as_player
from loqa.training.checkpoint import load_checkpoint, save_checkpoint
from loqa.training.config import CoinConfig
from loqa.training.train import TRAINED, export_agent, load_agent, train


def test_there_are_three() -> None:
    boards = {f"loqa-coin-{side}x{side}": (side, side) for side in (3, 5, 7)}
    assert list(TRAINED) == list(boards)
    assert sum(file.stat().st_size for file in TRAINED.values()) < 600_000
    for name, file in TRAINED.items():
        assert "loqa train coin --" in load_checkpoint(file)["note"]
        assert isinstance(load_agent(name), Agent)
        player = as_player(name)
        assert (player.name, player.grid, player.games) == (name, boards[name], ("coin_game",))


@pytest.mark.parametrize(
    ("name", "cooperation", "against"),
    [
        ("loqa-coin-3x3", 0.32, -0.05),
        ("loqa-coin-5x5", 0.18, -0.03),
        ("loqa-coin-7x7", 0.128, -0.03),
    ],
)
def test_they_reciprocate(name: str, cooperation: float, against: float) -> None:
    """By what cooperation pays on their board: 0.348 a step on 3 x 3, 0.203 on 5 x 5, 0.142 on 7 x 7."""

    def reward(other: str) -> float:
        result = evaluate(name, other, episodes=200, seed=1)
        return float(result.total.reward[0].mean)

    # The standard error of 200 episodes in each seat is about 0.002.
    assert reward(name) > cooperation
    assert reward("always-cooperate") > cooperation
    assert reward("always-defect") > against


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = CoinConfig(iterations=1, batch_size=4, opponents=2, episode_length=3,
                        evaluation_episodes=2, actor_hidden=4, critic_hidden=4)  # fmt: skip
    train(config, tmp_path / "run")
    file = tmp_path / "agent.safetensors"
    assert main(["export", str(tmp_path / "run"), str(file), "--note", "by hand"]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    assert load_checkpoint(file)["note"] == "by hand"
    run, alone = load_agent(tmp_path / "run"), load_agent(file)
    for name, value in run.state_dict().items():
        assert torch.equal(value, alone.state_dict()[name])
    small = tmp_path / "small.safetensors"
    assert main(["export", str(file), str(small), "--half"]) == 0
    for name, value in load_agent(small).state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, alone.state_dict()[name], rtol=2**-11, atol=1e-7)
    with torch.no_grad():
        alone.actor.linear_end.bias.fill_(1e6)
    huge = load_checkpoint(file)
    huge["trainer"]["learner"]["agent"] = alone.state_dict()
    save_checkpoint(tmp_path / "huge.safetensors", huge)
    with pytest.raises(ValueError, match=r"in 16 bits: actor\.linear_end\.bias holds"):
        export_agent(tmp_path / "huge.safetensors", small, half=True)
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        export_agent(file, tmp_path / "agent.npz")
    with pytest.raises(FileNotFoundError):
        export_agent(tmp_path / "nothing", file)
