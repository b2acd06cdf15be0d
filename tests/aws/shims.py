"""Where the emulator is not AWS: what is changed in our templates for it, each for one gap of ministack 1.5.33."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def without_metric_math(template: Json) -> None:
    """It refuses alarms over a formula of metrics."""
    alarms = [
        name
        for name, each in template["Resources"].items()
        if each["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in each["Properties"]
    ]
    for name in alarms:
        del template["Resources"][name]


def parameters_of_any_name(template: Json) -> None:
    """It checks GetParameters against the resource `*`, where AWS checks each parameter that is named."""
    for statement in _statements(template["Resources"]):
        if "ssm:GetParameters" in statement["Action"]:
            statement["Resource"] = "*"


def over_plain_http(template: Json) -> None:
    """It is reached without TLS, which our bucket and our queues refuse (and it enforces that)."""
    for each in template["Resources"].values():
        document = each.get("Properties", {}).get("PolicyDocument", {})
        if each["Type"] in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
            document["Statement"] = [
                {**statement, "Condition": {"Bool": {"aws:SecureTransport": "no longer asked"}}}
                if statement.get("Sid") == "TlsOnly"
                else statement
                for statement in document["Statement"]
            ]


SHIMS = (without_metric_math, parameters_of_any_name, over_plain_http)


def _statements(part: object) -> Iterator[Json]:
    if isinstance(part, dict):
        if part.get("Effect") == "Allow" and "Action" in part:
            yield part
        for each in part.values():
            yield from _statements(each)
    elif isinstance(part, list):
        for each in part:
            yield from _statements(each)
