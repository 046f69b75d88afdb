"""Native core of loqa, less its kernels, which `loqa.ops.register.run` calls by name."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Int32Array = NDArray[np.int32]

__version__: str
has_cuda: bool

def cgroup_cpus(root: str) -> int: ...
def isa() -> str: ...
def supported_isas() -> list[str]: ...
def set_isa(name: str) -> None: ...
def default_num_threads() -> int: ...
def philox(key: int, c0: int, c1: int, c2: int, c3: int) -> tuple[int, int, int, int]: ...
def emulate_cuda(on: bool) -> None: ...
def game_layout(game: str) -> dict[str, Any]: ...
def keep_freed_memory() -> None: ...

class GruSets:
    def __init__(
        self,
        *,
        arrays: list[int],
        elements: list[int],
        strides: list[int],
        index: int,
        half: bool,
        reads_time: bool,
        sets: int,
        features: int,
        hidden: int,
        outputs: int,
    ) -> None: ...

class StepHead:
    def __init__(
        self,
        *,
        first: Memory,
        first_bias: Memory,
        gates: Memory,
        gates_bias: Memory,
        memory: Memory,
        memory_bias: Memory,
        end: Memory,
        end_bias: Memory,
        sets: int,
        features: int,
        hidden: int,
        outputs: int,
        seat: int,
        reads_time: bool,
        acts: bool,
        state: Memory,
        said: Memory | None,
    ) -> None: ...

def gru_sequence_cuda(
    input: int,
    weight: int,
    bias_hn: int,
    states: int,
    saved: int,
    steps: int,
    rows: int,
    size: int,
    stream: int,
) -> None: ...
def gru_sequence_vjp_cuda(
    grad: int,
    saved: int,
    states: int,
    weight: int,
    grad_input: int,
    grad_hidden: int,
    steps: int,
    rows: int,
    size: int,
    stream: int,
) -> None: ...
def gru_sequence_fits(size: int) -> bool: ...
def head_step_fits(features: int, hidden: int, outputs: int, width: int, on_host: bool) -> bool: ...

class HeadSteps:
    def __init__(
        self,
        *,
        heads: list[StepHead],
        obs: Memory,
        type: int,
        width: int,
        draws: Memory,
        actions: Memory,
        steps: int,
        games: int,
        players: int,
        exploration: float,
        on_host: bool,
    ) -> None: ...
    def step(self, t: int, stream: int) -> None: ...

def tournament(
    *,
    cooperates: Int32Array,
    next: Int32Array,
    first: Int32Array,
    pairs: Int32Array,
    turns: int,
    seed: int,
    counts: Int32Array,
    num_threads: int,
) -> None: ...

class Memory:
    """Bytes that a simulator works on; shows itself as a buffer of bytes."""

    bytes: int
    def __init__(self, bytes: int) -> None: ...
    @staticmethod
    def borrow(address: int, bytes: int, owner: object) -> Memory: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def set_tensor_type(type: type, by_exchange: bool) -> bool: ...

class GameBatch:
    def __init__(
        self,
        *,
        game: str,
        rules: dict[str, float],
        num_envs: int,
        num_players: int,
        obs_type: int,
        episode_length: int,
        first_env: int,
        checked: bool = True,
        table: Memory | None = None,
        states: Memory,
        t: Memory,
        episode: Memory,
    ) -> None: ...

class GamePlayers:
    def __init__(
        self,
        *,
        kinds: list[int],
        probabilities: Memory | None = None,
        each_env: bool = False,
        last_too: bool = True,
        exploration: float = 0.0,
        tie_episode: bool = False,
    ) -> None: ...

class _Simulator:
    def show(self, tensors: tuple[object, ...]) -> None: ...
    def intact(self) -> bool: ...

class GameSimulator(_Simulator):
    def __init__(
        self,
        batch: GameBatch,
        obs: Memory,
        rewards: Memory,
        terminated: Memory,
        truncated: Memory,
        num_threads: int,
    ) -> None: ...
    def set_seed(self, seed: int) -> None: ...
    def observe(self) -> None: ...
    def step(self, actions: object) -> object: ...
    def rollout(self, actions: object, steps: int, obs: Memory, rewards: Memory) -> int: ...
    def start(self, which: Memory) -> None: ...
    def choose(self, players: GamePlayers, chosen: Memory) -> None: ...
    def play(
        self, players: GamePlayers, steps: int, chosen: Memory, obs: Memory, rewards: Memory
    ) -> int: ...

class GameSimulatorDevice(_Simulator):
    def __init__(
        self,
        *,
        batch: GameBatch,
        seed: Memory,
        bad_action: Memory | None,
        autoreset: int,
        obs: Memory,
        rewards: Memory,
        terminated: Memory,
        truncated: Memory,
        final_obs: Memory | None,
        on_host: bool,
    ) -> None: ...
    def observe(self, stream: int) -> None: ...
    def step(self, actions: Memory, action_type: int, stream: int) -> int: ...
    def rollout(
        self,
        actions: Memory,
        action_type: int,
        steps: int,
        obs: Memory,
        rewards: Memory,
        stream: int,
    ) -> int: ...
    def start(self, which: Memory, stream: int) -> None: ...
    def choose(self, players: GamePlayers, chosen: Memory, stream: int) -> None: ...
    def play(
        self,
        players: GamePlayers,
        steps: int,
        chosen: Memory,
        obs: Memory,
        rewards: Memory,
        stream: int,
    ) -> int: ...

def play_networks(
    *,
    batch: GameBatch,
    num_threads: int,
    actors: list[GruSets | None],
    critic: GruSets | None,
    canonical: list[bool],
    kinds: list[int],
    steps: int,
    seed: int,
    draws: Memory,
    obs: Memory,
    actions: Memory,
    rewards: Memory,
    log_probs: Memory,
    q_values: Memory,
) -> None: ...
