"""A registry in two regions: a replica is the one template over another table, and stacks know each other."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.config import Settings
from chalicelib.store import layout
from infra import regions
from infra.package import whole
from tests.infra.test_package import complaints, of_type, texts

Json = dict[str, Any]


@pytest.fixture(scope="module")
def replica(sam: Json) -> Json:
    return whole(json.loads(json.dumps(sam)), replica=True)


def test_the_replica_is_a_clean_stack_of_all_that_serves_pulls(replica: Json, template: Json, tmp_path: Path) -> None:
    missing = {name for name in template["Resources"] if name not in replica["Resources"]}

    assert complaints(replica, tmp_path) == ""
    assert {name for name in missing if not name.startswith("Deployment")} == {
        "Table",
        *(name for name in template["Resources"] if "Arrivals" in name),
    }
    assert {"APIHandler", "Authorizer", "RestAPI", "StageV2", "RelayService", "Distribution"} <= set(
        replica["Resources"]
    )


def test_no_stack_of_a_replica_makes_or_names_a_table_of_its_own(replica: Json) -> None:
    assert not of_type(replica, "AWS::DynamoDB::Table")
    assert not [text for text in texts(replica) if re.search(r"\$\{Table[.}]", text)]
    for function in of_type(replica, "AWS::Lambda::Function").values():
        assert function["Properties"]["Environment"]["Variables"]["ROADSTEAD_TABLE"] == {"Ref": "TableName"}


def test_rights_on_the_table_are_those_of_the_first_stack(replica: Json, template: Json) -> None:
    """By the name, and in the replica's own region."""
    own = {"Fn::Sub": "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${TableName}"}

    def policies(stack: Json) -> str:
        roles = {name: role["Properties"].get("Policies") for name, role in of_type(stack, "AWS::IAM::Role").items()}
        return json.dumps({name: each for name, each in roles.items() if "Arrivals" not in name})

    assert policies(replica) == policies(template).replace('{"Fn::GetAtt": ["Table", "Arn"]}', json.dumps(own))


def test_a_replica_begins_as_one_and_any_other_stack_as_a_primary(replica: Json, template: Json) -> None:
    assert replica["Parameters"]["RegionRole"]["Default"] == "replica"
    assert template["Parameters"]["RegionRole"]["Default"] == "primary"


def test_every_schedule_of_a_replica_is_on_since_jobs_know_the_role(replica: Json) -> None:
    rules = of_type(replica, "AWS::Events::Rule")

    assert {"RepairIndexSchedule", "WakeJobsSchedule"} <= set(rules)
    assert not [name for name, each in rules.items() if each["Properties"].get("State", "ENABLED") != "ENABLED"]


@pytest.mark.parametrize("stack", ["template", "replica"])
def test_every_function_and_the_relay_know_the_region_and_the_other_one(
    stack: str, request: pytest.FixtureRequest
) -> None:
    made: Json = request.getfixturevalue(stack)
    functions = of_type(made, "AWS::Lambda::Function").values()
    [container] = made["Resources"]["RelayTask"]["Properties"]["ContainerDefinitions"]
    relay = {each["Name"]: each["Value"] for each in container["Environment"]}
    told = {
        "ROADSTEAD_REGION_NAME": "RegionName",
        "ROADSTEAD_REGION_ROLE": "RegionRole",
        "ROADSTEAD_PEER_BUCKET": "PeerBucket",
        "ROADSTEAD_PEER_REGION": "PeerRegion",
        "ROADSTEAD_PEER_URL": "PeerUrl",
        "ROADSTEAD_GC_GRACE_SECONDS": "GraceSeconds",
        "ROADSTEAD_PRIVATE_TARGETS": "PrivateTargets",
    }

    for variables in (*(each["Properties"]["Environment"]["Variables"] for each in functions), relay):
        assert {name: variables[name] for name in told} == {name: {"Ref": each} for name, each in told.items()}
    assert functions


