"""Everything that clients do with the registry, once: all endpoints of the specification and of Harbor's API.

Names in braces are parts of a path; those that an answer tells (`Location`) are filled in from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlencode

import orjson

from chalicelib.api import auth
from chalicelib.api.http import Response
from chalicelib.oci import manifests as oci_manifests
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy.jobs import NO_VENDOR, Kind, Trigger
from chalicelib.policy.replication import Filter, FilterKind, Policy
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import blobs, executions, layout, manifests
from chalicelib.store.content import Content
from chalicelib.store.directory import Directory, logins, projects, registries, replication
from chalicelib.store.directory.registries import NewRegistry
from chalicelib.store.executions import New, Task
from chalicelib.store.replicating import COPY, ITEMS, OPERATION, TO
from tests.api.artifacts import Registry
from tests.api.asking import basic
from tests.jobs.replicating import add_image, subject
from tests.memory import PASSWORD
from tests.store.remote.fake import FakeRegistry

LARGE = bytes(17 << 20)
# From where the events of the tests come.
SOURCE = "203.0.113.7"
REPOSITORY = "library/app"
_PROJECT = "/projects/{project_name_or_id}"
_REPOSITORY = "/projects/{project_name}/repositories/{repository_name}"
_ARTIFACT = _REPOSITORY + "/artifacts/{reference}"
_TAG = _REPOSITORY + "/tags/{tag_name}"
_METADATA = _PROJECT + "/metadatas/"
_FIXING = _PROJECT + "/immutabletagrules"
_PULL = {"kind": "project", "namespace": "library", "access": [{"resource": "repository", "action": "pull"}]}
_ROBOT = {"name": "ci", "level": "project", "duration": 1, "permissions": [_PULL]}
_ANN = {"username": "ann", "password": "Something1", "email": "ann@example.org", "realname": "Ann"}
_FIXED = {
    "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "fixed-*"}],
    "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
}
_KEEPING = {
    "rules": [{**_FIXED, "template": "latestPushedK", "params": {"latestPushedK": 100}}],
    "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 3 * * *"}},
    "scope": {"level": "project", "ref": 1},
}
_MADE = ("{id}", "{registry_id}", "{label_id}", "{immutable_rule_id}")
_GROUP = {"group_name": "deck", "group_type": 1, "ldap_group_dn": "cn=deck"}
_HOOKS = _PROJECT + "/webhook"
_HOOK = _HOOKS + "/policies/{webhook_policy_id}"
TELLING = {
    "name": "ci",
    "event_types": ["DELETE_ARTIFACT"],
    "targets": [{"type": "http", "address": "https://hooks.example.com", "auth_header": "Bearer x"}],
    "signing_secret": "y",
}
REPLICATING = {
    "name": "out",
    "dest_registry": {"id": "{registry_id}"},
    "trigger": {"type": "scheduled", "trigger_settings": {"cron": "0 0 4 * * *"}},
    "enabled": True,
}
# After these the id in paths is what it was before that was made which they end.
_LAST = ("PUT /replication/executions/{id}", "DELETE /replication/policies/{id}")
# A registry of a make that is not asked whether it is there.
ELSEWHERE = {
    "name": "elsewhere",
    "type": "huawei-SWR",
    "url": "https://swr.example.com",
    "credential": {"type": "basic", "access_key": "us", "access_secret": "s3cret"},
}
_TOLD = {"happened": Happened(EventType.DELETED, 1).document(), "notify": "http", "target": 0}
# Whose jobs these are: nobody's of those that the endpoints show.
VENDOR = 7
PARAMETERS: Mapping[Kind, Mapping[str, object]] = {
    Kind.GARBAGE_COLLECTION: {"delete_untagged": True, "workers": 2},
    Kind.PROXY_CACHE: {"repository": "library/app", "patience": 0},
    Kind.PURGE_AUDIT_LOG: {"audit_retention_hour": 24, "include_event_types": "update_project"},
    Kind.VERIFY: {"repair": True, "sample": 100},
    Kind.SLACK: _TOLD,
    Kind.WEBHOOK: _TOLD,
}
_PURGE = {
    "schedule": {"type": "Manual"},
    "parameters": {"audit_retention_hour": 24, "include_event_types": "create_artifact"},
}
_NO_SCHEDULE = {"schedule": {"type": "None"}}


class Step(NamedTuple):
    """A request to Harbor's API that succeeds; the id in its answer's Location becomes `made`."""

    method: str
    path: str
    body: object = None
    made: str = ""


HARBOR: tuple[Step, ...] = (
    Step("GET", "/ping"),
    Step("GET", "/health"),
    Step("GET", "/systeminfo"),
    Step("GET", "/configurations"),
    Step("PUT", "/configurations", {"token_expiration": 30}),
    Step("GET", "/projects"),
    Step("HEAD", "/projects?project_name=library"),
    Step("POST", "/projects", {"project_name": "short-lived"}),
    Step("GET", _PROJECT),
    Step("PUT", _PROJECT, {"metadata": {"public": "true"}}),
    Step("GET", _PROJECT + "/summary"),
    Step("GET", _METADATA),
    Step("POST", _METADATA, {"auto_scan": "true"}),
    Step("GET", _METADATA + "{meta_name}"),
    Step("PUT", _METADATA + "{meta_name}", {"auto_scan": "false"}),
    Step("DELETE", _METADATA + "{meta_name}"),
    Step("GET", "/repositories"),
    Step("GET", "/projects/{project_name}/repositories"),
    Step("GET", _REPOSITORY),
    Step("PUT", _REPOSITORY, {"description": "what the team ships"}),
    Step("GET", _PROJECT + "/artifacts"),
    Step("GET", _REPOSITORY + "/artifacts"),
    Step("GET", _ARTIFACT),
    Step("GET", _ARTIFACT + "/tags"),
    Step("POST", _ARTIFACT + "/tags", {"name": "stable"}),
    Step("DELETE", _ARTIFACT + "/tags/stable"),
    Step("GET", _ARTIFACT + "/accessories"),
    Step("GET", _ARTIFACT + "/additions/build_history"),
    Step("GET", _TAG + "/history"),
    Step("POST", _TAG + "/undo", {}),
    Step("POST", "/users", _ANN, "user_id"),
    Step("GET", "/users"),
    Step("GET", "/users/search?username=an"),
    Step("GET", "/users/current"),
    Step("GET", "/users/current/permissions"),
    Step("GET", "/users/{user_id}"),
    Step("PUT", "/users/{user_id}", {"email": "ann@example.org", "realname": "Ann B"}),
    Step("PUT", "/users/{user_id}/sysadmin", {"sysadmin_flag": True}),
    Step("PUT", "/users/{user_id}/password", {"new_password": "Another1234"}),
    Step("PUT", "/users/{user_id}/cli_secret", {"secret": "Another1234"}),
    Step("POST", _PROJECT + "/members", {"role_id": 2, "member_user": {"username": "ann"}}, "mid"),
    Step("GET", _PROJECT + "/members"),
    Step("GET", _PROJECT + "/members/{mid}"),
    Step("PUT", _PROJECT + "/members/{mid}", {"role_id": 3}),
    Step("DELETE", _PROJECT + "/members/{mid}"),
    Step("DELETE", "/users/{user_id}"),
    Step("POST", "/usergroups", _GROUP, "group_id"),
    Step("GET", "/usergroups"),
    Step("GET", "/usergroups/search?groupname=de"),
    Step("GET", "/usergroups/{group_id}"),
    Step("PUT", "/usergroups/{group_id}", {"group_name": "rig"}),
    Step("DELETE", "/usergroups/{group_id}"),
    Step("GET", "/permissions"),
    Step("POST", "/robots", _ROBOT, "robot_id"),
    Step("GET", "/robots"),
    Step("GET", "/robots/{robot_id}"),
    Step("PUT", "/robots/{robot_id}", {**_ROBOT, "description": "builds"}),
    Step("PATCH", "/robots/{robot_id}", {"secret": ""}),
    Step("DELETE", "/robots/{robot_id}"),
    Step("POST", "/labels", {"name": "stable", "scope": "g"}, "label_id"),
    Step("GET", "/labels?scope=g"),
    Step("GET", "/labels/{label_id}"),
    Step("PUT", "/labels/{label_id}", {"name": "firm"}),
    Step("POST", _ARTIFACT + "/labels", {"id": "{label_id}"}),
    Step("DELETE", _ARTIFACT + "/labels/{label_id}"),
    Step("DELETE", "/labels/{label_id}"),
    Step("POST", _FIXING, _FIXED, "immutable_rule_id"),
    Step("GET", _FIXING),
    Step("PUT", _FIXING + "/{immutable_rule_id}", {**_FIXED, "id": "{immutable_rule_id}", "disabled": True}),
    Step("DELETE", _FIXING + "/{immutable_rule_id}"),
    Step("GET", "/quotas"),
    Step("GET", "/quotas/{id}"),
    Step("PUT", "/quotas/{id}", {"hard": {"storage": -1}}),
    Step("POST", "/quotas/reconciliations", None, "reconciliation_id"),
    Step("GET", "/quotas/reconciliations/{reconciliation_id}"),
    Step("GET", "/system/gc"),
    Step("GET", "/system/gc/{gc_id}"),
    Step("GET", "/system/gc/{gc_id}/log"),
    Step("PUT", "/system/gc/{gc_id}"),
    Step("POST", "/system/gc/schedule", _NO_SCHEDULE),
    Step("PUT", "/system/gc/schedule", _NO_SCHEDULE),
    Step("GET", "/system/gc/schedule"),
    Step("GET", "/system/verify"),
    Step("GET", "/system/verify/{verify_id}"),
    Step("GET", "/system/verify/{verify_id}/log"),
    Step("PUT", "/system/verify/{verify_id}"),
    Step("POST", "/system/verify/schedule", _NO_SCHEDULE),
    Step("PUT", "/system/verify/schedule", _NO_SCHEDULE),
    Step("GET", "/system/verify/schedule"),
    Step("GET", "/system/regions"),
    Step("PUT", "/system/regions", {"role": "primary"}),
    Step("GET", "/system/regions/arrears"),
    Step("POST", "/system/regions/alignments", {}),
    Step("POST", "/system/purgeaudit/schedule", _PURGE, "purge_id"),
    Step("GET", "/system/purgeaudit"),
    Step("GET", "/system/purgeaudit/{purge_id}"),
    Step("GET", "/system/purgeaudit/{purge_id}/log"),
    Step("PUT", "/system/purgeaudit/{purge_id}"),
    Step("PUT", "/system/purgeaudit/schedule", _NO_SCHEDULE),
    Step("GET", "/system/purgeaudit/schedule"),
    Step("GET", "/jobservice/pools"),
    Step("GET", "/jobservice/pools/{pool_id}/workers"),
    Step("GET", "/jobservice/queues"),
    Step("PUT", "/jobservice/queues/{job_type}", {"action": "pause"}),
    Step("PUT", "/jobservice/queues/{job_type}", {"action": "resume"}),
    Step("GET", "/jobservice/jobs/{job_id}/log"),
    Step("PUT", "/jobservice/jobs/{job_id}"),
    Step("GET", "/schedules"),
    Step("GET", "/schedules/all/paused"),
    Step("GET", "/retentions/metadatas"),
    Step("POST", "/retentions", _KEEPING, "id"),
    Step("GET", "/retentions/{id}"),
    Step("PUT", "/retentions/{id}", {**_KEEPING, "trigger": None}),
    Step("POST", "/retentions/{id}/executions", {"dry_run": True}, "eid"),
    Step("GET", "/retentions/{id}/executions"),
    Step("GET", "/retentions/{id}/executions/{eid}/tasks"),
    Step("GET", "/retentions/{id}/executions/{eid}/tasks/{tid}"),
    Step("PATCH", "/retentions/{id}/executions/{eid}", {"action": "stop"}),
    Step("DELETE", "/retentions/{id}"),
    Step("GET", _HOOKS + "/events"),
    Step("POST", _HOOKS + "/policies", TELLING, "webhook_policy_id"),
    Step("GET", _HOOKS + "/policies"),
    Step("GET", _HOOK),
    Step("PUT", _HOOK, {**TELLING, "description": "tells the pipeline"}),
    Step("GET", _HOOK + "/executions"),
    Step("GET", _HOOK + "/executions/{execution_id}/tasks"),
    Step("GET", _HOOK + "/executions/{execution_id}/tasks/{task_id}/log"),
    Step("GET", _HOOKS + "/lasttrigger"),
    Step("GET", _HOOKS + "/jobs?policy_id={webhook_policy_id}"),
    Step("GET", "/audit-logs"),
    Step("GET", "/auditlog-exts"),
    Step("GET", "/auditlog-exts/events"),
    Step("GET", "/projects/{project_name}/logs"),
    Step("GET", "/projects/{project_name}/auditlog-exts"),
    Step("GET", "/replication/adapters"),
    Step("GET", "/replication/adapterinfos"),
    Step("POST", "/registries/ping", ELSEWHERE),
    Step("POST", "/registries", ELSEWHERE, "id"),
    Step("GET", "/registries"),
    Step("GET", "/registries/{id}"),
    Step("GET", "/registries/{id}/info"),
    Step("PUT", "/registries/{id}", {"description": "the other one"}),
    Step("POST", "/registries/ping", {"id": "{id}"}),
    Step("POST", "/replication/policies", REPLICATING, "id"),
    Step("GET", "/replication/policies"),
    Step("GET", "/replication/policies/{id}"),
    Step("PUT", "/replication/policies/{id}", {**REPLICATING, "src_registry": {"id": 0}}),
    Step("POST", "/replication/executions", {"policy_id": "{id}"}, "id"),
    Step("GET", "/replication/executions"),
    Step("GET", "/replication/executions/{id}"),
    Step("GET", "/replication/executions/{id}/tasks"),
    Step("GET", "/replication/executions/{id}/tasks/{task_id}/log"),
    Step("PUT", "/replication/executions/{id}"),
    Step("DELETE", "/replication/policies/{id}"),
    Step("DELETE", "/registries/{id}"),
    Step("GET", "/search?q=app"),
    Step("GET", "/statistics"),
    Step("POST", "/projects/short-lived/repositories/copy/artifacts?from=library/app:v2"),
    # Which the webhook is told.
    Step("DELETE", _REPOSITORY + "/artifacts/v2"),
    Step("DELETE", _HOOK),
    Step("DELETE", _REPOSITORY),
    Step("DELETE", "/projects/short-lived/repositories/copy"),
    Step("GET", "/projects/short-lived/_deletable"),
    Step("DELETE", "/projects/short-lived"),
)
_NAMES = {
    "project_name_or_id": "library",
    "project_name": "library",
    "repository_name": "app",
    "reference": "v1",
    "tag_name": "v1",
    "meta_name": "auto_scan",
    "id": "1",
    "pool_id": "roadstead",
    "job_type": "SCHEDULER",
}


def uploads(registry: Registry) -> None:
    """Upload blobs in every way, and give up on some."""
    client = registry.client
    registry.blob(REPOSITORY, b"inline")
    parts = [client.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/").headers["Location"] for _ in range(2)]
    for begun in parts:
        middle = client.ask("PATCH", begun, LARGE).headers["Location"]
        assert client.ask("GET", middle).status == 204
        ended = client.ask("PUT", f"{middle}&digest={Digest.of(LARGE + b'end')}", b"end")
        # Of the second nothing is kept: equal bytes were there before.
        assert ended.status == 201, ended.body
    begun = client.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/").headers["Location"]
    middle = client.ask("PATCH", begun, LARGE).headers["Location"]
    assert client.ask("DELETE", middle).status == 204
    begun = client.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/").headers["Location"]
    middle = client.ask("PATCH", begun, b"other bytes").headers["Location"]
    assert client.ask("PUT", f"{middle}&digest={Digest.of(b'these bytes')}").status == 400
    mount = f"/v2/library/other/blobs/uploads/?mount={Digest.of(b'inline')}&from={REPOSITORY}"
    assert client.ask("POST", mount).status == 201


def lost_bytes(registry: Registry, services: Services, lose: Callable[[str], None]) -> None:
    """Push a blob whose bytes somebody took away behind the registry's back."""
    registry.blob(REPOSITORY, b"lost")
    found = blobs.require(services.content, Repository(REPOSITORY), Digest.of(b"lost"))
    lose(found.key)
    registry.blob(REPOSITORY, b"lost")


