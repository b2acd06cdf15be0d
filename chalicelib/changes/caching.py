"""Caches of other registries: whose cache a project is, what its registry says, and what is fetched of it.

Requests (`api.proxying`) and the job that completes what they began (`jobs.fill_cache`) share this.

Invariants:
* What the other registry says of a tag is asked once for all who want it within seconds, and so is its silence;
  what tags it lists, within a minute.
* A blob is fetched by one process at a time (`store.holds`); who finds another at it waits until the repository holds
  the blob, for a minute, and then fetches it too rather than keep its client waiting.
* What is fetched is charged as a push of it would be. What does not fit is passed on, and not kept.
* Credentials of the other registry stay in here: no answer, log line or object has them.
"""

import logging
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

from chalicelib.changes import charging, logins
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy import proxies
from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.policy.proxies import FRESH, Rules
from chalicelib.services import Services
from chalicelib.store import blobs, cached, executions, holds
from chalicelib.store.directory import configuration, projects, registries
from chalicelib.store.directory.projects import Project
from chalicelib.store.fetching import Fetch
from chalicelib.store.holds import Hold
from chalicelib.store.remote import (
    DeniedError,
    Described,
    DownError,
    LimitedError,
    MissingError,
    Remote,
    RemoteError,
    Site,
    UntrueError,
)
from chalicelib.store.sealed import SealError
from chalicelib.store.sources import Source, Terms, Upload, Wish, store, store_some
from chalicelib.store.uploads import Wanted

log = logging.getLogger(__name__)

# Who pushes what a cache keeps, in the audit log and to webhooks: Harbor's name for it.
ACTOR = "harbor#proxy-cache-service"
_KNOWN = timedelta(seconds=5)
_HOLD_SECONDS, _RENEWED_AFTER = 60, 20.0
_LOOKS, _LOOK_SECONDS = 200, 0.3
# To list tags counts as a pull at Docker Hub. They are remembered packed, unless even so they take much memory.
_LISTED = timedelta(seconds=60)
_MOST_TAGS, _MOST_PACKED = 50_000, 64 << 10


@dataclass(frozen=True, slots=True)
class Upstream:
    """The registry of which a project is a cache; `name` is what people here call it."""

    project: Project
    name: str
    make: str
    site: Site
    rules: Rules


def upstream(services: Services, repository: Repository) -> Upstream | None:
    """Return whose cache the project of a repository is, None where it is none any more; raise OSError."""
    project = repository.name.partition("/")[0]
    found: Upstream | None = services.shared.get(
        ("upstream", project), services.now, lambda: (_upstream(services, project), _KNOWN)
    )
    return found


def _upstream(services: Services, name: str) -> Upstream | None:
    project = projects.find(services.directory, name)
    if project is None or not project.proxies:
        return None
    registry = registries.find(services.directory, project.registry_id)
    if registry is None:
        return None
    try:
        site = registries.site(services.settings, registry)
    except SealError as error:
        words = f"the credential of the registry {registry.name} cannot be opened: it has to be set again"
        raise RegistryError(ErrorCode.UNAVAILABLE, words) from error
    return Upstream(project, registry.name, registry.type, site, Rules.of(project.metadata))


@contextmanager
def connected(services: Services, source: Upstream) -> Iterator[Remote]:
    """Have a conversation with the registry; raise RemoteError."""
    having = services.conversations.having(source.site, services.settings.private_targets)
    with logins.tried(services, source.site), having as remote:
        yield remote


def check_admitted(source: Upstream, repository: Repository) -> None:
    """Raise DENIED where the project's filter leaves a repository out."""
    name = proxies.name_there(repository)
    try:
        if source.rules.admits(name):
            return
    except ValueError as error:
        raise RegistryError(
            ErrorCode.DENIED, f"the filter of {source.project.name} cannot be used: {error}"
        ) from error
    raise RegistryError(
        ErrorCode.DENIED, f"{source.project.name} is a cache of some repositories of {source.name}, and not of {name}"
    )


def refusal(source: Upstream, error: RemoteError, missing: ErrorCode) -> RegistryError:
    """Return what a client is told where the other registry did not give something."""
    if isinstance(error, MissingError):
        return RegistryError(missing, f"the registry {source.name} has no such thing")
    if isinstance(error, DeniedError):
        words = "has no such repository, or does not open it to the credential that is set here"
        return RegistryError(ErrorCode.DENIED, f"the registry {source.name} {words}")
    seconds = str(error.retry_after or 10)
    if isinstance(error, LimitedError):
        words = f"the registry {source.name} takes no more requests for now: try again later, or give it a credential"
        return RegistryError(ErrorCode.TOOMANYREQUESTS, words, headers={"Retry-After": seconds})
    does = "sent something else than it was asked for" if isinstance(error, UntrueError) else "does not answer"
    words = f"the registry {source.name}, of which this is a cache, {does}, and nothing of this is kept here"
    return RegistryError(ErrorCode.UNAVAILABLE, words, headers={"Retry-After": seconds})


