"""The name of an S3 operation, read off a request in path style; as S3 itself does, by method, path and query.

* Of another AWS service (ministack has many behind one port) the name stands in `X-Amz-Target`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

_COPY = "x-amz-copy-source"

# Rows are tried in order; a row applies when its marker is in the query, `None` always.
_OBJECT: Mapping[str, tuple[tuple[str | None, str], ...]] = {
    "GET": (
        ("uploadId", "ListParts"),
        ("attributes", "GetObjectAttributes"),
        ("tagging", "GetObjectTagging"),
        (None, "GetObject"),
    ),
    "HEAD": ((None, "HeadObject"),),
    "PUT": (
        ("partNumber", "UploadPart"),
        ("tagging", "PutObjectTagging"),
        (None, "PutObject"),
    ),
    "POST": (
        ("uploads", "CreateMultipartUpload"),
        ("uploadId", "CompleteMultipartUpload"),
        ("restore", "RestoreObject"),
    ),
    "DELETE": (
        ("uploadId", "AbortMultipartUpload"),
        ("tagging", "DeleteObjectTagging"),
        (None, "DeleteObject"),
    ),
}
_BUCKET: Mapping[str, tuple[tuple[str | None, str], ...]] = {
    "GET": (
        ("list-type", "ListObjectsV2"),
        ("uploads", "ListMultipartUploads"),
        ("versions", "ListObjectVersions"),
        ("location", "GetBucketLocation"),
        ("versioning", "GetBucketVersioning"),
        ("lifecycle", "GetBucketLifecycleConfiguration"),
        ("replication", "GetBucketReplication"),
        ("notification", "GetBucketNotificationConfiguration"),
        (None, "ListObjects"),
    ),
    "HEAD": ((None, "HeadBucket"),),
    "PUT": (
        ("versioning", "PutBucketVersioning"),
        ("lifecycle", "PutBucketLifecycleConfiguration"),
        ("replication", "PutBucketReplication"),
        ("notification", "PutBucketNotificationConfiguration"),
        (None, "CreateBucket"),
    ),
    "POST": (("delete", "DeleteObjects"),),
    "DELETE": ((None, "DeleteBucket"),),
}
_COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}


class Operation(NamedTuple):
    """What a request asks, of which bucket and key (of a listing the prefix), and how it is signed."""

    name: str
    bucket: str
    key: str
    presigned: bool


def classify(method: str, target: str, headers: Mapping[str, str]) -> Operation:
    """Name the request; `headers` is looked up in lower case."""
    path, _, text = target.partition("?")
    query = dict(parse_qsl(text, keep_blank_values=True)) if text else {}
    bucket, _, key = path.removeprefix("/").partition("/")
    presigned = "X-Amz-Signature" in query
    if "x-amz-target" in headers:
        return Operation(headers["x-amz-target"].rpartition(".")[2], "", "", presigned)
    if not bucket:
        return Operation("ListBuckets", "", "", presigned)
    if not key:
        return Operation(_named(_BUCKET, method, query), bucket, query.get("prefix", ""), presigned)
    name = _named(_OBJECT, method, query)
    if _COPY in headers:
        name = _COPIES.get(name, name)
    return Operation(name, bucket, unquote(key), presigned)


def _named(table: Mapping[str, tuple[tuple[str | None, str], ...]], method: str, query: Mapping[str, str]) -> str:
    rows = table.get(method, ())
    return next((name for marker, name in rows if marker is None or marker in query), f"{method}?")
