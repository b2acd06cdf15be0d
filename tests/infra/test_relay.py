"""The relay's part of the template: no more rights than the function has, a slow end, two zones, no way in."""

import json
import re
from typing import Any

import pytest
import yaml

from chalicelib.server.http import KEEPALIVE_SECONDS
from infra.package import FRAGMENTS, ROOT, _named

Json = dict[str, Any]
RELAY: Json = yaml.safe_load((FRAGMENTS / "relay.yaml").read_text())
RESOURCES: dict[str, Json] = RELAY["Resources"]
CONTAINER: Json = RESOURCES["RelayTask"]["Properties"]["ContainerDefinitions"][0]
VARIABLES = {each["Name"]: each["Value"] for each in CONTAINER["Environment"]}


def properties(name: str) -> Json:
    made: Json = RESOURCES[name]["Properties"]
    return made


def attributes(name: str, key: str) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in properties(name)[key]}


def of_type(kind: str) -> dict[str, Json]:
    return {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == kind}


@pytest.mark.parametrize("name", [*RESOURCES, *RELAY["Outputs"]])
def test_without_an_image_nothing_is_made(name: str) -> None:
    part = RESOURCES.get(name) or RELAY["Outputs"][name]

    assert part["Condition"] in {"HasRelay", "HasRelayNetwork", "HasRelayRoute"}
    assert RELAY["Parameters"]["RelayImage"]["Default"] == ""
    for narrower, wider in (("HasRelayNetwork", "HasRelay"), ("HasRelayRoute", "HasRelayNetwork")):
        assert {"Condition": wider} in RELAY["Conditions"][narrower]["Fn::And"]


def test_every_parameter_has_a_default() -> None:
    assert [name for name, each in RELAY["Parameters"].items() if "Default" not in each] == []


def test_the_relay_may_do_what_the_function_may_and_see_whether_the_table_is_there() -> None:
    policy = json.loads((ROOT / ".chalice" / "policy-registry.json").read_text())
    # Its log is ECS's business, and the queue is out of its reach.
    others = ("logs:PutLogEvents", "sqs:SendMessage")
    function = [each for each in _named(policy["Statement"], "Logs") if not {*others} & {*each["Action"]}]

    registry, start = properties("RelayRole")["Policies"]

    assert registry["PolicyDocument"]["Statement"] == function
    assert start["PolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Action": ["dynamodb:DescribeTable"], "Resource": {"Fn::GetAtt": ["Table", "Arn"]}}
    ]


def test_roles_are_for_tasks_of_this_account_alone() -> None:
    for role in of_type("AWS::IAM::Role").values():
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_a_task_has_the_settings_of_the_functions_and_no_secret_of_its_own() -> None:
    chalice = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]["prod"]
    functions = chalice["environment_variables"] | chalice["lambda_functions"]["api_handler"]["environment_variables"]

    assert set(functions) <= set(VARIABLES)
    for name in ("ROADSTEAD_SIGNING_KEY", "ROADSTEAD_ADMIN_PASSWORD"):
        assert VARIABLES[name] == _named(functions[name], "")


def test_a_task_leaves_jobs_to_the_functions() -> None:
    assert VARIABLES["JOBS"] == "false"


def test_a_task_can_write_nothing_but_its_temporary_files_and_is_nobody() -> None:
    assert CONTAINER["ReadonlyRootFilesystem"] is True
    assert CONTAINER["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", CONTAINER["User"])
    assert [each["ContainerPath"] for each in CONTAINER["MountPoints"]] == ["/tmp"]
    assert "Privileged" not in CONTAINER


def test_uploads_under_way_end_before_their_task_does() -> None:
    drained = int(attributes("RelayTargets", "TargetGroupAttributes")["deregistration_delay.timeout_seconds"])
    most_of_fargate = 120

    assert drained >= 300
    assert int(VARIABLES["STOP_SECONDS"]) + 10 <= CONTAINER["StopTimeout"] <= most_of_fargate


