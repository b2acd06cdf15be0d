"""How a region becomes the primary, and how one that was comes back.

Invariants:
* A promotion writes the fence before the region's own state: nobody takes writes that another one took them from. One
  that was cut off between the two is ended by repeating it; until then no region takes writes.
* Nothing here waits for the other region, and nothing needs it: where it answers, it is asked what it is.
"""

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy import regions as rules
from chalicelib.policy.regions import Fence, Role, Standing, State
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError
from chalicelib.store.regions import Region, Stored, put_fence, stored
from chalicelib.store.table import Table

_MOVED = "somebody else changed what the region is at this moment: look at its status"


def peer_state(region: Region) -> State | None:
    """Return what the other region is by its own bucket, or None where that does not answer or is not known."""

    def ask(there: Content) -> State:
        return stored(there.objects, rules.beginning("", replica=not region.begins_as_replica)).state

    try:
        return region.elsewhere(ask, "the state of the other region")
    except RegistryError:
        return None


def promote(region: Region, table: Table, *, force: bool = False) -> State:
    """Let this region be the primary; return what it is.

    Raise DENIED (412) where the other one says that it is the primary, unless `force`; RefusedError where another
    promotion came first; or OSError. `table` is the region's, and may write an audit entry along.
    """
    found, fence = region.read(), region.fence()
    if rules.standing(found.state, fence, region.name, region.now()) in (Standing.OPEN, Standing.OPENING):
        return found.state
    other = None if force else peer_state(region)
    if other and other.role is Role.PRIMARY and not (fence and fence.primary == region.name):
        raise _refused("the other region answers and is the primary: demote it first, or force it")
    made = rules.promotion(found.state, fence, region.name)
    put_fence(table, made)
    return _put(region, found, rules.promoted(made, region.now()))


def demote(region: Region) -> State:
    """Let this region take no more writes, so that the other one can be promoted; return what it is now.

    Raise DENIED (412) where it is not the primary, or OSError.
    """
    found = region.read()
    standing = rules.standing(found.state, region.fence(), region.name, region.now())
    if standing not in (Standing.OPEN, Standing.OPENING):
        raise _refused(f"the region {region.name} is not the primary: it {standing.value}")
    return _put(region, found, rules.demoted(found.state, region.now()))


def was_replaced(region: Region) -> bool:
    """Tell whether another region was promoted since this one was the primary; raise OSError."""
    return _later(region.read().state, region) is not None


def rejoin(region: Region) -> State:
    """Let this region be a copy of the one that was promoted in its place; return what it is now.

    Raise DENIED (412) where no other one was, or OSError.
    """
    found = region.read()
    fence = _later(found.state, region)
    if fence is None:
        raise _refused("no other region was promoted since: there is nothing to come back to")
    return _put(region, found, rules.behind(fence, Role.REPLICA, region.now()))


def _later(state: State, region: Region) -> Fence | None:
    """Return the promotion of another region, by the table or, where each has its own, by the other's bucket."""
    fence = region.fence()
    if fence and fence.primary != region.name and fence.epoch >= state.epoch:
        return fence
    other = peer_state(region)
    if other and other.role is Role.PRIMARY and other.epoch > state.epoch:
        return Fence(other.epoch, other.primary)
    return None


def _put(region: Region, found: Stored, state: State) -> State:
    try:
        region.put(state, found.etag)
    except ConditionFailedError as error:
        raise _refused(_MOVED) from error
    return state


def _refused(words: str) -> RegistryError:
    return RegistryError(ErrorCode.DENIED, words, status=412)
