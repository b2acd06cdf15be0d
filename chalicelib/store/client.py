"""How boto3's clients are made, and that of S3, configured once for every write of the registry.

Invariants:
* Imported only when a write is about to happen: importing boto3 takes longer than serving a pull.
* Retries are botocore's: three attempts with jitter, which covers throttling (503 SlowDown). They end, whatever S3
  does, before API Gateway gives up (29 seconds): clients are told, and try again.
* S3 checks every body against a CRC-32 that botocore adds, so what was hashed is what is stored.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from chalicelib.store.connections import PATIENT, Patience
from chalicelib.store.signing import Credentials

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NO_CREDENTIALS = "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_CONNECTIONS = 64
# For a connection and for each piece of a part to be taken; for an answer after the last byte, or to a thousand keys.
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 5, 7, 3


def session(region: str, fixed: Credentials | None) -> boto3.Session:
    """Return what clients are made of; `fixed` is None where boto3's own chain finds credentials."""
    return boto3.Session(
        region_name=region,
        aws_access_key_id=fixed.access_key if fixed else None,
        aws_secret_access_key=fixed.secret_key if fixed else None,
        aws_session_token=(fixed.token or None) if fixed else None,
    )


def s3_client(
    region: str, endpoint: str, fixed: Credentials | None, *, attempts: int = _ATTEMPTS, patience: Patience = PATIENT
) -> "S3Client":
    """Return a client; `endpoint` is "" for AWS, `fixed` None where boto3's own chain finds credentials.

    One that is less patient than others does not try as often as `attempts`, and waits no longer than it says.
    """
    seconds, tries = (_READ_SECONDS, attempts) if patience is PATIENT else (patience.seconds, patience.attempts)
    return session(region, fixed).client(
        "s3",
        endpoint_url=endpoint or None,
        config=Config(
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": tries},
            connect_timeout=min(seconds, _CONNECT_SECONDS),
            read_timeout=seconds,
            s3={"addressing_style": "path" if endpoint else "virtual", "payload_signing_enabled": False},
        ),
    )


def chain_credentials(region: str) -> Callable[[], Credentials]:
    """Return a source of the credentials that boto3's chain finds (profiles, roles), fresh at every call.

    Raise LookupError where there are none.
    """
    found = session(region, None).get_credentials()
    if found is None:
        raise LookupError(NO_CREDENTIALS)

    def current() -> Credentials:
        frozen = found.get_frozen_credentials()
        return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")

    return current
