"""What another registry lists: tags, repositories, referrers.

Invariants:
* A page leads to another page of the same host, and never to one that was seen; pages and entries are bounded.
* Names that are none are left out: whoever lists uses them to ask.

Specification: OCI Distribution 1.1, "Content Discovery" (end-8, end-12), "Referrers Tag Schema".
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chalicelib.oci import manifests
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.store.remote import reading
from chalicelib.store.remote.conversation import Access, Asking, Conversation
from chalicelib.store.remote.errors import DeniedError, LimitedError, MissingError, RemoteError, UntrueError
from chalicelib.store.remote.wire import Request

_MOST_LISTED = 16 << 20
_MOST_PAGES = 100_000
# These are had whole, of whoever pushed them there, while somebody waits.
_MOST_REFERRER_PAGES = 100
_PAGE = 1000
_LINK = re.compile(r"<([^<>]*)>\s*((?:;[^,<]*)*)")
_DOWN = 500


def tags(talk: Conversation, repository: str) -> Iterator[str]:
    """Yield the tags of a repository; raise MissingError where there is no repository, and RemoteError."""
    url = f"{talk.address(repository, 'tags', 'list')}?n={_PAGE}"
    for document in _pages(talk, url, Access.to(repository, "pull"), f"does not list {repository}"):
        yield from (each for each in _texts(document.get("tags")) if _is(Tag, each))


def catalog(talk: Conversation, base: str = "", authorization: str | None = None) -> Iterator[str]:
    """Yield the repositories that we may see, or those of the registry `base` on the same host; raise RemoteError."""
    url = f"{f'{base}/v2/_catalog' if base else talk.address('_catalog')}?n={_PAGE}"
    access, what = Access(("registry:catalog:*",)), "does not list its repositories"
    for document in _pages(talk, url, access, what, authorization):
        yield from (each for each in _texts(document.get("repositories")) if _is(Repository, each))


def referrers(talk: Conversation, repository: str, digest: str) -> list[Mapping[str, Any]]:
    """Return the descriptors of what refers to a manifest; raise RemoteError."""
    url = talk.address(repository, "referrers", digest)
    pages = _pages(talk, url, Access.to(repository, "pull"), f"tells no referrers of {repository}")
    try:
        return _gathered(talk, pages)
    except (DeniedError, LimitedError):
        raise
    except RemoteError as error:
        if not error.status or error.status >= _DOWN:
            raise
        return tagged_referrers(talk, repository, digest)


def _gathered(talk: Conversation, pages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what all pages list; raise UntrueError where that is more than one page may have."""
    found: list[Mapping[str, Any]] = []
    left = _MOST_LISTED
    for number, document in enumerate(pages):
        listed = _descriptors(document)
        left -= len(json.dumps(listed))
        if left < 0 or number >= _MOST_REFERRER_PAGES:
            raise UntrueError(f"{talk.place} lists too many referrers")
        found += listed
    return found


def tagged_referrers(talk: Conversation, repository: str, digest: str) -> list[Mapping[str, Any]]:
    """Return the descriptors that clients keep under a tag where a registry has no list of referrers; RemoteError."""
    try:
        fetched = reading.get_manifest(talk, repository, fallback_tag(digest))
    except MissingError:
        return []
    return _descriptors(_object(fetched.content))


def fallback_tag(digest: str) -> str:
    """Return the tag under which clients keep what refers to a manifest."""
    return digest.replace(":", "-", 1)[:128]


def _descriptors(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = document.get("manifests")
    if not isinstance(listed, list):
        raise UntrueError("the registry answered no list of referrers", 200)
    return [each for each in listed if isinstance(each, dict) and isinstance(each.get("digest"), str)]


def _pages(
    talk: Conversation, url: str, access: Access, what: str, authorization: str | None = None
) -> Iterator[Mapping[str, Any]]:
    seen: set[str] = set()
    following: str | None = url
    while following:
        if following in seen or len(seen) >= _MOST_PAGES:
            raise UntrueError(f"{talk.place} lists without an end")
        seen.add(following)
        request = Request("GET", following, {"Accept": f"application/json, {manifests.OCI_INDEX}"})
        with talk.ask(Asking(request, what, access, authorization=authorization)) as answer:
            content = answer.content(_MOST_LISTED)
        yield _object(content)
        following = _following(talk, following, answer.headers.get("link", ""))


def _following(talk: Conversation, url: str, link: str) -> str | None:
    """Return the URL of the next page, which is of the same host."""
    for match in _LINK.finditer(link):
        if "next" in match[2].replace('"', " ").replace("=", " ").split():
            found = talk.joined(url, match[1])
            if not talk.own(found):
                raise UntrueError(f"{talk.place} leads to another host for its next page")
            return found
    return None


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UntrueError("the registry answered no JSON where a list was expected", 200)
    return document


def _texts(value: object) -> Iterator[str]:
    return (each for each in value if isinstance(each, str)) if isinstance(value, list) else iter(())


def _is(kind: type[Tag] | type[Repository], text: str) -> bool:
    try:
        kind.parse(text)
    except RegistryError:
        return False
    return True
