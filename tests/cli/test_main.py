"""The command line: help that helps, errors that say what to do, and a quick start of both."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


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
        (("run", "--data", "README.md/below"), {}, "README.md/below"),
        (("serve", "--data", "README.md/below"), {}, "README.md/below"),
        (("run", "--port", "70000"), {}, "70000"),
        (("serve", "--port", "-1"), {}, "-1"),
        (
            ("serve",),
            {"ROADSTEAD_HISTORY_DAYS": "0"},
            "ROADSTEAD_HISTORY_DAYS must be a number of days from 1 to 3650",
        ),
        (
            ("serve",),
            {"ROADSTEAD_GC_GRACE_SECONDS": "0.5"},
            "ROADSTEAD_GC_GRACE_SECONDS must be a number of seconds from 1 to 2592000",
        ),
        (("serve",), {"ROADSTEAD_METRICS": "yes"}, "ROADSTEAD_METRICS must be open, or not set"),
        (("serve",), {"ROADSTEAD_SIGNING_KEY": "short"}, "ROADSTEAD_SIGNING_KEY must be 64 hexadecimal digits"),
    ],
)
def test_a_mistake_is_said_in_words(arguments: tuple[str, ...], variables: dict[str, str], words: str) -> None:
    done = roadstead(*arguments, **variables)

    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("admin-password", ""),
        ("admin-password", "\n"),
        ("signing-key", ""),
        ("signing-key", "abcd\n"),
        ("signing-key", "no hexadecimal digits\n"),
        ("signing-key", "é" * 64),
    ],
)
def test_a_damaged_secret_is_refused_by_name_and_not_believed(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)

    done = roadstead("serve", "--data", str(tmp_path), AWS_ENDPOINT_URL_S3="http://127.0.0.1:1", **CREDENTIALS)

    assert done.returncode == 1
    assert str(tmp_path / name) in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / name).read_text() == content


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["serve", "--help"], ["--version"]])
def test_help_loads_neither_the_server_nor_boto3(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom chalicelib.cli.main import main\n"
        "main(sys.argv[1:], standalone_mode=False)\nprint(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "chalicelib.cli.main" in done.stdout
    assert not {"aiohttp", "boto3", "botocore", "nacl", "chalice", "urllib3", "httpx", "rich"} & set(
        done.stdout.split()
    )
