"""Makes or changes the one stack: uploads the functions' package, then one change set, with each event as a line.

Invariants:
* The package's key is its content's hash: what is there is what was made, and an older stack finds its own.
* Nothing to change is success. A failure is told by its first reason, since those after it follow from it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.aws import FAILURES, code_of

Say = Callable[[str], None]
Pause = Callable[[float], None]
_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]
# CloudFormation takes longer templates only from S3.
_LONGEST_INLINE = 51_200
_PAUSE = 2.0
_MARKS: Mapping[str, str] = {"COMPLETE": "✓", "FAILED": "✗", "PROGRESS": "…"}
_GOOD = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
# What to do about a stack that did not become what it should.
_REMEDIES: Mapping[str, str] = {
    "ROLLBACK_COMPLETE": "Mend that, delete the stack (aws cloudformation delete-stack), and run this again",
    "UPDATE_ROLLBACK_COMPLETE": "It is as it was before; mend that, and run this again",
    "UPDATE_ROLLBACK_FAILED": "Mend that, then: aws cloudformation continue-update-rollback",
}
_LOOK = "Its events in the CloudFormation console say more"
_NOTHING = ("didn't contain changes", "No updates are to be performed")


class StackError(Exception):
    """The stack could not be made or changed; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What is to stand: its name, its template and the values of its parameters that are not the defaults.

    `url` says where in S3 the template is, if it is too long to be sent.
    """

    name: str
    template: Mapping[str, Any]
    parameters: Mapping[str, str]
    url: str = ""


def upload(s3: Any, bucket: str, path: Path) -> str:
    """Put a file into a bucket under its content's hash, unless it is there, and return its key."""
    content = path.read_bytes()
    key = f"roadstead/{hashlib.sha256(content).hexdigest()}{path.suffix}"
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except FAILURES as error:
        if code_of(error) not in ("404", "NoSuchKey"):
            raise
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    return key


def url_of(s3: Any, bucket: str, key: str) -> str:
    """Return the address by which CloudFormation reads an object."""
    host = urlsplit(s3.meta.endpoint_url)
    own = host.netloc.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return f"https://{bucket}.{host.netloc}/{key}" if own else f"{s3.meta.endpoint_url}/{bucket}/{key}"


def deploy(cloudformation: Any, stack: Stack, say: Say, pause: Pause = time.sleep) -> Mapping[str, str]:
    """Make or change the stack, wait, and return its outputs; raise StackError."""
    there = _find(cloudformation, stack.name)
    change = f"roadstead-{int(time.time() * 1000)}"
    asked = cloudformation.create_change_set(
        StackName=stack.name,
        ChangeSetName=change,
        ChangeSetType="UPDATE" if there else "CREATE",
        Capabilities=_CAPABILITIES,
        Parameters=_parameters(stack, there),
        **_where(stack),
    )
    if not _has_changes(cloudformation, asked["Id"], pause):
        cloudformation.delete_change_set(ChangeSetName=asked["Id"])
        say(f"{stack.name} is as it should be: nothing to change")
        return outputs(cloudformation, stack.name)
    seen = {event["EventId"] for event in _events(cloudformation, asked["StackId"], frozenset())}
    cloudformation.execute_change_set(ChangeSetName=asked["Id"])
    _follow(cloudformation, asked["StackId"], seen, say, pause)
    return outputs(cloudformation, stack.name)


def _where(stack: Stack) -> dict[str, str]:
    if stack.url:
        return {"TemplateURL": stack.url}
    text = json.dumps(stack.template, separators=(",", ":"))
    if len(text.encode()) > _LONGEST_INLINE:
        raise StackError(
            f"the template has {len(text)} bytes: put it into S3, which takes more than {_LONGEST_INLINE}"
        )
    return {"TemplateBody": text}


def _find(cloudformation: Any, name: str) -> Mapping[str, Any] | None:
    try:
        [found] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except FAILURES as error:
        if code_of(error) == "ValidationError":
            return None
        raise
    # A change set that was made and not executed leaves a stack of nothing.
    return None if found["StackStatus"] == "REVIEW_IN_PROGRESS" else dict(found)


def _parameters(stack: Stack, there: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the parameters as given; those not given stay what they are in a stack that is there."""
    known = {each["ParameterKey"] for each in (there or {}).get("Parameters", ())} & set(stack.template["Parameters"])
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in stack.parameters.items()]
    kept = [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(known - set(stack.parameters))]
    return [*given, *kept]


def _has_changes(cloudformation: Any, change: str, pause: Pause) -> bool:
    while True:
        found = cloudformation.describe_change_set(ChangeSetName=change)
        if found["Status"] == "CREATE_COMPLETE":
            return True
        if found["Status"] == "FAILED":
            reason = found.get("StatusReason", "")
            if any(text in reason for text in _NOTHING):
                return False
            raise StackError(f"CloudFormation refuses the change: {reason}")
        pause(_PAUSE)


def _follow(cloudformation: Any, stack_id: str, seen: set[str], say: Say, pause: Pause) -> None:
    """Tell each event that was not seen before until the stack stands; raise StackError with the first failure."""
    first = status = ""
    while not status:
        for event in _events(cloudformation, stack_id, seen):
            seen.add(event["EventId"])
            say(_line(event))
            if event["ResourceStatus"].endswith("FAILED") and not first:
                first = f" {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}."
            # The stack's own last event: its status may still be that of before the change.
            if event.get("PhysicalResourceId") == stack_id and not event["ResourceStatus"].endswith("_IN_PROGRESS"):
                status = event["ResourceStatus"]
        if not status:
            pause(_PAUSE)
    if status not in _GOOD:
        raise StackError(f"the stack is {status}.{first} {_REMEDIES.get(status, _LOOK)}")


def _events(cloudformation: Any, stack_id: str, seen: Collection[str]) -> list[Mapping[str, Any]]:
    """Return the events not seen before, the oldest first."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    return [event for page in pages for event in page["StackEvents"] if event["EventId"] not in seen][::-1]


def _line(event: Mapping[str, Any]) -> str:
    status = event["ResourceStatus"]
    mark = _MARKS.get(status.rpartition("_")[2], " ")
    reason = event.get("ResourceStatusReason", "")
    kept = f"  {reason}" if reason and status.endswith("FAILED") else ""
    return f"{mark} {status.lower().replace('_', ' '):<28} {event['LogicalResourceId']}{kept}"


def values(cloudformation: Any, name: str) -> Mapping[str, str]:
    """Return the values that a stack's parameters have, or none where there is no such stack."""
    found = _find(cloudformation, name) or {}
    return {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", ())}


def outputs(cloudformation: Any, name: str) -> Mapping[str, str]:
    """Return a stack's outputs; raise StackError where there is no such stack."""
    found = _find(cloudformation, name)
    if found is None:
        raise StackError(f"there is no stack {name} here: is the region right?")
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}


def read(template: Path) -> Mapping[str, Any]:
    """Return a template that was written."""
    found: Mapping[str, Any] = json.loads(template.read_text())
    return found
