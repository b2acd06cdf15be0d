"""A registry for each test module: the real server in a process of its own, over an S3 service of its own.

Modules do not share moto, and workers share nothing: moto keeps one state per process, and tests of other packages empty it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mypy_boto3_s3 import S3Client

from tests.engines import Engine, moto, s3_client, seaweedfs
from tests.server.running import BUCKET, Server, over, started


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with moto() as running:
        yield running


@pytest.fixture(scope="session")
def strict_engine() -> Iterator[Engine]:
    """Serve S3 from a process of its own, which checks signatures and outlives a module: it takes seconds to start."""
    with seaweedfs() as running:
        yield running


@pytest.fixture(scope="module")
def s3(engine: Engine) -> Iterator[S3Client]:
    client = s3_client(engine)
    if BUCKET not in {found.get("Name") for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


@pytest.fixture(scope="module")
def server(engine: Engine, s3: S3Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert s3.list_buckets()["Buckets"]
    with started(["serve", "--json"], tmp_path_factory.mktemp("server"), over(engine)) as running:
        yield running
