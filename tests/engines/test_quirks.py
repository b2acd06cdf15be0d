"""What each engine does otherwise than AWS, observed: `Engine.quirks` is this list and no other."""

from __future__ import annotations

import base64
import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_s3 import S3Client
from mypy_boto3_s3.type_defs import CopySourceTypeDef

from tests.engines import ENGINES, Engine, Quirk, s3_client

BUCKET = "quirks"

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.param]() as running:
        s3_client(running).create_bucket(Bucket=BUCKET)
        yield running


def _code(call: Callable[[], object]) -> str:
    """Return the error code of a refused call, or nothing."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def _status(method: str, url: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _put(s3: S3Client, key: str, body: bytes = b"bytes") -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def any_signature(engine: Engine) -> bool:
    forger = s3_client(replace(engine, secret_key="wrong"))
    return not _code(lambda: _put(forger, "forged"))


def any_presignature(engine: Engine) -> bool:
    s3 = s3_client(engine)
    _put(s3, "presigned")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "presigned"}, ExpiresIn=60)
    expired = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "presigned"}, ExpiresIn=-5)
    assert _status("GET", url) == 200

    refused = {_status("HEAD", url), _status("GET", url[:-1] + ("0" if url[-1] != "0" else "1"))}
    return 200 in refused | {_status("GET", expired)}


def any_checksum(engine: Engine) -> bool:
    s3 = s3_client(engine)
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    return not _code(lambda: s3.put_object(Bucket=BUCKET, Key="checked", Body=b"bytes", ChecksumSHA256=wrong))


def no_copy_conditions(engine: Engine) -> bool:
    s3 = s3_client(engine)
    _put(s3, "source")
    _put(s3, "taken")
    source: CopySourceTypeDef = {"Bucket": BUCKET, "Key": "source"}
    return not _code(lambda: s3.copy_object(Bucket=BUCKET, Key="taken", CopySource=source, IfNoneMatch="*"))


def no_copy_checksum(engine: Engine) -> bool:
    s3 = s3_client(engine)
    _put(s3, "summed")
    source: CopySourceTypeDef = {"Bucket": BUCKET, "Key": "summed"}
    answer = s3.copy_object(Bucket=BUCKET, Key="sum", CopySource=source, ChecksumAlgorithm="SHA256")
    return "ChecksumSHA256" not in answer["CopyObjectResult"]


def no_delete_conditions(engine: Engine) -> bool:
    s3 = s3_client(engine)
    _put(s3, "guarded")
    return not _code(lambda: s3.delete_object(Bucket=BUCKET, Key="guarded", IfMatch='"other"'))


def any_part_size(engine: Engine) -> bool:
    s3 = s3_client(engine)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    sizes = {1: 1024, 2: 1024}
    parts = [
        s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=number, Body=bytes(size))
        for number, size in sizes.items()
    ]
    listed = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate(parts, 1)]
    return not _code(
        lambda: s3.complete_multipart_upload(
            Bucket=BUCKET,
            Key="parts",
            UploadId=upload,
            MultipartUpload={"Parts": listed},  # type: ignore[typeddict-item]  # the stubs want a literal
        )
    )


def missing_is_412(engine: Engine) -> bool:
    s3 = s3_client(engine)
    code = _code(lambda: s3.put_object(Bucket=BUCKET, Key="missing", Body=b"", IfMatch='"other"'))
    assert code in {"NoSuchKey", "PreconditionFailed"}
    return code == "PreconditionFailed"


def folder_order(engine: Engine) -> bool:
    s3 = s3_client(engine)
    for key in ("order/a", "order/a-1", "order/a/x"):
        _put(s3, key)
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="order/")["Contents"]
    after = s3.list_objects_v2(Bucket=BUCKET, Prefix="order/", StartAfter="order/a-1").get("Contents", [])
    return [item["Key"] for item in listed + after] != ["order/a", "order/a-1", "order/a/x", "order/a/x"]


def versioned_order(engine: Engine) -> bool:
    s3 = s3_client(engine)
    s3.create_bucket(Bucket="versioned-order")
    s3.put_bucket_versioning(Bucket="versioned-order", VersioningConfiguration={"Status": "Enabled"})
    keys = ["flat/a", "flat/a!b", "flat/a-b", "flat/a.b", "flat/b"]
    for key in keys:
        s3.put_object(Bucket="versioned-order", Key=key, Body=b"bytes")
    first = s3.list_objects_v2(Bucket="versioned-order", Prefix="flat/", MaxKeys=2)["Contents"]
    rest = s3.list_objects_v2(Bucket="versioned-order", Prefix="flat/", StartAfter=keys[1])["Contents"]
    return [item["Key"] for item in first + rest] != keys


def no_replication(engine: Engine) -> bool:
    s3 = s3_client(engine)
    for bucket in ("from", "into"):
        s3.create_bucket(Bucket=f"replicate-{bucket}")
        s3.put_bucket_versioning(Bucket=f"replicate-{bucket}", VersioningConfiguration={"Status": "Enabled"})
    if _code(
        lambda: s3.put_bucket_replication(
            Bucket="replicate-from",
            ReplicationConfiguration={
                "Role": "arn:aws:iam::000000000000:role/replicate",
                "Rules": [
                    {
                        "ID": "all",
                        "Priority": 1,
                        "Status": "Enabled",
                        "Filter": {"Prefix": ""},
                        "DeleteMarkerReplication": {"Status": "Disabled"},
                        "Destination": {"Bucket": "arn:aws:s3:::replicate-into"},
                    }
                ],
            },
        )
    ):
        return True
    s3.put_object(Bucket="replicate-from", Key="copied", Body=b"bytes")
    with suppress(ClientError):
        return s3.get_object(Bucket="replicate-into", Key="copied")["Body"].read() != b"bytes"
    return True


PROBES: Mapping[Quirk, Callable[[Engine], bool]] = {
    Quirk.ANY_SIGNATURE: any_signature,
    Quirk.ANY_PRESIGNATURE: any_presignature,
    Quirk.ANY_CHECKSUM: any_checksum,
    Quirk.NO_COPY_CONDITIONS: no_copy_conditions,
    Quirk.NO_COPY_CHECKSUM: no_copy_checksum,
    Quirk.NO_DELETE_CONDITIONS: no_delete_conditions,
    Quirk.ANY_PART_SIZE: any_part_size,
    Quirk.MISSING_IS_412: missing_is_412,
    Quirk.FOLDER_ORDER: folder_order,
    Quirk.VERSIONED_ORDER: versioned_order,
    Quirk.NO_REPLICATION: no_replication,
}


def test_every_quirk_has_a_probe() -> None:
    assert set(PROBES) == set(Quirk)


@pytest.mark.parametrize("quirk", Quirk, ids=lambda quirk: quirk.name)
def test_quirk_is_declared_exactly_where_it_is_observed(engine: Engine, quirk: Quirk) -> None:
    observed = PROBES[quirk](engine)

    assert observed == (quirk in engine.quirks)
