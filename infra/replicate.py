"""What follows the registry into another region and is no resource of a stack: the table's replica, and the secrets.

Invariants:
* Running it again changes nothing but what has drifted: the replica is made once, and the secrets become the first
  region's.
* The table's stream belongs to the template (`ReplicaBucketArn` turns it on), so a later change of the stack does not
  meet one that it has not made.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from infra.aws import FAILURES, code_of
from infra.secrets import SECRETS
from infra.stack import StackError

Pause = Callable[[float], None]
_PAUSE = 5.0
_IN_PROGRESS = ("CREATING", "UPDATING")
# What DynamoDB says of a table that was just made or changed, for some minutes at most.
_NOT_YET = ("ContinuousBackupsUnavailableException", "ResourceInUseException")
_TRIES = 60


def table(here: Any, there: Any, name: str, pause: Pause = time.sleep) -> Iterator[str]:
    """Make a replica of a table where `there`'s client is, guarded as the first; yield a line for each change.

    Raise StackError where the table has no stream, and where the replica did not come to be.
    """
    region = there.meta.region_name
    if region == here.meta.region_name:
        raise StackError(f"the table is in {region} already: name another region")
    if _status(here, name, region) is None:
        if not here.describe_table(TableName=name)["Table"].get("StreamSpecification", {}).get("StreamEnabled"):
            raise StackError("the table has no stream: first give the stack the parameter ReplicaBucketArn")
        here.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": region}}])
        yield f"replica of {name} asked for in {region}"
    _wait(here, name, region, pause)
    yield from _guard(there, name, pause)


def secrets(here: Any, there: Any, path: str) -> Iterator[str]:
    """Give another region the secrets below `path`; yield a line for each that was missing there or another."""
    for name in SECRETS:
        wanted = here.get_parameter(Name=f"{path}/{name}", WithDecryption=True)["Parameter"]["Value"]
        if _secret(there, f"{path}/{name}") != wanted:
            there.put_parameter(Name=f"{path}/{name}", Value=wanted, Type="SecureString", Overwrite=True)
            yield f"{path}/{name} copied to {there.meta.region_name}"


def _status(dynamodb: Any, name: str, region: str) -> str | None:
    replicas = dynamodb.describe_table(TableName=name)["Table"].get("Replicas", ())
    return next((each.get("ReplicaStatus", "CREATING") for each in replicas if each["RegionName"] == region), None)


def _wait(dynamodb: Any, name: str, region: str, pause: Pause) -> None:
    # None: it was asked for, and DynamoDB does not show it yet.
    while (status := _status(dynamodb, name, region)) is None or status in _IN_PROGRESS:
        pause(_PAUSE)
    if status != "ACTIVE":
        raise StackError(f"the replica of {name} in {region} is {status}: mend that or delete it, and run this again")


def _guard(dynamodb: Any, name: str, pause: Pause) -> Iterator[str]:
    """Turn on what DynamoDB keeps for each replica by itself."""
    if not dynamodb.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled"):
        _once_it_can(lambda: dynamodb.update_table(TableName=name, DeletionProtectionEnabled=True), pause)
        yield "deletion protection turned on there"
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    if backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] != "ENABLED":
        wanted = {"TableName": name, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
        _once_it_can(lambda: dynamodb.update_continuous_backups(**wanted), pause)
        yield "point-in-time recovery turned on there"


def _once_it_can(change: Callable[[], object], pause: Pause) -> None:
    """Ask for a change until DynamoDB takes it; what it refuses for another reason, or for long, is raised."""
    for tried in range(1, _TRIES + 1):
        try:
            change()
        except FAILURES as error:
            if code_of(error) not in _NOT_YET or tried == _TRIES:
                raise
            pause(_PAUSE)
        else:
            return


def _secret(ssm: Any, name: str) -> str | None:
    try:
        return str(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
    except FAILURES as error:
        if code_of(error) != "ParameterNotFound":
            raise
        return None
