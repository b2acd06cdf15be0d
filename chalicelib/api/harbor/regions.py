"""Regions: what this one is, what has not arrived, and how it becomes the primary or a copy. Harbor has none.

Invariants:
* Who may change the configuration may change what a region is, in every region and while nothing else may change.
* A registry in one region is its primary, and has nothing in arrears.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, answer, in_system, typed
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request
from chalicelib.api.http import Response
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy.regions import Role, Standing
from chalicelib.store import arrears, promotions
from chalicelib.store.content import Content
from chalicelib.store.regions import Region

PATH = "/system/regions"
# API Gateway waits for 29 seconds.
_SECONDS = 10.0
_LONGEST = 1000


def show(call: HarborCall) -> Response:
    """Show what this region is, and how far behind it may be."""
    return answer(_shown(call))


def _shown(call: HarborCall) -> Mapping[str, Any]:
    region = call.services.region
    if region is None:
        return {"name": "", "role": Role.PRIMARY, "epoch": 1, "primary": "", "takes_writes": True}
    state, fence, standing = region.read().state, region.fence(), region.standing_now()
    return {
        "name": region.name,
        **state.document(),
        "takes_writes": standing is Standing.OPEN,
        "standing": standing.value,
        "fence": {"epoch": fence.epoch, "primary": fence.primary} if fence else None,
        "lag_seconds": region.lag_here() if state.role is not Role.PRIMARY else None,
        "peer": _peer(region) if region.peer else None,
    }


def _peer(region: Region) -> Mapping[str, Any]:
    assert region.peer
    state = promotions.peer_state(region)
    shown: dict[str, Any] = {"url": region.peer.url, "answers": state is not None}
    if state is None:
        return shown
    lag = region.lag_there() if state.role is not Role.PRIMARY else None
    return {**shown, "role": state.role, "epoch": state.epoch, "lag_seconds": lag}


def change(call: HarborCall) -> Response:
    """Make this region the primary, or a copy of another one that is, or is to be."""
    sent = call.body()
    role, force = typed(sent, "role", str, ""), typed(sent, "force", bool, False)
    if role not in (Role.PRIMARY, Role.REPLICA):
        raise bad_request(f"role must be {Role.PRIMARY} or {Role.REPLICA}")
    region = call.services.region
    if region is None:
        if role != Role.PRIMARY:
            raise HarborError(HarborCode.PRECONDITION, "this registry is in one region: set ROADSTEAD_REGION_NAME")
    elif role == Role.PRIMARY:
        promotions.promote(region, call.services.directory.table, force=force)
    elif promotions.was_replaced(region):
        promotions.rejoin(region)
    else:
        promotions.demote(region)
    call.log("region", "update", region.name if region else "", f"{role}{', forced' if force else ''}")
    return answer(_shown(call))


def list_arrears(call: HarborCall) -> Response:
    """Show a page of what has not arrived here, and what is here alone."""
    found, following, compared = _page(call, call.request.parameter("last"))
    return answer({"arrears": found, "next": following, "compared": compared})


def align(call: HarborCall) -> Response:
    """Let a page of the tags here be what the primary has: those that change are named; history has the rest."""
    last = typed(call.body(), "last", str, "")
    region = call.services.region
    if region is None:
        return answer({"arrears": [], "next": ""})
    if not (promotions.was_replaced(region) or region.read().state.role is not Role.PRIMARY):
        raise HarborError(HarborCode.PRECONDITION, "this region is the primary: the others follow it")
    content = call.services.content

    def there(peer: Content) -> Response:
        found, following = arrears.page(content, peer, last, _time())
        changed = [each for each in found if arrears.align(content, peer, each)]
        if changed:
            names = ", ".join(f"{each.repository}:{each.reference}" for each in changed)
            call.log("region", "update", region.name, f"aligned {names}"[:_LONGEST])
        return answer({"arrears": [asdict(each) for each in changed], "next": following})

    return region.elsewhere(there, "what the primary has")


def _page(call: HarborCall, last: str) -> tuple[list[Mapping[str, Any]], str, bool]:
    """Return a page, where the next one begins, and whether the other region's bucket was compared."""
    region = call.services.region
    if region is None:
        return [], "", False
    content = call.services.content
    try:
        found, following = region.elsewhere(
            lambda peer: arrears.page(content, peer, last, _time()), "the other region"
        )
        return [asdict(each) for each in found], following, True
    except RegistryError as error:
        if error.code is not ErrorCode.UNAVAILABLE:
            raise
    found, following = arrears.page(content, None, last, _time())
    return [asdict(each) for each in found], following, False


def _time() -> Callable[[], bool]:
    began = time.monotonic()
    return lambda: time.monotonic() - began < _SECONDS


_READ, _CHANGE = in_system("configuration", "read"), in_system("configuration", "update")
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",  PATH,                 _READ,   show),
    HarborEndpoint("PUT",  PATH,                 _CHANGE, change),
    HarborEndpoint("GET",  f"{PATH}/arrears",    _READ,   list_arrears),
    HarborEndpoint("POST", f"{PATH}/alignments", _CHANGE, align),
)
# fmt: on
