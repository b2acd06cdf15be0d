"""The commands as a person types them, on emulated AWS: the storage of `chalice deploy`, and the secrets."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.aws.cloud import ROOT, environment
from tests.engines.engine import Engine, client
from tests.engines.ministack import ministack

pytestmark = pytest.mark.aws


@pytest.fixture(scope="module")
def account() -> Iterator[Engine]:
    with ministack() as engine:
        yield engine


def infra(account: Engine, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment(account), capture_output=True, text=True, check=False, timeout=120
    )


def test_the_storage_is_made_and_the_same_again_changes_nothing(account: Engine) -> None:
    made = infra(account, "stack", "storage", "--storage-only")
    again = infra(account, "stack", "storage", "--storage-only")

    assert made.returncode == 0, made.stderr
    assert "✓ create complete              Table" in made.stdout
    assert again.stdout.startswith("storage is as it should be: nothing to change")
    outputs = dict(line.strip().split(": ", 1) for line in again.stdout.splitlines() if line.startswith("  "))
    s3, dynamodb = client(account, "s3"), client(account, "dynamodb")
    assert s3.get_bucket_versioning(Bucket=outputs["BucketName"])["Status"] == "Enabled"
    assert dynamodb.describe_table(TableName=outputs["TableName"])["Table"]["DeletionProtectionEnabled"]


def test_a_parameter_changes_a_stack_and_stays(account: Engine) -> None:
    infra(account, "stack", "history", "--storage-only", "--parameter", "HistoryDays=7")
    infra(account, "stack", "history", "--storage-only", "--parameter", "TableProtection=false")

    [found] = client(account, "cloudformation").describe_stacks(StackName="history")["Stacks"]

    given = {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}
    assert given == {
        "HistoryDays": "7",
        "TableProtection": "false",
        "ReplicaBucketArn": "",
        "JobsQueueName": given["JobsQueueName"],
        "Arrivals": "false",
        "ArrivalsQueueName": given["ArrivalsQueueName"],
        "TakesCopies": "true",
    }


def test_the_stack_needs_a_bucket_for_its_code(account: Engine) -> None:
    refused = infra(account, "stack", "registry")

    assert refused.returncode == 2
    assert "--code-bucket" in refused.stderr


def test_secrets_are_made_once_and_the_password_is_shown_when_asked(account: Engine) -> None:
    first = infra(account, "secrets", "/mine")
    again = infra(account, "secrets", "/mine", "--show")

    password = client(account, "ssm").get_parameter(Name="/mine/admin-password", WithDecryption=True)
    assert first.stdout == "✓ signing-key, admin-password made below /mine\n"
    assert "nothing made below /mine" in again.stdout
    assert password["Parameter"]["Value"] not in first.stdout
    assert password["Parameter"]["Value"] in again.stdout
