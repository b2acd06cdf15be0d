"""One template of everything: names as references, least rights, nothing public, and answers before stages."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.store import layout
from chalicelib.store.sqs import WORKERS
from infra.gateway import RESPONSES, STAGES
from infra.package import (
    ARRIVALS_QUEUE,
    FRAGMENTS,
    GATEWAY_LINE,
    JOBS_QUEUE,
    ROOT,
    for_values,
    fragments,
    merged,
    only,
)

Json = dict[str, Any]
ENCRYPTED = {
    "AWS::S3::Bucket": "BucketEncryption",
    "AWS::SQS::Queue": "SqsManagedSseEnabled",
    "AWS::SNS::Topic": "KmsMasterKeyId",
    "AWS::DynamoDB::Table": "SSESpecification",
}
# By type: the policy that says who may use it, and the property of that policy that names it.
POLICIES = {
    "AWS::S3::Bucket": ("AWS::S3::BucketPolicy", "Bucket"),
    "AWS::SQS::Queue": ("AWS::SQS::QueuePolicy", "Queues"),
    "AWS::SNS::Topic": ("AWS::SNS::TopicPolicy", "Topics"),
}
# What IAM gives no resource to name.
ON_ANY_RESOURCE = {
    "ecr:GetAuthorizationToken",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


def of_type(template: Json, kind: str) -> dict[str, Json]:
    return {name: each for name, each in template["Resources"].items() if each["Type"] == kind}


def texts(part: object) -> Iterator[str]:
    """Yield every text of a template, names of properties left out."""
    if isinstance(part, str):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from texts(each)


def statements(part: object) -> Iterator[Json]:
    """Yield every statement of every policy."""
    if isinstance(part, dict) and {"Effect", "Action"} <= set(part):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from statements(each)


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def complaints(template: Json, folder: Path) -> str:
    """Return what cfn-lint says."""
    path = folder / "template.json"
    path.write_text(json.dumps(template))
    program = Path(sys.executable).parent / "cfn-lint"
    return subprocess.run([program, path], check=False, capture_output=True, text=True).stdout


def test_the_template_is_clean(template: Json, tmp_path: Path) -> None:
    assert complaints(template, tmp_path) == ""


def test_a_wrong_template_is_not(template: Json, tmp_path: Path) -> None:
    wrong = copy.deepcopy(template)
    wrong["Resources"]["Table"]["Properties"]["BillingMode"] = "FREE"

    assert "'FREE'" in complaints(wrong, tmp_path)


def test_the_storage_alone_is_a_clean_stack(tmp_path: Path) -> None:
    assert complaints(only("storage"), tmp_path) == ""


@pytest.mark.parametrize("path", sorted(FRAGMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_fragments_have_the_sections_of_a_template(path: Path) -> None:
    sections = {"Parameters", "Conditions", "Mappings", "Rules", "Resources", "Outputs"}

    assert set(yaml.safe_load(path.read_text())) <= sections | {"AWSTemplateFormatVersion", "Description"}


@pytest.mark.parametrize("path", sorted(FRAGMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_nothing_is_said_twice_in_a_fragment(path: Path) -> None:
    """Of two values under one key the last one counts, and nobody is told."""
    assert [key for keys in keys_of(yaml.compose(path.read_text())) for key in keys if keys.count(key) > 1] == []


def keys_of(node: yaml.Node | None) -> Iterator[list[str]]:
    """Yield the keys of every mapping below a node."""
    if isinstance(node, yaml.MappingNode):
        yield [key.value for key, _ in node.value]
        for _, value in node.value:
            yield from keys_of(value)
    for each in node.value if isinstance(node, yaml.SequenceNode) else ():
        yield from keys_of(each)


@pytest.mark.parametrize("name", ["storage", "replica"])
def test_no_two_statements_of_a_policy_have_one_name(name: str) -> None:
    """Of a bucket's policy in which two have, AWS takes neither."""
    for policy in of_type(only(name), "AWS::S3::BucketPolicy").values():
        names = [each.get("Sid") for each in statements(policy)]
        assert names
        assert len(names) == len(set(names))


