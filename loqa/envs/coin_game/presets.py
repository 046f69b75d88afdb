"""Coin Game presets: which paper's rules a name stands for."""

from __future__ import annotations

from dataclasses import dataclass

from loqa.envs.base import Preset

MOVES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0), "stay": (0, 0)}
"""Rows and columns that an action moves a player by."""
_LOQA_ACTIONS = ("left", "right", "up", "down")
_POLA_ACTIONS = ("right", "left", "down", "up")


@dataclass(frozen=True)
class CoinPreset(Preset):
    """A Coin Game as somebody published it.

    Common to all: players move at once on a torus; who steps on a coin takes it and earns +1,
    whatever its colour; the owner of its colour loses 2, once a coin, if anybody else took it.
    """

    actions: tuple[str, ...]
    """What each action code does, see `MOVES`."""
    coin_per_player: bool = False
    """One coin of each colour at all times, instead of one coin whose colour changes hands in round
    robin whenever it is taken (first colour random)."""
    distinct_start: bool = False
    """Players start on different cells, instead of independently (they may coincide)."""
    coin_anywhere: bool = False
    """Coins appear on any cell, instead of on cells without a player (after the move)."""
    first_takes: bool = False
    """Of several players on the coin only the lowest-numbered takes it."""
    relative: bool = True
    """Each player sees itself, and coins of its colour, first; else all see the same."""
    layout: str = "planes"
    """`planes` [P, H, W], `flat` [P * H * W] or `channels_last` [H, W, P]."""
    history: bool = False
    """Further planes, constant over the board: last rewards, own first, and whether t has reached
    the episode length."""
    max_players: int = 8

    @property
    def moves(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns that each action code moves a player by."""
        return tuple(MOVES[action] for action in self.actions)


COIN_PRESETS: dict[str, CoinPreset] = {
    preset.name: preset
    for preset in (
        CoinPreset("loqa24", 1, "Aghajohari et al., ICLR 2024", _LOQA_ACTIONS),
        CoinPreset(
            "pola22", 1, "Zhao et al., NeurIPS 2022", _POLA_ACTIONS, relative=False, layout="flat"
        ),
        CoinPreset(
            "lola-dice18",
            1,
            "Foerster et al., ICML 2018 (DiCE)",
            _POLA_ACTIONS,
            distinct_start=True,
            relative=False,
            layout="flat",
        ),
        CoinPreset(
            "lola18",
            1,
            "Foerster et al., AAMAS 2018",
            _POLA_ACTIONS,
            distinct_start=True,
            first_takes=True,
            relative=False,
        ),
        CoinPreset(
            "mfos22",
            1,
            "Lu et al., ICML 2022",
            _POLA_ACTIONS,
            coin_per_player=True,
            coin_anywhere=True,
            history=True,
            max_players=2,
        ),
        CoinPreset(
            "pax23",
            1,
            "PAX (Willi et al. 2023); the same in JaxMARL",
            (*_POLA_ACTIONS, "stay"),
            coin_per_player=True,
            coin_anywhere=True,
            layout="channels_last",
            max_players=2,
        ),
    )
}

SCRIPTED_COIN_PLAYERS = ("always-cooperate", "always-defect", "random")
