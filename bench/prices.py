"""The price list: dollars for one of a unit, with the date on which each price was noted.

These are list prices of us-east-1 without free tiers and discounts, noted in 2026-11 from memory of the public price
pages and not compared with them that day: check them before a decision, and give other ones by `--prices FILE`,
a TOML file of lines like `lambda_gb_second = 0.0000133334`.

Invariants:
* A price is of one unit (one request, one GB, one hour, one month), never of a thousand or a million.
* No price is negative, and a file may name only prices that are in the list.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from types import MappingProxyType

NOTED = "2026-11"
HOURS = 730
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for one `unit`."""

    dollars: float
    unit: str
    noted: str = NOTED


# fmt: off
LIST: Mapping[str, Price] = MappingProxyType({
    "gateway_request":    Price(3.50 / MILLION,    "request"),
    "lambda_request":     Price(0.20 / MILLION,    "request"),
    "lambda_gb_second":   Price(0.0000166667,      "GB second"),
    "s3_write":           Price(5.00 / MILLION,    "PUT, COPY, POST or LIST"),
    "s3_read":            Price(0.40 / MILLION,    "GET or HEAD"),
    "s3_gb_month":        Price(0.023,             "GB month"),
    "dynamodb_read":      Price(0.125 / MILLION,   "read unit"),
    "dynamodb_write":     Price(0.625 / MILLION,   "write unit"),
    "logs_gb":            Price(0.50,              "GB taken in"),
    "egress_gb":          Price(0.09,              "GB to the internet"),
    "cloudfront_gb":      Price(0.085,             "GB to the internet"),
    "cloudfront_request": Price(1.00 / MILLION,    "HTTPS request"),
    "alb_hour":           Price(0.0225,            "hour"),
    "alb_lcu_hour":       Price(0.008,             "capacity unit hour"),
    "fargate_cpu_hour":   Price(0.04048,           "vCPU hour"),
    "fargate_gb_hour":    Price(0.004445,          "GB hour"),
    "endpoint_hour":      Price(0.01,              "hour of an interface endpoint in one zone"),
    "alarm_month":        Price(0.10,              "metric of an alarm, and month"),
    "dashboard_month":    Price(3.00,              "dashboard and month"),
    "key_month":          Price(1.00,              "KMS key and month"),
    "address_hour":       Price(0.005,             "public IPv4 address hour"),
    "t3_medium_hour":     Price(0.0416,            "hour"),
    "m5_large_hour":      Price(0.096,             "hour"),
    "rds_t3_medium_hour": Price(0.072,             "hour in one zone"),
    "rds_m5_large_hour":  Price(0.356,             "hour in two zones"),
    "rds_gb_month":       Price(0.115,             "GB month in one zone"),
    "redis_small_hour":   Price(0.034,             "cache.t3.small hour"),
    "redis_medium_hour":  Price(0.068,             "cache.t3.medium hour"),
    "ebs_gb_month":       Price(0.08,              "GB month"),
    "ecr_gb_month":       Price(0.10,              "GB month"),
})
# fmt: on


def load(path: Path | None) -> Mapping[str, Price]:
    """Return the list with the prices of a file in place of its own; raise ValueError with the line to mend."""
    if path is None:
        return LIST
    given = tomllib.loads(path.read_text())
    return {**LIST, **{name: _given(name, value, path.name) for name, value in given.items()}}


def _given(name: str, value: object, source: str) -> Price:
    if name not in LIST:
        raise ValueError(f"{source}: there is no price {name}; there are {', '.join(LIST)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(f"{source}: {name} must be dollars for one {LIST[name].unit}, not {value!r}")
    return replace(LIST[name], dollars=float(value), noted=source)