def test_two_fragments_that_define_the_same_thing_are_refused(sam: Json) -> None:
    with pytest.raises(ValueError, match="again defines again: Bucket"):
        merged(sam, {**fragments(), "again": {"Resources": {"Bucket": {}}}})


def test_no_name_of_a_bucket_table_or_secret_is_left(template: Json) -> None:
    arns = r"arn:aws:(s3|dynamodb|ssm|sqs).*roadstead"
    named = re.compile(rf"^roadstead(-jobs|-arrivals)?$|{arns}|ssm:/roadstead|/aws/lambda/roadstead")

    others = {name: each for name, each in template["Resources"].items() if name != "RestAPI"}

    assert [text for text in texts(others) if named.search(text)] == []
    assert not [
        text for text in texts(template["Resources"]["RestAPI"]) if named.search(text) and text != "roadstead"
    ]
    assert template["Resources"]["RestAPI"]["Properties"]["Body"]["info"]["title"] == "roadstead"


def test_every_name_in_a_policy_of_chalice_became_a_reference(template: Json) -> None:
    roles = of_type(template, "AWS::IAM::Role")
    policies = [policy for role in roles.values() for policy in role["Properties"].get("Policies", ())]
    resources = [text for each in statements(policies) for text in listed(each["Resource"])]

    assert len(roles) >= 5
    assert resources
    assert [text for text in resources if isinstance(text, str)] == []


def test_functions_are_what_chalice_was_told(template: Json) -> None:
    config = json.loads((ROOT / ".chalice/config.json").read_text())["stages"]["prod"]
    names = {name.replace("_", ""): given for name, given in config["lambda_functions"].items()}
    functions = of_type(template, "AWS::Lambda::Function")
    ours = {name.lower(): each["Properties"] for name, each in functions.items() if name.lower() in names}

    assert set(ours) == set(names)
    for name, properties in ours.items():
        assert properties["MemorySize"] == names[name].get("lambda_memory_size", config["lambda_memory_size"])
        assert properties["Timeout"] == names[name].get("lambda_timeout", config["lambda_timeout"])
        variables = properties["Environment"]["Variables"]
        assert variables["ROADSTEAD_BUCKET"] == {"Ref": "Bucket"}
        assert variables["ROADSTEAD_TABLE"] == {"Ref": "Table"}
        assert variables["ROADSTEAD_HISTORY_DAYS"] == {"Ref": "HistoryDays"}
        assert variables["ROADSTEAD_RELAY"] == {"Fn::If": ["HasRelayInternet", "yes", ""]}
        assert variables["ROADSTEAD_SIGNING_KEY"] == {"Fn::Sub": "ssm:${SecretsPath}/signing-key"}


def test_only_the_registry_knows_the_password(template: Json) -> None:
    functions = of_type(template, "AWS::Lambda::Function")

    knowing = [name for name, each in functions.items() if "admin-password" in json.dumps(each)]

    assert knowing == ["APIHandler"]


def test_every_function_of_chalice_writes_to_a_log_that_forgets(template: Json, sam: Json) -> None:
    logs = of_type(template, "AWS::Logs::LogGroup")
    functions = [name for name, each in sam["Resources"].items() if each["Type"] == "AWS::Serverless::Function"]

    for name in functions:
        assert template["Resources"][name]["Properties"]["LoggingConfig"]["LogGroup"] == {"Ref": f"{name}Logs"}
    assert {f"{name}Logs" for name in functions} <= set(logs)
    assert all("RetentionInDays" in each["Properties"] for each in logs.values())


def test_what_is_called_by_a_schedule_keeps_its_failures(template: Json) -> None:
    rules = of_type(template, "AWS::Events::Rule")
    kept = of_type(template, "AWS::Lambda::EventInvokeConfig")
    queue = {"Destination": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}

    called = {target["Id"] for rule in rules.values() for target in rule["Properties"]["Targets"]}

    assert {"RepairIndex", "WakeJobs"} <= called
    for name in called:
        assert kept[f"{name}Failures"]["Properties"]["DestinationConfig"] == {"OnFailure": queue}


