"""A registry in two regions: the replica's template, and what each stack has to know of the other.

Invariants:
* A replica's table follows another region's, and no stack makes it: whatever the one template says of its own table,
  it says of the table `TableName`. Nothing is read out of the bucket's events there (docs/decisions/023).
* Names are read from the other region's stack, so nobody copies them by hand; a stack keeps what it was told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra import stack

Json = dict[str, Any]

_ARN = {"Fn::Sub": "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${TableName}"}
_INSTEAD: tuple[tuple[Json, Json | str], ...] = (
    ({"Ref": "Table"}, {"Ref": "TableName"}),
    ({"Fn::GetAtt": ["Table", "Arn"]}, _ARN),
    ({"Ref": "Arrivals"}, "false"),
)
# What depends on this condition is of use to a table of the region's own.
_UNUSED = ("HasArrivals",)


@dataclass(frozen=True, slots=True)
class Peer:
    """A stack of the registry in another region: its outputs, and the values of its parameters."""

    region: str
    outputs: Mapping[str, str]
    values: Mapping[str, str]

    @property
    def url(self) -> str:
        """Return where clients reach the registry there, or "" where its stack has no API."""
        host = self.values.get("DomainName") or self.outputs.get("FrontHost")
        return f"https://{host}" if host else self.outputs.get("RegistryUrl", "")

    def known(self, here: str) -> dict[str, str]:
        """Return the parameters by which the stack in the region `here` knows this one."""
        told = {"PeerBucket": self.outputs["BucketName"], "PeerRegion": self.region, "PeerUrl": self.url}
        return {"RegionName": here, **told}

    def as_first(self, here: str, *, own_table: bool) -> dict[str, str]:
        """Return the parameters of a replica, in the region `here`, of this stack."""
        table = {"Arrivals": "true"} if own_table else {"TableName": self.outputs["TableName"]}
        secrets = {"SecretsPath": self.values["SecretsPath"]} if "SecretsPath" in self.values else {}
        return {**self.known(here), "RegionRole": "replica", **table, **secrets}

    def as_copy(self, here: str) -> dict[str, str]:
        """Return the parameters of the stack in the region `here` of which this one is a replica."""
        watched = {"ReplicaBucketArn": self.outputs["BucketArn"], "WatchedReplica": self.outputs["BucketName"]}
        host = self.outputs.get("RegistryUrl", "").removeprefix("https://")
        return {**self.known(here), **watched, "FailoverHost": host}


def peer(cloudformation: Any, name: str) -> Peer:
    """Return the stack of that name where a client is; raise StackError where there is none."""
    found = stack.outputs(cloudformation, name)
    return Peer(cloudformation.meta.region_name, found, stack.values(cloudformation, name))


def is_replica(values: Mapping[str, str]) -> bool:
    """Tell whether a stack whose parameters have these values is a replica over a table that follows another."""
    return "TableName" in values


def as_replica(template: Json) -> Json:
    """Return the template, made with the fragment `replica` in place of `storage`, over the table `TableName`."""
    kept = {name: each for name, each in template["Resources"].items() if each.get("Condition") not in _UNUSED}
    made: Json = _over_table_name({**template, "Resources": kept})
    made["Parameters"]["RegionRole"]["Default"] = "replica"
    return made


def _over_table_name(value: Any) -> Any:
    for what, instead in _INSTEAD:
        if value == what:
            return instead
    if isinstance(value, Mapping):
        if value.get("Fn::If", ("",))[0] in _UNUSED:
            return _over_table_name(value["Fn::If"][2])
        return {key: _over_table_name(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_over_table_name(each) for each in value]
    return value.replace("${Table}", "${TableName}") if isinstance(value, str) else value
