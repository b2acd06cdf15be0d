"""What is used: counts by the units that are paid for, and what they cost.

Invariants:
* Every field of `Usage` is a count of one unit of the price list, so what it costs is linear in it.
* `PAID` says for each unit which price applies; what AWS gives away (S3's DELETE, data that comes in) is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from types import MappingProxyType

from bench.prices import Price

GB = 1e9


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts; gateway requests, function calls and GB seconds of any function, S3 and DynamoDB requests, bytes."""

    gateway: float = 0
    calls: float = 0
    gb_seconds: float = 0
    s3_writes: float = 0
    s3_reads: float = 0
    table_reads: float = 0
    table_writes: float = 0
    log_bytes: float = 0
    egress_bytes: float = 0
    relay_bytes: float = 0

    def __add__(self, other: Usage) -> Usage:
        """Return both together."""
        return Usage(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: float) -> Usage:
        """Return it so many times."""
        return Usage(*(value * times for value in astuple(self)))


@dataclass(frozen=True, slots=True)
class Call:
    """One request that a function answered: its kind, computing and waiting."""

    kind: str
    cpu_seconds: float
    round_trips: int


# fmt: off
# The field, the price, how many of the field are one unit, and where the money goes.
PAID: Mapping[str, tuple[str, float, str]] = MappingProxyType({
    "gateway":      ("gateway_request",  1,  "API Gateway"),
    "calls":        ("lambda_request",   1,  "Lambda"),
    "gb_seconds":   ("lambda_gb_second", 1,  "Lambda"),
    "s3_writes":    ("s3_write",         1,  "S3 requests"),
    "s3_reads":     ("s3_read",          1,  "S3 requests"),
    "table_reads":  ("dynamodb_read",    1,  "DynamoDB"),
    "table_writes": ("dynamodb_write",   1,  "DynamoDB"),
    "log_bytes":    ("logs_gb",          GB, "logs"),
    "egress_bytes": ("egress_gb",        GB, "egress"),
    # A balancer's capacity unit is a GB in an hour.
    "relay_bytes":  ("alb_lcu_hour",     GB, "relay"),
})
# fmt: on


def bill(usage: Usage, prices: Mapping[str, Price]) -> dict[str, float]:
    """Return the dollars that it costs, by where they go."""
    found: dict[str, float] = {}
    for field in fields(usage):
        price, size, place = PAID[field.name]
        found[place] = found.get(place, 0.0) + getattr(usage, field.name) / size * prices[price].dollars
    return found


def total(usage: Usage, prices: Mapping[str, Price]) -> float:
    """Return the dollars that it costs."""
    return sum(bill(usage, prices).values())
