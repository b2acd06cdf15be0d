"""ministack: an emulator of S3, DynamoDB, SQS and more. It pins botocore: it has a virtual environment of its own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.engine import ACCESS_KEY, REGION, SECRET_KEY, Engine, Quirk, s3_client
from tests.engines.process import HOST, free_ports, running, wait_ready

VERSION = "1.5.33"
_PROGRAM = Path(__file__).with_name("ministack_program.py")
QUIRKS = frozenset(
    {
        Quirk.ANY_SIGNATURE,
        Quirk.NO_COPY_CONDITIONS,
        Quirk.NO_COPY_CHECKSUM,
        Quirk.ANY_PART_SIZE,
    }
)


@contextmanager
def ministack(*, as_released: bool = False) -> Iterator[Engine]:
    """Serve an empty ministack, whose functions end as Lambda's do, or as it is released."""
    installed = _installed()
    # -P, since beside that program there is a module of the same name as ministack.
    command = [str(installed)] if as_released else [str(installed.with_name("python")), "-P", str(_PROGRAM)]
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="ministack-") as folder:
        directory = Path(folder)
        engine = Engine("ministack", f"http://{HOST}:{port}", quirks=QUIRKS)
        with running(command, environment=_environment(port, directory), directory=directory) as process:
            client = s3_client(engine, attempts=1)
            wait_ready(client.list_buckets, process, directory)
            client.close()
            yield engine


def _environment(port: int, directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "STATE_DIR": str(directory / "state"),
        "S3_DATA_DIR": str(directory / "s3"),
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "AUTH": "true",  # without it a request with no access key, or an unknown one, is taken
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": "WARNING",
    }


def _installed() -> Path:
    """Return the program, installed by whichever test process comes first."""
    home = cache_directory() / f"ministack-{VERSION}"
    home.mkdir(parents=True, exist_ok=True)
    complete = home / ".complete-with-boto3"
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home / "venv"], check=True)
            # Its functions run in this environment, and Lambda's own has boto3.
            programs = [f"ministack=={VERSION}", "boto3"]
            subprocess.run([home / "venv/bin/python", "-m", "pip", "install", "--quiet", *programs], check=True)
            complete.touch()
    return home / "venv/bin/ministack"


def cache_directory() -> Path:
    """Return where things that are dear to make are kept between runs."""
    return Path(os.environ.get("ROADSTEAD_CACHE") or Path.home() / ".cache" / "roadstead")
