"""Whether another registry answers."""

from collections.abc import Iterable

from chalicelib.policy import adapters
from chalicelib.store.reach import Resolve, resolve
from chalicelib.store.remote import Site, connect
from chalicelib.store.remote.errors import RemoteError

# Several requests fit what an API waits for.
_SECONDS = 6.0


def trouble(site: Site, allowed: Iterable[str], look_up: Resolve = resolve) -> str:
    """Return why a registry does not answer as it should, in words that can be shown; or ""."""
    if not adapters.find(site.kind).answers_pings:
        return ""
    try:
        with connect(site, allowed, look_up, _SECONDS) as remote:
            remote.ping()
    except RemoteError as error:
        return str(error)
    return ""
