"""Keeps a credential that another registry refuses from being tried on and on: some lock its account out, for all.

Invariant: a process tries a refused credential once a minute until it is changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from chalicelib.services import Services
from chalicelib.store.remote import LoginError, Site

_REFUSED, _UNAUTHORIZED = timedelta(seconds=60), 401


@contextmanager
def tried(services: Services, site: Site) -> Iterator[None]:
    """Let the credential of a site be tried; raise LoginError where it was refused of late."""
    refused = ("refused", site)
    if words := services.shared.known(refused, services.now()):
        raise LoginError(f"{words}: the credential is tried again within a minute", _UNAUTHORIZED)
    try:
        yield
    except LoginError as error:
        services.shared.keep(refused, str(error), services.now(), _REFUSED)
        raise