def pulls(registry: Registry) -> None:
    """Log in, and read all that the specification lets one read."""
    client = registry.client
    token = client.ask("GET", f"/service/token?service=registry&scope=repository:{REPOSITORY}:pull")
    assert token.status == 200
    form = urlencode({"grant_type": "password", "username": "admin", "password": PASSWORD, "service": "r"}).encode()
    posted = client.ask("POST", "/service/token", form, content_type="application/x-www-form-urlencoded")
    assert posted.status == 200, posted.body
    assert client.ask("HEAD", "/v2/").status == 200
    for path in ("/v2/", "/api/version", "/service/keys", "/service/metrics", "/metrics"):
        assert client.ask("GET", path).status == 200, path
    for method in ("GET", "HEAD"):
        assert client.ask(method, f"/v2/{REPOSITORY}/manifests/v1").status in (200, 307)
        assert client.ask(method, f"/v2/{REPOSITORY}/blobs/{Digest.of(b'inline')}").status == 307
        assert client.ask(method, f"/v2/{REPOSITORY}/manifests/none").status == 404
    assert client.ask("GET", f"/v2/{REPOSITORY}/tags/list?n=1").status == 200
    assert client.ask("GET", "/v2/_catalog").status == 200


def relayed(registry: Registry, services: Services) -> None:
    """Get a blob by the path to which a cache of another registry leads, once the blob is here."""
    digest = Digest.of(b"inline")
    query = auth.fetch_query(services, Repository(REPOSITORY), digest)
    for method in ("GET", "HEAD"):
        assert registry.client.ask(method, f"/v2/{REPOSITORY}/blobs/uploads/_fetched/{digest}?{query}").status == 307


