"""AWS Signature Version 4 without botocore: presigned S3 URLs and, for other services, signed headers.

Why by hand: botocore needs half a second to import and half a millisecond for each signature; a pull is one or
two signatures and nothing else. The tests compare every kind of URL made here with botocore's.

Invariants:
* A URL is signed for one method, one key and a short time; only `host` is a signed header, so any client can use it.
* The signing key is derived once a day and credential.

Specification: AWS Signature Version 4, "Authenticating requests": using query parameters, and using headers.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import SplitResult, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_OWN_PORTS: Mapping[str, str] = MappingProxyType({"http": ":80", "https": ":443"})
NO_QUERY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AWS access key, and the session token that temporary ones come with."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Presigner:
    """Signs URLs of one bucket as seen at one address.

    `base` is the address that stands before the key and that the signature covers, without a slash at its end:
    `https://BUCKET.s3.REGION.amazonaws.com`, or `http://HOST:PORT/BUCKET` for other S3 services.
    """

    base: str
    region: str
    credentials: Callable[[], Credentials]
    now: Callable[[], datetime]

    def url(self, method: str, key: str, *, seconds: int, query: Mapping[str, str] = NO_QUERY) -> str:
        """Return a URL that lets its holder do `method` on `key` for `seconds`."""
        credentials = self.credentials()
        moment = self.now().strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        parameters = {
            **query,
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        if credentials.token:
            parameters["X-Amz-Security-Token"] = credentials.token
        address = urlsplit(f"{self.base}/{quote(key, safe='/~')}")
        canonical_query = "&".join(
            f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(parameters.items())
        )
        host = _host(address)
        request = f"{method}\n{address.path}\n{canonical_query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        signature = _sign(credentials.secret_key, scope, moment, request)
        return f"{address.geturl()}?{canonical_query}&X-Amz-Signature={signature}"


def _host(address: SplitResult) -> str:
    """Return the Host header that clients send: in lower case, without the scheme's own port."""
    return address.netloc.lower().removesuffix(_OWN_PORTS.get(address.scheme, ""))


def signed_headers(
    headers: Mapping[str, str], body: bytes, service: str, region: str, credentials: Credentials, now: datetime
) -> Mapping[str, str]:
    """Return the headers of a POST of `body` to the root of a service, with what authenticates it.

    `headers` has `host`; all names are lower case.
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    token = {"x-amz-security-token": credentials.token} if credentials.token else {}
    own = {**headers, "x-amz-date": moment, **token}
    names = ";".join(sorted(own))
    lines = "".join(f"{name}:{own[name]}\n" for name in sorted(own))
    request = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    signature = _sign(credentials.secret_key, scope, moment, request)
    credential = f"{credentials.access_key}/{scope}"
    value = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**own, "authorization": value}


def _sign(secret_key: str, scope: str, moment: str, request: str) -> str:
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashed}"
    return hmac.digest(_signing_key(secret_key, scope), text.encode(), "sha256").hex()


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, scope: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
