"""Who we are to another registry: challenges answered, tokens remembered for each scope.

Invariants:
* The credential goes to the registry's own origin and to the token service that it names, which is spoken to over
  https unless the registry itself is on http. Nothing is followed from there.
* Nothing is sent before it is asked for, except where the make of the registry is known to want it.
* A token is used until shortly before it ends, and forgotten when it is refused.

Specification: RFC 7235 (challenges), RFC 6750, and Distribution's "Token Authentication" and "OAuth2".
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from chalicelib.store import reach
from chalicelib.store.remote.errors import DeniedError, DownError, LoginError, RemoteError, refusal
from chalicelib.store.remote.sites import Site, TokenKind
from chalicelib.store.remote.wire import Request, Wire

_OK, _UNAUTHORIZED = 200, 401
_NO_POST = (404, 405)
_LIFETIME, _MARGIN = 60, 10
_LONGEST = 3600
_MOST_TOKENS = 256
# Names that stand for "the secret is a refresh token": docker's and Azure's.
_NOBODY = ("", "<token>", "00000000-0000-0000-0000-000000000000")

_PARAMETER = re.compile(r"\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))")
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9_-]*)(?=\s|,|$)")


class Challenge(NamedTuple):
    """What a registry wants to be told."""

    scheme: str
    parameters: Mapping[str, str]


class _Token(NamedTuple):
    header: str
    until: float


@dataclass(slots=True)
class _Known:
    """What is known of a site's token service."""

    asked: Challenge | None = None
    tokens: dict[tuple[str, ...], _Token] = field(default_factory=dict)


# Of the sites that this process spoke to last: the next conversation need not ask again.
_KNOWN: dict[Site, _Known] = {}
_MOST_SITES = 64


def challenges(header: str) -> Iterator[Challenge]:
    """Yield the challenges of a `WWW-Authenticate`; it stops at what is none."""
    at, scheme, parameters = 0, "", dict[str, str]()
    while at < len(header):
        if scheme and (match := _PARAMETER.match(header, at)):
            quoted = re.sub(r"\\(.)", r"\1", match[2] or "")
            parameters.setdefault(match[1].lower(), quoted or match[3] or "")
        elif match := _SCHEME.match(header, at):
            if scheme:
                yield Challenge(scheme, parameters)
            scheme, parameters = match[1].lower(), {}
        else:
            break
        at = match.end()
    if scheme:
        yield Challenge(scheme, parameters)


def basic(name: str, secret: str) -> str:
    """Return the Authorization of a name and a secret."""
    return f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"