def test_failures_are_sent_to_a_queue_once_the_role_may(template: Json) -> None:
    """Lambda tries it when it is told, and CloudFormation makes first what nothing waits for."""
    policies = of_type(template, "AWS::IAM::Policy")

    for name, each in of_type(template, "AWS::Lambda::EventInvokeConfig").items():
        function = template["Resources"][each["Properties"]["FunctionName"]["Ref"]]["Properties"]
        [waited_for] = each["DependsOn"]
        assert {"Fn::GetAtt": [policies[waited_for]["Properties"]["Roles"][0]["Ref"], "Arn"]} == function["Role"], (
            name
        )
        assert [one["Action"] for one in statements(policies[waited_for])] == ["sqs:SendMessage"]


def test_the_relay_waits_for_what_its_tasks_start_by(template: Json) -> None:
    """Without these a task finds no image; three such, and ECS gives the first deployment up."""
    wanted = {name for kind in ("VPCEndpoint", "Route", "SubnetRouteTableAssociation", "VPCGatewayAttachment")
              for name in of_type(template, f"AWS::EC2::{kind}")}  # fmt: skip
    service, origin = (json.dumps(template["Resources"][name]) for name in ("RelayService", "RelayOrigin"))

    assert len(wanted) == 10
    assert [name for name in sorted(wanted) if f'"{name}"' not in service] == []
    assert '"RelayGatewayAttachment"' in origin


def test_the_function_that_wakes_itself_may(template: Json) -> None:
    """Else Lambda ends it at its 16th message in a row, and a long job stands until the next minute."""
    may = {name for name, each in of_type(template, "AWS::Lambda::Function").items()
           if each["Properties"].get("RecursiveLoop") == "Allow"}  # fmt: skip
    feeds = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    jobs = {"Fn::GetAtt": ["JobsQueue", "Arn"]}

    assert may == {each["Properties"]["FunctionName"]["Ref"] for each in feeds
                   if each["Properties"]["EventSourceArn"] == jobs} == {"DoJobs"}  # fmt: skip


def test_the_api_is_regional_and_takes_bytes(template: Json) -> None:
    api = template["Resources"]["RestAPI"]["Properties"]

    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert api["BinaryMediaTypes"] == ["*/*"]
    assert {"/", "/{proxy+}", "/token", "/v2.0/{proxy+}"} <= set(api["Body"]["paths"])


def test_only_the_registry_is_behind_the_authorizer(template: Json) -> None:
    paths = template["Resources"]["RestAPI"]["Properties"]["Body"]["paths"]

    guarded = {path for path, methods in paths.items() if any(each.get("security") for each in methods.values())}

    assert guarded == {"/", "/{proxy+}"}
    assert all(each["security"] for path in guarded for each in paths[path].values())


def test_no_stage_serves_before_every_answer_is_in_place(template: Json) -> None:
    [(name, deployment)] = of_type(template, "AWS::ApiGateway::Deployment").items()
    stages = of_type(template, "AWS::ApiGateway::Stage")

    answers = of_type(template, "AWS::ApiGateway::GatewayResponse")

    assert {each["Properties"]["ResponseType"] for each in answers.values()} == {each.type for each in RESPONSES}
    assert set(deployment["DependsOn"]) == set(answers)
    assert {each["Properties"]["StageName"] for each in stages.values()} == set(STAGES)
    assert {json.dumps(each["Properties"]["DeploymentId"]) for each in stages.values()} == {json.dumps({"Ref": name})}


def test_api_gateway_reports_what_the_alarms_watch_and_no_more(template: Json) -> None:
    """By the API's name it reports for nothing; with metrics switched on, each method of each stage costs money."""
    settings = [one for stage in of_type(template, "AWS::ApiGateway::Stage").values()
                for one in stage["Properties"]["MethodSettings"]]  # fmt: skip

    assert settings
    assert [each for each in settings if each.get("MetricsEnabled")] == []


