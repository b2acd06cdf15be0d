"""The stack of another region, and what of the first one goes there: all but uploads, with rights for just that."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.store import layout
from infra import replicate
from infra import secrets as secret
from infra.package import fragments, only
from infra.stack import StackError

Json = dict[str, Any]
STORAGE, REPLICA = only("storage"), only("replica")
COPIED = {layout.DATA, layout.BLOBS, layout.REPOSITORIES, layout.CATALOG, layout.HEARTBEATS}
HERE, THERE = "eu-central-1", "eu-west-1"


def rules() -> list[Json]:
    given = STORAGE["Resources"]["Bucket"]["Properties"]["ReplicationConfiguration"]["Fn::If"]
    assert (given[0], given[2]) == ("HasReplica", {"Ref": "AWS::NoValue"})
    found: list[Json] = given[1]["Rules"]
    return found


def test_the_replica_is_a_clean_stack_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "replica.json"
    path.write_text(json.dumps(REPLICA))

    said = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", path], check=False, capture_output=True, text=True
    )

    assert (said.returncode, said.stdout) == (0, "")
    assert "replica" not in fragments()


def test_the_bucket_there_can_take_the_place_of_the_first_one() -> None:
    own = ("Table", "ArrivalsQueue", "ArrivalsDeadLetters", "ArrivalsPolicy", "ArrivalsDeadLettersPolicy")
    first = {name: each for name, each in STORAGE["Resources"].items() if name not in own}
    bucket = {**first["Bucket"], "Properties": {**first["Bucket"]["Properties"]}}
    # It has a table that follows the first one: nothing has to be read out of the bucket's events.
    del bucket["Properties"]["Tags"], bucket["Properties"]["NotificationConfiguration"]

    assert REPLICA["Resources"] == {**first, "Bucket": bucket}
    assert first["Bucket"]["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert (first["Bucket"]["DeletionPolicy"], first["Bucket"]["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert REPLICA["Parameters"]["HistoryDays"] == STORAGE["Parameters"]["HistoryDays"]
    assert REPLICA["Conditions"]["HasReplica"] == STORAGE["Conditions"]["HasReplica"]
    # `python -m infra configure` asks a stack for these.
    assert {"BucketName", "TableName"} <= set(REPLICA["Outputs"]) & set(STORAGE["Outputs"])


def test_every_kind_of_key_is_copied_that_a_pull_may_need() -> None:
    # A bucket with versions, as this one, has nothing below history/; what a collector remembers is its own, and so
    # is what a region is.
    values = {value for name, value in vars(layout).items() if name.isupper() and str(value).endswith("/")}
    kinds = {value for value in values if not any(value.startswith(other) for other in values - {value})}

    prefixes = [each["Filter"]["Prefix"] for each in rules() if each["Status"] == "Enabled"]

    assert len(prefixes) == len(set(prefixes))
    assert set(prefixes) == COPIED
    assert {kind for kind in kinds if not kind.startswith("_")} - COPIED == {
        layout.UPLOADS,
        layout.HISTORY,
        layout.COLLECTOR,
        layout.REGION,
    }


def test_a_region_that_was_promoted_can_refuse_what_the_old_one_still_sends() -> None:
    given = STORAGE["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][1]["Fn::If"]

    assert (given[0], given[1]["Effect"], given[2]) == ("TakesNoCopies", "Deny", {"Ref": "AWS::NoValue"})
    assert set(given[1]["Action"]) == {"s3:ReplicateObject", "s3:ReplicateDelete"}
    assert STORAGE["Parameters"]["TakesCopies"] == REPLICA["Parameters"]["TakesCopies"]
    assert STORAGE["Parameters"]["TakesCopies"]["Default"] == "true"


def test_deletes_are_copied_too_and_a_copy_that_is_late_is_seen() -> None:
    for rule in rules():
        assert rule["DeleteMarkerReplication"] == {"Status": "Enabled"}
        assert rule["Destination"]["Bucket"] == {"Ref": "ReplicaBucketArn"}
        assert rule["Destination"]["ReplicationTime"]["Status"] == "Enabled"
        assert rule["Destination"]["Metrics"]["Status"] == "Enabled"
    assert len({rule["Priority"] for rule in rules()}) == len(rules())


def test_the_role_reads_here_and_writes_there_what_the_rules_name_and_nothing_else() -> None:
    statements = STORAGE["Resources"]["ReplicationPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    allowed = {
        (action, json.dumps(resource))
        for each in statements
        for action, resource in product(each["Action"], _listed(each["Resource"]))
    }

    of_objects = {
        "Bucket.Arn": ("GetObjectVersionForReplication", "GetObjectVersionAcl", "GetObjectVersionTagging"),
        "ReplicaBucketArn": ("ReplicateObject", "ReplicateDelete", "ReplicateTags"),
    }
    wanted = {
        (f"s3:{action}", json.dumps({"Fn::Sub": f"${{{bucket}}}/{prefix}*"}))
        for bucket, actions in of_objects.items()
        for action, prefix in product(actions, COPIED)
    }
    bucket = json.dumps({"Fn::GetAtt": ["Bucket", "Arn"]})
    assert allowed == wanted | {("s3:GetReplicationConfiguration", bucket), ("s3:ListBucket", bucket)}


def test_replication_takes_its_role_whether_or_not_it_names_the_account() -> None:
    """IAM takes a condition on what a service does not tell for not met, and nothing would be copied."""
    [trust] = STORAGE["Resources"]["ReplicationRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]

    assert trust["Principal"] == {"Service": "s3.amazonaws.com"}
    assert all(operator.endswith("IfExists") for operator in trust["Condition"])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("stack", [STORAGE, REPLICA])
def test_what_is_on_its_way_can_be_cut_off(stack: Json) -> None:
    statements = stack["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    condition, refused, otherwise = next(each["Fn::If"] for each in statements if "Fn::If" in each)

    assert stack["Conditions"][condition] == {"Fn::Equals": [{"Ref": "TakesCopies"}, "false"]}
    assert stack["Parameters"]["TakesCopies"]["Default"] == "true"
    assert (refused["Effect"], refused["Action"]) == ("Deny", ["s3:ReplicateObject", "s3:ReplicateDelete"])
    assert otherwise == {"Ref": "AWS::NoValue"}


def test_without_a_replica_there_is_no_role_and_no_stream() -> None:
    made = {name for name, each in STORAGE["Resources"].items() if each.get("Condition") == "HasReplica"}
    stream = STORAGE["Resources"]["Table"]["Properties"]["StreamSpecification"]["Fn::If"]

    assert STORAGE["Parameters"]["ReplicaBucketArn"]["Default"] == ""
    assert made == {"ReplicationRole", "ReplicationPolicy"}
    assert stream == ["HasReplica", {"StreamViewType": "NEW_AND_OLD_IMAGES"}, {"Ref": "AWS::NoValue"}]


@dataclass
class DynamoDB:
    """A region's DynamoDB with one table; a replica goes through `steps`, one at each look once it was asked for."""

    region: str
    stream: bool = True
    steps: list[str] = field(default_factory=lambda: ["CREATING", "ACTIVE"])
    replica: str = ""
    backups: str = "DISABLED"
    refusals: list[str] = field(default_factory=list)
    protected: bool = False
    calls: list[Json] = field(default_factory=list)

    @property
    def meta(self) -> SimpleNamespace:
        return SimpleNamespace(region_name=self.region)

    def describe_table(self, **_: str) -> Json:
        if self.replica and self.steps:
            self.replica = self.steps.pop(0)
        stream = {"StreamSpecification": {"StreamEnabled": True}} if self.stream else {}
        replicas = [{"RegionName": THERE, "ReplicaStatus": self.replica}] if self.replica else []
        return {"Table": {**stream, "Replicas": replicas, "DeletionProtectionEnabled": self.protected}}

    def update_table(self, **asked: Any) -> None:
        self.calls.append(asked)
        self.protected = asked.get("DeletionProtectionEnabled", self.protected)
        if "ReplicaUpdates" in asked:
            self.replica = "ASKED"

    def describe_continuous_backups(self, **_: str) -> Json:
        recovery = {"PointInTimeRecoveryStatus": self.backups}
        return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": recovery}}

    def update_continuous_backups(self, **asked: Any) -> None:
        if self.refusals:
            raise ClientError({"Error": {"Code": self.refusals.pop(0)}}, "UpdateContinuousBackups")
        self.calls.append(asked)
        self.backups = "ENABLED"


