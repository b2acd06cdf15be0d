"""S3Objects keeps the contract over ministack and over SeaweedFS, but for what `CANNOT` lists."""

from collections.abc import Iterator

import pytest

from chalicelib.store.objects import ObjectStore
from tests.engines import ENGINES, Engine
from tests.store.contract import NowFromTheSystem, ObjectStoreContract
from tests.store.s3 import make_bucket, s3_objects

pytestmark = pytest.mark.engines


@pytest.fixture(scope="class")
def service(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.cls.engine]() as running:
        make_bucket(running)
        yield running


@pytest.fixture(scope="class")
def objects(service: Engine) -> Iterator[ObjectStore]:
    with s3_objects(service) as opened:
        yield opened


@pytest.fixture(scope="class")
def other(service: Engine) -> Iterator[ObjectStore]:
    with s3_objects(service) as opened:
        yield opened


class TestMinistack(NowFromTheSystem, ObjectStoreContract):
    engine = "ministack"


class TestSeaweedFS(NowFromTheSystem, ObjectStoreContract):
    engine = "seaweedfs"
