"""What `loqa completion` prints, run by bash."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from loqa.cli.main import COMMANDS, main
from loqa.training.config import GAMES


def completed(script: str, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    line = " ".join(f"'{word}'" for word in words)
    asked = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _loqa; echo "${{COMPREPLY[@]}}"'
    ended = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert not ended.stderr
    return set(ended.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, "loqa", "") == set(COMMANDS)
    assert completed(script, "loqa", "ex") == {"export", "exploit"}
    assert completed(script, "loqa", "train", "") >= {*GAMES, "--help"}
    assert completed(script, "loqa", "train", "ipd", "--shaping-w") == {"--shaping-weight"}
    assert completed(script, "loqa", "train", "coin", "--clip-r") == {"--clip-ratio"}
    assert "ppo" in completed(script, "loqa", "train", "ipd", "--algo", "")
    assert completed(script, "loqa", "train", "ipd", "--actor", "g") == {"gru"}
    assert completed(script, "loqa", "exploit", "ac", "--method", "m") == {"mcts"}
    assert completed(script, "loqa", "completion", "") == {"bash", "zsh", "--help"}
    assert completed(script, "loqa", "resume", "--shaping") == set()  # only what may change


def test_zsh_and_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(["completion", "ksh"])
    assert caught.value.code == 2
