"""Which function does which kind of job: the table that the engine works by. It has every kind."""

from collections.abc import Mapping
from types import MappingProxyType

from chalicelib.jobs import (
    abandoned_uploads,
    collect_garbage,
    expired_history,
    fill_cache,
    purge_audit,
    quota_reconcile,
    registry_health,
    replicate,
    reseal,
    retention,
    verify,
    webhook,
)
from chalicelib.jobs.steps import Job
from chalicelib.policy.jobs import Kind

# fmt: off
JOBS: Mapping[Kind, Job] = MappingProxyType({
    Kind.ABANDONED_UPLOADS:  abandoned_uploads.step,
    Kind.GARBAGE_COLLECTION: collect_garbage.step,
    Kind.HISTORY:            expired_history.step,
    Kind.PROXY_CACHE:        fill_cache.step,
    Kind.PURGE_AUDIT_LOG:    purge_audit.step,
    Kind.QUOTA:              quota_reconcile.step,
    Kind.REGISTRY_HEALTH:    registry_health.step,
    Kind.REPLICATION:        replicate.step,
    Kind.RETENTION:          retention.step,
    Kind.SECRETS:            reseal.step,
    Kind.SLACK:              webhook.step,
    Kind.VERIFY:             verify.step,
    Kind.WEBHOOK:            webhook.step,
})
# fmt: on
