"""A hundred thousand images are collected in the memory that a few take, for as many requests each."""

import os
from typing import NamedTuple

import pytest

from bench.processes import peak, reset_peak, resident
from tests.jobs.collecting import collect
from tests.jobs.simulated import BLOBS, EACH, GARBAGE, SimulatedObjects
from tests.memory import Clock, Inline, services_over

FEW, MANY = 20_000, 100_000
_MIB = 1 << 20


class Measured(NamedTuple):
    """What a collection took: requests, and bytes of this process at the most."""

    requests: int
    memory: int


def _measured(images: int) -> Measured:
    clock, process = Clock(), os.getpid()
    bucket = SimulatedObjects(clock, images)
    services = services_over(bucket, clock, pool=Inline())
    before = resident(process)
    reset_peak(process)
    report = collect(services)
    memory = peak(process) - before
    assert report["purged_manifests"] == images // GARBAGE
    # A filter may take some for others, and leave them to the next run.
    assert 0.99 < report["purged_blobs"] / (BLOBS * images // GARBAGE) <= 1
    return Measured(bucket.counted.total(), memory)


@pytest.mark.soak
def test_memory_is_bounded_and_requests_are_linear() -> None:
    few, many = _measured(FEW), _measured(MANY)
    print(f"{FEW} images: {few}, {MANY} images: {many}")

    assert many.requests / few.requests == pytest.approx(MANY / FEW, rel=0.02)
    # A page, a repository, the filter and the bytes of one step are what there is at once.
    assert max(few.memory, many.memory) < 64 * _MIB


def test_a_few_thousand_are_collected_to_the_last() -> None:
    assert _measured(2 * EACH).requests < 2.4 * 2 * EACH
