"""Ratios: what is left of a time when a machine is busy with other things as well.

* Both registries take turns within a run, and the medians are compared.
* A ratio over its budget is marked but fails no run: the machine decides too much of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.peers import Peer
from bench.report import Row, Verdict, progress
from bench.stage import Stage

Results = Mapping[str, Sequence[float]]


def in_turn(stage: Stage, rounds: int, what: str, measure: Callable[[Peer], float]) -> Results:
    """Measure one registry after the other, and again."""
    results: dict[str, list[float]] = {name: [] for name in stage.peers}
    for _ in range(rounds):
        for name, peer in stage.peers.items():
            results[name].append(measure(peer))
            progress(f"{name}: {what}: {results[name][-1]:.2f}")
    return results


def at_least(name: str, results: Results, unit: str, budget: float) -> Row:
    """Return a row of ours, to be `budget` times theirs or more."""
    theirs, ours = medians(results)
    ratio = ours / theirs
    return _row(name, (theirs, ours), unit, f"{ratio:.2f} of theirs, >= {budget}", kept=ratio >= budget)


def at_most(name: str, results: Results, unit: str, budget: float) -> Row:
    """Return a row of ours, to be `budget` times theirs or less."""
    theirs, ours = medians(results)
    ratio = ours / theirs
    return _row(name, (theirs, ours), unit, f"{ratio:.2f} of theirs, <= {budget}", kept=ratio <= budget)


def medians(results: Results) -> tuple[float, float]:
    """Return the medians of theirs and of ours."""
    theirs, ours = (statistics.median(values) for values in results.values())
    return theirs, ours


def _row(name: str, values: tuple[float, float], unit: str, budget: str, *, kept: bool) -> Row:
    theirs, ours = (f"{value:.2f} {unit}" for value in values)
    return Row(name, theirs, ours, budget, Verdict.KEPT if kept else Verdict.SLOW)
