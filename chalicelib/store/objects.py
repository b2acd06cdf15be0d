"""Bytes under keys: the seam between the registry and S3.

`ObjectStore` is what the rest of the registry needs of a store, in thirteen methods; `S3Objects` is S3.

Invariants:
* A write that returned is durable, whole, and seen by every later read and listing of every process.
* A conditional write that lost raises `ConditionFailedError` and changed nothing. One exception, which every caller
  must bear: where an answer was lost and the request repeated, the loser may be the caller's own earlier request.
* Listings are in byte order of the keys and begin strictly after `after`.
* What a tag was before stays readable for a while, as its versions. Of other keys that need not hold.
* A store that does not answer, after retries, is UNAVAILABLE; its own words go to the log, never to a client.

Reads use the same presigned URLs that clients get, over kept-alive connections; boto3 does the writes and is
imported at the first of them, so that an instance that only serves pulls never pays for it.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from threading import Event
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.pages import LARGEST, Page
from chalicelib.store import layout
from chalicelib.store.connections import PATIENT, Answer, Connections, Patience
from chalicelib.store.signing import NO_QUERY, Credentials, Presigner

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

    from chalicelib.store.versions import Keeper

log = logging.getLogger(__name__)

OCTETS = "application/octet-stream"
NO_METADATA: Mapping[str, str] = MappingProxyType({})
# In a tag's metadata, where `store.versions` keeps its versions: which one it is.
VERSION = "version"
KEPT = "kept-"
_READ_SECONDS = 300
_PARTIAL = 206
_NO_VERSION = (400, 404, 405)  # It is a deletion, or was never there.


class ConditionFailedError(Exception):
    """The object was not in the state that the write was conditional on."""


class MultipartGoneError(Exception):
    """The multipart upload was completed or aborted before, or another request wrote its parts anew."""


class Head(NamedTuple):
    """What a store knows of an object besides its bytes; `version` is "" where none is kept, S3 made a `replica`."""

    size: int
    etag: str
    content_type: str
    metadata: Mapping[str, str]
    version: str = ""
    replica: bool = False


class Object(NamedTuple):
    """An object with its bytes."""

    head: Head
    content: bytes


class Entry(NamedTuple):
    """An object as a listing shows it."""

    key: str
    size: int
    modified: datetime
    etag: str = ""


class Version(NamedTuple):
    """What was at a key since `modified`, or still is (`latest`); nothing, where `deleted`."""

    id: str
    modified: datetime
    size: int
    etag: str
    deleted: bool
    latest: bool


class Multipart(NamedTuple):
    """A multipart upload that was begun and not yet ended."""

    key: str
    id: str
    started: datetime


class ObjectStore(Protocol):
    """What the registry needs of a store; the contract suite in the tests says it precisely."""

    def get(self, key: str, version: str = "") -> Object | None:
        """Return a small object whole, or a version of it, or None."""

    def head(self, key: str) -> Head | None:
        """Return what is known of an object, or None."""

    def versions(self, key: str) -> tuple[Version, ...]:
        """Return the versions of an object that are still there, the newest first."""

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """Yield an object's bytes from `start`, which it has, in pieces; raise LookupError where there is none."""

    def put(
        self,
        key: str,
        content: bytes,
        *,
        content_type: str = OCTETS,
        metadata: Mapping[str, str] = NO_METADATA,
        if_absent: bool = False,
        if_match: str = "",
    ) -> str:
        """Write an object and return its entity tag; raise ConditionFailedError."""

    def delete(self, *keys: str) -> None:
        """Delete objects, in no particular order; absent ones are no error."""

    def delete_if(self, key: str, etag: str) -> None:
        """Delete an object that still has this entity tag; raise ConditionFailedError."""

    def list(self, prefix: str, *, after: str = "", limit: int = LARGEST) -> Page[Entry]:
        """Return up to `limit` (at most 1000) objects below `prefix` whose keys follow `after`."""

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its id."""

    def put_part(self, key: str, multipart: str, number: int, content: IO[bytes]) -> str:
        """Write part `number` (from 1) and return its entity tag; raise MultipartGoneError."""

    def complete(self, key: str, multipart: str, etags: Sequence[str]) -> None:
        """Make the parts an object that was absent; raise ConditionFailedError or MultipartGoneError."""

    def abort(self, key: str, multipart: str) -> None:
        """End a multipart upload and drop its parts; ended ones are no error."""

    def unfinished(self, prefix: str) -> Iterator[Multipart]:
        """Yield the multipart uploads below `prefix` that have not ended."""


@dataclass(frozen=True)
class S3Objects:
    """An S3 bucket; `endpoint` is "" for AWS itself, `fixed` None where boto3's own chain finds credentials."""

    bucket: str
    region: str
    endpoint: str
    fixed: Credentials | None
    presigner: Presigner
    patience: Patience = PATIENT
    # Set once an answer has told that the bucket keeps versions by itself; S3 tells at every write and read.
    versioned: Event = field(default_factory=Event, init=False, repr=False, compare=False)

    @cached_property
    def _connections(self) -> Connections:
        return Connections(self.presigner.base, self.patience)

    @cached_property
    def _s3(self) -> "S3Client":
        from chalicelib.store.client import s3_client  # noqa: PLC0415 - boto3 takes half a second to import

        return s3_client(self.region, self.endpoint, self.fixed, patience=self.patience)

    @cached_property
    def _keeper(self) -> "Keeper":
        from chalicelib.store.versions import Keeper  # noqa: PLC0415 - it builds on this module; pulls do without

        return Keeper(self, self.presigner.now)

    def get(self, key: str, version: str = "") -> Object | None:
        """Return a small object whole, or a version of it, or None."""
        if version.startswith(KEPT):
            return self._keeper.get(key, version)
        answer = self._fetch("GET", key, {"versionId": version} if version else NO_QUERY)
        found = None if answer is None else Object(self._head(answer.headers), answer.content)
        return found if found and version in ("", found.head.version) else None

    def head(self, key: str) -> Head | None:
        """Return what is known of an object, or None."""
        answer = self._fetch("HEAD", key)
        return None if answer is None else self._head(answer.headers)

    def versions(self, key: str) -> tuple[Version, ...]:
        """Return the versions of an object that are still there, the newest first."""
        from chalicelib.store.versions import every_version  # noqa: PLC0415 - as above

        found = every_version(lambda query: self._fetch("GET", "", query), key)
        return found if any(is_given(version.id) for version in found) else self._keeper.versions(key)

    def _head(self, headers: Mapping[str, str]) -> Head:
        head = _head(headers)
        if is_given(head.version):
            self.versioned.set()
        return head

    def _fetch(self, method: str, key: str, query: Mapping[str, str] = NO_QUERY) -> Answer | None:
        try:
            signed = self.presigner.url(method, key, seconds=_READ_SECONDS, query=query)
            answer = self._connections.fetch(method, signed)
        except OSError as error:
            _unavailable(method, error)
        absent = "versionId" in query and answer.status in _NO_VERSION
        return answer if not absent and _found(method, answer.status, answer.content) else None

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """Yield an object's bytes from `start`, which it has, in pieces; raise LookupError where there is none."""
        try:
            status, pieces = self._connections.stream(self.presigner.url("GET", key, seconds=_READ_SECONDS), start)
            if not (start and status == _PARTIAL) and not _found("GET", status):
                raise LookupError(key)
            yield from pieces
        except OSError as error:
            _unavailable("GET", error)

    def put(
        self,
        key: str,
        content: bytes,
        *,
        content_type: str = OCTETS,
        metadata: Mapping[str, str] = NO_METADATA,
        if_absent: bool = False,
        if_match: str = "",
    ) -> str:
        """Write an object and return its entity tag; raise ConditionFailedError."""
        if not self._is_for_us_to_keep(key):
            condition = _condition(if_absent=if_absent, if_match=if_match)
            return self._write(key, content, content_type, metadata, condition)

        def write(version: str, over: str) -> str:
            condition = _condition(if_absent=not over, if_match=over)
            return self._write(key, content, content_type, {**metadata, VERSION: version}, condition)

        return self._keeper.put(key, write, if_absent=if_absent, if_match=if_match)

    def _is_for_us_to_keep(self, key: str) -> bool:
        return layout.is_tag(key) and not self.versioned.is_set()

    def _write(
        self, key: str, content: bytes, content_type: str, metadata: Mapping[str, str], condition: Mapping[str, str]
    ) -> str:
        with _s3_errors("PutObject"):
            answer = self._s3.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=content,
                ContentType=content_type,
                Metadata=dict(metadata),
                **condition,  # type: ignore[arg-type] # a TypedDict cannot be unpacked from a choice
            )
        if is_given(answer.get("VersionId", "")):
            self.versioned.set()
        return answer["ETag"]

    def delete(self, *keys: str) -> None:
        """Delete objects, in no particular order; absent ones are no error."""
        others: list[ObjectIdentifierTypeDef] = []
        for key in keys:
            if self._is_for_us_to_keep(key):
                self._keeper.delete(key, partial(self._drop_if, key))
            else:
                others.append({"Key": key})
        for start in range(0, len(others), LARGEST):
            batch = others[start : start + LARGEST]
            with _s3_errors("DeleteObjects"):
                answer = self._s3.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
            for failed in answer.get("Errors", ()):
                _unavailable("DeleteObjects", failed.get("Code"))

    def delete_if(self, key: str, etag: str) -> None:
        """Delete an object that still has this entity tag; raise ConditionFailedError."""
        if self._is_for_us_to_keep(key):
            self._keeper.delete_if(key, etag, partial(self._drop_if, key))
        else:
            self._drop_if(key, etag)

    def _drop_if(self, key: str, etag: str) -> None:
        with _s3_errors("DeleteObject"):
            self._s3.delete_object(Bucket=self.bucket, Key=key, IfMatch=etag)

    def list(self, prefix: str, *, after: str = "", limit: int = LARGEST) -> Page[Entry]:
        """Return up to `limit` (at most 1000) objects below `prefix` whose keys follow `after`."""
        with _s3_errors("ListObjectsV2"):
            answer = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix, StartAfter=after, MaxKeys=limit)
        entries = tuple(Entry(o["Key"], o["Size"], o["LastModified"], o["ETag"]) for o in answer.get("Contents", ()))
        return Page(entries, answer.get("IsTruncated", False))

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        with _s3_errors("CreateMultipartUpload"):
            return self._s3.create_multipart_upload(Bucket=self.bucket, Key=key, ContentType=OCTETS)["UploadId"]

    def put_part(self, key: str, multipart: str, number: int, content: IO[bytes]) -> str:
        """Write part `number` (from 1) and return its entity tag; raise MultipartGoneError."""
        with _s3_errors("UploadPart"):
            return self._s3.upload_part(
                Bucket=self.bucket, Key=key, UploadId=multipart, PartNumber=number, Body=content
            )["ETag"]

    def complete(self, key: str, multipart: str, etags: Sequence[str]) -> None:
        """Make the parts an object that was absent; raise ConditionFailedError or MultipartGoneError."""
        with _s3_errors("CompleteMultipartUpload"):
            self._s3.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=multipart,
                MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]},
                IfNoneMatch="*",
            )

    def abort(self, key: str, multipart: str) -> None:
        """End a multipart upload and drop its parts; ended ones are no error."""
        try:
            with _s3_errors("AbortMultipartUpload"):
                self._s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=multipart)
        except MultipartGoneError:
            return

    def unfinished(self, prefix: str) -> Iterator[Multipart]:
        """Yield the multipart uploads below `prefix` that have not ended."""
        with _s3_errors("ListMultipartUploads"):
            for page in self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Uploads", ()):
                    yield Multipart(found["Key"], found["UploadId"], found["Initiated"])


