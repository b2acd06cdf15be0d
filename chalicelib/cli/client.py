"""The HTTP client: Harbor's API at one server, its refusals as `CommandError`.

Invariants:
* Credentials go to the server of the login alone: redirects and next pages elsewhere are refused.
* Requests carry credentials and no cookies.
* Only an answer of 2xx is returned, and only JSON of the expected kind.
* httpx is loaded when a client is opened, not before.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chalicelib.cli.failures import CommandError, Exit, Refusal, refused
from chalicelib.cli.logins import Login, in_the_clear
from chalicelib.cli.text import clean

if TYPE_CHECKING:
    import httpx

API = "/api/v2.0"
PAGE = 100
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_READING = ("GET", "HEAD")
# A project may be named 42: its name is never taken for a number.
_HEADERS = {"Accept": "application/json", "X-Is-Resource-Name": "true", "User-Agent": "roadstead"}

Json = dict[str, Any]
Query = Mapping[str, str]


def path(*parts: object) -> str:
    """Return a path of the API with each part escaped; a repository's name with slashes is escaped twice."""
    return "".join(f"/{quote(_once(str(part)), safe='')}" for part in parts)


def _once(part: str) -> str:
    return quote(part, safe="") if "/" in part else part


@dataclass(frozen=True, slots=True)
class Client:
    """One server, asked as one user; `missing` advises who asks for what is not there, where more can be said."""

    login: Login
    http: "httpx.Client"
    missing: str = ""

    def get(self, where: str, query: Query | None = None) -> Json:
        """Return the JSON object at a path of the API; raise CommandError."""
        return self._object(self.send("GET", where, query=query))

    def whole(self, where: str, query: Query | None = None) -> list[Json]:
        """Return the rows of a list that has no pages; raise CommandError."""
        return self._list(self.send("GET", where, query=query))

    def change(self, method: str, where: str, body: Any = None, query: Query | None = None) -> Json:
        """Send a change and return the JSON object of its answer, empty where there is none; raise CommandError."""
        answer = self.send(method, where, query=query, body=body)
        return self._object(answer) if answer.content.strip() else {}

    def each(self, where: str, query: Query | None = None, limit: int = 0) -> list[Json]:
        """Return the rows of a list, page after page, at most `limit` where it is not 0; raise CommandError."""
        rows: list[Json] = []
        for page in self._pages(where, {"page_size": str(min(limit or PAGE, PAGE)), **(query or {})}):
            rows += page
            if limit and len(rows) >= limit:
                return rows[:limit]
        return rows

    def send(self, method: str, where: str, *, query: Query | None = None, body: Any = None) -> "httpx.Response":
        """Return the answer to a request where it is 2xx; raise CommandError."""
        return self._send(method, self.login.server + API + where, query, body)

    def _pages(self, where: str, query: Query) -> Iterator[list[Json]]:
        answer = self.send("GET", where, query=query)
        seen: set[str] = set()
        while True:
            yield self._list(answer)
            following = answer.links.get("next", {}).get("url")
            if not following:
                return
            if following in seen:
                raise CommandError(f"{self.login.server} names the same next page again and again.")
            seen.add(following)
            answer = self._send("GET", self._own(answer, following, "the next page"))

    def named(self, where: str, name: str, what: str, listing: str) -> Json:
        """Return the row of a list with a name or an id; raise CommandError, which names the command `listing`."""
        for row in self.each(where):
            if name in (row.get("name"), str(row.get("id"))):
                return row
        raise CommandError(f"There is no {what} {clean(name)}. Run: {listing}", Exit.NOT_FOUND)

    def _send(self, method: str, url: str, query: Query | None = None, body: Any = None) -> "httpx.Response":
        answer = self._exchange(method, url, query, body)
        for _ in range(_MOST_REDIRECTS):
            if answer.status_code not in _REDIRECTS:
                break
            target = self._own(answer, answer.headers.get("Location", ""), "this")
            if method not in _READING:
                raise CommandError(f"{self.login.server} sends changes on to {clean(target)}; nothing was changed.")
            answer = self._exchange(method, target)
        if answer.is_success:
            return answer
        raise refused(self.login.server, _refusal(answer, self.missing))

    def _exchange(self, method: str, url: str, query: Query | None = None, body: Any = None) -> "httpx.Response":
        import httpx  # noqa: PLC0415 - `--help` and `run` need no HTTP client

        try:
            return self.http.request(method, url, params=query, json=body)
        except httpx.TimeoutException as error:
            raise CommandError(
                f"{self.login.server} did not answer in time. Try again, or wait longer with --timeout.",
                Exit.UNREACHABLE,
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CommandError(_out_of_reach(self.login.server, error), Exit.UNREACHABLE) from error

    def _own(self, answer: "httpx.Response", target: str, what: str) -> str:
        """Return the absolute form of an address that the server gave, where it is its own; raise CommandError."""
        import httpx  # noqa: PLC0415

        try:
            url = answer.url.join(target)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if (url.scheme, url.host, url.port) != (answer.url.scheme, answer.url.host, answer.url.port):
            raise CommandError(
                f"{self.login.server} sends us to {clean(target)[:200]} for {what}, which is another server: "
                "not followed. If you trust it, log in there."
            )
        return str(url)

    def _object(self, answer: "httpx.Response") -> Json:
        value = self._json(answer)
        if not isinstance(value, dict):
            raise self._no_harbor()
        return value

    def _list(self, answer: "httpx.Response") -> list[Json]:
        value = self._json(answer)
        # Go writes an empty list as null in places.
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise self._no_harbor()
        return value

    def _json(self, answer: "httpx.Response") -> Any:
        try:
            return answer.json()
        except (ValueError, RecursionError) as error:
            raise self._no_harbor() from error

    def _no_harbor(self) -> CommandError:
        return CommandError(
            f"{self.login.server} answered with something that is not Harbor's API. Check the address."
        )


def _refusal(answer: "httpx.Response", missing: str) -> Refusal:
    return Refusal(
        answer.status_code,
        _words(answer),
        answer.headers.get("Retry-After", ""),
        answer.headers.get("X-Request-Id", ""),
        missing if answer.status_code == HTTPStatus.NOT_FOUND else "",
    )


def _words(answer: "httpx.Response") -> str:
    """Return the messages of an error document; none where there is no such document."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(error["message"] for error in errors if error["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""


def _out_of_reach(server: str, error: Exception) -> str:
    # The reason of httpx is the text of the lower layers: certificates are worth a word of their own.
    reason = clean(error)[:200]
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return (
            f"The certificate of {server} is not trusted. Name its authority in SSL_CERT_FILE, "
            "or add --insecure if you accept the risk."
        )
    return f"Cannot reach {server}: {reason or type(error).__name__}. Check the address and the network."


def check_encrypted(login: Login, *, insecure: bool) -> None:
    """Raise CommandError where a password would cross a network in the clear, unasked."""
    if login.user and in_the_clear(login.server) and not insecure:
        raise CommandError(
            f"{login.server} is not encrypted: everybody on the way could read the password. Use https, "
            "or add --insecure if you accept the risk."
        )


@contextmanager
def connected(login: Login, *, insecure: bool = False, timeout: float = 30) -> Iterator[Client]:
    """Give a client for a login; `timeout` in seconds. Raise CommandError where passwords would go in the clear."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy  # noqa: PLC0415 - `--help` and `run` need no client

    import httpx  # noqa: PLC0415

    check_encrypted(login, insecure=insecure)
    # Loading the certificates of authorities takes 30 ms, and a client never leaves the scheme of its server.
    verify = not insecure and login.server.startswith("https:")
    auth = httpx.BasicAuth(login.user, login.password) if login.user else None
    # A session's cookie beside credentials would make Harbor ask for a CSRF token with each change.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    try:
        http = httpx.Client(auth=auth, headers=_HEADERS, cookies=cookies, verify=verify, timeout=timeout)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CommandError(f"Cannot use the settings of this machine for TLS or proxies: {clean(error)}.") from error
    with http:
        yield Client(login, http)
