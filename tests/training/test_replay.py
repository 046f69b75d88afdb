"""The pool of past agents: what is drawn, what survives on disk."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from kernel_cases import DEVICES

from loqa.agents.actor_critic import Agent, build_agent
from loqa.training.replay import ReplayPool

_LIKE = build_agent("gru", "gru", 3, 2, actor_hidden=2, critic_hidden=2)


def _agent(value: float) -> Agent:
    agent = copy.deepcopy(_LIKE)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.fill_(value)
    return agent


def _drawn(pool: ReplayPool, count: int = 400, seed: int = 0) -> torch.Tensor:
    sample = pool.gather(pool.draw(count, torch.Generator().manual_seed(seed)))
    rows = torch.cat([stacked.flatten(1) for stacked in sample.values()], 1)
    assert (rows == rows[:, :1]).all()
    return rows[:, 0]


def test_draws_are_uniform_over_what_is_there() -> None:
    pool = ReplayPool(_agent(0), capacity=4)
    for i in range(6):
        pool.push(_agent(i))
        assert len(pool) == min(i + 1, 4)
    values, counts = _drawn(pool, 4000).unique(return_counts=True)
    assert values.tolist() == [2, 3, 4, 5]
    # Chi-square with three degrees of freedom: 16.3 is passed once in a thousand.
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 16.3
    assert torch.equal(_drawn(pool, seed=1), _drawn(pool, seed=1))
    assert not torch.equal(_drawn(pool, seed=1), _drawn(pool, seed=2))


def test_a_share_of_the_draws_is_of_the_first_agents() -> None:
    pool = ReplayPool(_agent(0), capacity=10)
    generator = torch.Generator().manual_seed(0)

    def share_of_first() -> float:
        return float((pool.draw(4000, generator, early=4, share=0.5) < 4).double().mean())

    for _ in range(4):
        pool.push(_agent(0))
    assert share_of_first() == 1
    for _ in range(6):
        pool.push(_agent(0))
    # Half of the draws, and four tenths of the rest; five standard deviations.
    assert share_of_first() == pytest.approx(0.5 + 0.5 * 0.4, abs=5 * math.sqrt(0.21 / 4000))
    pool.push(_agent(0))  # in the place of the first
    assert share_of_first() == pytest.approx(0.4, abs=5 * math.sqrt(0.24 / 4000))


def test_shapes_names_and_precision() -> None:
    agent = build_agent("gru", "gru", 5, 2, generator=torch.Generator().manual_seed(0))
    pool = ReplayPool(agent, 3)
    pool.push(agent)
    sample = pool.gather(pool.draw(2, torch.Generator()))
    assert sample.keys() == dict(agent.named_parameters()).keys()
    for name, parameter in agent.named_parameters():
        assert sample[name].shape == (2, *parameter.shape)
        assert sample[name].dtype == parameter.dtype
        torch.testing.assert_close(sample[name][1], parameter, rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("on_host", [False, True])
def test_a_pool_for_a_gpu(
    device: str, on_host: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the GPU's memory or, where that is short, in the host's; files are the same for both."""
    if on_host:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 0))
    pool = ReplayPool(_agent(0).to(device), 100)
    assert (pool.device.type, pool._rows.is_pinned()) == (
        ("cpu", True) if on_host else ("cuda", False)
    )
    for i in range(70):
        pool.push(_agent(i).to(device))
    sample = pool.gather(pool.draw(400, torch.Generator(pool.device).manual_seed(0)))
    assert {value.device.type for value in sample.values()} == {"cuda"}
    assert set(sample["actor.bias_hn"][:, 0].tolist()) <= set(range(70))
    pool.save_blocks(tmp_path)
    on_cpu = ReplayPool(_agent(0), 100)
    on_cpu.load_state_dict(pool.state_dict(), tmp_path)
    assert torch.equal(on_cpu._rows[:70], pool._rows[:70].cpu())


def test_ten_thousand_published_agents_fit_in_five_gigabytes() -> None:
    agent = build_agent("gru", "gru", 36, 4, actor_hidden=128, critic_hidden=64)
    count = sum(parameter.numel() for parameter in agent.parameters())
    pool = ReplayPool(agent, 10_000)
    assert pool._rows.nbytes == 10_000 * count * 2 < 5e9


@pytest.mark.parametrize("capacity", [1000, 100, 7])
def test_survives_on_disk(tmp_path: Path, capacity: int) -> None:
    pool = ReplayPool(_agent(0), capacity)
    for i in range(300):
        pool.push(_agent(i))
        if i % 50 == 0:
            pool.save_blocks(tmp_path)
            pool.drop_blocks(tmp_path)
    pool.save_blocks(tmp_path)
    again = ReplayPool(_agent(0), capacity)
    again.load_state_dict(pool.state_dict(), tmp_path)
    assert len(again) == len(pool)
    assert torch.equal(_drawn(again), _drawn(pool))
    for i in range(300, 500):  # and both go on alike, across the ring's end
        pool.push(_agent(i))
        again.push(_agent(i))
    for _ in range(2):
        again.save_blocks(tmp_path)
        again.drop_blocks(tmp_path)
    assert torch.equal(_drawn(again), _drawn(pool))
    kept = sum(1 for _ in tmp_path.iterdir()) * 64
    assert kept <= capacity + 2 * 64 or capacity == 1000


def test_blocks_stay_until_two_checkpoints_need_them_no_more(tmp_path: Path) -> None:
    """220 agents a checkpoint and places for 80: nothing of a checkpoint is in the next one."""
    pool = ReplayPool(_agent(0), 80)
    checkpoints = []
    for number in range(1, 5):
        for i in range(220):
            pool.push(_agent(220 * number + i))
        pool.save_blocks(tmp_path)
        for state in checkpoints[-2:]:  # killed here, or the newest damaged
            again = ReplayPool(_agent(0), 80)
            again.load_state_dict(state, tmp_path)
            assert torch.equal(_drawn(again).min(), torch.tensor(state["pushed"] + 220.0 - 80))
        checkpoints.append(pool.state_dict())
        pool.drop_blocks(tmp_path)
    assert len(list(tmp_path.iterdir())) <= 2 * 3 + 4


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    pool = ReplayPool(_agent(0), 1000)
    for i in range(130):
        pool.push(_agent(i))
    pool.save_blocks(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [
        "agents_00000000.safetensors",
        "agents_00000064.safetensors",
    ]
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"agents_00000064.safetensors is damaged"):
        ReplayPool(_agent(0), 1000).load_state_dict(pool.state_dict(), tmp_path)
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"agents_00000064.safetensors is missing"):
        ReplayPool(_agent(0), 1000).load_state_dict(pool.state_dict(), tmp_path)
