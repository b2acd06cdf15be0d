"""`python -m bench.cost`: dollars for pulls, pushes and storage, of this design on AWS, of Harbor on EC2 and of ECR.

Requests are counted in this run, and so is computing; prices, waiting for S3 and what Harbor runs on are assumed, and
printed. Nothing here ran on AWS.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import bill, counts, prices
from bench.counts import MIB, Counted
from bench.report import progress
from bench.usage import Call, Usage

MEMORIES = (256, 512, 1024, 1769)
_MILLION = 1_000_000
_PASSWORDS = 5
# Eight layers and a configuration, 106 MiB: a small distribution, a run-time and an application.
LAYERS = tuple(int(size * MIB) for size in (60, 30, 8, 4, 2, 1, 0.5, 0.1))
# What the functions take without a relay: each layer in one request of API Gateway.
SMALL = tuple(int(size * MIB) for size in (4, 4, 4, 2, 2, 1, 0.5, 0.1))


@dataclass(frozen=True, slots=True)
class Report:
    """All that is printed; dollars are for a million operations, for a month, or for a TB in a month."""

    plan: bill.Plan
    counted: Mapping[str, Usage]
    dollars: Mapping[str, Mapping[str, Mapping[str, float]]]
    leaving: Mapping[str, float]
    floors: Mapping[str, float]
    stored: Mapping[str, float]
    break_even: Mapping[str, float]
    memory: Mapping[str, Mapping[int, tuple[float, float]]]


def measure(plan: bill.Plan) -> dict[str, Counted]:
    """Run and count every operation, each the second time: instances are warm."""
    layers = [secrets.token_bytes(size) for size in (LAYERS if plan.relay else SMALL)]
    with counts.front(relay=plan.relay) as on:
        progress("an image is pushed once, so that what is counted is warm")
        manifest = counts.push(on, "library/first", layers)
        counts.pull(on, "library/first", manifest)
        progress("counting")
        return {
            "pull": counts.measured(on, partial(counts.pull, on, "library/first", manifest)),
            "pull, nothing new": counts.measured(on, partial(counts.look, on, "library/first")),
            "push": counts.measured(on, partial(counts.push, on, "library/second", layers)),
            "push, layers there": counts.measured(on, partial(counts.push_again, on, "library/first", manifest)),
            "password": Counted(calls=[counts.checked_password() for _ in range(_PASSWORDS)]),
        }


def report(found: Mapping[str, Counted], plan: bill.Plan, table: bill.Prices) -> Report:
    """Work out the dollars."""
    usages = {name: bill.priced(one.usage, one.calls, plan) for name, one in found.items() if name != "password"}
    paid = {name: bill.left(usage * _MILLION, plan) for name, usage in usages.items()}
    dollars = {
        name: {
            "roadstead": bill.ours(usage, plan, table),
            "Harbor": bill.harbor(usage, table),
            "ECR": bill.ecr(usage, table),
        }
        for name, usage in paid.items()
    }
    leaving = {name: bill.ecr(usage * _MILLION, table)["egress"] for name, usage in usages.items()}
    own = bill.floor("roadstead", table)
    floors = {"roadstead": own, "roadstead, relay": own + bill.floor("relay", table)}
    floors |= {name: bill.floor(name, table) for name in bill.HARBORS}
    more = (sum(dollars["pull"]["roadstead"].values()) - sum(dollars["pull"]["Harbor"].values())) / _MILLION
    even = {
        (ours, name): bill.break_even(floors[name], floors[ours], more)
        for ours in ("roadstead", "roadstead, relay")
        for name in bill.HARBORS
    }
    of_memory = memories(found, plan, table)
    named = {f"{ours} = {name}": pulls for (ours, name), pulls in even.items()}
    return Report(plan, usages, dollars, leaving, floors, bill.stored(plan, table), named, of_memory)


def memories(
    found: Mapping[str, Counted], plan: bill.Plan, table: bill.Prices
) -> dict[str, dict[int, tuple[float, float]]]:
    """Return for each kind of call and each memory the predicted milliseconds and the dollars of a million."""
    kinds: dict[str, list[Call]] = {}
    for one in found.values():
        for call in one.calls:
            kinds.setdefault(call.kind, []).append(call)
    return {
        kind: {memory: _at(_median(calls), memory, plan, table) for memory in MEMORIES}
        for kind, calls in sorted(kinds.items())
    }


def _median(calls: Sequence[Call]) -> Call:
    return sorted(calls, key=lambda call: call.cpu_seconds)[len(calls) // 2]


def _at(call: Call, memory: int, plan: bill.Plan, table: bill.Prices) -> tuple[float, float]:
    took = bill.seconds(call, memory, plan.round_trip)
    return took * 1000, took * memory / 1024 * table["lambda_gb_second"].dollars * _MILLION


def show(found: Report, table: bill.Prices, console: Console) -> None:
    """Print it: tables where there is a terminal, and plain text in a pipe."""
    console.print(_counted(found), _dollars(found), _months(found), _even(found), _memories(found))
    plan = found.plan
    sizes = LAYERS if plan.relay else SMALL
    console.print(
        f"Assumed: {plan.round_trip * 1000:.0f} ms for each round trip to S3 and DynamoDB; {plan.memory} MB, the "
        f"authorizer {plan.authorizer_memory} MB; {plan.leaving:.0%} of the bytes leave the region; history keeps "
        f"{plan.kept:.0%} beside what is in use; an image of {len(sizes)} layers, {sum(sizes) / MIB:.0f} MiB; "
        f"uploads through {'the relay' if plan.relay else 'the functions'}; "
        f"CloudFront {'in front' if plan.cloudfront else 'not used'}. "
        "Computing was measured on this machine, nothing on AWS. "
        f"List prices of us-east-1, noted {' and '.join(sorted({price.noted for price in table.values()}))} "
        "and to be checked before use."
    )


def _table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left", no_wrap=True)
    return made


def _counted(found: Report) -> Table:
    made = _table("What one operation takes", "", *found.counted)
    for name in asdict(Usage()):
        values = [getattr(usage, name) for usage in found.counted.values()]
        made.add_row(
            name.replace("_", " "), *(f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}" for value in values)
        )
    return made


def _dollars(found: Report) -> Table:
    made = _table("\nDollars for a million", "", *found.dollars)
    places = dict.fromkeys(place for one in found.dollars.values() for place in one["roadstead"])
    for place in places:
        made.add_row(f"  {place}", *(f"{one['roadstead'].get(place, 0):,.2f}" for one in found.dollars.values()))
    for name in ("roadstead", "Harbor", "ECR"):
        made.add_row(name, *(f"{sum(one[name].values()):,.2f}" for one in found.dollars.values()))
    made.add_row("each, if all bytes left", *(f"+ {dollars:,.2f}" for dollars in found.leaving.values()))
    return made


def _months(found: Report) -> Table:
    made = _table("\nDollars a month", "", "without a request", "a TB in use")
    for name, dollars in {**found.floors, "ECR": 0.0}.items():
        made.add_row(name, f"{dollars:,.2f}", f"{found.stored[name.partition(',')[0]]:,.2f}")
    return made


def _even(found: Report) -> Table:
    made = _table("\nBreak-even: we cost less below", "", "pulls a month")
    for name, pulls in found.break_even.items():
        made.add_row(name, f"{pulls:,.0f}" if pulls else "none: its floor is higher")
    return made


def _memories(found: Report) -> Table:
    made = _table("\nPredicted ms, and dollars for a million, by MB", "", *map(str, MEMORIES))
    for kind, row in found.memory.items():
        made.add_row(kind, *(f"{took:,.1f}  {dollars:6.2f}" for took, dollars in row.values()))
    return made


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.add_argument("--prices", type=Path, help="TOML file of prices that differ from the list")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    parser.add_argument("--no-relay", action="store_true", help="uploads through the functions, small layers")
    parser.add_argument("--cloudfront", action="store_true", help="CloudFront in front")
    parser.add_argument("--round-trip-ms", type=float, default=15.0, help="assumed, to S3 and DynamoDB")
    parser.add_argument("--leaving", type=float, default=0.0, help="share of downloaded bytes that leave the region")
    parser.add_argument("--kept", type=float, default=0.10, help="share that history adds to stored bytes")
    parser.add_argument("--memory", type=int, default=1024, help="MB of the registry's function")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, and print the report."""
    options = _options(arguments)
    try:
        table = prices.load(options.prices)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    plan = bill.Plan(
        round_trip=options.round_trip_ms / 1000,
        memory=options.memory,
        kept=options.kept,
        leaving=options.leaving,
        cloudfront=options.cloudfront,
        relay=not options.no_relay,
    )
    found = report(measure(plan), plan, table)
    if options.json:
        document: dict[str, Any] = {**asdict(found), "prices": {name: asdict(one) for name, one in table.items()}}
        print(json.dumps(document, indent=2))
    else:
        show(found, table, Console(width=None if sys.stdout.isatty() else 110, highlight=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
