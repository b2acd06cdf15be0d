import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.store.remote import Remote, Site, connect
from tests.store.remote import certificates
from tests.store.remote.fake import ACCESS_KEY, ACCESS_SECRET, FakeRegistry, faking

HERE = ("127.0.0.0/8",)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


@pytest.fixture
def remote(registry: FakeRegistry) -> Iterator[Remote]:
    with connect(Site(registry.url, access_key=ACCESS_KEY, access_secret=ACCESS_SECRET), HERE) as made:
        yield made


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path: Path = tmp_path_factory.mktemp("certificate") / "pem"
    return path, certificates.make(path)


@pytest.fixture
def ca(pem: tuple[Path, str]) -> str:
    return pem[1]


@pytest.fixture
def certified(pem: tuple[Path, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem[0])
    return context
