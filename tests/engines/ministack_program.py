"""ministack, the program, but with changes that do to clients what AWS's do. Runs in ministack's own environment.

* Version 1.5.33 ends the process of a function at each change of it, with the request that it is answering; Lambda
  lets it answer. So here a process that is answering is ended when it has answered, or the function's time is over.
* It makes a REST API whose definition changes in a template anew, at another address; CloudFormation changes it where
  it is. So here the API takes over what the new definition makes. (On AWS that is served from the next deployment.)
* It tells nobody of a replica, as S3 does of everything that is written to a bucket. So here the bucket that gets one
  tells its queues, of a deletion too.

The tests in tests/aws/test_emulator.py tell when a later version has no need of this.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import Any

from ministack.app import main  # type: ignore[import-not-found] # of another environment
from ministack.core import lambda_runtime  # type: ignore[import-not-found]
from ministack.services import apigateway_v1, s3  # type: ignore[import-not-found]
from ministack.services.cloudformation import provisioners  # type: ignore[import-not-found]

_POLL_SECONDS = 0.01
_end = lambda_runtime.kill_workers
_API = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RestApi"]  # noqa: SLF001 - what is mended is not public
_update = _API["update"]


def end_when_done(workers: Sequence[Any]) -> None:
    """End processes that nobody else is handed: idle ones now, each of the others after its answer."""
    there = [each for each in workers if each is not None]
    _end([each for each in there if not each.in_use])
    for each in there:
        if each.in_use:
            Thread(target=_wait_and_end, args=(each,), daemon=True).start()


def _wait_and_end(worker: Any) -> None:
    latest = time.monotonic() + float(worker.config.get("Timeout", 3))
    while worker.in_use and time.monotonic() < latest:
        time.sleep(_POLL_SECONDS)
    _end([worker])


def change_in_place(api: str, old: Mapping[str, Any], new: Mapping[str, Any], *names: str, **more: str) -> Any:
    """Give an API what a new definition makes, then change its other properties."""
    if new.get("Body") != old.get("Body"):
        made = apigateway_v1._import_rest_api(new["Body"])  # noqa: SLF001
        for kept in (apigateway_v1._resources, apigateway_v1._authorizers_v1):  # noqa: SLF001
            kept[api] = kept.pop(made)
        apigateway_v1._delete_rest_api(made)  # noqa: SLF001
    return _update(api, {**old, "Body": new.get("Body")}, new, *names, **more)


def tell_of_replicas(replicate: Callable[..., None], name: str) -> Callable[..., None]:
    """Return what copies a change, and has the bucket that got it tell of that."""

    def copy(bucket: str, key: str, *made: Any, **more: Any) -> None:
        replicate(bucket, key, *made, **more)
        for rule in s3._bucket_replication.get(bucket, {}).get("Rules", ()):  # noqa: SLF001
            if key.startswith(s3._replication_rule_prefix(rule)):  # noqa: SLF001
                there = rule["Destination"]["Bucket"].rpartition(":")[2]
                versions = s3._object_versions.get((there, key), ())  # noqa: SLF001
                if versions:
                    s3._fire_s3_event_async(there, key, name, version_id=versions[-1]["version_id"])  # noqa: SLF001

    return copy


lambda_runtime.kill_workers = end_when_done
s3._maybe_replicate = tell_of_replicas(s3._maybe_replicate, "s3:ObjectCreated:Put")  # noqa: SLF001
s3._maybe_replicate_delete_marker = tell_of_replicas(  # noqa: SLF001
    s3._maybe_replicate_delete_marker,  # noqa: SLF001
    "s3:ObjectRemoved:DeleteMarkerCreated",
)
_API["update"] = change_in_place
sys.exit(main())