def _found(method: str, status: int, content: bytes = b"") -> bool:
    if status not in (200, 404):
        code = re.search(rb"<Code>(\w{1,64})</Code>", content)
        _unavailable(method, f"status {status}, {code[1].decode() if code else 'which says no more'}")
    return status == 200  # noqa: PLR2004


def _head(headers: Mapping[str, str]) -> Head:
    prefix = "x-amz-meta-"
    metadata = {name.removeprefix(prefix): value for name, value in headers.items() if name.startswith(prefix)}
    given, kept = headers.get("x-amz-version-id", ""), metadata.pop(VERSION, "")
    return Head(
        size=int(headers.get("content-length", 0)),
        etag=headers.get("etag", ""),
        content_type=headers.get("content-type", OCTETS),
        metadata=metadata,
        version=given if is_given(given) else kept,
        replica=headers.get("x-amz-replication-status") == "REPLICA",
    )


def is_given(version: str) -> bool:
    """Tell whether a version is the bucket's: what it took unversioned has S3's "null"."""
    return version not in ("", "null") and not version.startswith(KEPT)


def _condition(*, if_absent: bool, if_match: str) -> Mapping[str, str]:
    return {"IfNoneMatch": "*"} if if_absent else {"IfMatch": if_match} if if_match else {}


# What S3 says where a condition did not hold: another write won (412), is under way (409), or the object that
# If-Match wants is gone (404).
_CONDITION_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404"})


@contextmanager
def _s3_errors(operation: str) -> Iterator[None]:
    """Turn what boto3 raises into this module's words."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded with boto3, not before

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchUpload", "InvalidPart"):
            raise MultipartGoneError from error
        if code in _CONDITION_CODES:
            raise ConditionFailedError from error
        _unavailable(operation, error)
    except BotoCoreError as error:
        _unavailable(operation, error)


def _unavailable(operation: str, cause: object) -> NoReturn:
    log.error("S3 failed at %s: %s", operation, cause)
    raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "5"})