def cached(registry: Registry, services: Services, there: FakeRegistry) -> list[Task]:
    """Make a cache of another registry, pull from it what has to be fetched, and return the tasks that fetch it."""
    layers = [
        {"mediaType": "a/b", "digest": there.add_blob("app", each), "size": len(each)} for each in (LARGE, b"{}")
    ]
    image = {"schemaVersion": 2, "mediaType": oci_manifests.OCI_MANIFEST, "config": layers[1], "layers": layers[:1]}
    digest = there.add_manifest("app", orjson.dumps(image), oci_manifests.OCI_MANIFEST, "v1")
    new = NewRegistry("there", "docker-registry", there.url)
    number = registries.create(services.directory, new, registries.HEALTHY)
    made = registry.api("POST", "/projects", {"project_name": "hub", "registry_id": number})
    assert made.status == 201, made.body
    for method in ("GET", "HEAD"):
        for reference in ("v1", digest):
            assert registry.client.ask(method, f"/v2/hub/app/manifests/{reference}").status in (200, 307)
    assert registry.client.ask("HEAD", f"/v2/hub/app/blobs/{layers[0]['digest']}").status == 200
    project = projects.find(services.directory, "hub")
    assert project
    begun = executions.page(services.directory, Kind.PROXY_CACHE, project.id).entries
    return [task for each in begun for task in executions.tasks(services.directory, each.id)]


