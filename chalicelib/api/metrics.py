"""What Prometheus reads: how well the registry is, how much it holds and, of a server, what it answered.

Names and labels are Harbor's where they mean the same; what Harbor has not is called `roadstead_...`. They differ in
this: durations are a histogram, which adds up over instances, where Harbor has quantiles; operations of Harbor's API
are named by their paths; artifacts are not parted by type.

Invariants:
* Whoever reads them may see all quotas, unless the settings open them: they name every project.
* However many scrape, projects are read at most once in five minutes, in bounded reads (`store.figures`).
* No label has a value that a client chose, but for names of projects.

Specification: Harbor 2.16's metrics; Prometheus text exposition format 0.0.4.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

from chalicelib.api import dispatch, health, identity
from chalicelib.api.endpoints import Call
from chalicelib.api.exposition import MEDIA_TYPE, Family, Kind, Sample, distribution, sample, text
from chalicelib.api.harbor import routing
from chalicelib.api.harbor.jobservice import POOL
from chalicelib.api.harbor.system import HARBOR_VERSION
from chalicelib.api.http import Request, Response
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy import access
from chalicelib.policy import configuration as rules
from chalicelib.policy.grants import ANONYMOUS
from chalicelib.policy.rbac import Permission
from chalicelib.services import Services
from chalicelib.store import figures, waiting
from chalicelib.store.directory import configuration
from chalicelib.store.figures import Figures, ProjectFigures
from chalicelib.store.meters import BOUNDS, Measured, Operation
from chalicelib.store.waiting import Waiting

_NEEDED = Permission("quota", "list")
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"})
_OTHERS = "others"
_REMEMBERED, _LONGEST_REMEMBERED = 4096, 256
# fmt: off
_OPERATIONS: Mapping[str, str] = MappingProxyType({
    "/v2/":                              "v2",
    "/v2/_catalog":                      "v2_catalog",
    "/v2/<name>/tags/list":              "v2_tags",
    "/v2/<name>/manifests/<reference>":  "v2_manifest",
    "/v2/<name>/blobs/<digest>":         "v2_blob",
    "/v2/<name>/blobs/uploads/":         "v2_blob_upload",
    "/v2/<name>/blobs/uploads/<upload>": "v2_blob_upload",
    "/v2/<name>/referrers/<digest>":     "v2_referrers",
})
# fmt: on


def get(call: Call) -> Response:
    """Tell the metrics, or those of one of Harbor's components; raise UNAUTHORIZED, DENIED or UNSUPPORTED."""
    services, component = call.services, call.request.parameter("comp")
    if component and component not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise RegistryError(ErrorCode.UNSUPPORTED, f"comp must be one of {known}, or left out", status=400)
    if not services.settings.open_metrics:
        _check(services, call.request)
    wanted = [component] if component else _FAMILIES
    families = (family for name in wanted for family in _FAMILIES[name](services))
    return Response(200, {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}, text(families))


def _check(services: Services, request: Request) -> None:
    principal = identity.of_request(services, request)
    if _NEEDED in access.in_system(principal):
        return
    if principal == ANONYMOUS:
        raise RegistryError(ErrorCode.UNAUTHORIZED, f"log in as somebody who has {_NEEDED} in the system")
    raise RegistryError(ErrorCode.DENIED, f"you may not do this: it needs {_NEEDED} in the system")


def operation(request: Request) -> Operation:
    """Return what a request asks for; there are as many operations as endpoints, whatever clients send."""
    find = _remembered if len(request.path) <= _LONGEST_REMEMBERED else _operation
    return find(request.method, request.path)


def _operation(method: str, path: str) -> Operation:
    method = method if method in _METHODS else _OTHERS
    if path.startswith(("/api/", "/c/")):
        return Operation(method, routing.path_of(method, path) or _OTHERS)
    try:
        found = dispatch.route(method, path)[0].path
    except RegistryError:
        found = _OTHERS
    return Operation(method, _OPERATIONS.get(found, found))


# Finding a row takes as long as the rest of counting several times over, and clients ask for the same again.
_remembered = lru_cache(_REMEMBERED)(_operation)


def _exporter(services: Services) -> Iterable[Family]:
    found = health.examine(services)
    wrong = {each.name for each in found if each.error}
    up = [sample(not each.error, component=each.name) for each in found]
    yield _gauge("harbor_health", "1 if every component is well", [sample(not wrong)])
    yield _gauge("harbor_up", "1 if a component answers as it should", up)
    # A table that does not answer is not asked for more: the two lines above must come through.
    if "database" not in wrong:
        yield from _of_table(services)


def _of_table(services: Services) -> Iterable[Family]:
    found = services.figures.get(
        services.now(), lambda: figures.read(services.directory, services.index, services.content)
    )
    told = [Sample(1, _settings(services))]
    yield _gauge("harbor_system_info", "What the registry is and how it is set", told)
    yield from _of_projects(found)
    yield from _statistics(found)
    yield from _tasks(waiting.look(services.directory))


def _settings(services: Services) -> Mapping[str, str]:
    values = rules.with_defaults(configuration.read(services.directory))
    return {
        "auth_mode": values["auth_mode"],
        "harbor_version": HARBOR_VERSION,
        "self_registration": str(values["self_registration"]).lower(),
    }


