"""Native core of loqa. Addresses are those of checked, contiguous CPU memory."""

import numpy as np
from numpy.typing import NDArray

Int32Array = NDArray[np.int32]

__version__: str
has_cuda: bool

def isa() -> str: ...
def supported_isas() -> list[str]: ...
def set_isa(name: str) -> None: ...
def default_num_threads() -> int: ...
def philox(key: int, c0: int, c1: int, c2: int, c3: int) -> tuple[int, int, int, int]: ...
def emulate_cuda(on: bool) -> None: ...
def gru_step_f32(
    input: int,
    hidden: int,
    bias_hn: int,
    state: int,
    next: int,
    saved: int,
    rows: int,
    size: int,
    group: int,
    num_threads: int,
) -> None: ...
def gru_step_f32_cuda(
    input: int,
    hidden: int,
    bias_hn: int,
    state: int,
    next: int,
    saved: int,
    rows: int,
    size: int,
    group: int,
    stream: int,
) -> None: ...
def gru_step_vjp_f32(
    grad_next: int,
    grad_out: int,
    saved: int,
    state: int,
    grad_input: int,
    grad_hidden: int,
    grad_state: int,
    rows: int,
    size: int,
    num_threads: int,
) -> None: ...
def gru_step_vjp_f32_cuda(
    grad_next: int,
    grad_out: int,
    saved: int,
    state: int,
    grad_input: int,
    grad_hidden: int,
    grad_state: int,
    rows: int,
    size: int,
    stream: int,
) -> None: ...
def gru_step_f64(
    input: int,
    hidden: int,
    bias_hn: int,
    state: int,
    next: int,
    saved: int,
    rows: int,
    size: int,
    group: int,
    num_threads: int,
) -> None: ...
def gru_step_f64_cuda(
    input: int,
    hidden: int,
    bias_hn: int,
    state: int,
    next: int,
    saved: int,
    rows: int,
    size: int,
    group: int,
    stream: int,
) -> None: ...
def gru_step_vjp_f64(
    grad_next: int,
    grad_out: int,
    saved: int,
    state: int,
    grad_input: int,
    grad_hidden: int,
    grad_state: int,
    rows: int,
    size: int,
    num_threads: int,
) -> None: ...
def gru_step_vjp_f64_cuda(
    grad_next: int,
    grad_out: int,
    saved: int,
    state: int,
    grad_input: int,
    grad_hidden: int,
    grad_state: int,
    rows: int,
    size: int,
    stream: int,
) -> None: ...
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

