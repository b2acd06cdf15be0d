"""One request to another registry and its answer: where its API is, who we are, what is followed.

Invariants:
* Our credential and tokens go to the registry's own origin alone: what leads to another host goes there without.
* A refusal with 401 is answered with a fresh token once; a body that cannot be sent twice is sent once.
* What leads elsewhere is followed `_MOST_HOPS` times, never from https to http.
* Whatever is not wanted is raised as one of `store.remote.errors`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from chalicelib.policy import adapters
from chalicelib.store import reach
from chalicelib.store.reach import Origin, Resolve
from chalicelib.store.remote import logins
from chalicelib.store.remote.errors import MissingError, RemoteError, refusal
from chalicelib.store.remote.sites import Site
from chalicelib.store.remote.tokens import Authority
from chalicelib.store.remote.wire import Opened, Request, Streamed, Wire

_MOST_HOPS = 5
_UNAUTHORIZED = 401
_READING = ("GET", "HEAD")
_MOVED_FOR_ALL = (307, 308)
MOVED = (301, 302, 303, *_MOVED_FOR_ALL)


class Access(NamedTuple):
    """The scopes that a request needs."""

    scopes: tuple[str, ...] = ()

    @classmethod
    def to(cls, repository: str, actions: str, *more: str) -> "Access":
        """Return the access of actions in one repository, and of further scopes."""
        return cls((f"repository:{repository}:{actions}", *more))


@dataclass(frozen=True, slots=True)
class Asking:
    """A request, the statuses that are wanted, and what a refusal says was tried."""

    request: Request
    what: str
    access: Access = field(default_factory=Access)
    wanted: Collection[int] = (200,)
    # Answers that lead elsewhere are returned instead of followed.
    stay: bool = False
    # What is sent as Authorization, instead of what the registry asks for; "" is nothing.
    authorization: str | None = None


class Conversation:
    """What all requests to one registry share; not for several threads."""

    def __init__(self, site: Site, allowed: Iterable[str], look_up: Resolve, seconds: float) -> None:
        self.adapter = adapters.find(site.kind)
        # As it was given, for clouds' APIs; and as the registry is spoken to.
        self.given = site
        # What ECR gives holds for hours, which a conversation may outlive.
        exchange = partial(logins.exchanged, site, self.adapter.login)
        exchanged = exchange()
        place = self.adapter.place(exchanged.url)
        self.site, self.api = replace(exchanged, url=place.registry), place.api
        self.wire = Wire(allowed, look_up, seconds)
        try:
            self.place: Origin = reach.origin(self.site.url)
            self.wire.believe(self.place, skip_cert_verify=site.skip_cert_verify, ca_certificate=site.ca_certificate)
        except (reach.ReachError, ValueError) as error:
            raise RemoteError(str(error)) from error
        self.authority = Authority(self.site, self.wire, exchange)
        # The Authorization of the API of its make, and until when it holds, where that is had by a login of its own.
        self.api_login = ("", 0.0)
        # What the upload that was begun last needs, for locations that do not say it.
        self.uploading = Access()

    def address(self, *parts: str) -> str:
        """Return the URL of something below `/v2/`; raise MissingError where no registry can have it."""
        path = "/".join(parts)
        if any(each in ("", ".", "..") for each in path.split("/")):
            raise MissingError("no registry has such a name")
        return f"{self.site.url}/v2/{quote(path, safe='/:')}"

    def ask(self, asking: Asking) -> Opened:
        """Return the answer to a request, where its status is wanted; raise RemoteError."""
        answer = self._followed(asking)
        if answer.status in asking.wanted or (asking.stay and answer.status in MOVED):
            return answer
        with answer:
            raise refusal(f"{self.place} {asking.what}", answer.status, answer.headers, answer.beginning())

    def tell(self, asking: Asking) -> Opened:
        """Return the answer to a request whose answer has no body that anybody reads; raise RemoteError."""
        with self.ask(asking) as answer:
            answer.beginning()
        return answer

    def _followed(self, asking: Asking) -> Opened:
        request = asking.request
        for _ in range(_MOST_HOPS):
            answer = self._authorized(request, asking)
            if answer.status not in MOVED or asking.stay:
                return answer
            may = request.method in _READING or answer.status in _MOVED_FOR_ALL
            if not may or isinstance(request.content, Streamed):
                return answer
            with answer:
                answer.beginning()
                request = replace(request, url=self.led(request.url, answer))
        raise RemoteError(f"{self.place} led elsewhere too often")

    def led(self, url: str, answer: Opened) -> str:
        """Return where an answer leads; raise RemoteError where that cannot be gone to."""
        location = self.joined(url, answer.headers.get("location", ""))
        if reach.origin(url).secure and not (reach.origin(location).secure or self.site.skip_cert_verify):
            raise RemoteError(f"{self.place} leads from https to http, which is not followed")
        return location

    def joined(self, url: str, reference: str) -> str:
        """Return where a reference leads from a URL; raise RemoteError where it leads to no address."""
        try:
            return reach.joined(url, reference)
        except reach.ReachError as error:
            raise RemoteError(f"{self.place} leads to what is no address") from error

    def own(self, url: str) -> bool:
        """Tell whether a URL is of the registry itself."""
        return reach.origin(url) == self.place

    def _authorized(self, request: Request, asking: Asking) -> Opened:
        access = asking.access
        if asking.authorization is not None:
            stays = reach.origin(request.url) == reach.origin(asking.request.url)
            return self.wire.send(_with(request, asking.authorization if stays else ""))
        if not self.own(request.url):
            return self.wire.send(request)
        answer = self.wire.send(self._signed(request, access))
        if answer.status != _UNAUTHORIZED or isinstance(request.content, Streamed):
            return answer
        with answer:
            said = answer.beginning()
            if not self.authority.learn(answer.headers.get("www-authenticate", ""), access.scopes):
                raise refusal(f"{self.place} refused the credential", answer.status, answer.headers, said)
        return self.wire.send(self._signed(request, access))

    def _signed(self, request: Request, access: Access) -> Request:
        return _with(request, self.authority.header(access.scopes))


def _with(request: Request, authorization: str) -> Request:
    if not authorization:
        return request
    return replace(request, headers={**request.headers, "Authorization": authorization})
