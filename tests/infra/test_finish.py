"""The step after `chalice deploy`, on an API Gateway in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import finish
from infra.gateway import RESPONSES, STAGES
from infra.package import ROOT

HOST = "registry.example.org"


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        yield boto3.client("apigateway", region_name="eu-central-1")


@pytest.fixture
def api(gateway: Any) -> str:
    """What Chalice leaves: an API with a method, deployed to a stage of its own."""
    made = str(gateway.create_rest_api(name="roadstead")["id"])
    [root] = gateway.get_resources(restApiId=made)["items"]
    where = {"restApiId": made, "resourceId": root["id"], "httpMethod": "GET"}
    gateway.put_method(**where, authorizationType="NONE")
    gateway.put_integration(**where, type="HTTP", uri="https://example.org", integrationHttpMethod="GET")
    gateway.create_deployment(restApiId=made, stageName="chalice")
    return made


def served(gateway: Any, api: str) -> dict[str, str]:
    return {each["stageName"]: each["deploymentId"] for each in gateway.get_stages(restApiId=api)["item"]}


def run(gateway: Any, api: str) -> str:
    """Finish; return the deployment that the public stages serve."""
    list(finish.finish(gateway, api, HOST))
    [deployment] = {served(gateway, api)[stage] for stage in STAGES}
    return deployment


def test_the_public_stages_serve_a_deployment_with_every_answer_in_it(gateway: Any, api: str) -> None:
    deployment = run(gateway, api)

    assert deployment != served(gateway, api)["chalice"]
    put = gateway.get_gateway_responses(restApiId=api)["items"]
    assert {each["responseType"] for each in put} == {response.type for response in RESPONSES}


def test_it_may_be_run_again(gateway: Any, api: str) -> None:
    first, second = run(gateway, api), run(gateway, api)

    assert first != second
    assert set(served(gateway, api)) == {*STAGES, "chalice"}


def test_the_newest_are_kept_to_go_back_to(gateway: Any, api: str) -> None:
    made = [run(gateway, api) for _ in range(finish.KEPT + 3)]

    left = {each["id"] for each in gateway.get_deployments(restApiId=api)["items"]}
    # All are of the same second or two, so which of them went is not to be told; the served ones stay.
    assert {made[-1], served(gateway, api)["chalice"]} <= left
    assert len(left) == finish.KEPT + 2


def test_deployments_of_chalice_that_nothing_serves_are_dropped(gateway: Any, api: str) -> None:
    old = gateway.create_deployment(restApiId=api)["id"]
    run(gateway, api)

    assert old not in {each["id"] for each in gateway.get_deployments(restApiId=api)["items"]}


def test_the_way_back_leads_to_an_earlier_deployment(gateway: Any, api: str) -> None:
    first = run(gateway, api)
    run(gateway, api)
    finish.back_to(gateway, api, first)

    assert {served(gateway, api)[stage] for stage in STAGES} == {first}


def test_nobody_goes_back_to_what_lacks_the_answers(gateway: Any, api: str) -> None:
    run(gateway, api)

    with pytest.raises(ValueError, match="none that `finish` made"):
        finish.back_to(gateway, api, served(gateway, api)["chalice"])


def test_the_api_is_found_in_chalice_s_record(tmp_path: Path) -> None:
    folder = tmp_path / ".chalice" / "deployed"
    folder.mkdir(parents=True)
    function = {"resource_type": "lambda_function", "name": "authorizer"}
    record = {"resources": [function, {"resource_type": "rest_api", "rest_api_id": "abc"}]}
    (folder / "prod.json").write_text(json.dumps(record))

    assert finish.deployed_api(tmp_path, "prod") == "abc"


def test_the_function_of_jobs_may_wake_itself(tmp_path: Path) -> None:
    told: list[dict[str, str]] = []
    functions = SimpleNamespace(put_function_recursion_config=lambda **given: told.append(given))
    folder = tmp_path / ".chalice" / "deployed"
    folder.mkdir(parents=True)
    names = ("do_jobs", "take_arrivals", "do_jobs-sqs-event-source")
    record = {"resources": [{"name": name, "lambda_arn": f"arn:{name}"} for name in names]}
    (folder / "prod.json").write_text(json.dumps(record))

    finish.let_jobs_go_on(functions, tmp_path, "prod")

    assert told == [{"FunctionName": "arn:do_jobs", "RecursiveLoop": "Allow"}]
    assert "\ndef do_jobs(" in (ROOT / "app.py").read_text()


@pytest.mark.parametrize("record", [None, {"resources": []}], ids=["never deployed", "no API"])
def test_without_a_deployment_it_says_what_to_do(tmp_path: Path, record: object) -> None:
    folder = tmp_path / ".chalice" / "deployed"
    folder.mkdir(parents=True)
    if record is not None:
        (folder / "prod.json").write_text(json.dumps(record))

    with pytest.raises(LookupError, match="chalice deploy"):
        finish.deployed_api(tmp_path, "prod")
