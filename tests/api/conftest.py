"""A client over an empty registry."""

import pytest

from tests.api.asking import Client


@pytest.fixture
def client() -> Client:
    return Client()