def artifacts(registry: Registry) -> None:
    """Push images, an index and a signature, look at them and delete some again."""
    client = registry.client
    first = registry.image(REPOSITORY, "v1", "first")
    second = registry.image(REPOSITORY, "v1", "second")
    registry.index(REPOSITORY, "v2", first, second)
    signature = registry.sign(REPOSITORY, second)
    assert client.ask("GET", f"/v2/{REPOSITORY}/referrers/{second}").status == 200
    assert client.ask("DELETE", f"/v2/{REPOSITORY}/manifests/{signature}").status == 202
    registry.image(REPOSITORY, "gone", "third")
    registry.image(REPOSITORY, "gone", "first")
    assert client.ask("DELETE", f"/v2/{REPOSITORY}/manifests/gone").status == 202
    third = registry.image(REPOSITORY, "going", "third")
    assert client.ask("DELETE", f"/v2/{REPOSITORY}/manifests/{third}").status == 202
    registry.blob(REPOSITORY, b"unwanted")
    assert client.ask("DELETE", f"/v2/{REPOSITORY}/blobs/{Digest.of(b'unwanted')}").status == 202


def sessions(registry: Registry) -> None:
    """Log in as the portal does, with a wrong password too, and out again."""
    client = registry.client
    client.headers = {"content-type": "application/x-www-form-urlencoded"}
    wrong = urlencode({"principal": "admin", "password": "Wrong1234"}).encode()
    assert client.ask("POST", "/c/login", wrong).status == 401
    form = urlencode({"principal": "admin", "password": PASSWORD}).encode()
    answer = client.ask("POST", "/c/login", form)
    assert answer.status == 200, answer.body
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    client.headers = {"cookie": cookie}
    page = client.ask("GET", "/api/v2.0/users/current")
    token = {"x_harbor_csrf_token": page.headers["X-Harbor-Csrf-Token"]}
    exists = urlencode({"target": "username", "value": "admin"}).encode()
    assert client.ask("POST", "/c/userExists", exists, **token).status == 200
    assert client.ask("GET", "/c/log_out").status == 200


