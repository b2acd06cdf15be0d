"""One domain over several regions by Route 53: each stack has its record, and is asked how it is by its own name."""

from typing import Any

import pytest
import yaml

from chalicelib.api import health
from infra.gateway import STAGES
from infra.package import FRAGMENTS, for_values
from tests.api.asking import Client
from tests.aws.distribution import Resolver

Json = dict[str, Any]
ROUTING: Json = yaml.safe_load((FRAGMENTS / "routing.yaml").read_text())
GIVEN = {
    "DomainName": "registry.example.org",
    "RoutingZone": "Z1",
    "RoutingCertificate": "arn:c",
    "AWS::Region": "eu-west-3",
}


def made(template: Json, **values: str) -> Json:
    """Return the resources of the fragment that a stack with these parameters has."""
    resolver = Resolver(template, {**GIVEN, **values})
    found = {name: template["Resources"][name] for name in ROUTING["Resources"]}
    return {
        name: resolver.value(each) for name, each in found.items() if resolver.holds({"Condition": each["Condition"]})
    }


@pytest.mark.parametrize(
    "values",
    [{}, {"Routing": "none"}, {"Routing": "latency", "DomainName": ""}, {"Routing": "latency", "Front": "true"}],
)
def test_without_routing_and_behind_cloudfront_there_is_none_of_it(template: Json, values: dict[str, str]) -> None:
    assert made(template, **values) == {}


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        ("latency", {"Region": "eu-west-3"}),
        ("primary", {"Failover": "PRIMARY"}),
        ("secondary", {"Failover": "SECONDARY"}),
    ],
)
def test_the_record_is_this_region_s_and_follows_its_health(template: Json, routing: str, expected: Json) -> None:
    record = made(template, Routing=routing)["RoutedRecord"]["Properties"]

    assert (record["Name"], record["SetIdentifier"]) == ("registry.example.org", "eu-west-3")
    assert record["HealthCheckId"] == {"Ref": "RoutingHealth"}
    assert {key: record[key] for key in ("Region", "Failover") if key in record} == expected
    assert record["AliasTarget"]["DNSName"] == {"Fn::GetAtt": ["RoutedDomain", "RegionalDomainName"]}


def test_every_stage_is_below_the_domain(template: Json) -> None:
    found = [
        each["Properties"] for each in made(template, Routing="latency").values() if "BasePath" in each["Properties"]
    ]

    assert {each["BasePath"] for each in found} == set(STAGES)
    assert {each["Stage"]["Ref"] for each in found} == {f"Stage{stage.capitalize()}" for stage in STAGES}


def test_health_is_asked_by_the_region_s_own_name(template: Json) -> None:
    asked = made(template, Routing="latency")["RoutingHealth"]["Properties"]["HealthCheckConfig"]

    assert "execute-api" in str(asked["FullyQualifiedDomainName"])
    assert (asked["Type"], asked["Port"], asked["EnableSNI"]) == ("HTTPS_STR_MATCH", 443, True)


def test_anybody_may_ask_and_the_answer_says_how_the_bucket_is() -> None:
    """Route 53 looks for a text in the first 5120 bytes of an answer with status 2xx or 3xx, and cannot log in."""
    asked = ROUTING["Resources"]["RoutingHealth"]["Properties"]["HealthCheckConfig"]
    client = Client()
    client.headers = {}

    well = client.ask("GET", asked["ResourcePath"])
    client.objects.before = _failing
    client.services.health.forget()
    unwell = client.ask("GET", asked["ResourcePath"])

    assert (well.status, unwell.status) == (200, 200)
    assert asked["SearchString"].encode() in well.body[:5120]
    assert asked["SearchString"].encode() not in unwell.body


def test_a_table_that_does_not_answer_takes_no_region_away() -> None:
    """Route 53 counts an answer that comes more than two seconds after the connection as none."""
    assert health.LIMIT_SECONDS <= 0.75 * 2


def _failing(_operation: str, _key: str) -> None:
    raise OSError("S3 is away")


@pytest.mark.parametrize("missing", ["RoutingZone", "RoutingCertificate"])
def test_routing_without_what_it_needs_is_refused_before_anything_is_made(missing: str) -> None:
    [rule] = ROUTING["Rules"].values()

    assert [
        each for each in rule["Assertions"] if missing in each["AssertDescription"] and missing in str(each["Assert"])
    ]


def test_a_record_more_is_no_new_deployment(template: Json) -> None:
    before, after = (for_values(template, values)["Resources"] for values in ({}, {"Routing": "latency"}))

    assert [name for name in before if name.startswith("Deployment")] == [
        name for name in after if name.startswith("Deployment")
    ]
