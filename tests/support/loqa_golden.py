"""Reads the recorded numbers of the published LOQA code and names parameters as it does.

Small copies lie in `golden/` (made by `golden/make_golden.py`); the directory named by the
environment variable LOQA_GOLDEN_DIR holds the full files.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.outputs import SeatOutputs
from loqa.algos.loqa import LOQASettings
from loqa.algos.trajectory import Trajectory

SMALL = Path(__file__).parents[1] / "golden"
FULL = os.environ.get("LOQA_GOLDEN_DIR")

# Our parameter -> the published tensors it is made of, in order, and how they are joined.
_GRU_PARTS = {
    "weight_ih": ("GRUCell/{}/kernel", ("ir", "iz", "in")),
    "weight_hh": ("GRUCell/{}/kernel", ("hr", "hz", "hn")),
    "bias_ih": ("GRUCell/{}/bias", ("ir", "iz", "in")),
    "bias_hn": ("GRUCell/{}/bias", ("hn",)),
}
_MLP_LAYERS = {"linear1": "dense_0", "linear2": "dense_1", "linear_end": "dense_2"}
_STATES = ("start", "CC", "CD", "DC", "DD")


def _parts(name: str, is_mlp: bool) -> tuple[list[str], str]:
    """Published tensors of our parameter and "stack", "cat" or "one"; kernels are transposed."""
    head, _, rest = name.partition(".")
    prefix = {"actor": "actor_head", "critic": "qvalue_head"}[head]
    if rest == "logits":
        return [f"{prefix}/{state}" for state in _STATES], "stack"
    if rest in _GRU_PARTS:
        pattern, gates = _GRU_PARTS[rest]
        return [f"{prefix}/{pattern.format(gate)}" for gate in gates], "cat"
    layer, _, kind = rest.partition(".")
    layer = _MLP_LAYERS[layer] if is_mlp else layer
    return [f"{prefix}/{layer}/{'kernel' if kind == 'weight' else 'bias'}"], "one"


class Golden:
    """One recorded file."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as data:
            self.arrays = {key: data[key] for key in data.files}
        self.meta: dict[str, Any] = json.loads(str(self.arrays.pop("meta")))
        self.is_mlp = any("dense_0" in name for name, _ in self.meta["param_order"])

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def prefixes(self) -> list[str]:
        """Recorded batches, "T{T}/p{seat}"."""
        return sorted({key[: -len("/batch/obs")] for key in self.arrays if key.endswith("/obs")})

    def settings(self, config: str) -> LOQASettings:
        meta = self.meta
        options = meta["configs"][config]
        opponent = "differentiable_opponent__"
        return LOQASettings(
            gamma=meta["reward_discount"],
            shaping={"loaded-dice": "loaded-dice", "n_step": "n-step"}[
                options[opponent + "method"]
            ],
            dice_discount=meta["dice_discount"],
            n_step=options.get(opponent + "n_step", 2),
            shaping_weight=meta["opponent_differentiation_weight"],
            softmax_temperature=meta["op_softmax_temp"],
            current_reward_differentiable=options.get(
                opponent + "differentiable_current_reward", False
            ),
            stop_normaliser_gradient=options.get(opponent + "stop_grad_normalizing_constant")
            == "enabled",
            advantage=options["actor__train__advantage"].lower(),
            advantage_gradient=True,
            advantage_baseline="none",
            entropy_bonus=meta["entropy_beta"],
            clip_norm=meta["clip"].get("max_norm"),
            critic_target="sarsa",
            actor_lr=meta["lr_actor"],
            critic_lr=meta["lr_qvalue"],
            target_ema=meta["ema_gamma"],
        )

    def architecture(self) -> Agent:
        shapes = dict(self.meta["param_order"])
        sizes = {
            f"{role}_hidden": shapes.get(f"{head}/GRUCell/hn/bias", [16])[0]
            for role, head in (("actor", "actor_head"), ("critic", "qvalue_head"))
        }
        outputs = "dense_2" if self.is_mlp else "linear_end"
        inputs = "dense_0" if self.is_mlp else "linear1"

        def agent_of(head: str) -> Agent:
            return build_agent(
                "logits" if self.is_mlp else "gru",
                "mlp" if self.is_mlp else "gru",
                shapes[f"qvalue_head/{inputs}/kernel"][0] - 1,
                shapes[f"qvalue_head/{outputs}/bias"][0],
                layers_before_gru=sum(
                    f"{head}/{layer}/bias" in shapes for layer in ("linear1", "linear2")
                ),
                **sizes,
            )

        # Some recorded agents have fewer layers before the actor's GRU than before the critic's.
        agent = agent_of("actor_head")
        agent.critic = agent_of("qvalue_head").critic
        return agent

    def parameters(self, group: str, dtype: torch.dtype) -> dict[str, Tensor]:
        """Recorded parameters by our names; with a leading B axis for group "opponents"."""
        out = {}
        for name, _ in self.architecture().named_parameters():
            sources, join = _parts(name, self.is_mlp)
            tensors = [torch.from_numpy(self[f"{group}/{s}"]).to(dtype) for s in sources]
            if "kernel" in sources[0]:
                tensors = [tensor.transpose(-1, -2) for tensor in tensors]
            if join == "stack":
                out[name] = torch.stack(tensors, -2)
            else:
                axis = -2 if "kernel" in sources[0] else -1
                out[name] = torch.cat(tensors, axis)
        return out

    def agent(self, group: str, dtype: torch.dtype) -> Agent:
        agent = self.architecture().to(dtype)
        agent.load_state_dict(self.parameters(group, dtype))
        return agent

    def flatten(self, named: dict[str, Tensor], order: str = "param_order") -> np.ndarray:
        """Our named tensors (missing ones are zero) as the published flat vector."""
        published: dict[str, np.ndarray] = {}
        for name, tensor in named.items():
            sources, join = _parts(name, self.is_mlp)
            array = tensor.detach().double().numpy()
            pieces = list(array) if join == "stack" else np.split(array, len(sources))
            for source, piece in zip(sources, pieces, strict=True):
                published[source] = piece.T if "kernel" in source else piece
        flat = [
            published.get(name, np.zeros(shape)).reshape(-1) for name, shape in self.meta[order]
        ]
        return np.concatenate(flat)

    def digest(self, flat: np.ndarray, order: str = "param_order") -> np.ndarray:
        """Per tensor: l2 norm, sum, sum_i x_i cos(0.001 i)."""
        rows, start = [], 0
        for _, shape in self.meta[order]:
            x = flat[start : start + int(np.prod(shape))]
            start += x.size
            rows.append([np.linalg.norm(x), x.sum(), (x * np.cos(0.001 * np.arange(x.size))).sum()])
        return np.array(rows)

    def trajectory(self, prefix: str, dtype: torch.dtype) -> Trajectory:
        def swap(key: str) -> Tensor:
            return torch.from_numpy(self[f"{prefix}/batch/{key}"]).transpose(0, 1)

        return Trajectory(swap("obs").to(dtype), swap("act").long(), swap("rew").to(dtype))

    def opponent(self, prefix: str, trajectory: Trajectory) -> SeatOutputs:
        """The opponents' evaluation, from the recorded whole-sequence outputs."""
        seat = 1 - int(prefix[-1])
        tables = [
            torch.from_numpy(self[f"{prefix}/seq/opponent_{key}_seq"])
            .transpose(0, 1)
            .to(trajectory.rewards.dtype)
            for key in ("logp", "qvalue")
        ]
        return SeatOutputs(*tables, trajectory.actions[:, :, seat])


@cache
def load(name: str, full: bool) -> Golden:
    directory = Path(FULL or "") if full else SMALL
    return Golden(directory / f"{name}.npz")


def relative_error(got: Any, expected: np.ndarray) -> float:
    """Largest error / largest magnitude of the expected array."""
    if isinstance(got, Tensor):
        got = got.detach().double().numpy()
    assert np.shape(got) == expected.shape, (np.shape(got), expected.shape)
    error = float(np.abs(np.asarray(got, np.float64) - expected.astype(np.float64)).max())
    return error / max(float(np.abs(expected).max()), 1e-30) if error else 0.0
