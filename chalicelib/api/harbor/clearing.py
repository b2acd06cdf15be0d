"""Jobs that clear away, started and scheduled by administrators: garbage collection, purging the audit log."""

import re
from collections.abc import Mapping
from typing import Any

from chalicelib.api.harbor.calls import HarborEndpoint, typed
from chalicelib.api.harbor.errors import bad_request
from chalicelib.api.harbor.execution_views import Operated, rows
from chalicelib.policy.jobs import Kind

_MOST_WORKERS = 10
_LONGEST_HOURS = 240_000
_EVENT_TYPES = re.compile(r"[a-z_-]+(?:,[a-z_-]+)*", re.ASCII)


def _collection(sent: Mapping[str, Any]) -> dict[str, Any]:
    workers = typed(sent, "workers", int, 1)
    if not 1 <= workers <= _MOST_WORKERS:
        raise bad_request(f"workers must be a number from 1 to {_MOST_WORKERS}")
    flags = {name: typed(sent, name, bool, False) for name in ("delete_untagged", "delete_tag", "dry_run")}
    return {**flags, "workers": workers}


def _purge(sent: Mapping[str, Any]) -> dict[str, Any]:
    hours = typed(sent, "audit_retention_hour", int, None)
    if hours is None or not 1 <= hours <= _LONGEST_HOURS:
        raise bad_request(f"audit_retention_hour must be a number from 1 to {_LONGEST_HOURS}")
    types = typed(sent, "include_event_types", str, "").lower().replace(" ", "")
    if not _EVENT_TYPES.fullmatch(types):
        raise bad_request(
            "include_event_types must be types of events with commas between (GET /auditlog-exts/events)"
        )
    return {
        "audit_retention_hour": hours,
        "include_event_types": types,
        "dry_run": typed(sent, "dry_run", bool, False),
    }


GARBAGE_COLLECTION = Operated(
    Kind.GARBAGE_COLLECTION, "/system/gc", "gc_id", "garbage-collection", "garbage collection", _collection
)
PURGE = Operated(Kind.PURGE_AUDIT_LOG, "/system/purgeaudit", "purge_id", "purge-audit", "purge", _purge)

ENDPOINTS: tuple[HarborEndpoint, ...] = (*rows(GARBAGE_COLLECTION), *rows(PURGE))