def _of_projects(found: Figures) -> Iterable[Family]:
    public = [each.project.public for each in found.projects]
    amounts = [sample(public.count(kind), public=_flag(kind)) for kind in (True, False)]
    yield _gauge("harbor_project_total", "Projects", amounts)
    for name, words, value, labelled in _OF_PROJECTS:
        yield _gauge(name, words, [Sample(value(each), labelled(each)) for each in found.projects])
    left = [sample(found.left_out)]
    yield _gauge("roadstead_projects_left_out", "Projects that are not told of, for there are too many", left)


def _named(of: ProjectFigures) -> Mapping[str, str]:
    return {"project_name": of.project.name}


def _named_and_public(of: ProjectFigures) -> Mapping[str, str]:
    return {"project_name": of.project.name, "public": _flag(of.project.public)}


_Labelled = Callable[[ProjectFigures], Mapping[str, str]]
# fmt: off
_OF_PROJECTS: tuple[tuple[str, str, Callable[[ProjectFigures], int], _Labelled], ...] = (
    ("harbor_project_repo_total",        "Repositories of a project", lambda of: of.repositories, _named_and_public),
    ("harbor_project_artifact_total",    "Artifacts of a project that lists show", lambda of: of.artifacts,
                                                                                              _named_and_public),
    ("harbor_project_member_total",      "Members of a project",        lambda of: of.members, _named),
    ("harbor_project_quota_usage_byte",  "Bytes that a project stores", lambda of: of.used,   _named),
    ("harbor_project_quota_byte",        "Bytes that a project may store, or -1", lambda of: of.project.storage_limit,
                                                                                              _named),
    ("harbor_artifact_pulled",           "Pulls from a project",        lambda of: of.pulls,   _named),
)
# fmt: on


def _statistics(found: Figures) -> Iterable[Family]:
    stored = sum(each.used for each in found.projects)
    yield _gauge("harbor_statistics_total_storage_consumption", "Bytes that are stored", [sample(stored)])
    for kind, wanted in (("total", (True, False)), ("public", (True,)), ("private", (False,))):
        of_kind = [each for each in found.projects if each.project.public in wanted]
        amounts = {"project": len(of_kind), "repo": sum(each.repositories for each in of_kind)}
        for what, amount in amounts.items():
            yield _gauge(f"harbor_statistics_{kind}_{what}_amount", f"Number: {what}, {kind}", [sample(amount)])


def _tasks(found: Waiting) -> Iterable[Family]:
    queues = found.queues.items()
    sizes = [sample(queue.size, type=kind) for kind, queue in queues]
    latencies = [sample(queue.latency, type=kind) for kind, queue in queues]
    running = [sample(queue.running, type=kind, pool=POOL) for kind, queue in queues]
    yield _gauge("harbor_task_queue_size", "Tasks that wait for a worker", sizes)
    yield _gauge("harbor_task_queue_latency", "Seconds for which the first of them has waited", latencies)
    yield _gauge("harbor_task_scheduled_total", "Tasks that wait for their time", [sample(found.scheduled)])
    yield _gauge("harbor_task_concurrency", "Tasks that run", running)


def _core(services: Services) -> Iterable[Family]:
    """Return what this process answered: nothing where it is a function, whose requests CloudWatch counts."""
    measured = services.requests.read()
    if not measured.answers:
        return []
    return [
        _gauge("harbor_core_http_inflight_requests", "Requests under way", [sample(measured.under_way)]),
        Family("harbor_core_http_request_total", Kind.COUNTER, "Requests that were answered", _answers(measured)),
        Family("harbor_core_http_request_duration_seconds", Kind.HISTOGRAM, "Time to answer", _durations(measured)),
    ]


def _answers(measured: Measured) -> list[Sample]:
    return [
        Sample(number, {"method": asked.method, "code": str(status), "operation": asked.name})
        for (asked, status), number in sorted(measured.answers.items())
    ]


def _durations(measured: Measured) -> list[Sample]:
    return [
        each
        for asked, times in sorted(measured.times.items())
        for each in distribution(BOUNDS, times.counts, times.seconds, _asked(asked))
    ]


def _asked(asked: Operation) -> Mapping[str, str]:
    return {"method": asked.method, "operation": asked.name}


def _registry(services: Services) -> Iterable[Family]:
    """Return the bytes that passed through this process; those that S3 serves itself do not."""
    measured = services.requests.read()
    for name, words, amounts in (
        ("roadstead_received_bytes_total", "Bytes of requests' bodies", measured.received),
        ("roadstead_sent_bytes_total", "Bytes of answers' bodies", measured.sent),
    ):
        if amounts:
            samples = [Sample(number, _asked(asked)) for asked, number in sorted(amounts.items())]
            yield Family(name, Kind.COUNTER, words, samples)


def _jobservice(services: Services) -> Iterable[Family]:
    workers = sample(1, pool=POOL, workers=str(services.directory.queue.workers))
    yield _gauge("harbor_jobservice_info", "The pool of workers of this process", [workers])


def _gauge(name: str, words: str, samples: list[Sample]) -> Family:
    return Family(name, Kind.GAUGE, words, samples)


def _flag(value: bool) -> str:
    return str(value).lower()


# By the names that Harbor has for its processes.
_FAMILIES: Mapping[str, Callable[[Services], Iterable[Family]]] = MappingProxyType(
    {"exporter": _exporter, "core": _core, "registry": _registry, "jobservice": _jobservice}
)