def late(registry: Registry, services: Services) -> None:
    """Log in wrongly where the last time was so long ago that it is forgotten."""
    then = Directory(services.directory.table, lambda: services.now() - timedelta(days=30))
    logins.failed(then, "admin", SOURCE, "a guess")
    registry.client.headers = basic("admin", "Wrong1234")
    assert registry.client.ask("GET", "/v2/").status == 401


def harbor(registry: Registry) -> Iterator[tuple[Step, Response]]:
    """Ask for every step of `HARBOR`; yield it with the answer."""
    names, before = {**_NAMES, **_begun(registry)}, list[str]()
    for step in HARBOR:
        answer = registry.api(step.method, step.path.format(**names), _filled(step.body, names))
        if f"{step.method} {step.path}" in _LAST:
            names["id"] = before.pop()
        if step.made:
            before.append(names.get("id", ""))
            names[step.made] = answer.headers["Location"].rpartition("/")[2]
        if step.made == "eid":
            names["tid"] = _spread(registry, int(names["eid"]))
        names |= _more(registry, step, names)
        if step.made == "webhook_policy_id":
            names |= _told(registry, int(names["webhook_policy_id"]))
        yield step, answer


def _told(registry: Registry, policy: int) -> Mapping[str, str]:
    """Begin to tell a webhook; return the numbers of the execution and its task by their names in paths."""
    services: Services = getattr(registry.client, "live", None) or registry.client.services
    [task], changes = executions.beginning(services.directory, New(Kind.WEBHOOK, policy, Trigger.EVENT, _TOLD))
    services.directory.table.commit(*changes)
    return {"execution_id": str(task.execution_id), "task_id": str(task.id)}