def run(here: DynamoDB, there: DynamoDB, pause: Callable[[float], None] = lambda _: None) -> list[str]:
    return list(replicate.table(here, there, "registry", pause))


def test_a_replica_is_made_waited_for_and_guarded_once() -> None:
    here, there, pauses = DynamoDB(HERE), DynamoDB(THERE), list[float]()

    lines = run(here, there, pauses.append)
    again = run(here, there)

    assert here.calls == [{"TableName": "registry", "ReplicaUpdates": [{"Create": {"RegionName": THERE}}]}]
    assert len(pauses) == 1
    assert (there.backups, there.protected) == ("ENABLED", True)
    assert len(lines) == 3
    assert again == []


def test_a_replica_that_stood_without_its_guards_gets_them() -> None:
    here, there = DynamoDB(HERE, replica="ACTIVE", steps=[]), DynamoDB(THERE, protected=True)

    assert run(here, there) == ["point-in-time recovery turned on there"]
    assert here.calls == []


def test_a_table_that_was_just_made_is_asked_again_until_it_can_be_guarded() -> None:
    """For a while DynamoDB says that backups are being enabled."""
    here, there, pauses = DynamoDB(HERE), DynamoDB(THERE), list[float]()
    there.refusals = ["ContinuousBackupsUnavailableException", "ResourceInUseException"]

    run(here, there, pauses.append)

    assert (there.backups, there.protected, len(pauses)) == ("ENABLED", True, 3)


