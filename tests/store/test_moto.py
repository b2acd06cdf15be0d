"""S3Objects keeps the contract over moto, which is quick enough for every run."""

from collections.abc import Iterator

import pytest

from chalicelib.store.objects import ObjectStore
from tests.engines import Engine, moto
from tests.store.contract import NowFromTheSystem, ObjectStoreContract
from tests.store.s3 import make_bucket, s3_objects


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with moto() as running:
        make_bucket(running)
        yield running


@pytest.fixture(scope="module")
def objects(engine: Engine) -> Iterator[ObjectStore]:
    with s3_objects(engine) as opened:
        yield opened


@pytest.fixture(scope="module")
def other(engine: Engine) -> Iterator[ObjectStore]:
    with s3_objects(engine) as opened:
        yield opened


class TestMoto(NowFromTheSystem, ObjectStoreContract):
    engine = "moto"

    # A thousand requests take moto five seconds: too long for every run.
    @pytest.mark.engines
    def test_no_page_has_more_than_a_thousand(self, objects: ObjectStore, at: str) -> None:
        super().test_no_page_has_more_than_a_thousand(objects, at)
