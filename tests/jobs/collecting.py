"""Runs the collector as the engine does, step by step, without an engine."""

from collections.abc import Mapping
from itertools import count
from typing import Any

from chalicelib.jobs import collect_garbage
from chalicelib.jobs.steps import Done, TaskRun
from chalicelib.policy.jobs import Trigger
from chalicelib.services import Services

_executions = count(1)


def collect(services: Services, **parameters: bool) -> Mapping[str, Any]:
    """Collect garbage and return the report."""
    number = next(_executions)
    cursor: Mapping[str, Any] = {}
    while True:
        outcome = step(services, number, cursor, **parameters)
        if isinstance(outcome, Done):
            return outcome.report
        cursor = outcome.cursor


def step(services: Services, number: int, cursor: Mapping[str, Any], **parameters: bool) -> Any:
    """Do one step of an execution."""
    task = TaskRun(
        number, number, -1, Trigger.MANUAL, parameters, cursor, services.directory, lambda: True, lambda: False
    )
    return collect_garbage.step(services, task)
