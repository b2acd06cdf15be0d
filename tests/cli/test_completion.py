"""Completion: scripts that shells accept, and words that come out of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(nobody: Cli, shell: str) -> None:
    done = nobody("completion", shell)

    assert done.exit_code == 0
    assert f"_ROADSTEAD_COMPLETE={shell}_complete" in done.stdout
    assert "roadstead" in done.stdout


def test_bash_understands_its_script(nobody: Cli) -> None:
    script = nobody("completion", "bash").stdout

    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_another_shell_is_refused(nobody: Cli) -> None:
    assert nobody("completion", "ksh").exit_code == 2


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("roadstead pro", {"project"}),
        ("roadstead project ", {"list", "create", "show", "delete", "set"}),
        ("roadstead tag ", {"list", "retag", "delete", "history", "undo"}),
        ("roadstead member add web alice m", {"maintainer"}),
        ("roadstead completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_words_are_completed(words: str, completed: set[str]) -> None:
    variables = {
        "PATH": os.environ["PATH"],
        "_ROADSTEAD_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    script = "from chalicelib.cli.main import main\nmain(prog_name='roadstead')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )

    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == completed
