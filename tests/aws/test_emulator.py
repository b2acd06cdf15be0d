"""A habit of ministack that would pass for a fault of ours: it ends the requests of a function that changes."""

import io
import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engines.engine import client
from tests.engines.ministack import ministack

pytestmark = pytest.mark.aws
NAME = "slow"
ROLE = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
                                                "Action": "sts:AssumeRole"}]}  # fmt: skip
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
    """Once this fails, ministack_program.py is no longer needed."""
    answered, _ = answers_over(change, as_released=True)

    assert "Worker process died" in answered
