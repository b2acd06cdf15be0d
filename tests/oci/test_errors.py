"""The error table against the specification's."""

import pytest

from chalicelib.oci.errors import ErrorCode, RegistryError

# fmt: off
GOLDEN = """
code-1   404  BLOB_UNKNOWN
code-2   400  BLOB_UPLOAD_INVALID
code-3   404  BLOB_UPLOAD_UNKNOWN
code-4   400  DIGEST_INVALID
code-5   404  MANIFEST_BLOB_UNKNOWN
code-6   400  MANIFEST_INVALID
code-7   404  MANIFEST_UNKNOWN
code-8   400  NAME_INVALID
code-9   404  NAME_UNKNOWN
code-10  400  SIZE_INVALID
code-11  401  UNAUTHORIZED
code-12  403  DENIED
code-13  405  UNSUPPORTED
code-14  429  TOOMANYREQUESTS
-        503  UNAVAILABLE
-        500  UNKNOWN
"""
# fmt: on


def test_the_table_is_the_specification_s() -> None:
    table = [f"{code.value.number or '-':<8} {code.value.status}  {code.name}" for code in ErrorCode]

    assert table == GOLDEN.strip().splitlines()


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_has_a_sentence_and_a_document(code: ErrorCode) -> None:
    error = RegistryError(code, detail={"x": 1})

    assert error.document() == {"errors": [{"code": code.name, "message": code.value.message, "detail": {"x": 1}}]}
    assert code.value.message