def _more(registry: Registry, step: Step, names: Mapping[str, str]) -> Mapping[str, str]:
    """Return further names of what a step made."""
    if step.path == "/registries" and step.made:
        return {"registry_id": names["id"]}
    if step.path == "/replication/executions" and step.made:
        services: Services = getattr(registry.client, "live", None) or registry.client.services
        return {"task_id": str(executions.tasks(services.directory, int(names["id"]))[0].id)}
    return {}


def _spread(registry: Registry, execution: int) -> str:
    """Add the task for a repository to an execution of a retention, as its first task does; return the number."""
    services: Services = getattr(registry.client, "live", None) or registry.client.services
    executions.extend(services.directory, execution, {"app": {"repository": "app"}})
    tasks = executions.tasks(services.directory, execution)
    return next(str(task.id) for task in tasks if "repository" in task.parameters)


def _begun(registry: Registry) -> Mapping[str, str]:
    """Begin executions, as schedules do; return their numbers by the names that they have in paths."""
    services: Services = getattr(registry.client, "live", None) or registry.client.services
    begun = {}
    for name, kind in (
        ("gc_id", Kind.GARBAGE_COLLECTION),
        ("verify_id", Kind.VERIFY),
        ("job_id", Kind.ABANDONED_UPLOADS),
    ):
        tasks, changes = executions.beginning(services.directory, New(kind, NO_VENDOR, Trigger.SCHEDULE, {}))
        services.directory.table.commit(*changes)
        begun[name] = str(tasks[0].id)
    return begun


