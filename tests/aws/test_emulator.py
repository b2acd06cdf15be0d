"""Habits of ministack that would pass for faults of ours: of changes, of an API's address, of events of copies."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra import stack
from infra.stack import Stack
from tests.engines.engine import Engine, client
from tests.engines.ministack import ministack

pytestmark = pytest.mark.aws
NAME = "slow"
ROLE = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
                                                "Action": "sts:AssumeRole"}]}  # fmt: skip
ANYBODY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage",
                                                   "Resource": "*"}]}  # fmt: skip
# It says in S3 that it has begun, and answers when S3 says that it may.
CODE = """
import time
import boto3

def handle(event, context):
    s3 = boto3.client("s3", endpoint_url=event["s3"], aws_access_key_id=event["key"],
                      aws_secret_access_key=event["secret"])
    s3.put_object(Bucket="signs", Key="begun")
    while "Contents" not in s3.list_objects_v2(Bucket="signs", Prefix="go"):
        time.sleep(0.02)
    return VERSION
"""


def package(version: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("app.py", CODE + f"VERSION = {version!r}\n")
    return made.getvalue()


def code(functions: Any) -> None:
    functions.update_function_code(FunctionName=NAME, ZipFile=package("new"))


def settings(functions: Any) -> None:
    functions.update_function_configuration(FunctionName=NAME, MemorySize=512)


def answers_over(change: Callable[[Any], None], *, as_released: bool) -> tuple[str, str]:
    """Return what a function answers that changes while it is asked, and what it answers then."""
    with ministack(as_released=as_released) as engine, ThreadPoolExecutor(1) as pool:
        s3, functions = client(engine, "s3"), client(engine, "lambda")
        s3.create_bucket(Bucket="signs")
        role = client(engine, "iam").create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps(ROLE))
        functions.create_function(FunctionName=NAME, Runtime="python3.11", Role=role["Role"]["Arn"], Timeout=60,
                                  Handler="app.handle", Code={"ZipFile": package("old")})  # fmt: skip
        event = json.dumps({"s3": engine.endpoint, "key": engine.access_key, "secret": engine.secret_key}).encode()

        def ask() -> str:
            return str(functions.invoke(FunctionName=NAME, Payload=event)["Payload"].read().decode())

        asked = pool.submit(ask)
        s3.get_waiter("object_exists").wait(Bucket="signs", Key="begun", WaiterConfig={"Delay": 1})
        change(functions)
        s3.put_object(Bucket="signs", Key="go")
        return asked.result(60), ask()


@pytest.mark.parametrize(("change", "then"), [(code, "new"), (settings, "old")])
def test_a_function_that_changes_answers_what_it_was_asked_as_on_lambda(
    change: Callable[[Any], None], then: str
) -> None:
    assert answers_over(change, as_released=False) == ('"old"', f'"{then}"')


@pytest.mark.parametrize("change", [code, settings])
def test_ministack_as_it_is_released_ends_the_request_instead(change: Callable[[Any], None]) -> None:
    """Once this fails, that part of ministack_program.py is no longer needed."""
    answered, _ = answers_over(change, as_released=True)

    assert "Worker process died" in answered


def api_of(engine: Engine, path: str) -> str:
    """Make or change a stack with an API that has one path; return its id."""
    integration = {"type": "mock", "requestTemplates": {"application/json": '{"statusCode": 200}'}}
    body = {"swagger": "2.0", "info": {"title": NAME, "version": "1"},
            "paths": {path: {"get": {"responses": {}, "x-amazon-apigateway-integration": integration}}}}  # fmt: skip
    api = {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": body, "Mode": "merge"}}
    template = {"Parameters": {}, "Resources": {"Api": api}, "Outputs": {"ApiId": {"Value": {"Ref": "Api"}}}}
    return stack.deploy(client(engine, "cloudformation"), Stack(NAME, template, {}), lambda _: None)["ApiId"]


def paths_of(engine: Engine, api: str) -> set[str]:
    found = client(engine, "apigateway").get_resources(restApiId=api)["items"]
    return {each["path"] for each in found}


def test_an_api_whose_definition_changes_stays_where_it_is_as_on_aws() -> None:
    with ministack() as engine:
        api = api_of(engine, "/before")

        assert api_of(engine, "/after") == api
        assert "/after" in paths_of(engine, api)


def test_ministack_as_it_is_released_moves_the_api() -> None:
    """Once this fails, that part of ministack_program.py is no longer needed."""
    with ministack(as_released=True) as engine:
        assert api_of(engine, "/before") != api_of(engine, "/after")


def told_of_replicas(*, as_released: bool) -> list[tuple[str, str]]:
    """Return what a bucket tells a queue of an object that is copied there, and of its deletion."""
    with ministack(as_released=as_released) as engine:
        s3, sqs = client(engine, "s3"), client(engine, "sqs")
        for name in ("source", "copy"):
            s3.create_bucket(Bucket=name)
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        url = sqs.create_queue(QueueName="told", Attributes={"Policy": json.dumps(ANYBODY)})["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        told = [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]
        s3.put_bucket_notification_configuration(
            Bucket="copy", NotificationConfiguration={"QueueConfigurations": told}
        )
        role = client(engine, "iam").create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps(ROLE))
        rule = {"ID": "all", "Priority": 1, "Status": "Enabled", "Filter": {"Prefix": ""},
                "DeleteMarkerReplication": {"Status": "Enabled"},
                "Destination": {"Bucket": "arn:aws:s3:::copy"}}  # fmt: skip
        s3.put_bucket_replication(
            Bucket="source", ReplicationConfiguration={"Role": role["Role"]["Arn"], "Rules": [rule]}
        )
        s3.put_object(Bucket="source", Key="a b", Body=b"x")
        s3.delete_object(Bucket="source", Key="a b")
        return sorted(_read(sqs, url))


def _read(sqs: Any, url: str) -> Iterator[tuple[str, str]]:
    for _ in range(5):
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
            "Messages", ()
        ):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            for record in json.loads(message["Body"]).get("Records", ()):
                yield record["eventName"], record["s3"]["object"]["key"]


def test_a_bucket_tells_of_what_is_copied_there_as_on_aws() -> None:
    assert told_of_replicas(as_released=False) == [
        ("ObjectCreated:Put", "a+b"),
        ("ObjectRemoved:DeleteMarkerCreated", "a+b"),
    ]


def test_ministack_as_it_is_released_tells_nobody() -> None:
    """Once this fails, that part of ministack_program.py is no longer needed."""
    assert told_of_replicas(as_released=True) == []
