"""The errors that a registry client can see: one table, one exception.

Invariants:
* Every refusal below `/v2` is a `RegistryError`; one place (`api.http.error_response`) renders it.
* A code has one number in the specification, one usual status and one usual sentence; a raise may sharpen the
  sentence, and replace the status where the specification wants another (413, 416).
* Messages are for people: what happened and what to do. No stack trace, secret or internal name.

Specification: OCI Distribution 1.1, "Error Codes" (code-1 to code-14). The codes without a number are for
answers of status 5xx, where the specification prescribes none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One line of the table: the specification's number, the usual status, the usual sentence."""

    number: str
    status: int
    message: str


class ErrorCode(Enum):
    """The error table; the member's name is the code on the wire."""

    # fmt: off
    BLOB_UNKNOWN          = ErrorRow("code-1",  404, "this repository does not hold the blob")
    BLOB_UPLOAD_INVALID   = ErrorRow("code-2",  400, "the upload cannot go on like this; start it again")
    BLOB_UPLOAD_UNKNOWN   = ErrorRow("code-3",  404, "this upload has ended or never existed; start it again")
    DIGEST_INVALID        = ErrorRow("code-4",  400, "the digest does not match the content")
    MANIFEST_BLOB_UNKNOWN = ErrorRow("code-5",  404, "the manifest refers to content that this repository lacks")
    MANIFEST_INVALID      = ErrorRow("code-6",  400, "the manifest is not valid")
    MANIFEST_UNKNOWN      = ErrorRow("code-7",  404, "this repository has no such manifest")
    NAME_INVALID          = ErrorRow("code-8",  400, "the repository name is not valid")
    NAME_UNKNOWN          = ErrorRow("code-9",  404, "there is no such repository")
    SIZE_INVALID          = ErrorRow("code-10", 400, "the length given is not the length of the content")
    UNAUTHORIZED          = ErrorRow("code-11", 401, "authentication required: log in and try again")
    DENIED                = ErrorRow("code-12", 403, "you may not do this; ask an administrator for access")
    UNSUPPORTED           = ErrorRow("code-13", 405, "this registry does not offer the operation")
    TOOMANYREQUESTS       = ErrorRow("code-14", 429, "too many requests; wait and try again")
    UNAVAILABLE           = ErrorRow("",        503, "storage did not answer; try again in a moment")
    UNKNOWN               = ErrorRow("",        500, "an error of the registry; quote the request id to its operator")
    # fmt: on


class RegistryError(Exception):
    """A refusal with everything that its answer needs; `detail` is any JSON value."""

    def __init__(
        self,
        code: ErrorCode,
        message: str = "",
        *,
        detail: object = None,
        status: int = 0,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self.code = code
        self.message = message or code.value.message
        self.detail = detail
        self.status = status or code.value.status
        self.headers = headers
        super().__init__(f"{code.name}: {self.message}")

    def document(self) -> dict[str, object]:
        """Return the error document of the specification, ready to be encoded as JSON."""
        entry: dict[str, object] = {"code": self.code.name, "message": self.message}
        if self.detail is not None:
            entry["detail"] = self.detail
        return {"errors": [entry]}
