"""S3Objects keeps the contract over moto, which is quick enough for every run."""

from collections.abc import Iterator

import pytest

from chalicelib.store import layout
from chalicelib.store.objects import ObjectStore
from tests.engines import Engine, moto
from tests.store.contract import NowFromTheSystem, ObjectStoreContract, VersionsContract
from tests.store.s3 import BUCKET, make_bucket, s3_objects

VERSIONED = "versioned"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with moto() as running:
        make_bucket(running)
        make_bucket(running, VERSIONED, versioned=True)
        yield running


@pytest.fixture(scope="class")
def objects(engine: Engine, request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    with s3_objects(engine, request.cls.bucket) as opened:
        yield opened


@pytest.fixture(scope="class")
def other(engine: Engine, request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    with s3_objects(engine, request.cls.bucket) as opened:
        yield opened


class TestMoto(NowFromTheSystem, VersionsContract, ObjectStoreContract):
    engine = "moto"
    bucket = BUCKET

    # A thousand requests take moto five seconds: too long for every run.
    @pytest.mark.engines
    def test_no_page_has_more_than_a_thousand(self, objects: ObjectStore, at: str) -> None:
        super().test_no_page_has_more_than_a_thousand(objects, at)


class TestMotoVersioned(NowFromTheSystem, VersionsContract):
    engine = "moto, versioned"
    bucket = VERSIONED

    def test_nothing_is_copied_where_the_bucket_keeps_versions(self, engine: Engine, at: str) -> None:
        """Also by processes whose first request writes or deletes a tag: they do not know the bucket yet."""
        key = f"{at}_tags/v1"
        for number in range(3):
            with s3_objects(engine, self.bucket) as fresh:
                fresh.put(key, b"content %d" % number)
        with s3_objects(engine, self.bucket) as fresh:
            fresh.delete(key)
        with s3_objects(engine, self.bucket) as fresh:
            fresh.delete(f"{at}_tags/v2", key)

        assert fresh.list(layout.kept(key)).entries == ()
        assert [version.deleted for version in fresh.versions(key)].count(False) == 3
