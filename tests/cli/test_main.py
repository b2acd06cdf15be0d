"""The command line: help that helps, errors that say what to do, and a quick start of both."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def roadstead(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "100", **variables}
    command = [sys.executable, "-m", "chalicelib.cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("run", "serve", "an OCI registry with nothing to run")),
        (("--help",), ("run", "serve", "--version")),
        (("run", "--help"), ("--host", "--port", "--data", "--json", "embedded S3 service", "Example:")),
        (("serve", "-h"), ("--host", "--port", "--data", "ROADSTEAD_*")),
        (("--version",), ("0.1.0",)),
    ],
)
def test_help_names_what_there_is(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = roadstead(*arguments)

    for word in words:
        assert word in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (("walk",), {}, "No such command 'walk'"),
        (("run", "--port", "high"), {}, "'high' is not a valid integer"),
        (("run",), {"PORT": "high"}, "'high' is not a valid integer"),
        (("run", "--data", "README.md"), {}, "'README.md' is a file"),
        (("serve",), {"ROADSTEAD_SIGNING_KEY": "short"}, "ROADSTEAD_SIGNING_KEY must be 64 hexadecimal digits"),
    ],
)
def test_a_mistake_is_said_in_words(arguments: tuple[str, ...], variables: dict[str, str], words: str) -> None:
    done = roadstead(*arguments, **variables)

    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_neither_the_server_nor_boto3() -> None:
    script = "import sys; import chalicelib.cli.main; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert not {"aiohttp", "boto3", "nacl", "chalice"} & set(loaded.split())
