"""One command makes or changes the stack, tells what happens, and says why where it fails."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra import secrets, stack
from infra.package import only
from infra.stack import Stack, StackError
from tests.engines.engine import Engine, client
from tests.engines.moto_server import moto

STORAGE = only("storage")
ARN = "arn:aws:cloudformation:eu-west-1:123456789012:stack/registry/1"


def event(number: int, name: str, status: str, reason: str = "") -> dict[str, str]:
    told = {"ResourceStatusReason": reason} if reason else {}
    place = ARN if name == "registry" else f"physical-{name}"
    return {
        "EventId": str(number),
        "LogicalResourceId": name,
        "PhysicalResourceId": place,
        "ResourceStatus": status,
        **told,
    }


@dataclass
class CloudFormation:
    """Takes change sets as CloudFormation does; each look at the events finds it one step further."""

    # The events there are at each look, once the change is made.
    steps: list[list[dict[str, str]]] = field(default_factory=list)
    stack: dict[str, Any] | None = None
    refusal: str = ""
    asked: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, str]] = field(default_factory=list)
    executed: bool = False
    deleted: bool = False
    pauses: list[float] = field(default_factory=list)

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        if self.stack is None:
            message = f"Stack with id {StackName} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        return {"Stacks": [self.stack]}

    def create_change_set(self, **asked: Any) -> dict[str, str]:
        self.asked = asked
        return {"Id": "change", "StackId": ARN}

    def describe_change_set(self, ChangeSetName: str) -> dict[str, str]:  # noqa: N803
        assert ChangeSetName == "change"
        return {"Status": "FAILED", "StatusReason": self.refusal} if self.refusal else {"Status": "CREATE_COMPLETE"}

    def delete_change_set(self, ChangeSetName: str) -> None:  # noqa: N803
        self.deleted = ChangeSetName == "change"

    def execute_change_set(self, ChangeSetName: str) -> None:  # noqa: N803
        self.executed = ChangeSetName == "change"
        self.stack = self.stack if self.stack and "Parameters" in self.stack else standing()

    def get_paginator(self, operation: str) -> "CloudFormation":
        assert operation == "describe_stack_events"
        return self

    def paginate(self, StackName: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        assert StackName == ARN
        if self.executed:
            self.events = self.steps.pop(0)
        # The newest first, a few on each page.
        newest = self.events[::-1]
        yield from ({"StackEvents": newest[at : at + 2]} for at in range(0, len(newest), 2))


MADE = event(100, "registry", "CREATE_COMPLETE")
CHANGED = event(101, "registry", "UPDATE_COMPLETE")


def standing(**parameters: str) -> dict[str, Any]:
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    outputs = [{"OutputKey": "BucketName", "OutputValue": "registry-bucket"}]
    return {"StackStatus": "CREATE_COMPLETE", "Parameters": given, "Outputs": outputs}


def deploy(aws: CloudFormation, **parameters: str) -> tuple[list[str], dict[str, str]]:
    lines: list[str] = []
    outputs = stack.deploy(aws, Stack("registry", STORAGE, parameters), lines.append, aws.pauses.append)
    return lines, dict(outputs)


def test_a_stack_that_is_not_there_is_made() -> None:
    aws = CloudFormation(steps=[[event(1, "Bucket", "CREATE_COMPLETE"), MADE]])

    deploy(aws, HistoryDays="7")

    assert aws.asked["ChangeSetType"] == "CREATE"
    assert aws.asked["Parameters"] == [{"ParameterKey": "HistoryDays", "ParameterValue": "7"}]
    assert json.loads(aws.asked["TemplateBody"]) == STORAGE


def test_what_a_broken_off_command_left_is_made_again() -> None:
    aws = CloudFormation(stack={"StackStatus": "REVIEW_IN_PROGRESS", "Outputs": []}, steps=[[MADE]])

    deploy(aws)

    assert aws.asked["ChangeSetType"] == "CREATE"


def test_an_update_keeps_parameters_that_are_not_given() -> None:
    aws = CloudFormation(stack=standing(HistoryDays="7", TableProtection="false", Gone="x"), steps=[[CHANGED]])

    _, outputs = deploy(aws, HistoryDays="14")

    assert aws.asked["ChangeSetType"] == "UPDATE"
    assert aws.asked["Parameters"] == [
        {"ParameterKey": "HistoryDays", "ParameterValue": "14"},
        {"ParameterKey": "TableProtection", "UsePreviousValue": True},
    ]
    assert outputs == {"BucketName": "registry-bucket"}


def test_each_event_is_told_once_in_order_with_a_mark_for_its_state() -> None:
    told = [
        event(1, "Bucket", "CREATE_IN_PROGRESS"),
        event(2, "Table", "CREATE_IN_PROGRESS"),
        event(3, "Bucket", "CREATE_COMPLETE"),
    ]
    aws = CloudFormation(steps=[told[:2], [*told, MADE]])

    lines, _ = deploy(aws)

    marks = [(line[0], line.split()[-1]) for line in lines]
    assert marks == [("…", "Bucket"), ("…", "Table"), ("✓", "Bucket"), ("✓", "registry")]
    assert len(aws.pauses) == 1


def test_an_update_tells_nothing_of_what_was_before() -> None:
    old = [event(1, "Bucket", "UPDATE_FAILED", "last month's trouble"), event(2, "registry", "UPDATE_COMPLETE")]
    new = [event(3, "Table", "UPDATE_FAILED", "no such key"), event(4, "registry", "UPDATE_ROLLBACK_COMPLETE")]
    aws = CloudFormation(stack=standing(), events=old, steps=[old, [*old, *new]])
    lines: list[str] = []

    with pytest.raises(StackError, match=r"Table: no such key\. It is as it was before"):
        stack.deploy(aws, Stack("registry", STORAGE, {}), lines.append, aws.pauses.append)

    assert [line.partition("Table")[1] for line in lines] == ["Table", ""]


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        "No updates are to be performed.",
    ],
)
def test_nothing_to_change_is_success(reason: str) -> None:
    aws = CloudFormation(stack=standing(), refusal=reason)

    lines, outputs = deploy(aws)

    assert lines == ["registry is as it should be: nothing to change"]
    assert outputs == {"BucketName": "registry-bucket"}
    assert (aws.deleted, aws.executed) == (True, False)


def test_a_failure_is_told_by_its_first_reason() -> None:
    told = [
        event(1, "Bucket", "CREATE_FAILED", "the name is taken"),
        event(2, "Table", "CREATE_FAILED", "Resource creation cancelled"),
        event(3, "registry", "ROLLBACK_COMPLETE"),
    ]
    aws = CloudFormation(steps=[told[:2], told])

    with pytest.raises(StackError, match=r"ROLLBACK_COMPLETE\. Bucket: the name is taken\. .*delete-stack"):
        deploy(aws)


def test_a_change_that_is_refused_says_why() -> None:
    aws = CloudFormation(stack=standing(), refusal="Parameter HistoryDays must be a number")

    with pytest.raises(StackError, match="HistoryDays must be a number"):
        deploy(aws, HistoryDays="many")


def test_a_template_too_long_to_be_sent_has_to_be_in_s3() -> None:
    long = {**STORAGE, "Description": "x" * 60_000}

    with pytest.raises(StackError, match="put it into S3"):
        stack.deploy(CloudFormation(), Stack("registry", long, {}), print)

    placed = CloudFormation(steps=[[MADE]])
    stack.deploy(placed, Stack("registry", long, {}, "https://code.s3.amazonaws.com/t"), print)
    assert placed.asked["TemplateURL"] == "https://code.s3.amazonaws.com/t"


def test_no_stack_has_no_outputs() -> None:
    with pytest.raises(StackError, match="is the region right"):
        stack.outputs(CloudFormation(), "registry")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with moto() as served:
        yield served


def test_a_package_is_put_under_its_hash_once(engine: Engine, tmp_path: Path) -> None:
    s3 = client(engine, "s3")
    s3.create_bucket(Bucket="code")
    path = tmp_path / "deployment.zip"
    path.write_bytes(b"functions")

    key = stack.upload(s3, "code", path)
    first = s3.head_object(Bucket="code", Key=key)["LastModified"]

    assert key == f"roadstead/{hashlib.sha256(b'functions').hexdigest()}.zip"
    assert s3.get_object(Bucket="code", Key=key)["Body"].read() == b"functions"
    assert stack.upload(s3, "code", path) == key
    assert s3.head_object(Bucket="code", Key=key)["LastModified"] == first
    assert stack.url_of(s3, "code", key) == f"{engine.endpoint}/code/{key}"


def test_a_bucket_that_is_not_there_is_a_failure(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "deployment.zip"
    path.write_bytes(b"functions")

    with pytest.raises(ClientError, match="NoSuchBucket"):
        stack.upload(client(engine, "s3"), "elsewhere", path)


def test_cloudformation_reads_from_the_bucket_s_own_host() -> None:
    s3 = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")

    assert stack.url_of(s3, "code", "a.json") == "https://code.s3.eu-west-1.amazonaws.com/a.json"


def test_secrets_are_made_once_and_encrypted(engine: Engine) -> None:
    ssm = client(engine, "ssm")
    names = ["/registry/admin-password", "/registry/signing-key"]

    made = secrets.make(ssm, "/registry")
    again = secrets.make(ssm, "/registry")

    kept = ssm.get_parameters(Names=names, WithDecryption=True)["Parameters"]
    assert again == {}
    assert {each["Name"].rpartition("/")[2]: each["Value"] for each in kept} == made
    assert {each["Type"] for each in kept} == {"SecureString"}
    assert len(bytes.fromhex(made["signing-key"])) == 32


def test_a_secret_that_is_missing_is_made_beside_those_that_are_there(engine: Engine) -> None:
    ssm = client(engine, "ssm")
    ssm.put_parameter(Name="/half/signing-key", Value="mine", Type="SecureString")

    assert set(secrets.make(ssm, "/half")) == {"admin-password"}
    assert ssm.get_parameter(Name="/half/signing-key", WithDecryption=True)["Parameter"]["Value"] == "mine"
