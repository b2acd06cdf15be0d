"""harbor-api-client, generated from Harbor's API description: its calls, each answer held to the facts as it comes.

The package has no types; what it gives is `Any` from here on.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import harbor_client  # type: ignore[import-untyped]
from harbor_client.rest import ApiException  # type: ignore[import-untyped]

from tests.harbor.schema import check
from tests.server.running import PASSWORD, Server

Refused = ApiException


class _Checked(harbor_client.ApiClient):  # type: ignore[misc]
    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        try:
            answer = super().request(method, url, *args, **more)
        except ApiException as refused:
            _check(method, url, refused.status, refused.headers, refused.body)
            raise
        _check(method, url, answer.status, answer.getheaders(), answer.data)
        return answer


def _check(method: str, url: str, status: int, headers: Any, body: str | bytes) -> None:
    check(method, urlsplit(url).path, status, dict(headers), body.encode() if isinstance(body, str) else body)


class Generated:
    """The parts of Harbor's API for one account: `of.Project.get_project("library")`."""

    def __init__(self, server: Server, name: str = "admin", secret: str = PASSWORD) -> None:
        configuration = harbor_client.Configuration()
        configuration.host = f"{server.url}/api/v2.0"
        configuration.username, configuration.password = name, secret
        self._client = _Checked(configuration)

    def __getattr__(self, part: str) -> Any:
        return getattr(harbor_client, f"{part}Api")(self._client)

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.pool_manager.clear()


def location(answer: tuple[Any, int, Any]) -> str:
    """Return where a call `..._with_http_info` made something."""
    _, status, headers = answer
    assert status == 201
    return str(headers["Location"])


def identifier(answer: tuple[Any, int, Any]) -> int:
    """Return the id of what a call `..._with_http_info` made."""
    return int(location(answer).rpartition("/")[2])
