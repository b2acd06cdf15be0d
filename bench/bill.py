"""The model of `make cost`: from counts and prices to dollars, ours beside Harbor's and ECR's. No measuring here.

Invariants:
* Dollars are linear in counts, in pulls and in stored bytes, above a floor that does not depend on them.
* Lambda's time is computing, slower below a whole vCPU in proportion to memory, and waiting, which is not.
* Harbor is given the S3 requests and the egress of ours: it is compared by what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from bench.prices import HOURS, Price
from bench.usage import Call, Usage, bill

# With as many MB, a Lambda function has one vCPU, as AWS documents.
ONE_VCPU = 1769
TB_IN_GB = 1000
Prices = Mapping[str, Price]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is assumed: seconds of a round trip, memories in MB, and shares of 1."""

    round_trip: float = 0.015
    memory: int = 1024
    authorizer_memory: int = 512
    # Of stored bytes, what history and the lifecycle's days of grace keep beside what is in use.
    kept: float = 0.10
    # Of downloaded bytes, what leaves the region.
    leaving: float = 0.0
    cloudfront: bool = False
    relay: bool = True


# fmt: off
# Hours of a price, or GB where the price is of a month.
FLOORS: Mapping[str, Mapping[str, float]] = MappingProxyType({
    # What watches: alarms, the dashboard, and the key of the topic that is told.
    "roadstead":      {"alarm_month": 27, "dashboard_month": 1, "key_month": 1},
    # Two tasks of a vCPU and 2 GB, a balancer without public addresses, four endpoints in two zones, two alarms.
    "relay":          {"fargate_cpu_hour": 2 * HOURS, "fargate_gb_hour": 4 * HOURS, "alb_hour": HOURS,
                       "endpoint_hour": 8 * HOURS, "alarm_month": 2},
    # One t3.medium with everything on it, PostgreSQL and Redis too.
    "Harbor, 1 node": {"t3_medium_hour": HOURS, "ebs_gb_month": 50, "address_hour": HOURS},
    # Two m5.large, PostgreSQL in two zones with 100 GB in each, two nodes of Redis, a balancer in two zones.
    "Harbor, HA":     {"m5_large_hour": 2 * HOURS, "ebs_gb_month": 100, "rds_m5_large_hour": HOURS,
                       "rds_gb_month": 200, "redis_medium_hour": 2 * HOURS, "alb_hour": HOURS,
                       "address_hour": 2 * HOURS},
})
# fmt: on
HARBORS = ("Harbor, 1 node", "Harbor, HA")


def floor(name: str, prices: Prices) -> float:
    """Return dollars a month that are paid without a single request."""
    return sum(amount * prices[price].dollars for price, amount in FLOORS[name].items())


def seconds(call: Call, memory: int, round_trip: float) -> float:
    """Return how long a call is predicted to take with so many MB."""
    return call.cpu_seconds * max(1.0, ONE_VCPU / memory) + call.round_trips * round_trip


def priced(usage: Usage, calls: Iterable[Call], plan: Plan) -> Usage:
    """Return usage with Lambda's time in GB seconds."""
    gb_seconds = sum(
        seconds(call, memory, plan.round_trip) * memory / 1024
        for call in calls
        for memory in [plan.authorizer_memory if call.kind == "authorizer" else plan.memory]
    )
    return replace(usage, gb_seconds=gb_seconds)


def left(usage: Usage, plan: Plan) -> Usage:
    """Return usage with only those bytes of the egress that are paid: what stays in the region is free."""
    return replace(usage, egress_bytes=usage.egress_bytes * plan.leaving)


def ours(usage: Usage, plan: Plan, prices: Prices) -> dict[str, float]:
    """Return the dollars of usage, by where they go."""
    found = bill(usage, {**prices, "egress_gb": prices["cloudfront_gb"]} if plan.cloudfront else prices)
    if plan.cloudfront:
        found["CloudFront"] = usage.gateway * prices["cloudfront_request"].dollars
    return found


def harbor(usage: Usage, prices: Prices) -> dict[str, float]:
    """Return the dollars that the same takes with Harbor, above its floor."""
    found = bill(usage, prices)
    return {place: found[place] for place in ("S3 requests", "egress")}


def ecr(usage: Usage, prices: Prices) -> dict[str, float]:
    """Return the dollars that the same takes with ECR: only what leaves the region."""
    return {"egress": bill(usage, prices)["egress"]}


def stored(plan: Plan, prices: Prices) -> dict[str, float]:
    """Return the dollars of a TB in use for a month, by registry."""
    plain = TB_IN_GB * prices["s3_gb_month"].dollars
    return {"roadstead": plain * (1 + plan.kept), "Harbor": plain, "ECR": TB_IN_GB * prices["ecr_gb_month"].dollars}


def break_even(harbors: float, our: float, per_pull: float) -> float:
    """Return how many pulls a month cost what Harbor's floor is above ours; 0 where it is not above."""
    return max(0.0, harbors - our) / per_pull if per_pull else float("inf")