class Authority:
    """The credential of a site, and what was made of it."""

    def __init__(
        self, site: Site, wire: Wire, exchanged: Callable[[], Site], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._site, self._wire, self._exchanged, self._now = site, wire, exchanged, now
        if len(_KNOWN) >= _MOST_SITES:
            _KNOWN.clear()
        self._known = _KNOWN.setdefault(site, _Known())

    @property
    def basic(self) -> str:
        """The credential as it is now, or nothing; raise RemoteError."""
        site = self._exchanged()
        return basic(site.access_key, site.access_secret) if site.access_key or site.access_secret else ""

    def header(self, scopes: tuple[str, ...]) -> str:
        """Return the Authorization of a request of these scopes, as far as one was asked for; RemoteError."""
        if self._site.token_kind == TokenKind.SECRET:
            return f"Bearer {self._site.access_secret}"
        known = self._known
        # Read once: other conversations with the site may forget it meanwhile.
        asked = known.asked
        if asked is None:
            return ""
        if asked.scheme == "basic":
            return self.basic
        token = known.tokens.get(scopes)
        if token is None or token.until <= self._now():
            try:
                token = self._remember(scopes, self._fetch(asked, scopes))
            except RemoteError as error:
                # The registry may want something else by now: it is asked again.
                known.asked = None
                if isinstance(error, LoginError):
                    raise
                return ""
        return token.header

    def learn(self, header: str, scopes: tuple[str, ...]) -> bool:
        """Take a refusal's challenge; tell whether another try makes sense. Raise RemoteError."""
        if self._site.token_kind == TokenKind.SECRET:
            return False
        found = {each.scheme: each for each in reversed(list(challenges(header)))}
        asked = found.get("bearer") or found.get("basic")
        if asked is None or (asked.scheme == "basic" and (not self.basic or asked == self._known.asked)):
            return False
        self._known.asked = asked
        if asked.scheme == "bearer":
            self._remember(scopes, self._fetch(asked, _wanted(asked, scopes)))
        return True

    def forget(self) -> None:
        """Drop what is remembered, so that the credential is used again."""
        self._known.asked = None
        self._known.tokens.clear()

    def _remember(self, scopes: tuple[str, ...], token: _Token) -> _Token:
        tokens = self._known.tokens
        if len(tokens) >= _MOST_TOKENS:
            tokens.clear()
        tokens[scopes] = token
        return token

    def _fetch(self, asked: Challenge, scopes: tuple[str, ...]) -> _Token:
        realm = self._realm(asked)
        query = [("service", asked.parameters["service"])] if "service" in asked.parameters else []
        document = self._document(realm, query, scopes)
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise DownError(f"{urlsplit(realm).netloc} answered without a token")
        return _Token(f"Bearer {token}", self._now() + _seconds(document.get("expires_in")) - _MARGIN)

    def _realm(self, asked: Challenge) -> str:
        try:
            realm = reach.joined(self._site.url, asked.parameters.get("realm", ""))
        except reach.ReachError as error:
            raise DownError("the registry names no token service, and wants a token") from error
        if reach.origin(self._site.url).secure and not reach.origin(realm).secure:
            raise DeniedError("the registry's token service is not on https: no credential is sent there")
        return realm

    def _document(self, realm: str, query: list[tuple[str, str]], scopes: Sequence[str]) -> Mapping[str, Any]:
        form = self._form()
        if form:
            sent = urlencode([*query, *form, *([("scope", " ".join(scopes))] if scopes else [])]).encode()
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            status, headers, content = self._ask(Request("POST", realm, kind, sent))
        if not form or status in _NO_POST:
            account = [("account", self._site.access_key)] if self._site.access_key else []
            asked = urlencode([*query, *account, *(("scope", each) for each in scopes)])
            mine = {"Authorization": self.basic} if self.basic else {}
            url = f"{realm}{'&' if urlsplit(realm).query else '?'}{asked}"
            status, headers, content = self._ask(Request("GET", url, mine))
        if status != _OK:
            refused = refusal(f"{urlsplit(realm).hostname} gave no token", status, headers, content)
            raise LoginError(str(refused), status) if status == _UNAUTHORIZED and self.basic else refused
        return _json_object(content, realm)

    def _ask(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        with self._wire.send(request) as answer:
            content = answer.content() if answer.status == _OK else answer.beginning()
            return answer.status, answer.headers, content

    def _form(self) -> list[tuple[str, str]]:
        site = self._site
        if site.token_kind != TokenKind.OAUTH:
            return []
        own = [("client_id", "roadstead")]
        if site.access_key in _NOBODY:
            return [*own, ("grant_type", "refresh_token"), ("refresh_token", site.access_secret)]
        return [
            *own,
            ("grant_type", "password"),
            ("username", site.access_key),
            ("password", site.access_secret),
        ]


def _wanted(asked: Challenge, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes to ask for: as the registry words them, and of other repositories as we do.

    Who needs none asks for none: GitHub names an example there, to which nobody's credential gives access.
    """
    if not scopes:
        return ()
    theirs = tuple(asked.parameters.get("scope", "").split())
    named = {each.rpartition(":")[0] for each in theirs}
    return (*theirs, *(each for each in scopes if each.rpartition(":")[0] not in named)) if theirs else scopes


def _json_object(content: bytes, realm: str) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DownError(f"{urlsplit(realm).hostname} answered no JSON where a token was expected")
    return document


def _seconds(value: object) -> int:
    """Return how long a token holds: a minute where nobody says."""
    return min(value, _LONGEST) if isinstance(value, int) and value > 0 else _LIFETIME