def linear_scan(
    dtype: int,
    x: int,
    carry: int,
    ends: int,
    out: int,
    decay: float,
    reverse: bool,
    steps: int,
    width: int,
    num_threads: int,
) -> None: ...
def linear_scan_cuda(
    dtype: int,
    x: int,
    carry: int,
    ends: int,
    out: int,
    decay: float,
    reverse: bool,
    steps: int,
    width: int,
    stream: int,
) -> None: ...
def advantage(
    dtype: int,
    rewards: int,
    values: int,
    ends: int,
    out: int,
    gamma: float,
    lam: float,
    steps: int,
    width: int,
    num_threads: int,
) -> None: ...
def advantage_cuda(
    dtype: int,
    rewards: int,
    values: int,
    ends: int,
    out: int,
    gamma: float,
    lam: float,
    steps: int,
    width: int,
    stream: int,
) -> None: ...
def advantage_vjp(
    dtype: int,
    grad: int,
    ends: int,
    grad_rewards: int,
    grad_values: int,
    gamma: float,
    lam: float,
    steps: int,
    width: int,
    num_threads: int,
) -> None: ...
def advantage_vjp_cuda(
    dtype: int,
    grad: int,
    ends: int,
    grad_rewards: int,
    grad_values: int,
    gamma: float,
    lam: float,
    steps: int,
    width: int,
    stream: int,
) -> None: ...
def n_step(
    dtype: int,
    rewards: int,
    values: int,
    ends: int,
    out: int,
    gamma: float,
    n: int,
    steps: int,
    width: int,
    num_threads: int,
) -> None: ...
def n_step_cuda(
    dtype: int,
    rewards: int,
    values: int,
    ends: int,
    out: int,
    gamma: float,
    n: int,
    steps: int,
    width: int,
    stream: int,
) -> None: ...
def n_step_vjp(
    dtype: int,
    grad: int,
    ends: int,
    grad_rewards: int,
    grad_values: int,
    gamma: float,
    n: int,
    steps: int,
    width: int,
    num_threads: int,
) -> None: ...
def n_step_vjp_cuda(
    dtype: int,
    grad: int,
    ends: int,
    grad_rewards: int,
    grad_values: int,
    gamma: float,
    n: int,
    steps: int,
    width: int,
    stream: int,
) -> None: ...
def loaded_dice_vjp(
    dtype: int,
    grad: int,
    returns: int,
    values: int,
    ends: int,
    grad_logps: int,
    gamma: float,
    dice_discount: float,
    shift: bool,
    steps: int,
    width: int,
    num_threads: int,
) -> None: ...
def loaded_dice_vjp_cuda(
    dtype: int,
    grad: int,
    returns: int,
    values: int,
    ends: int,
    grad_logps: int,
    gamma: float,
    dice_discount: float,
    shift: bool,
    steps: int,
    width: int,
    stream: int,
) -> None: ...
def n_step_dice_vjp(
    dtype: int,
    grad: int,
    centred: int,
    ends: int,
    grad_logps: int,
    gamma: float,
    n: int,
    steps: int,
    width: int,
    num_threads: int,
) -> None: ...
def n_step_dice_vjp_cuda(
    dtype: int,
    grad: int,
    centred: int,
    ends: int,
    grad_logps: int,
    gamma: float,
    n: int,
    steps: int,
    width: int,
    stream: int,
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

class MatrixBatch:
    def __init__(
        self,
        *,
        num_envs: int,
        num_actions: int,
        payoff: int,
        obs_type: int,
        obs_table: int,
        obs_width: int,
        noise: float,
        end_probability: float,
        episode_length: int,
        first_env: int,
        last_actions: int,
        t: int,
        episode: int,
    ) -> None: ...

class MatrixGame:
    def __init__(self, batch: MatrixBatch, packed: int, num_threads: int) -> None: ...
    def set_seed(self, seed: int) -> None: ...
    def observe(self, obs: int) -> None: ...
    def step(
        self,
        actions: int,
        action_type: int,
        obs: int,
        rewards: int,
        terminated: int,
        truncated: int,
    ) -> bool: ...
    def rollout(
        self, actions: int, action_type: int, steps: int, obs: int, rewards: int
    ) -> bool: ...
    def memory1_rollout(
        self,
        probabilities: int,
        env_stride: int,
        exploration: float,
        steps: int,
        obs: int,
        actions: int,
        rewards: int,
    ) -> None: ...

class MatrixGameDevice:
    def __init__(
        self,
        *,
        batch: MatrixBatch,
        seed: int,
        bad_action: int,
        autoreset: int,
        final_obs: int,
        on_host: bool,
    ) -> None: ...
    def observe(self, obs: int, stream: int) -> None: ...
    def step(
        self,
        actions: int,
        action_type: int,
        obs: int,
        rewards: int,
        terminated: int,
        truncated: int,
        stream: int,
    ) -> None: ...
    def rollout(
        self, actions: int, action_type: int, steps: int, obs: int, rewards: int, stream: int
    ) -> bool: ...
    def memory1_rollout(
        self,
        probabilities: int,
        env_stride: int,
        exploration: float,
        steps: int,
        obs: int,
        actions: int,
        rewards: int,
        stream: int,
    ) -> None: ...

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
        state: int,
        t: int,
        episode: int,
    ) -> None: ...

class CoinGame:
    check_actions: bool
    def __init__(self, batch: CoinBatch, num_threads: int) -> None: ...
    def set_seed(self, seed: int) -> None: ...
    def reset(self, mask: int) -> None: ...
    def observe(self, obs: int) -> None: ...
    def step(
        self,
        actions: int,
        action_type: int,
        obs: int,
        rewards: int,
        terminated: int,
        truncated: int,
    ) -> bool: ...
    def rollout(
        self, actions: int, action_type: int, steps: int, obs: int, rewards: int
    ) -> bool: ...
    def choose(self, kinds: list[int], tie_episode: bool, actions: int) -> None: ...
    def play(
        self,
        kinds: list[int],
        tie_episode: bool,
        steps: int,
        actions: int,
        obs: int,
        rewards: int,
    ) -> None: ...
    def play_networks(
        self,
        *,
        actors: list[GruSets | None],
        critic: GruSets | None,
        kinds: list[int],
        steps: int,
        seed: int,
        draws: int,
        obs: int,
        actions: int,
        rewards: int,
        log_probs: int,
        q_values: int,
    ) -> None: ...

class CoinGameDevice:
    def __init__(
        self,
        *,
        batch: CoinBatch,
        seed: int,
        bad_action: int,
        autoreset: int,
        final_obs: int,
        on_host: bool,
    ) -> None: ...
    def reset(self, mask: int, stream: int) -> None: ...
    def observe(self, obs: int, stream: int) -> None: ...
    def step(
        self,
        actions: int,
        action_type: int,
        obs: int,
        rewards: int,
        terminated: int,
        truncated: int,
        stream: int,
    ) -> None: ...
    def rollout(
        self, actions: int, action_type: int, steps: int, obs: int, rewards: int, stream: int
    ) -> bool: ...
    def choose(self, kinds: list[int], tie_episode: bool, actions: int, stream: int) -> None: ...
    def play(
        self,
        kinds: list[int],
        tie_episode: bool,
        steps: int,
        actions: int,
        obs: int,
        rewards: int,
        stream: int,
    ) -> None: ...
