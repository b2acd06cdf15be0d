"""What `chalice deploy` cannot do: API Gateway's own answers, the public stages, and jobs of many steps.

Why apart: Chalice replaces the API's whole definition at each deploy, its gateway responses too. The public stages
keep what they serve until a deployment with everything in it is complete, so no client ever meets a half of it.

Invariants:
* It may be run again at any time, and after a failure anywhere; the stages are moved last.
* Of our deployments that no stage serves, the newest `KEPT` are kept to go back to. Chalice's own, which lack the
  answers, are nothing to go back to, and are dropped.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.aws import FAILURES, code_of
from infra.gateway import RESPONSES, STAGES, body, headers

KEPT = 5
# What tells our deployments from Chalice's.
_OURS = "roadstead"
# What app.py calls the function that tells the queue by which it is fed.
_JOBS = "do_jobs"


def deployed_api(project: Path, stage: str) -> str:
    """Return the id of the API that Chalice deployed; raise LookupError where it deployed none."""
    found = [each["rest_api_id"] for each in _deployed(project, stage) if each["resource_type"] == "rest_api"]
    if not found:
        raise LookupError(f"{stage}.json names no API: did `chalice deploy` end well?")
    return str(found[0])


def let_jobs_go_on(functions: Any, project: Path, stage: str) -> None:
    """Let the function of jobs wake itself, which Lambda takes for a mistake and ends at the 16th time."""
    for each in _deployed(project, stage):
        if each["name"] == _JOBS:
            functions.put_function_recursion_config(FunctionName=each["lambda_arn"], RecursiveLoop="Allow")


def _deployed(project: Path, stage: str) -> list[dict[str, str]]:
    record = project / ".chalice" / "deployed" / f"{stage}.json"
    try:
        found: list[dict[str, str]] = json.loads(record.read_text())["resources"]
    except FileNotFoundError as error:
        raise LookupError(f"nothing is deployed: run `chalice deploy --stage {stage}` first") from error
    return found


def finish(gateway: Any, api: str, host: str) -> Iterator[str]:
    """Put everything in place for a registry that clients reach at `host`, and yield what was done."""
    for response in RESPONSES:
        status = {"statusCode": str(response.status)} if response.status else {}
        gateway.put_gateway_response(
            restApiId=api,
            responseType=response.type,
            responseParameters=dict(headers(response, host)),
            responseTemplates={"application/json": body(response)},
            **status,
        )
    yield f"{len(RESPONSES)} answers of API Gateway's own"
    deployment = gateway.create_deployment(restApiId=api, description=_OURS)["id"]
    for stage in STAGES:
        _point(gateway, api, stage, deployment)
    yield f"stages {', '.join(STAGES)} serve deployment {deployment}"
    dropped = _drop_old(gateway, api)
    if dropped:
        yield f"{dropped} old deployments dropped"


def back_to(gateway: Any, api: str, deployment: str) -> None:
    """Let the public stages serve an earlier deployment of `finish`; raise ValueError for another."""
    found = gateway.get_deployment(restApiId=api, deploymentId=deployment)
    if found.get("description") != _OURS:
        raise ValueError(f"{deployment} is none that `finish` made: it lacks API Gateway's own answers")
    for stage in STAGES:
        _point(gateway, api, stage, deployment)


def _point(gateway: Any, api: str, stage: str, deployment: str) -> None:
    try:
        gateway.get_stage(restApiId=api, stageName=stage)
    except FAILURES as error:
        if code_of(error) != "NotFoundException":
            raise
        gateway.create_stage(restApiId=api, stageName=stage, deploymentId=deployment)
        return
    change = {"op": "replace", "path": "/deploymentId", "value": deployment}
    gateway.update_stage(restApiId=api, stageName=stage, patchOperations=[change])


def _drop_old(gateway: Any, api: str) -> int:
    """Drop what no stage serves, but the newest of ours; return how many were dropped."""
    served = {each["deploymentId"] for each in gateway.get_stages(restApiId=api)["item"]}
    pages = gateway.get_paginator("get_deployments").paginate(restApiId=api)
    found = [each for page in pages for each in page["items"] if each["id"] not in served]
    found.sort(key=lambda each: each["createdDate"], reverse=True)
    ours = [each for each in found if each.get("description") == _OURS]
    old = [each for each in found if each not in ours[:KEPT]]
    for each in old:
        gateway.delete_deployment(restApiId=api, deploymentId=each["id"])
    return len(old)