def brief(error: RemoteError) -> str:
    """Return what the log says of an error: the other side's own words could have anything in them."""
    return f"{type(error).__name__}, status {error.status}"


def said(services: Services, source: Upstream, repository: Repository, tag: Tag) -> Described | RemoteError | None:
    """Return what the registry says that a tag names, None for nothing; or why it says nothing."""
    name = proxies.name_there(repository)

    def ask(remote: Remote) -> tuple[Described | None, timedelta]:
        return remote.head_manifest(name, tag.name), FRESH

    answer: Described | RemoteError | None = _answer(services, source, f"{repository}:{tag}", ask)
    return answer


def tags(services: Services, source: Upstream, repository: Repository) -> tuple[str, ...] | RemoteError:
    """Return the tags that the registry lists of a repository, in the order of listings; or why it lists none."""
    name = proxies.name_there(repository)

    def ask(remote: Remote) -> tuple[bytes, timedelta]:
        found = sorted(set(islice(remote.tags(name), _MOST_TAGS)))
        packed = zlib.compress(" ".join(found).encode(), 1)
        return packed, _LISTED if len(packed) <= _MOST_PACKED else timedelta()

    answer: bytes | RemoteError = _answer(services, source, f"the tags of {repository}", ask)
    return answer if isinstance(answer, RemoteError) else tuple(zlib.decompress(answer).decode().split())


def _answer(services: Services, source: Upstream, about: str, ask: Callable[[Remote], tuple[Any, timedelta]]) -> Any:
    """Return what the registry answers to a question of that name, or the RemoteError that it is; asked once for all.

    One that does not answer is not asked anything else for a while: whoever asks holds a thread meanwhile.
    """
    silence = ("silent", source.project.registry_id)

    def find() -> tuple[Any, timedelta]:
        if silent := services.shared.known(silence, services.now()):
            return silent, FRESH
        began = time.monotonic()
        try:
            with connected(services, source) as remote:
                return ask(remote)
        except RemoteError as error:
            log.warning("the registry %s does not tell of %s: %s", source.name, about, brief(error))
            lasting = proxies.silence(timedelta(seconds=time.monotonic() - began), error.retry_after)
            if isinstance(error, DownError) and not error.status:
                services.shared.keep(silence, error, services.now(), lasting)
            return error, lasting

    return services.shared.get(("asked", source.project.registry_id, about), services.now, find)


def fetch_manifest(services: Services, source: Upstream, repository: Repository, digest: Digest) -> None:
    """Keep a manifest of the other registry in `store.cached`; raise RemoteError."""

    def fetch() -> tuple[RemoteError | None, timedelta]:
        try:
            with connected(services, source) as remote:
                found = remote.get_manifest(proxies.name_there(repository), str(digest))
        except RemoteError as error:
            return error, FRESH
        cached.keep(services.content, repository, digest, found.media_type, found.content)
        return None, FRESH

    failure: RemoteError | None = services.shared.get(("manifest", repository, digest), services.now, fetch)
    if failure:
        raise failure


def forget_fetched(services: Services, repository: Repository, digest: Digest) -> None:
    """Have a manifest fetched anew that was, and is gone again."""
    services.shared.forget(("manifest", repository, digest))


def fetch_blob(services: Services, source: Upstream, wish: Wish) -> Fetch:
    """Return the fetch of a blob, begun if it is not under way; whoever gets it leaves it. Raise TOOMANYREQUESTS."""
    return services.fetches.join(wish, source.rules.connections, partial(_fill, services, source, wish))


def _fill(services: Services, source: Upstream, wish: Wish, fetch: Fetch) -> None:
    """Fetch a blob, unless the repository holds it by the time that it is our turn; raise RegistryError."""
    hold = _turn(services, wish)
    try:
        if blobs.find(services.content, *wish) is None:
            _store(services, source, wish, fetch, _renewing(services, hold))
    except RemoteError as error:
        # Not as its cause: a traceback in the log would have the other side's words.
        raise refusal(source, error, ErrorCode.BLOB_UNKNOWN) from None
    finally:
        _release(services, hold)


def _release(services: Services, hold: Hold | None) -> None:
    if hold:
        with suppress(OSError):
            holds.release(services.directory, hold)


def hold_name(wish: Wish) -> str:
    """Return under which name a blob is being fetched."""
    return f"fetch/{wish.repository}@{wish.digest}"