def begin_jobs(directory: Directory) -> list[Task]:
    """Begin one task of every job that there is, but for retention, which has a policy."""
    begun = []
    for kind in sorted(set(Kind) - {Kind.RETENTION}):
        new = New(kind, VENDOR, Trigger.SCHEDULE, PARAMETERS.get(kind, {}))
        [task], changes = executions.beginning(directory, new)
        directory.table.commit(*changes)
        begun.append(task)
    return begun


def garbage(registry: Registry) -> None:
    """Leave behind what nothing needs: bytes of a push that never ended, manifests without tags, one that went."""
    repository = "library/refuse"
    registry.blob(repository, b"the beginning of a push")
    first = registry.image(repository, "v1", "first refuse")
    registry.image(repository, "v1", "second refuse")
    registry.image(repository, "gone", "third refuse")
    assert registry.client.ask("DELETE", f"/v2/{repository}/manifests/gone").status == 202
    registry.sign(repository, first)
    assert registry.client.ask("DELETE", f"/v2/{repository}/manifests/{first}").status == 202


def damage(registry: Registry, services: Services, lose: Callable[[str], None]) -> None:
    """Push images, and take from them what can be repaired, and bytes that nobody has; leave bytes of no image."""
    for name in ("mended", "broken"):
        registry.image(f"library/{name}", "v1", f"{name} image")
    mended, content = Repository("library/mended"), services.content
    links = content.objects.list(layout.links(mended)).entries
    lose(layout.blob(Digest.parse(layout.link_digest(mended, links[0].key))))
    lose(content.objects.list(layout.manifests(mended)).entries[0].key)
    broken = Repository("library/broken")
    lose(layout.catalog(broken))
    link = content.objects.list(layout.links(broken)).entries[0]
    lose(blobs.require(content, broken, Digest.parse(layout.link_digest(broken, link.key))).key)
    content.objects.put(layout.data("orphan"), b"of no image")


def begin_retention(registry: Registry, directory: Directory) -> list[Task]:
    """Push what a policy of retention does not keep, and begin an execution of it, with its tasks."""
    digests = [registry.image("library/kept", f"v{number}", f"kept {number}") for number in range(3)]
    registry.index("library/kept", "both", *digests[:2])
    registry.sign("library/kept", digests[2])
    tags = [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}]
    every = {**_FIXED, "tag_selectors": tags, "template": "latestPushedK", "params": {"latestPushedK": 1}}
    made = registry.api("POST", "/retentions", {**_KEEPING, "trigger": None, "rules": [every]})
    number = made.headers["Location"].rpartition("/")[2]
    begun = registry.api("POST", f"/retentions/{number}/executions", {"dry_run": False})
    execution = int(begun.headers["Location"].rpartition("/")[2])
    found = registry.get("/projects/library/repositories?page_size=100")
    names = [each["name"].partition("/")[2] for each in found]
    executions.extend(directory, execution, {name: {"repository": name} for name in names})
    return list(executions.tasks(directory, execution))


