"""What watches: every alarm looks at a metric that AWS has, every function is watched, and the template is clean."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.api import telemetry

ROOT = Path(__file__).parent.parent.parent
TEMPLATE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "templates" / "operations.yaml").read_text())
RESOURCES: Mapping[str, Any] = TEMPLATE["Resources"]
ALARMS = {name: part["Properties"] for name, part in RESOURCES.items() if part["Type"] == "AWS::CloudWatch::Alarm"}
CONFIG = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]["prod"]
# How Chalice calls functions in a template, and in its configuration.
FUNCTIONS = {
    "APIHandler": "api_handler",
    "Authorizer": "authorizer",
    "RepairIndex": "repair_index",
    "DoJobs": "do_jobs",
    "WakeJobs": "wake_jobs",
    "TakeArrivals": "take_arrivals",
    "CountPulls": "count_pulls",
}
# The metrics that AWS documents, with the dimensions under which it reports them.
# fmt: off
METRICS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("AWS/ApiGateway", "Count"):                            ("ApiName",),
    ("AWS/ApiGateway", "4XXError"):                         ("ApiName",),
    ("AWS/ApiGateway", "5XXError"):                         ("ApiName",),
    ("AWS/ApiGateway", "Latency"):                          ("ApiName",),
    ("AWS/Lambda", "Errors"):                               ("FunctionName",),
    ("AWS/Lambda", "Throttles"):                            ("FunctionName",),
    ("AWS/Lambda", "Duration"):                             ("FunctionName",),
    ("AWS/Lambda", "ConcurrentExecutions"):                 ("FunctionName",),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"):      ("QueueName",),
    ("AWS/DynamoDB", "ReadThrottleEvents"):                 ("TableName",),
    ("AWS/DynamoDB", "WriteThrottleEvents"):                ("TableName",),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits"):          ("TableName",),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits"):         ("TableName",),
    ("AWS/DynamoDB", "SystemErrors"):                       ("Operation", "TableName"),
    ("AWS/ApplicationELB", "UnHealthyHostCount"):           ("LoadBalancer", "TargetGroup"),
    ("AWS/ECS", "CPUUtilization"):                          ("ClusterName", "ServiceName"),
    ("AWS/S3", "5xxErrors"):                                ("BucketName", "FilterId"),
    ("AWS/S3", "BucketSizeBytes"):                          ("BucketName", "StorageType"),
    ("AWS/S3", "NumberOfObjects"):                          ("BucketName", "StorageType"),
    ("AWS/S3", "ReplicationLatency"):                       ("DestinationBucket", "RuleId", "SourceBucket"),
    ("AWS/S3", "OperationsFailedReplication"):              ("DestinationBucket", "RuleId", "SourceBucket"),
    **{(telemetry.NAMESPACE, name):                         ("kind",) for name in telemetry.METRICS},
}
# fmt: on
Watched = tuple[str, str, tuple[str, ...]]


def watched(alarm: Mapping[str, Any]) -> Iterator[Watched]:
    """Yield namespace, metric and dimensions of what an alarm looks at."""
    stats = [part["MetricStat"]["Metric"] for part in alarm.get("Metrics", ()) if "MetricStat" in part] or [alarm]
    for stat in stats:
        yield stat["Namespace"], stat["MetricName"], tuple(sorted(each["Name"] for each in stat["Dimensions"]))


def shown() -> Iterator[Watched]:
    """Yield what the dashboard shows, its abbreviations written out."""
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for widget in json.loads(text)["widgets"]:
        before: list[str] = []
        for row in widget["properties"]["metrics"]:
            names = [each for each in row if isinstance(each, str)]
            if names[0] == "...":
                names = [*before[: len(before) - len(names) + 1], *names[1:]]
            before = names
            yield names[0], names[1], tuple(sorted(names[2::2]))


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_looks_at_what_aws_reports(name: str) -> None:
    for namespace, metric, dimensions in watched(ALARMS[name]):
        assert METRICS[namespace, metric] == dimensions


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_tells_somebody_says_what_is_wrong_and_takes_silence_for_health(name: str) -> None:
    alarm = ALARMS[name]

    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "Alerts"}]
    assert len(alarm["AlarmDescription"]) > 10
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]


def test_alarms_may_use_the_key_of_the_topic_as_aws_asks() -> None:
    """CloudWatch calls KMS by itself; where it may not, nobody is told of any alarm, or of that."""
    [own] = [
        each
        for each in RESOURCES["AlertsKey"]["Properties"]["KeyPolicy"]["Statement"]
        if each["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    ]

    assert (own["Effect"], set(own["Action"])) == ("Allow", {"kms:Decrypt", "kms:GenerateDataKey*"})


def test_lateness_is_watched_where_copies_arrive_and_failures_where_they_come_from() -> None:
    """S3 reports each in one of the two regions alone."""
    buckets = {
        name: {each["Name"]: each["Value"] for each in ALARMS[name]["Dimensions"]}
        for name in ("ReplicationLate", "ReplicationFailed")
    }
    late, failed = buckets["ReplicationLate"], buckets["ReplicationFailed"]

    assert (late["SourceBucket"], late["DestinationBucket"]) == ({"Ref": "PeerBucket"}, {"Ref": "Bucket"})
    assert (failed["SourceBucket"], failed["DestinationBucket"]) == ({"Ref": "Bucket"}, {"Ref": "WatchedReplica"})


def test_alarms_say_different_things_and_look_at_different_things() -> None:
    assert len({alarm["AlarmDescription"] for alarm in ALARMS.values()}) == len(ALARMS)
    looked = [json.dumps([alarm.get("MetricName"), alarm.get("Dimensions")]) for alarm in ALARMS.values()]
    assert len(set(looked)) == len(looked)


def test_the_dashboard_shows_what_aws_and_our_lines_report() -> None:
    found = list(shown())

    assert len(found) > 20
    for namespace, metric, dimensions in found:
        assert METRICS[namespace, metric] == dimensions


def test_the_dashboard_has_every_kind_of_request() -> None:
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    requests = json.loads(text)["widgets"][0]["properties"]["metrics"]

    assert {row[-1] for row in requests} == telemetry.KINDS


def test_every_function_has_alarms_for_errors_throttles_and_time() -> None:
    seen = {
        (each["Value"]["Ref"], alarm["MetricName"])
        for alarm in ALARMS.values()
        for each in alarm.get("Dimensions", ())
        if each["Name"] == "FunctionName"
    }

    assert seen == {(name, metric) for name in FUNCTIONS for metric in ("Errors", "Throttles", "Duration")}
    assert set(CONFIG["lambda_functions"]) == set(FUNCTIONS.values())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_that_fails_rings_before_long(function: str) -> None:
    """None of them raises what it means to refuse, so a few failures are too many."""
    assert ALARMS[f"{function}Errors"]["Threshold"] <= 5


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_alarm_for_time_rings_before_time_is_up(function: str) -> None:
    timeout = CONFIG["lambda_functions"][FUNCTIONS[function]].get("lambda_timeout", CONFIG["lambda_timeout"])

    threshold = ALARMS[f"{function}Slow"]["Threshold"]

    assert timeout * 1000 * 0.7 <= threshold < timeout * 1000


def test_the_manual_says_what_to_do_for_every_alarm_and_for_no_other() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| (`[^|]*`) \|", manual.partition("## Alarms")[2].partition("## ")[0], re.MULTILINE)

    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(ALARMS)


def test_the_lines_of_pulls_and_no_others_go_to_the_counter() -> None:
    pattern = RESOURCES["PullLines"]["Properties"]["FilterPattern"]

    assert pattern == '{ $.pulled = "sha*" }'


# Resources of other fragments and of Chalice that this one refers to; just enough for cfn-lint to know their types.
FUNCTION = {
    "Type": "AWS::Lambda::Function",
    "Properties": {
        "Role": {"Fn::GetAtt": ["CountPullsRole", "Arn"]},
        "Code": {"S3Bucket": "code", "S3Key": "package.zip"},
        "Handler": "app.app",
        "Runtime": "python3.13",
    },
}
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
ASSUMED = {"Version": "2012-10-17", "Statement": [TRUST]}
STUBS: Mapping[str, Any] = {
    **dict.fromkeys(FUNCTIONS, FUNCTION),
    "CountPullsRole": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": ASSUMED}},
    "APIHandlerLogs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 30}},
    **{name: {"Type": "AWS::SQS::Queue"} for name in ("DeadLetters", "JobsQueue", "JobsDeadLetters")},
    "TakeArrivals": {**FUNCTION, "Condition": "HasArrivals"},
    "ArrivalsDeadLetters": {"Type": "AWS::SQS::Queue", "Condition": "HasArrivals"},
    "Bucket": {"Type": "AWS::S3::Bucket"},
    "Table": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        },
    },
    "RelayCluster": {"Type": "AWS::ECS::Cluster", "Condition": "HasRelay"},
    "RelayService": {"Type": "AWS::ECS::Service", "Condition": "HasRelay", "Properties": {"TaskDefinition": "relay"}},
    "RelayBalancer": {
        "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "Condition": "HasRelay",
        "Properties": {"Subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]},
    },
    "RelayTargets": {
        "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
        "Condition": "HasRelay",
        "Properties": {"TargetType": "ip", "Protocol": "HTTP", "Port": 5000, "VpcId": "vpc-0123456789abcdef0"},
    },
}
_HERE = {"Fn::Equals": [{"Ref": "AWS::Region"}, "eu-west-1"]}
CONDITIONS: Mapping[str, Any] = {"HasRelay": _HERE, "HasArrivals": _HERE, "HasPeer": _HERE}
PARAMETERS: Mapping[str, Any] = {"PeerBucket": {"Type": "String"}}


def test_cfn_lint_has_nothing_to_say(tmp_path: Path) -> None:
    conditions = {**TEMPLATE["Conditions"], **CONDITIONS}
    whole = {
        "AWSTemplateFormatVersion": "2010-09-09",
        **TEMPLATE,
        "Parameters": {**TEMPLATE["Parameters"], **PARAMETERS},
        "Conditions": conditions,
        "Resources": {**RESOURCES, **STUBS},
    }
    path = tmp_path / "operations.json"
    path.write_text(json.dumps(whole))

    done = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", path, "--regions", "eu-west-1", "us-east-1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")
