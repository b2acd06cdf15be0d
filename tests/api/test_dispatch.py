"""Routing: every endpoint of the specification has its row, and everything else a refusal in words."""

import orjson
import pytest

from chalicelib.api.dispatch import ENDPOINTS, route
from chalicelib.oci.errors import RegistryError
from tests.api.asking import Client

# fmt: off
GOLDEN = """
end-1    GET     /v2/                                       -
end-1    HEAD    /v2/                                       -
end-2    GET     /v2/<name>/blobs/<digest>                  pull
end-2    HEAD    /v2/<name>/blobs/<digest>                  pull
end-3    GET     /v2/<name>/manifests/<reference>           pull
end-3    HEAD    /v2/<name>/manifests/<reference>           pull
end-4    POST    /v2/<name>/blobs/uploads/                  push
end-5    PATCH   /v2/<name>/blobs/uploads/<upload>          -
end-6    PUT     /v2/<name>/blobs/uploads/<upload>          -
end-7    PUT     /v2/<name>/manifests/<reference>           push
end-8    GET     /v2/<name>/tags/list                       pull
end-9    DELETE  /v2/<name>/manifests/<reference>           delete
end-10   DELETE  /v2/<name>/blobs/<digest>                  delete
end-11   POST    /v2/<name>/blobs/uploads/                  push
end-12   GET     /v2/<name>/referrers/<digest>              pull
end-13   GET     /v2/<name>/blobs/uploads/<upload>          -
end-14   DELETE  /v2/<name>/blobs/uploads/<upload>          -
-        GET     /v2/<name>/blobs/uploads/_fetched/<digest> -
-        HEAD    /v2/<name>/blobs/uploads/_fetched/<digest> -
-        GET     /v2/_catalog                               *
-        GET     /service/keys                              -
-        GET     /service/token                             -
-        POST    /service/token                             -
-        GET     /metrics                                   -
-        GET     /service/metrics                           -
"""
# fmt: on


def test_the_endpoint_table() -> None:
    rows = [f"{row.id or '-':<8} {row.method:<7} {row.path:<42} {row.action or '-'}" for row in ENDPOINTS]

    assert rows == GOLDEN.strip().splitlines()


def test_every_endpoint_of_the_specification_has_a_row() -> None:
    assert {row.id for row in ENDPOINTS} >= {f"end-{number}" for number in range(1, 15)}


@pytest.mark.parametrize(
    ("method", "path", "handler", "name", "argument"),
    [
        ("GET", "/v2", "get_root", "", ""),
        ("GET", "/v2/a/manifests/x", "get_manifest", "a", "x"),
        ("GET", "/v2/a/b/c/manifests/x", "get_manifest", "a/b/c", "x"),
        ("GET", "/v2/manifests/manifests/manifests", "get_manifest", "manifests", "manifests"),
        ("GET", "/v2/blobs/uploads/blobs/sha256:0", "get_blob", "blobs/uploads", "sha256:0"),
        ("GET", "/v2/tags/list/tags/list", "get_tags", "tags/list", ""),
        ("POST", "/v2/a/blobs/uploads", "post_upload", "a", ""),
        ("POST", "/v2/a/blobs/uploads/", "post_upload", "a", ""),
        ("PUT", "/v2/a/blobs/uploads/id", "put_upload", "a", "id"),
        ("GET", "/v2/a/referrers/sha256:0", "get_referrers", "a", "sha256:0"),
        ("GET", "/v2/_catalog", "get_catalog", "", ""),
    ],
)
def test_a_path_leads_to_its_handler(method: str, path: str, handler: str, name: str, argument: str) -> None:
    endpoint, found, last = route(method, path)

    assert (endpoint.handler.__name__, found, last) == (handler, name, argument)


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/a", "/v2/a/manifests", "/v2/a/x/y", "/api/v2.0/ping", ""])
def test_any_other_path_is_404(path: str) -> None:
    with pytest.raises(RegistryError, match="nothing at this address") as refused:
        route("GET", path)

    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/", "GET, HEAD"),
        ("PATCH", "/v2/a/manifests/x", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/v2/a/tags/list", "GET"),
        ("PUT", "/service/token", "GET, POST"),
        ("BREW", "/v2/a/blobs/uploads/x", "DELETE, GET, PATCH, PUT"),
    ],
)
def test_a_method_that_is_not_offered_is_405_and_says_which_are(method: str, path: str, allowed: str) -> None:
    with pytest.raises(RegistryError, match="UNSUPPORTED") as refused:
        route(method, path)

    assert refused.value.status == 405
    assert refused.value.headers == {"Allow": allowed}


def test_a_failure_of_the_registry_itself_tells_nothing_but_the_request_id(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(operation: str, key: str) -> None:
        raise RuntimeError(f"secret detail of {operation} {key}")

    client.objects.before = fail

    answer = client.ask("GET", "/v2/a/b/manifests/x")

    assert (answer.status, answer.headers["X-Request-Id"]) == (500, "request-1")
    assert orjson.loads(answer.body)["errors"][0]["code"] == "UNKNOWN"
    assert b"secret" not in answer.body
    assert "secret detail" in caplog.text