def test_a_guard_that_is_refused_for_good_is_told() -> None:
    here, there = DynamoDB(HERE), DynamoDB(THERE)
    there.refusals = ["AccessDeniedException"]

    with pytest.raises(ClientError, match="AccessDenied"):
        run(here, there)


def test_a_replica_that_did_not_come_to_be_is_told() -> None:
    with pytest.raises(StackError, match="in eu-west-1 is CREATION_FAILED"):
        run(DynamoDB(HERE, steps=["CREATING", "CREATION_FAILED"]), DynamoDB(THERE))


def test_a_table_whose_stack_knows_of_no_replica_is_left_alone() -> None:
    here = DynamoDB(HERE, stream=False)

    with pytest.raises(StackError, match="ReplicaBucketArn"):
        run(here, DynamoDB(THERE))

    assert here.calls == []


def test_its_own_region_is_not_another() -> None:
    with pytest.raises(StackError, match="another region"):
        run(DynamoDB(HERE), DynamoDB(HERE))


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        yield lambda region: boto3.client("ssm", region_name=region)


def test_the_secrets_there_become_those_of_the_first_region(ssm: Callable[[str], Any]) -> None:
    here, there = ssm(HERE), ssm(THERE)
    made = secret.make(here, "/registry")
    there.put_parameter(Name="/registry/signing-key", Value="an older one", Type="SecureString")

    lines = list(replicate.secrets(here, there, "/registry"))

    assert len(lines) == len(made) == 2
    for name, value in made.items():
        copied = there.get_parameter(Name=f"/registry/{name}", WithDecryption=True)["Parameter"]
        assert (copied["Type"], copied["Value"]) == ("SecureString", value)
    assert not [line for line in lines for value in made.values() if value in line]
    assert list(replicate.secrets(here, there, "/registry")) == []
