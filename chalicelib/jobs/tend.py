"""What a region does every minute because there are others.

The primary shows that it is alive and tells of the pulls that were made elsewhere; who was the primary learns that it
is no more.

Invariant: a copy does no jobs but those of a table of its own, and repairs and counts nothing that is shared: of two
writes to a global table the later one wins, and a collector that sees half of a bucket takes the rest for garbage.
"""

from contextlib import suppress

from chalicelib.jobs import pulled
from chalicelib.policy import regions as rules
from chalicelib.policy.regions import Role, Standing
from chalicelib.services import Services
from chalicelib.store import pulls_left
from chalicelib.store.objects import ConditionFailedError
from chalicelib.store.regions import Region

_LOTS = 100


def run(services: Services) -> bool:
    """Do what is to be done, and tell whether this region does any jobs; raise OSError or RegistryError."""
    region = services.region
    if region is None:
        return True
    standing = region.standing_now()
    if standing is Standing.FENCED:
        _give_way(region)
    if standing is not Standing.OPEN:
        return services.keeps_table()
    region.beat()
    _tell_of_pulls(services)
    return True


def _give_way(region: Region) -> None:
    """Let this region's bucket say that another one was promoted."""
    fence, stored = region.fence(), region.read()
    if fence and stored.state.role is Role.PRIMARY:
        # Somebody else saw it, or brings the region back at this moment.
        with suppress(ConditionFailedError):
            region.put(rules.behind(fence, Role.FENCED, region.now()), stored.etag)


def _tell_of_pulls(services: Services) -> None:
    for key, made in pulls_left.left(services.index.table, _LOTS):
        pulled.tell(services, made, key.sort)
        pulls_left.told(services.index.table, key)
