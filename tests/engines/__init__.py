"""The S3 services the tests run on: `with ENGINES["seaweedfs"]() as engine:` gives one, running and empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from tests.engines.engine import Engine, Quirk, s3_client
from tests.engines.ministack import ministack
from tests.engines.moto_server import moto
from tests.engines.seaweedfs import seaweedfs

ENGINES: Mapping[str, Callable[[], AbstractContextManager[Engine]]] = {
    "moto": moto,
    "ministack": ministack,
    "seaweedfs": seaweedfs,
}

__all__ = ["ENGINES", "Engine", "Quirk", "ministack", "moto", "s3_client", "seaweedfs"]
