"""S3Objects keeps the contract over ministack and over SeaweedFS, but for what `CANNOT` lists.

SeaweedFS has no class with a versioned bucket: there it lists `a` behind `a!b` and `a-b`, which nothing here could
bear (docs/decisions/007).
"""

from collections.abc import Iterator

import pytest

from chalicelib.store.objects import ObjectStore
from tests.engines import ENGINES, Engine
from tests.store.contract import Contract, NowFromTheSystem, ObjectStoreContract, VersionsContract
from tests.store.s3 import make_bucket, s3_objects

pytestmark = pytest.mark.engines


@pytest.fixture(scope="class")
def service(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.cls.engine]() as running:
        make_bucket(running, versioned=request.cls.versioned)
        yield running


@pytest.fixture(scope="class")
def objects(service: Engine) -> Iterator[ObjectStore]:
    with s3_objects(service) as opened:
        yield opened


@pytest.fixture(scope="class")
def other(service: Engine) -> Iterator[ObjectStore]:
    with s3_objects(service) as opened:
        yield opened


class Engines(NowFromTheSystem, Contract):
    versioned = False


class TestMinistack(Engines, VersionsContract, ObjectStoreContract):
    engine = "ministack"


class TestMinistackVersioned(Engines, VersionsContract, ObjectStoreContract):
    engine = "ministack"
    versioned = True


class TestSeaweedFS(Engines, VersionsContract, ObjectStoreContract):
    engine = "seaweedfs"


class TestTagsInSeaweedFS(Engines, ObjectStoreContract):
    engine = "seaweedfs"
    folder = "_tags/"
