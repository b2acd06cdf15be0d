"""Refusals in Harbor's words: one table of codes, one exception, and how the registry's own errors translate.

Invariants:
* Below `/api` and `/c` every refusal is `{"errors": [{"code": ..., "message": ...}]}`.
* What went wrong inside is not told: a 5xx has one sentence and the request id in its header.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum

import orjson

from chalicelib.api.http import NO_HEADERS, Response
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.store.table import RefusedError

JSON = "application/json; charset=utf-8"


class HarborCode(Enum):
    """Harbor's error codes with their statuses."""

    # fmt: off
    BAD_REQUEST              = 400
    UNAUTHORIZED             = 401
    FORBIDDEN                = 403
    DENIED                   = (403, "denied")
    NOT_FOUND                = 404
    METHOD_NOT_ALLOWED       = 405
    CONFLICT                 = 409
    PRECONDITION             = 412
    REQUEST_ENTITY_TOO_LARGE = 413
    UNSUPPORTED_MEDIA_TYPE   = 415
    UNPROCESSABLE_ENTITY     = 422
    TOO_MANY_REQUEST         = 429
    UNKNOWN                  = 500
    NOT_IMPLEMENTED          = 501
    UNAVAILABLE              = 503
    # fmt: on

    @property
    def status(self) -> int:
        """Return the status of the answer."""
        value: int | tuple[int, str] = self.value
        return value if isinstance(value, int) else value[0]


class HarborError(Exception):
    """A refusal below `/api` or `/c`; the message is for whoever reads the answer."""

    def __init__(self, code: HarborCode, message: str, *, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(f"{code.name}: {message}")


_BY_STATUS = {code.status: code for code in HarborCode if code is not HarborCode.DENIED}


def translated(error: RegistryError) -> HarborError:
    """Return what Harbor's API says where the registry's rules refuse something."""
    if error.code is ErrorCode.UNKNOWN:
        return HarborError(HarborCode.UNKNOWN, "internal server error: quote the X-Request-Id to the operator")
    code = _BY_STATUS.get(error.status, HarborCode.BAD_REQUEST)
    return HarborError(code, error.message, headers=error.headers)


def render(error: HarborError) -> Response:
    """Return the answer to a refused request."""
    document = {"errors": [{"code": error.code.name, "message": error.message}]}
    return Response(error.code.status, {"Content-Type": JSON, **error.headers}, orjson.dumps(document))


@contextmanager
def refusing(codes: Mapping[str, HarborCode]) -> Iterator[None]:
    """Raise HarborError where the table refuses: by the code of the condition, else CONFLICT, as of a race."""
    try:
        yield
    except RefusedError as error:
        name = error.names[0]
        raise HarborError(codes.get(name, HarborCode.CONFLICT), name) from error


def bad_request(message: str) -> HarborError:
    """Return the refusal of a request that makes no sense."""
    return HarborError(HarborCode.BAD_REQUEST, message)


def not_found(what: str) -> HarborError:
    """Return the refusal of a request for something that is not there."""
    return HarborError(HarborCode.NOT_FOUND, f"{what} not found")


def conflict(message: str) -> HarborError:
    """Return the refusal of the second of two writers."""
    return HarborError(HarborCode.CONFLICT, message)
