"""What cosign signed here it verifies at the registry that it was copied to."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.distribution.servers import CREDENTIAL, connect, made, push, run
from tests.server.running import Server

pytestmark = pytest.mark.clients
_COSIGN = Path.home() / ".cache" / "roadstead" / "clients" / "bin" / "cosign"
_OFFLINE = ("--use-signing-config=false", "--tlog-upload=false", "--yes", "--allow-http-registry")
_TRUST = ("--key", "cosign.pub", "--insecure-ignore-tlog", "--allow-http-registry")


def test_what_cosign_signed_is_verified_where_it_was_copied_to(two: tuple[Server, Server], tmp_path: Path) -> None:
    here, there = two
    digest = push(here, "library/app", "v1", b"layer")
    (tmp_path / ".docker").mkdir()
    auths = {host(one): {"auth": one.admin["Authorization"].partition(" ")[2]} for one in two}
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    cosign(tmp_path, "generate-key-pair")
    cosign(tmp_path, "sign", "--key", "cosign.key", *_OFFLINE, f"{host(here)}/library/app@{digest}")
    registry = connect(here, "there", there.url, CREDENTIAL)
    policy = {"name": "out", "dest_registry": {"id": registry}, "enabled": True, "dest_namespace": "library"}

    assert run(here, made(here, "/replication/policies", policy))["status"] == "Succeed"

    cosign(tmp_path, "verify", *_TRUST, f"{host(there)}/library/app@{digest}")


def host(server: Server) -> str:
    return "{}:{}".format(*server.address)


def cosign(home: Path, *arguments: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "COSIGN_PASSWORD": ""}
    done = subprocess.run(
        [_COSIGN, *arguments], check=False, env=environment, cwd=home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