def test_challenges_name_the_host_by_which_clients_come(template: Json) -> None:
    answers = of_type(template, "AWS::ApiGateway::GatewayResponse").values()
    given = [each["Properties"]["ResponseParameters"].get("gatewayresponse.header.WWW-Authenticate")
             for each in answers if each["Properties"].get("StatusCode") == "401"]  # fmt: skip

    assert len(given) == 2
    for header in given:
        text, names = header["Fn::Sub"]
        assert text == '\'Bearer realm="https://${Host}/service/token",service="${Host}"\''
        assert names["Host"]["Fn::If"][:2] == ["HasDomain", {"Ref": "DomainName"}]
        assert "execute-api" in json.dumps(names["Host"]["Fn::If"][2])


def test_a_changed_route_or_answer_is_a_new_deployment(sam: Json, template: Json) -> None:
    changed = copy.deepcopy(sam)
    del changed["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"]["/keys"]

    def deployment(made: Json) -> set[str]:
        return set(of_type(made, "AWS::ApiGateway::Deployment"))

    assert deployment(merged(copy.deepcopy(sam), fragments())) == deployment(template)
    assert deployment(merged(changed, fragments())) != deployment(template)


def test_the_log_of_the_gateway_has_no_secrets() -> None:
    assert not [each for each in GATEWAY_LINE.values() if re.search("query|header|authorizer|identity.user", each)]


def test_rights_name_their_resources(template: Json) -> None:
    broad = [
        each for each in statements(template["Resources"]) if each["Effect"] == "Allow" and "Principal" not in each
    ]

    assert broad
    for each in broad:
        assert not [action for action in listed(each["Action"]) if "*" in action]
        if "*" in listed(each["Resource"]):
            assert set(listed(each["Action"])) <= ON_ANY_RESOURCE


def test_what_holds_data_is_encrypted(template: Json) -> None:
    bare = [name for kind, key in ENCRYPTED.items() for name, each in of_type(template, kind).items()
            if not each["Properties"].get(key)]  # fmt: skip

    assert bare == []


def test_nothing_is_spoken_to_without_tls(template: Json) -> None:
    open_ = []
    for kind, (policy, key) in POLICIES.items():
        guarded = [
            name
            for each in of_type(template, policy).values()
            for name in listed(each["Properties"][key])
            if any(_refuses_plain(one) for one in statements(each["Properties"]["PolicyDocument"]))
        ]
        open_ += [name for name in of_type(template, kind) if {"Ref": name} not in guarded]

    assert open_ == []


@pytest.mark.parametrize("name", ["storage", "replica", "api"])
def test_the_policy_of_a_queue_is_about_it_alone(name: str) -> None:
    """SQS refuses a statement with two resources."""
    for policy in of_type(only(name), "AWS::SQS::QueuePolicy").values():
        [queue] = policy["Properties"]["Queues"]
        for each in statements(policy):
            assert each["Resource"] == {"Fn::GetAtt": [queue["Ref"], "Arn"]}


def _refuses_plain(statement: Json) -> bool:
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    return (statement["Effect"], statement["Principal"], statement.get("Condition")) == ("Deny", "*", plain)


def test_no_bucket_is_public(template: Json) -> None:
    blocks = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}

    for bucket in of_type(template, "AWS::S3::Bucket").values():
        assert bucket["Properties"]["PublicAccessBlockConfiguration"] == dict.fromkeys(blocks, True)


def test_data_outlives_the_stack(template: Json) -> None:
    for name in ("Bucket", "Table"):
        resource = template["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_versions_and_leftovers_go_in_time(template: Json) -> None:
    rules = template["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    days = {each.get("Prefix"): each.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") for each in rules}

    assert days == {None: None, "uploads/": 1, "repositories/": {"Ref": "HistoryDays"},
                    "data/": 1, "blobs/": 1, "catalog/": 1, "heartbeats/": 1, "collector/": 1}  # fmt: skip
    passing = {each["Prefix"] for each in rules if "ExpirationInDays" in each}
    assert passing == {"uploads/", "collector/"}