def test_the_server_keeps_connections_longer_than_the_balancer() -> None:
    idle = int(attributes("RelayBalancer", "LoadBalancerAttributes")["idle_timeout.timeout_seconds"])

    assert 300 <= idle < KEEPALIVE_SECONDS


def test_a_server_that_asks_to_log_in_is_healthy() -> None:
    targets = properties("RelayTargets")

    assert (targets["HealthCheckPath"], targets["Matcher"]) == ("/v2/", {"HttpCode": "200,401"})


def test_there_are_two_tasks_in_two_zones() -> None:
    zones = [each["AvailabilityZone"]["Fn::Select"][0] for each in of_type("AWS::EC2::Subnet").values()]

    assert sorted(zones) == [0, 1]
    assert RELAY["Parameters"]["RelayTasks"]["MinValue"] == RELAY["Parameters"]["RelayTasks"]["Default"] == 2
    assert properties("RelayScaling")["MinCapacity"] == {"Ref": "RelayTasks"}


def test_a_version_that_does_not_start_is_taken_back_and_none_is_missed_meanwhile() -> None:
    deployment = properties("RelayService")["DeploymentConfiguration"]

    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert deployment["MinimumHealthyPercent"] == 100
    assert "DesiredCount" not in properties("RelayService")


def test_nothing_leads_from_the_internet_to_the_relay() -> None:
    assert properties("RelayBalancer")["Scheme"] == "internal"
    network = properties("RelayService")["NetworkConfiguration"]["AwsvpcConfiguration"]
    # An address of its own is for the way out, where that is wanted; in comes the balancer alone.
    assert network["AssignPublicIp"] == {"Fn::If": ["HasRelayRoute", "ENABLED", "DISABLED"]}
    assert list(of_type("AWS::EC2::Route")) == ["RelayRoute"]
    assert RESOURCES["RelayRoute"]["Condition"] == "HasRelayRoute"
    assert {"Fn::Equals": [{"Ref": "RelayInternet"}, "true"]} in RELAY["Conditions"]["HasRelayInternet"]["Fn::And"]
    assert RELAY["Parameters"]["RelayInternet"]["Default"] == "false"
    assert not [each for each in of_type("AWS::EC2::Subnet").values() if each.get("MapPublicIpOnLaunch")]


def test_who_reaches_whom_is_said_by_group() -> None:
    ingress = {
        name: [(each["FromPort"], each["ToPort"], each.get("SourceSecurityGroupId")) for each in
               group["SecurityGroupIngress"]]
        for name, group in of_type("AWS::EC2::SecurityGroup").items()
    }  # fmt: skip

    assert ingress == {
        "RelayBalancerGroup": [(80, 80, None)],
        "RelayTaskGroup": [(5000, 5000, {"Ref": "RelayBalancerGroup"})],
        "RelayEndpoints": [(443, 443, {"Ref": "RelayTaskGroup"})],
    }


def test_without_the_internet_every_service_of_a_task_has_an_endpoint() -> None:
    services = {each["ServiceName"]["Fn::Sub"].partition("${AWS::Region}.")[2]: each["VpcEndpointType"]
                for each in of_type("AWS::EC2::VPCEndpoint").values()}  # fmt: skip

    assert services == {"s3": "Gateway", "dynamodb": "Gateway",
                        **dict.fromkeys(("ecr.api", "ecr.dkr", "logs", "ssm"), "Interface")}  # fmt: skip


def test_the_way_to_s3_and_dynamodb_leads_to_our_own_bucket_and_table() -> None:
    for name, own in (("RelayToS3", "Bucket"), ("RelayToTable", "Table")):
        first, *others = properties(name)["PolicyDocument"]["Statement"]
        assert {"Fn::GetAtt": [own, "Arn"]} in (first["Resource"], *first["Resource"])
        assert [each["Action"] for each in others] in ([], ["s3:GetObject"])


def test_the_log_forgets_and_holds_up_no_request() -> None:
    assert properties("RelayLogs")["RetentionInDays"] == {"Ref": "LogDays"}
    assert CONTAINER["LogConfiguration"]["Options"]["mode"] == "non-blocking"
