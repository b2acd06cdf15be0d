"""Looking after all jobs: who works, what waits, what is scheduled; stopping it, and letting it wait.

Invariant: there is one pool of workers, however many machines they are on; a worker is one that holds a task now.
"""

from typing import Any

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import SIGNED_IN, HarborCall, HarborEndpoint, answer, done, in_system, typed
from chalicelib.api.harbor.calls import identifier as number_of
from chalicelib.api.harbor.errors import bad_request, not_found
from chalicelib.api.harbor.execution_views import text
from chalicelib.api.http import Response
from chalicelib.policy.jobs import Kind, Status
from chalicelib.store import executions, pauses, schedules, waiting
from chalicelib.store.executions import Task
from chalicelib.store.pauses import SCHEDULER
from chalicelib.store.schedules import Schedule
from chalicelib.store.waiting import Queue

POOL = "roadstead"
_ALL = "all"
_EVERY = "ALL"


def pools(call: HarborCall) -> Response:
    """Show the one pool of workers."""
    directory = call.services.directory
    shown = {"worker_pool_id": POOL, "concurrency": directory.queue.workers, "heartbeat_at": directory.time()}
    return answer([shown])


def workers(call: HarborCall) -> Response:
    """Show the workers that hold a task."""
    if call.parameters["pool_id"].lower() not in (POOL, _ALL):
        raise not_found(f"the pool {call.parameters['pool_id']}")
    return answer([_worker(task) for task in executions.active(call.services.directory) if task.until])


def _worker(task: Task) -> dict[str, Any]:
    return {
        "id": f"{task.id}.{task.fence}",
        "pool_id": POOL,
        "job_name": task.kind,
        "job_id": str(task.id),
        "start_at": task.started,
        "checkin_at": task.updated,
    }


def stop_job(call: HarborCall) -> Response:
    """Stop one task, or with `all` those that run."""
    named = call.parameters["job_id"]
    audited = call.auditing("job", "stop", named)
    if named.lower() == _ALL:
        for task in executions.active(call.services.directory):
            if task.status is Status.RUNNING:
                executions.stop_task(audited.directory, task.id)
    elif not executions.stop_task(audited.directory, number_of(named) or 0):
        raise not_found(f"job {named}")
    return done()


def job_log(call: HarborCall) -> Response:
    """Show the log of a task."""
    found = executions.log(call.services.directory, number_of(call.parameters["job_id"]) or 0)
    if found is None:
        raise not_found(f"job {call.parameters['job_id']}")
    return text(found)


def queues(call: HarborCall) -> Response:
    """Show what waits, by kind, and since when."""
    directory = call.services.directory
    paused = pauses.paused(directory)
    found = {**waiting.queues(directory), SCHEDULER: Queue(0, 0, 0)}
    shown = [
        {"job_type": kind, "count": queue.size, "latency": queue.latency, "paused": kind in paused}
        for kind, queue in found.items()
    ]
    return answer(shown)


def act_on_queue(call: HarborCall) -> Response:
    """Stop what waits of a kind (or of `all`), let it wait, or let it go on; SCHEDULER stands for all schedules."""
    named = call.parameters["job_type"].upper()
    known = (*sorted(Kind), SCHEDULER)
    if named not in (*known, _EVERY):
        raise not_found(f"the queue {call.parameters['job_type']}")
    action = typed(call.body(), "action", str, "").lower()
    acting = {"stop": _stop_waiting, "pause": pauses.pause, "resume": pauses.resume}.get(action)
    if acting is None:
        raise bad_request("action must be stop, pause or resume")
    audited = call.auditing("job-queue", "update", named, action)
    for each in known if named == _EVERY else (named,):
        acting(audited.directory, each)
    return done()


def _stop_waiting(directory: Any, kind: str) -> None:
    for task in executions.active(directory):
        if task.kind == kind and task.status is not Status.RUNNING:
            executions.stop_task(directory, task.id)


def list_schedules(call: HarborCall) -> Response:
    """List every schedule."""
    wanted = listing.parse(call.request)
    every = [_shown(schedule) for schedule in schedules.all_of(call.services.directory)]
    chosen, total = listing.select(wanted, every)
    return listing.answered(call, wanted, chosen, total)


def _shown(schedule: Schedule) -> dict[str, Any]:
    return {
        "id": schedule.id,
        "vendor_type": schedule.kind,
        "vendor_id": schedule.vendor_id,
        "cron": schedule.cron,
        "update_time": schedule.updated,
    }


def schedules_paused(call: HarborCall) -> Response:
    """Tell whether schedules are paused, all together."""
    if call.parameters["job_type"].lower() != _ALL:
        raise bad_request("job_type can only be 'all'")
    return answer({"paused": pauses.is_paused(call.services.directory, SCHEDULER)})


_LIST, _STOP = in_system("jobservice-monitor", "list"), in_system("jobservice-monitor", "stop")
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET", "/jobservice/pools",                   _LIST,     pools),
    HarborEndpoint("GET", "/jobservice/pools/{pool_id}/workers", _LIST,     workers),
    HarborEndpoint("PUT", "/jobservice/jobs/{job_id}",           _STOP,     stop_job),
    HarborEndpoint("GET", "/jobservice/jobs/{job_id}/log",       _LIST,     job_log),
    HarborEndpoint("GET", "/jobservice/queues",                  _LIST,     queues),
    HarborEndpoint("PUT", "/jobservice/queues/{job_type}",       _STOP,     act_on_queue),
    HarborEndpoint("GET", "/schedules",                          _LIST,     list_schedules),
    HarborEndpoint("GET", "/schedules/{job_type}/paused",        SIGNED_IN, schedules_paused),
)
# fmt: on