def _turn(services: Services, wish: Wish) -> Hold | None:
    """Return the hold on fetching a blob; None where others have it, until the blob is there or a minute is over."""
    try:
        for _ in range(_LOOKS):
            hold = holds.take(services.directory, hold_name(wish), _HOLD_SECONDS)
            if hold or blobs.find(services.content, *wish):
                return hold
            time.sleep(_LOOK_SECONDS)
    except OSError:
        log.warning("the table does not answer: %s is fetched without a hold on it", wish.digest)
    return None


def _renewing(services: Services, hold: Hold | None) -> Callable[[], None]:
    renewed = time.monotonic()

    def renew() -> None:
        nonlocal renewed
        if hold and time.monotonic() - renewed > _RENEWED_AFTER:
            renewed = time.monotonic()
            with suppress(OSError):
                holds.renew(services.directory, hold, _HOLD_SECONDS)

    return renew


def _store(services: Services, source: Upstream, wish: Wish, fetch: Fetch, now_and_then: Callable[[], None]) -> None:
    terms = Terms(source.rules.speed, admission(services, source.project, wish), now_and_then)
    with connected(services, source) as remote:
        body = Source(remote, proxies.name_there(wish.repository), wish.digest, terms, fetch)
        try:
            size = body.open()
            fetch.begin(size)
            try:
                _check_may_keep(services, source.project, wish, size)
            except RegistryError:
                body.drain()
                raise
            store(services.content, services.hashes, wish, body, terms)
        finally:
            body.close()


def fetch_some(
    services: Services, source: Upstream, wish: Wish, upload_id: str, more_time: Callable[[], bool]
) -> bool:
    """Fetch a blob as far as the time goes, into an upload that is gone on with; tell whether it is held now.

    Raise RegistryError.
    """
    hold = holds.take(services.directory, hold_name(wish), _HOLD_SECONDS)
    if hold is None:
        return False
    terms = Terms(source.rules.speed, admission(services, source.project, wish), _renewing(services, hold))
    try:
        with connected(services, source) as remote:
            upload = Upload(upload_id, Wanted(*wish, terms.admit))
            with closing(Source(remote, proxies.name_there(wish.repository), wish.digest, terms)) as body:
                return store_some(services.content, services.hashes, body, upload, more_time)
    except RemoteError as error:
        raise refusal(source, error, ErrorCode.BLOB_UNKNOWN) from None
    finally:
        _release(services, hold)


def _check_may_keep(services: Services, project: Project, wish: Wish, size: int) -> None:
    """Raise DENIED where a blob does not fit, or nothing may change; UNAVAILABLE where nobody can say."""
    with _asking_the_table():
        if not services.is_writer():
            raise RegistryError(ErrorCode.DENIED, "another region takes the changes: what is pulled is passed on")
        if configuration.recent(services.directory).get("read_only"):
            raise RegistryError(ErrorCode.DENIED, "the registry is read-only: what is pulled is passed on")
        charging.check_room(charging.account(services, project, wish.repository, ACTOR), wish.digest, size)


def admission(services: Services, project: Project, wish: Wish) -> Callable[[int], None]:
    """Return what charges for a blob; it raises DENIED where it does not fit, UNAVAILABLE where nobody can say."""

    def admit(size: int) -> None:
        with _asking_the_table():
            found = projects.find(services.directory, project.name)
            if found is None or found.id != project.id:
                raise RegistryError(ErrorCode.DENIED, f"the project {project.name} was deleted meanwhile")
            charging.blob(charging.account(services, project, wish.repository, ACTOR), *wish, size)

    return admit


@contextmanager
def _asking_the_table() -> Iterator[None]:
    """Make a failure of the table one of those that keep a blob from being kept, and not from being passed on."""
    try:
        yield
    except OSError as error:
        words = "the registry's table does not answer: what is pulled is passed on"
        raise RegistryError(ErrorCode.UNAVAILABLE, words, headers={"Retry-After": "5"}) from error


def begin_filling(services: Services, source: Upstream, repository: Repository, patience: int) -> None:
    """Have a job complete what is cached of a repository, after so many seconds; a failure fails nothing here."""

    def begin() -> tuple[None, timedelta]:
        new = executions.New(
            Kind.PROXY_CACHE,
            source.project.id,
            Trigger.EVENT,
            {"repository": repository.name, "patience": patience},
            ACTOR,
        )
        executions.begin(services.directory, new)
        # Of what comes within the job's patience none begins another: the job looks after it.
        return None, timedelta(seconds=patience / 2)

    try:
        services.shared.get(("filling", repository), services.now, begin)
    except OSError:
        log.exception("no job completes the cache of %s: the next pull begins another", repository)
