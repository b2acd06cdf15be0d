"""The proxy passes S3 through unchanged, counts what it saw, and cuts where a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from botocore.exceptions import ConnectionClosedError
from mypy_boto3_s3 import S3Client

from tests.engines import Engine, moto, s3_client, seaweedfs
from tests.engines.ledger import Exchange, counts, round_trips
from tests.engines.operations import classify
from tests.engines.proxy import Phase, Proxy, forwarding
from tests.engines.proxy_process import proxy_process

BUCKET = "proxied"
LARGE = bytes(6 * 1024 * 1024)

OPERATIONS = [
    ("GET", "/", {}, "ListBuckets", ""),
    ("PUT", "/b", {}, "CreateBucket", ""),
    ("GET", "/b?list-type=2&prefix=a%2Fb", {}, "ListObjectsV2", "a/b"),
    ("GET", "/b/?prefix=a", {}, "ListObjects", "a"),
    ("GET", "/b?uploads", {}, "ListMultipartUploads", ""),
    ("POST", "/b?delete", {}, "DeleteObjects", ""),
    ("GET", "/b/k%3A1", {}, "GetObject", "k:1"),
    ("HEAD", "/b/k", {}, "HeadObject", "k"),
    ("PUT", "/b/k", {}, "PutObject", "k"),
    ("PUT", "/b/k", {"x-amz-copy-source": "b/o"}, "CopyObject", "k"),
    ("DELETE", "/b/k", {}, "DeleteObject", "k"),
    ("POST", "/b/k?uploads=", {}, "CreateMultipartUpload", "k"),
    ("PUT", "/b/k?partNumber=1&uploadId=u", {}, "UploadPart", "k"),
    ("PUT", "/b/k?partNumber=1&uploadId=u", {"x-amz-copy-source": "b/o"}, "UploadPartCopy", "k"),
    ("GET", "/b/k?uploadId=u", {}, "ListParts", "k"),
    ("POST", "/b/k?uploadId=u", {}, "CompleteMultipartUpload", "k"),
    ("DELETE", "/b/k?uploadId=u", {}, "AbortMultipartUpload", "k"),
    ("POST", "/", {"x-amz-target": "DynamoDB_20120810.GetItem"}, "GetItem", ""),
]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with moto() as running:
        s3_client(running).create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture
def proxy(engine: Engine) -> Iterator[Proxy]:
    with forwarding(engine.endpoint) as running:
        yield running


@pytest.fixture
def s3(engine: Engine, proxy: Proxy) -> S3Client:
    return s3_client(engine, endpoint=proxy.endpoint, attempts=1)


def _exchange(number: int, started: float, ended: float) -> Exchange:
    return Exchange(number, "GetObject", BUCKET, "k", presigned=False, started=started, ended=ended, status=200)


@pytest.mark.parametrize(("method", "target", "headers", "name", "key"), OPERATIONS)
def test_operation_is_read_off_the_request(
    method: str, target: str, headers: dict[str, str], name: str, key: str
) -> None:
    operation = classify(method, target, headers)

    assert (operation.name, operation.key) == (name, key)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 9), (1, 2), (3, 4)], 2),
        ([(0, 1), (0, 1.1), (1.2, 2), (1.3, 2)], 2),
    ],
)
def test_round_trips_is_the_longest_chain(times: list[tuple[float, float]], expected: int) -> None:
    exchanges = [_exchange(number, *time) for number, time in enumerate(times, 1)]

    assert round_trips(exchanges) == expected


def test_bodies_pass_both_ways_and_are_counted(s3: S3Client, proxy: Proxy) -> None:
    s3.put_object(Bucket=BUCKET, Key="a/b:c d", Body=LARGE)
    read = s3.get_object(Bucket=BUCKET, Key="a/b:c d")["Body"].read()
    head = s3.head_object(Bucket=BUCKET, Key="a/b:c d")
    s3.delete_object(Bucket=BUCKET, Key="a/b:c d")

    assert (read, head["ContentLength"]) == (LARGE, len(LARGE))
    assert counts(proxy.snapshot()) == {"DeleteObject": 1, "GetObject": 1, "HeadObject": 1, "PutObject": 1}
    assert round_trips(proxy.snapshot()) == 4
    assert {exchange.key for exchange in proxy.snapshot()} == {"a/b:c d"}


def test_reset_begins_again_at_one(s3: S3Client, proxy: Proxy) -> None:
    numbers: list[int] = []
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"")
    proxy.reset()
    proxy.hook = lambda number, _operation, _key, _phase: numbers.append(number)

    s3.head_object(Bucket=BUCKET, Key="k")

    assert counts(proxy.snapshot()) == {"HeadObject": 1}
    assert numbers == [1, 1]


def test_each_request_is_delayed(s3: S3Client, proxy: Proxy) -> None:
    proxy.delay = 0.05

    s3.put_object(Bucket=BUCKET, Key="k", Body=b"")

    (exchange,) = proxy.snapshot()
    assert exchange.ended - exchange.started >= 0.05


@pytest.mark.parametrize(("phase", "applied"), [("before", False), ("after", True)])
def test_cut_leaves_s3_as_it_was_or_with_the_change(
    engine: Engine, s3: S3Client, proxy: Proxy, phase: Phase, applied: bool
) -> None:
    def cut(number: int, operation: str, key: str, at: Phase) -> None:
        if (number, operation, key, at) == (2, "PutObject", "second", phase):
            raise InterruptedError

    proxy.hook = cut
    s3.put_object(Bucket=BUCKET, Key="first", Body=b"1")

    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket=BUCKET, Key="second", Body=b"2")

    keys = [item["Key"] for item in s3_client(engine).list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert ("second" in keys) == applied


@pytest.mark.engines
def test_signatures_hold_through_a_proxy_process() -> None:
    with seaweedfs() as engine, proxy_process(engine.endpoint) as proxy:
        s3 = s3_client(engine, endpoint=proxy.endpoint, attempts=1)
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="a/b:c d", Body=LARGE)
        proxy.reset()
        read = s3.get_object(Bucket=BUCKET, Key="a/b:c d")["Body"].read()
        with pytest.raises(s3.exceptions.ClientError, match="SignatureDoesNotMatch"):
            s3_client(replace(engine, secret_key="wrong"), endpoint=proxy.endpoint).get_object(Bucket=BUCKET, Key="k")

        assert read == LARGE
        assert counts(proxy.snapshot()) == {"GetObject": 2}
