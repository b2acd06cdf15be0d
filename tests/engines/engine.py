"""The engine: an S3 service that tests run on, and what it does otherwise than AWS.

* An `Engine` names a running service; whoever holds one never starts or ends anything.
* A `Quirk` is a difference from AWS that was observed, and is observed again by test_quirks.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import boto3
from botocore.config import Config
from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
ACCESS_KEY = "roadstead"
SECRET_KEY = "roadstead-secret"


class Quirk(Enum):
    """One difference from AWS; the value says what the engine does."""

    ANY_SIGNATURE = "takes a request signed with a wrong secret"
    ANY_PRESIGNATURE = "takes a presigned URL that expired, was tampered with or is for another method"
    ANY_CHECKSUM = "stores bytes that do not match x-amz-checksum-sha256"
    NO_COPY_CONDITIONS = "ignores If-None-Match on CopyObject"
    NO_COPY_CHECKSUM = "gives no SHA-256 for CopyObject with ChecksumAlgorithm=SHA256"
    NO_DELETE_CONDITIONS = "ignores If-Match on DeleteObject"
    ANY_PART_SIZE = "completes a multipart upload whose first part is below 5 MiB"
    MISSING_IS_412 = "answers If-Match on a missing key with 412, not 404"
    FOLDER_ORDER = "lists folder by folder, not in byte order; StartAfter can lose keys"
    VERSIONED_ORDER = "lists a flat folder of a versioned bucket out of order"
    NO_REPLICATION = "does not take or does not carry out a replication configuration"


@dataclass(frozen=True, slots=True)
class Engine:
    """A running S3 service on this machine."""

    name: str
    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION
    quirks: frozenset[Quirk] = frozenset()

    def environment(self) -> dict[str, str]:
        """Return what a program needs in its environment to use this service."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }


def client(engine: Engine, service: str, config: Config | None = None) -> Any:
    """Return a client of any of the engine's services, as it comes."""
    return boto3.client(  # type: ignore[call-overload] # any service
        service,
        endpoint_url=engine.endpoint,
        region_name=engine.region,
        aws_access_key_id=engine.access_key,
        aws_secret_access_key=engine.secret_key,
        config=config,
    )


def s3_client(engine: Engine, *, endpoint: str = "", attempts: int = 3) -> S3Client:
    """Return a client of the engine, or of a proxy in front of it."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint or engine.endpoint,
        region_name=engine.region,
        aws_access_key_id=engine.access_key,
        aws_secret_access_key=engine.secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": attempts},
            max_pool_connections=50,
        ),
    )
