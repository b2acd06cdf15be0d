"""moto's S3, in this process: the quick engine. It starts in milliseconds and refuses almost nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from moto.server import ThreadedMotoServer

from tests.engines.engine import Engine, Quirk
from tests.engines.process import HOST

QUIRKS = frozenset(
    {
        Quirk.ANY_SIGNATURE,
        Quirk.ANY_PRESIGNATURE,
        Quirk.ANY_CHECKSUM,
        Quirk.NO_COPY_CONDITIONS,
        Quirk.NO_REPLICATION,
    }
)


@contextmanager
def moto() -> Iterator[Engine]:
    """Serve an empty moto; its state is one per process, so it is emptied at both ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    try:
        _reset(endpoint)
        yield Engine("moto", endpoint, quirks=QUIRKS)
    finally:
        _reset(endpoint)
        server.stop()


def _reset(endpoint: str) -> None:
    with requests.post(f"{endpoint}/moto-api/reset", timeout=30) as answer:
        answer.raise_for_status()
