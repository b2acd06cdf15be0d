"""Tells a target of a webhook policy what happened.

Invariants:
* A policy holds as it is when its target is told: no old address of it is used, and none once it is disabled.
* 2xx is success; all else is tried again. A receiver may hear of an event twice, under the same id.
* The log and the errors have no secret: of an address only its scheme and host, of an answer only its status.
* With a signing secret, `X-Roadstead-Signature-256` is the HMAC of `X-Roadstead-Timestamp`, a point, and the body.
"""

import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from chalicelib.jobs.steps import Done, Outcome, TaskRun
from chalicelib.oci.names import Repository
from chalicelib.policy import webhook_payloads, webhooks
from chalicelib.policy.webhook_payloads import Happened, Telling, Where
from chalicelib.policy.webhooks import Policy, Target
from chalicelib.services import Services
from chalicelib.store import posting, reach, sealed
from chalicelib.store.directory import projects
from chalicelib.store.directory import webhooks as policies
from chalicelib.store.directory.webhooks import Stored
from chalicelib.store.index import repositories
from chalicelib.store.notifications import HAPPENED, NOTIFY, TARGET
from chalicelib.store.posting import Letter
from chalicelib.store.reach import Resolve

TIMESTAMP, SIGNATURE = "X-Roadstead-Timestamp", "X-Roadstead-Signature-256"
_REDIRECTIONS, _SUCCESSES = range(300, 400), range(200, 300)


class DeliveryError(Exception):
    """The receiver did not take it."""


def step(services: Services, run: TaskRun, resolve: Resolve = reach.resolve) -> Outcome:
    """Tell the target once; raise DeliveryError, PostError, SealError or OSError."""
    happened = Happened.of(run.parameters[HAPPENED])
    stored = policies.by_id(run.directory, run.vendor_id)
    target = _target(stored, run) if stored else None
    where = _where(services, stored, happened) if stored else None
    if stored is None or target is None or where is None:
        run.log("the policy or its target was deleted or disabled: nobody is told")
        return Done()
    policy = webhooks.with_secrets(stored.policy, partial(sealed.unseal, services.settings.signing_keys))
    target = policy.targets[run.parameters[TARGET]]
    kind, payload = webhook_payloads.payload(target, happened, where, Telling(str(run.execution_id), stored.id))
    content = json.dumps(payload, separators=(",", ":")).encode()
    headers = _headers(services, policy, target, kind, content)
    letter = Letter(target.address, headers, content, target.skip_cert_verify)
    run.log(f"{happened.type}: {len(content)} bytes for {_named(target)}")
    reply = posting.post(letter, services.settings.private_targets, resolve)
    _check(reply.status)
    run.log(f"taken with status {reply.status}")
    return Done({"event_type": happened.type, "payload": content.decode(), "status_code": reply.status})


def _target(stored: Stored, run: TaskRun) -> Target | None:
    """Return the target of a task, or None where it is not to be told any more."""
    place, targets = run.parameters[TARGET], stored.policy.targets
    if not stored.policy.enabled or place >= len(targets):
        return None
    return targets[place] if targets[place].type == run.parameters[NOTIFY] else None


def _where(services: Services, stored: Stored, happened: Happened) -> Where | None:
    project = projects.by_id(services.directory, stored.project_id)
    if project is None:
        return None
    made = 0
    if happened.repository:
        home = repositories.find(services.index, project.id, Repository(happened.repository))
        made = int(datetime.fromisoformat(home.created).timestamp()) if home else 0
    return Where(project.id, project.name, project.public, made)


def _headers(services: Services, policy: Policy, target: Target, kind: str, content: bytes) -> Mapping[str, str]:
    headers: dict[str, Any] = {"Content-Type": kind, "User-Agent": "Roadstead"}
    if target.auth_header:
        headers["Authorization"] = target.auth_header
    if policy.signing_secret:
        moment = str(int(services.now().timestamp()))
        headers |= {TIMESTAMP: moment, SIGNATURE: signature(policy.signing_secret, moment, content)}
    return headers


def signature(secret: str, moment: str, content: bytes) -> str:
    """Return the signature of what is sent at a moment, which a receiver compares in constant time."""
    return f"sha256={hmac.digest(secret.encode(), f'{moment}.'.encode() + content, 'sha256').hex()}"


def _named(target: Target) -> str:
    parts = urlsplit(target.address)
    return f"{parts.scheme}://{parts.netloc}"


def _check(status: int) -> None:
    if status in _REDIRECTIONS:
        raise DeliveryError(f"it answered {status}: redirections are not followed, so give the address it leads to")
    if status not in _SUCCESSES:
        raise DeliveryError(f"it answered {status}, and only 2xx is success")
