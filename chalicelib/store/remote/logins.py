"""What a site's credential becomes before the registry is spoken to.

Invariants:
* Only ECR is asked for something: a password for an access key, which is remembered until shortly before it ends.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from chalicelib.policy.adapters import Login
from chalicelib.store.remote.errors import DeniedError
from chalicelib.store.remote.sites import Site


def exchanged(site: Site, login: Login) -> Site:
    """Return a site with the credential that its registry takes; raise RemoteError."""
    exchange = _EXCHANGES.get(login)
    return exchange(site) if exchange else site


def _quay(site: Site) -> Site:
    """Take the name and password out of the JSON that Harbor's users give for Quay; or leave what is none."""
    try:
        document = json.loads(site.access_secret)
        name, password = document["account_name"], document["docker_cli_password"]
    except (ValueError, TypeError, KeyError):
        if site.access_key == "json_file":
            raise DeniedError("the secret must be JSON with account_name and docker_cli_password") from None
        return site
    return replace(site, access_key=str(name), access_secret=str(password))


def _ecr(site: Site) -> Site:
    from chalicelib.store.remote import ecr  # noqa: PLC0415 - boto3 takes long to import

    return ecr.exchanged(site)


_EXCHANGES: Mapping[Login, Callable[[Site], Site]] = MappingProxyType({Login.QUAY: _quay, Login.ECR: _ecr})
