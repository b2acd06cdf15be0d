"""Secrets of the function in SSM's Parameter Store, read once at a cold start without botocore.

Invariants:
* One request reads every parameter, decrypted; what is missing is named.
* No value is logged or raised.

Specification: SSM `GetParameters`; AWS Signature Version 4 in headers.
"""

import http.client
import ssl
from collections.abc import Iterable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

import orjson

from chalicelib.store.signing import Credentials, signed_headers

_TARGET = "AmazonSSM.GetParameters"
_SECONDS = 5
_OK = 200


def fetch(
    names: Iterable[str], region: str, endpoint: str, credentials: Credentials, now: datetime
) -> Mapping[str, str]:
    """Return the values of parameters by their names; `endpoint` is "" for AWS.

    Raise LookupError where one is missing or may not be read, OSError where SSM does not answer.
    """
    wanted = sorted(set(names))
    address = urlsplit(endpoint or f"https://ssm.{region}.amazonaws.com")
    body = orjson.dumps({"Names": wanted, "WithDecryption": True})
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": address.netloc,
        "x-amz-target": _TARGET,
    }
    status, content = _post(
        address.scheme == "https",
        address.netloc,
        body,
        signed_headers(headers, body, "ssm", region, credentials, now),
    )
    if status != _OK:
        raise LookupError(f"the parameters {', '.join(wanted)} cannot be read: status {status}, {_reason(content)}")
    found = {each["Name"]: each["Value"] for each in orjson.loads(content)["Parameters"]}
    if missing := [name for name in wanted if name not in found]:
        raise LookupError(f"no parameter {', '.join(missing)} in {region}: `python -m infra secrets` makes them")
    return found


def _post(secure: bool, host: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    connection = (
        http.client.HTTPSConnection(host, timeout=_SECONDS, context=ssl.create_default_context())
        if secure
        else http.client.HTTPConnection(host, timeout=_SECONDS)
    )
    try:
        connection.request("POST", "/", body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"SSM did not answer: {error}") from error
    finally:
        connection.close()


def _reason(content: bytes) -> str:
    """Return what kind of error SSM names."""
    try:
        return str(orjson.loads(content).get("__type", "")).rpartition("#")[2]
    except (ValueError, AttributeError):
        return "which says no reason"
