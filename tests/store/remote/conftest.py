from collections.abc import Iterator

import pytest

from chalicelib.store.remote import Remote, Site, connect
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