def begin_replication(directory: Directory, far: FakeRegistry) -> list[Task]:
    """Let another registry have what a policy brings here, and begin that, and a policy that brings things there."""
    image = add_image(far, "far/app", "v1", LARGE)
    add_image(far, "far/app", "", b"signed", **subject(image))
    registry = registries.create(directory, NewRegistry("far", "docker-registry", far.url), registries.HEALTHY)
    # The tasks that list find nothing.
    filters = (Filter(FilterKind.NAME, ("nothing/**",)),)
    fetching = {"repository": "far/app", TO: "library/far", OPERATION: COPY, ITEMS: 1}
    sending = {"repository": "library/app", TO: "far/app", OPERATION: COPY, ITEMS: 1}
    begun: list[Task] = []
    for policy, what in (
        (Policy("in", registry, 0, enabled=True, filters=filters), fetching),
        (Policy("out", 0, registry, enabled=True, filters=filters), sending),
    ):
        number = replication.create(directory, policy, "admin")
        tasks, changes = executions.beginning(
            directory, New(Kind.REPLICATION, number, Trigger.MANUAL, {}, "", [{}, what])
        )
        directory.table.commit(*changes)
        begun += tasks
    return begun


def _filled(body: object, names: Mapping[str, str]) -> object:
    """Return the body with the numbers that were made; no other text of a body has braces."""
    if not isinstance(body, dict):
        return body
    filled = {
        name: value.format(**names) if isinstance(value, str) and value in _MADE else _filled(value, names)
        for name, value in body.items()
    }
    numbers = ("id", "policy_id")
    return {name: int(str(value)) if name in numbers else value for name, value in filled.items()}


def behind_the_index(registry: Registry, services: Services) -> None:
    """Change the bucket in every way that the repair mends, without a word to the index."""
    content = services.content
    for name in ("shrunk", "lost", "unlisted", "grown"):
        registry.index(f"library/{name}", "v2", registry.image(f"library/{name}", "v1", name))
    unknown = registry.document("library/grown", b"{}", "unknown")
    parsed = oci_manifests.parse(orjson.dumps(unknown), unknown["mediaType"])
    manifests.put(content, Repository("library/grown"), parsed, Digest.of(parsed.content), [Tag("v3")])
    shrunk = Repository("library/shrunk")
    for tag in ("v1", "v2"):
        manifests.delete(content, shrunk, manifests.get(content, shrunk, Tag(tag)).digest)
    _lose(content, Repository("library/lost"))
    content.objects.delete(layout.catalog(Repository("library/unlisted")))


def arrivals(registry: Registry, services: Services) -> Iterator[str]:
    """Change the bucket as copies from another region do, without a word to the index; yield the keys of that."""
    content, home = services.content, Repository("library/arrived")
    for name in ("both", "gone", "lost"):
        registry.index(home.name, name, registry.image(home.name, f"{name}-1", name))
    came = registry.document(home.name, b"{}", "came")
    parsed = oci_manifests.parse(orjson.dumps(came), came["mediaType"])
    manifests.put(content, home, parsed, Digest.of(parsed.content), [Tag("came"), Tag("both")])
    gone = manifests.get(content, home, Tag("gone")).digest
    manifests.delete(content, home, gone)
    content.objects.delete(layout.tag(home, Tag("lost")))
    for tag in ("came", "both", "gone", "lost"):
        yield layout.tag(home, Tag(tag))
    for digest in (gone, Digest.of(parsed.content)):
        yield layout.manifest(home, digest)
    # A repository that nobody knew, and that the catalog lacks.
    new = Repository("library/hither")
    registry.document(new.name, b"{}", "came")
    manifests.put(content, new, parsed, Digest.of(parsed.content), [Tag("came")])
    content.objects.delete(layout.catalog(new))
    yield layout.tag(new, Tag("came"))
    # Its layer has not come: it is looked at later.
    late = Digest.parse(registry.image(home.name, "late", "late"))
    layer = oci_manifests.parse(manifests.get(content, home, late).content, "").blobs[-1].digest
    content.objects.delete(layout.link(home, layer))
    yield layout.tag(home, Tag("late"))


def _lose(content: Content, repository: Repository) -> None:
    content.objects.delete(layout.catalog(repository))
    page = content.objects.list(f"{layout.REPOSITORIES}{repository}/")
    content.objects.delete(*(entry.key for entry in page.entries))
