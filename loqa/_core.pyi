"""Native core of loqa, less its kernels, which `loqa.ops.register.run` calls by name."""

from typing import Any, Generic, TypeVar

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

_Batch = TypeVar("_Batch")

class _Simulator:
    def show(self, tensors: tuple[object, ...]) -> None: ...
    def intact(self) -> bool: ...

class _OnHost(_Simulator, Generic[_Batch]):
    def __init__(
        self,
        batch: _Batch,
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

class _OnDevice(_Simulator, Generic[_Batch]):
    def __init__(
        self,
        *,
        batch: _Batch,
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
        env_stride: int = 0,
        exploration: float = 0.0,
    ) -> None: ...

class GameSimulator(_OnHost[GameBatch]):
    def start(self, which: Memory) -> None: ...
    def choose(self, players: GamePlayers, chosen: Memory) -> None: ...
    def play(
        self, players: GamePlayers, steps: int, chosen: Memory, obs: Memory, rewards: Memory
    ) -> int: ...

class GameSimulatorDevice(_OnDevice[GameBatch]):
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

class MatrixBatch:
    def __init__(
        self,
        *,
        num_envs: int,
        num_actions: int,
        payoff: Memory,
        obs_type: int,
        obs_table: Memory,
        obs_width: int,
        noise: float,
        end_probability: float,
        episode_length: int,
        first_env: int,
        last_actions: Memory,
        t: Memory,
        episode: Memory,
    ) -> None: ...

class MatrixGame(_OnHost[MatrixBatch]):
    def memory1_rollout(
        self,
        probabilities: Memory,
        env_stride: int,
        exploration: float,
        steps: int,
        obs: Memory,
        actions: Memory,
        rewards: Memory,
    ) -> int: ...

class MatrixGameDevice(_OnDevice[MatrixBatch]):
    def memory1_rollout(
        self,
        probabilities: Memory,
        env_stride: int,
        exploration: float,
        steps: int,
        obs: Memory,
        actions: Memory,
        rewards: Memory,
        stream: int,
    ) -> int: ...

class CoinBatch:
    def __init__(
        self,
        *,
        num_envs: int,
        height: int,
        width: int,
        num_players: int,
        num_coins: int,
        actions: list[int],
        distinct_start: bool,
        coin_anywhere: bool,
        first_takes: bool,
        relative: bool,
        channels_last: bool,
        egocentric: bool,
        history: bool,
        zero_last_reward: bool,
        episode_length: int,
        obs_type: int,
        values: list[int],
        first_env: int,
        state: Memory,
        t: Memory,
        episode: Memory,
    ) -> None: ...

class CoinGame(_OnHost[CoinBatch]):
    check_actions: bool
    def reset(self, mask: Memory) -> None: ...
    def choose(self, kinds: list[int], tie_episode: bool, actions: Memory) -> None: ...
    def play(
        self,
        kinds: list[int],
        tie_episode: bool,
        steps: int,
        actions: Memory,
        obs: Memory,
        rewards: Memory,
    ) -> int: ...
    def play_networks(
        self,
        *,
        actors: list[GruSets | None],
        critic: GruSets | None,
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

class CoinGameDevice(_OnDevice[CoinBatch]):
    def reset(self, mask: Memory, stream: int) -> None: ...
    def choose(self, kinds: list[int], tie_episode: bool, actions: Memory, stream: int) -> None: ...
    def play(
        self,
        kinds: list[int],
        tie_episode: bool,
        steps: int,
        actions: Memory,
        obs: Memory,
        rewards: Memory,
        stream: int,
    ) -> int: ...