def test_the_defaults_are_settings_of_a_registry_in_one_region(template: Json) -> None:
    names = ("RegionName", "RegionRole", "PeerBucket", "PeerRegion", "PeerUrl", "GraceSeconds", "PrivateTargets")
    defaults = {name: str(template["Parameters"][name]["Default"]) for name in names}
    variables = {
        "ROADSTEAD_REGION_NAME": defaults["RegionName"],
        "ROADSTEAD_REGION_ROLE": defaults["RegionRole"],
        "ROADSTEAD_PEER_BUCKET": defaults["PeerBucket"],
        "ROADSTEAD_GC_GRACE_SECONDS": defaults["GraceSeconds"],
        "ROADSTEAD_PRIVATE_TARGETS": defaults["PrivateTargets"],
        "ROADSTEAD_ARRIVALS": template["Parameters"]["Arrivals"]["Default"],
    }

    assert Settings.from_env(variables) == Settings.from_env({})


def test_the_registry_alone_may_read_content_of_the_other_bucket_and_write_nothing(template: Json) -> None:
    policy = template["Resources"]["PeerPolicy"]
    objects, bucket = policy["Properties"]["PolicyDocument"]["Statement"]

    assert policy["Condition"] == "HasPeer"
    assert policy["Properties"]["Roles"] == [{"Ref": "ApiHandlerRole"}]
    assert (objects["Action"], bucket["Action"]) == (["s3:GetObject"], ["s3:ListBucket"])
    assert [each["Fn::Sub"].rpartition(":::")[2] for each in objects["Resource"]] == [
        f"${{PeerBucket}}/{layout.CATALOG}*",
        f"${{PeerBucket}}/{layout.DATA}*",
        f"${{PeerBucket}}/{layout.REPOSITORIES}*",
        f"${{PeerBucket}}/{layout.REGION}*",
        f"${{PeerBucket}}/{layout.HEARTBEATS}*",
    ]


class CloudFormation:
    """A region with one stack."""

    meta = SimpleNamespace(region_name="eu-central-1")

    def __init__(self, outputs: Mapping[str, str], values: Mapping[str, str]) -> None:
        self.outputs, self.values = outputs, values

    def describe_stacks(self, **_: str) -> Json:
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        values = [{"ParameterKey": key, "ParameterValue": value} for key, value in self.values.items()]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": outputs, "Parameters": values}]}


OUTPUTS = {
    "BucketName": "first",
    "BucketArn": "arn:aws:s3:::first",
    "TableName": "records",
    "RegistryUrl": "https://abc.execute-api.eu-central-1.amazonaws.com",
}


def peer(values: Mapping[str, str], **outputs: str) -> regions.Peer:
    return regions.peer(CloudFormation({**OUTPUTS, **outputs}, values), "roadstead")


def test_a_replica_is_told_of_the_first_stack_and_shares_its_table_and_secrets() -> None:
    told = peer({"SecretsPath": "/roadstead", "DomainName": ""}).as_first("eu-west-3", own_table=False)

    assert told == {
        "RegionName": "eu-west-3",
        "RegionRole": "replica",
        "PeerBucket": "first",
        "PeerRegion": "eu-central-1",
        "PeerUrl": OUTPUTS["RegistryUrl"],
        "TableName": "records",
        "SecretsPath": "/roadstead",
    }
    assert regions.is_replica(told)


def test_with_a_table_of_its_own_what_arrives_is_read() -> None:
    told = peer({}).as_first("eu-west-3", own_table=True)

    assert (told["Arrivals"], told["RegionRole"]) == ("true", "replica")
    assert not regions.is_replica(told)


def test_the_first_stack_is_told_where_to_copy_to_and_whom_to_watch() -> None:
    told = peer({}).as_copy("eu-west-3")

    assert (told["ReplicaBucketArn"], told["WatchedReplica"]) == ("arn:aws:s3:::first", "first")
    assert f"https://{told['FailoverHost']}" == OUTPUTS["RegistryUrl"]
    assert (told["RegionName"], told["PeerBucket"], "RegionRole" in told) == ("eu-west-3", "first", False)


@pytest.mark.parametrize(
    ("values", "outputs", "url"),
    [
        ({"DomainName": "registry.example.org"}, {"FrontHost": "d1.cloudfront.net"}, "https://registry.example.org"),
        ({"DomainName": ""}, {"FrontHost": "d1.cloudfront.net"}, "https://d1.cloudfront.net"),
        ({}, {}, OUTPUTS["RegistryUrl"]),
    ],
)
def test_clients_are_sent_where_they_would_go_by_themselves(
    values: Mapping[str, str], outputs: Mapping[str, str], url: str
) -> None:
    assert peer(values, **outputs).url == url