def test_where_clients_are_sent_changes_the_deployment_and_nothing_else_does(template: Json) -> None:
    """A stage serves a picture of the API: a new challenge needs a new one."""

    def deployment(**values: str) -> str:
        found = [each for each in for_values(template, values)["Resources"] if each.startswith("Deployment")]
        assert len(found) == 1
        return str(found[0])

    assert deployment() == deployment(LogDays="7") == deployment(DomainName="")
    assert len({deployment(), deployment(DomainName="a.example"), deployment(Front="true")}) == 3


def test_the_stages_serve_the_deployment_of_these_values(template: Json) -> None:
    made = for_values(template, {"DomainName": "registry.example"})["Resources"]
    stages = [each["Properties"]["DeploymentId"]["Ref"] for each in made.values() if each["Type"].endswith("::Stage")]

    assert stages
    assert all(made[each]["Type"] == "AWS::ApiGateway::Deployment" for each in stages)


def test_each_queue_feeds_its_function_and_nothing_else(template: Json) -> None:
    feeds = of_type(template, "AWS::Lambda::EventSourceMapping")
    jobs, arrivals = feeds.pop("DoJobsFeed")["Properties"], feeds.pop("TakeArrivalsFeed")["Properties"]

    assert not feeds
    assert (jobs["EventSourceArn"], jobs["BatchSize"]) == ({"Fn::GetAtt": ["JobsQueue", "Arn"]}, 1)
    assert (arrivals["EventSourceArn"], arrivals["BatchSize"]) == ({"Fn::GetAtt": ["ArrivalsQueue", "Arn"]}, 10)
    assert jobs["ScalingConfig"] == arrivals["ScalingConfig"] == {"MaximumConcurrency": WORKERS}


@pytest.mark.parametrize(("queue", "function", "times"), [("Jobs", "DoJobs", 1), ("Arrivals", "TakeArrivals", 6)])
def test_a_message_is_hidden_for_as_long_as_its_function_may_run(
    template: Json, queue: str, function: str, times: int
) -> None:
    visible = template["Resources"][f"{queue}Queue"]["Properties"]["VisibilityTimeout"]

    assert visible >= times * template["Resources"][function]["Properties"]["Timeout"]


def test_app_and_configuration_call_the_queues_by_one_name() -> None:
    config = json.loads((ROOT / ".chalice/config.json").read_text())["stages"]["prod"]

    assert config["environment_variables"]["ROADSTEAD_QUEUE"] == JOBS_QUEUE
    for name in (JOBS_QUEUE, ARRIVALS_QUEUE):
        assert f'on_sqs_message(queue="{name}"' in (ROOT / "app.py").read_text()


def test_where_nothing_arrives_nothing_waits_for_it_and_costs(template: Json) -> None:
    ours = {name: each.get("Condition") for name, each in template["Resources"].items() if "Arrivals" in name}

    assert {"TakeArrivals", "TakeArrivalsRole", "TakeArrivalsFeed", "TakeArrivalsLogs"} <= set(ours)
    assert {condition for name, condition in ours.items() if not name.startswith("Arrivals")} == {"HasArrivals"}
    assert {condition for name, condition in ours.items() if name.startswith("Arrivals")} == {"HasArrivalsQueue"}
    assert template["Parameters"]["Arrivals"]["Default"] == "false"


def test_the_bucket_tells_the_queue_of_what_is_made_and_removed_below_the_repositories(template: Json) -> None:
    condition, told, other = template["Resources"]["Bucket"]["Properties"]["NotificationConfiguration"]["Fn::If"]
    prefixes = [rule for each in told["QueueConfigurations"] for rule in each["Filter"]["S3Key"]["Rules"]]

    assert (condition, other) == ("HasArrivals", {"Ref": "AWS::NoValue"})
    assert [each["Event"] for each in told["QueueConfigurations"]] == ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    assert prefixes == [{"Name": "prefix", "Value": layout.REPOSITORIES}] * 2
    assert '{"Ref": "ArrivalsPolicy"}' in json.dumps(template["Resources"]["Bucket"])
