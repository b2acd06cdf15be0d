"""`python -m bench`: what this registry takes beside docker-registry 2.8.2, on the same S3 in the same run.

Exits with 1 where an operation makes more S3 requests than its budget; times and memory are marked only.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from bench import cold_start, collection, copies, memory, s3_requests, throughput
from bench.peers import MissingProgramError
from bench.report import Table, progress, render
from bench.stage import DELAY_SECONDS, Stage, stage

Part = Callable[[Stage], Table]

FULL: Mapping[str, Part] = {
    "requests": partial(s3_requests.measure, sizes=s3_requests.FULL),
    "throughput": partial(throughput.measure, rounds=3, seconds=8),
    "collection": partial(collection.measure, sizes=collection.FULL),
    "copies": partial(copies.measure, rounds=3),
    "memory": partial(memory.measure, size=2048 * memory.MIB),
    "cold-start": partial(cold_start.measure, best_of=10),
}
QUICK: Mapping[str, Part] = {
    "requests": partial(s3_requests.measure, sizes=s3_requests.QUICK),
    "throughput": partial(throughput.measure, rounds=2, seconds=3),
    "collection": partial(collection.measure, sizes=collection.QUICK),
    "copies": partial(copies.measure, rounds=1),
    "memory": partial(memory.measure, size=256 * memory.MIB),
    "cold-start": partial(cold_start.measure, best_of=4),
}


def main() -> int:
    # As an exception, so that gigabytes of stored layers are removed.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    options = _options()
    parts = _parts(options)
    broken = False
    print(f"S3: SeaweedFS, {DELAY_SECONDS * 1000:.0f} ms before each request")
    with stage() as on:
        for name in options.parts or parts:
            progress(f"part: {name}")
            table = parts[name](on)
            print(f"\n{render(table)}", flush=True)
            broken |= table.broken
    return int(broken)


def _parts(options: argparse.Namespace) -> Mapping[str, Part]:
    parts, sizes = (QUICK, s3_requests.QUICK) if options.quick else (FULL, s3_requests.FULL)
    if options.tags is None:
        return parts
    return {**parts, "requests": partial(s3_requests.measure, sizes=replace(sizes, listed_tags=options.tags))}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(FULL)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter, under 5 minutes")
    parser.add_argument("--tags", type=int, help="tags to list from; the most of the time of a long run")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(FULL):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingProgramError as error:
        sys.exit(str(error))
