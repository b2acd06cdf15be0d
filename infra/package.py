"""What `chalice package` makes and our fragments, merged into one CloudFormation template.

Chalice knows the functions, their rights and the API's paths; the fragments in `templates/` know what holds data and
what surrounds it. Here they meet:
* functions become plain Lambda functions, each with a log group that forgets, and a queue for what fails unseen;
* the names that `.chalice/` has for bucket, table and secrets become references;
* the API gets our own answers, one deployment that changes with its content, and the public stages.

Invariants:
* Two fragments never define the same thing.
* No literal name of a bucket, a table or a secret is left, so any number of stacks can stand side by side.
* A stage never serves a deployment without the gateway responses: the deployment depends on each.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from infra.archive import make_over
from infra.gateway import RESPONSES, STAGES, GatewayResponse, body, headers
from infra.regions import as_replica

ROOT = Path(__file__).parent.parent
FRAGMENTS = Path(__file__).parent / "templates"
CODE = "deployment.zip"
# What app.py and `.chalice/` call the queue of jobs.
JOBS_QUEUE = "roadstead-jobs"
# And the queue of what arrives from another region.
ARRIVALS_QUEUE = "roadstead-arrivals"
# The parameters by which the API's own answers differ.
_SENDING = ("DomainName", "Front")
NO_VALUES: Mapping[str, str] = MappingProxyType({})
# What API Gateway writes for a request, whether or not a function saw it: no query and no header.
GATEWAY_LINE: Mapping[str, str] = {
    "time": "$context.requestTime",
    "request": "$context.requestId",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "milliseconds": "$context.responseLatency",
    "address": "$context.identity.sourceIp",
    "refusal": "$context.error.responseType",
    "trace": "$context.xrayTraceId",
}
Json = dict[str, Any]
_SECTIONS = ("Parameters", "Rules", "Conditions", "Mappings", "Resources", "Outputs")
# What `.chalice/` calls things, and what stands in its place.
# fmt: off
_NAMES: tuple[tuple[str, Callable[[re.Match[str]], object]], ...] = (
    (r"arn:aws:s3:::roadstead(/.*)?",
     lambda found: {"Fn::Sub": "${Bucket.Arn}" + (found[1] or "")}),
    (r"arn:aws:dynamodb:\*:\*:table/roadstead",
     lambda _: {"Fn::GetAtt": ["Table", "Arn"]}),
    (r"arn:aws:ssm:\*:\*:parameter/roadstead/(.*)",
     lambda found: {"Fn::Sub": "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${SecretsPath}/"
                               + found[1]}),
    (r"arn:aws:sqs:\*:\*:(roadstead-[a-z]+)",
     lambda found: {"Fn::GetAtt": [_QUEUES[found[1]], "Arn"]}),
    (r"ssm:/roadstead/(.*)",
     lambda found: {"Fn::Sub": "ssm:${SecretsPath}/" + found[1]}),
)
# fmt: on
# By what app.py calls a queue.
_QUEUES: Mapping[str, str] = {JOBS_QUEUE: "JobsQueue", ARRIVALS_QUEUE: "ArrivalsQueue"}
# By what Chalice calls a function, and all that belongs to it.
_ONLY_WHERE: Mapping[str, str] = {"TakeArrivals": "HasArrivals"}
_OWN_LOGS = re.compile(r"arn:aws:logs:.*:log-group:/aws/lambda/roadstead-\*:\*")
_CODE_FILE = re.compile(r"@(cloudfront/[a-z-]+\.js)")
_BY_VARIABLE: Mapping[str, Json] = {
    "ROADSTEAD_BUCKET": {"Ref": "Bucket"},
    "ROADSTEAD_TABLE": {"Ref": "Table"},
    "ROADSTEAD_QUEUE": {"Fn::GetAtt": ["JobsQueue", "QueueName"]},
}
# What the stack's parameters set of the functions' settings.
_BY_PARAMETER: Mapping[str, str] = {
    "ROADSTEAD_HISTORY_DAYS": "HistoryDays",
    "ROADSTEAD_ARRIVALS": "Arrivals",
    "ROADSTEAD_GC_GRACE_SECONDS": "GraceSeconds",
    "ROADSTEAD_PRIVATE_TARGETS": "PrivateTargets",
    "ROADSTEAD_REGION_NAME": "RegionName",
    "ROADSTEAD_REGION_ROLE": "RegionRole",
    "ROADSTEAD_PEER_BUCKET": "PeerBucket",
    "ROADSTEAD_PEER_REGION": "PeerRegion",
    "ROADSTEAD_PEER_URL": "PeerUrl",
}


def package(folder: Path, values: Mapping[str, str] = NO_VALUES, *, replica: bool = False) -> Path:
    """Make the functions' package and the template in `folder`; return the template's path.

    `values` are those that the parameters will have, where they are known (`for_values`). The table of a `replica`
    follows another region's (`infra.regions`).
    Raise CalledProcessError where Chalice fails, which has said why.
    """
    template = for_values(whole(built(folder), replica=replica), values)
    path = folder / "roadstead.json"
    path.write_text(json.dumps(template, indent=1))
    return path


def built(folder: Path) -> Json:
    """Make the functions' package in `folder`; return what Chalice has for a template. Raise CalledProcessError.

    Of two at once in a checkout the second waits: Chalice keeps for the next one what it has made.
    """
    chalice = [str(Path(sys.executable).parent / "chalice"), "package", "--stage", "prod", str(folder.resolve())]
    # The package is the same for every region, but Chalice wants to know of one.
    environment = {"AWS_DEFAULT_REGION": "us-east-1", **os.environ}
    with _alone(ROOT / ".chalice" / "deployments"):
        subprocess.run(chalice, cwd=ROOT, check=True, stdout=sys.stderr, env=environment)  # noqa: S603 - our own words
    make_over(folder / CODE)
    made = folder / "sam.json"
    sam: Json = json.loads(made.read_text())
    made.unlink()
    return sam


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for whoever else works in a folder."""
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def whole(sam: Json, *, replica: bool = False) -> Json:
    """Return the one template of what Chalice made, or that of a replica."""
    return as_replica(merged(sam, fragments(replica=True))) if replica else merged(sam, fragments())


def fragments(*, replica: bool = False) -> dict[str, Json]:
    """Return our parts of the template, or of a replica's, by their names."""
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FRAGMENTS.glob("*.yaml"))}
    other = "storage" if replica else "replica"
    return {name: _with_code(part) for name, part in found.items() if name != other}


def _with_code(part: Json) -> Json:
    """Return a part of the template with the text of each file that `@FILE` names."""

    def read(text: str) -> str:
        named = _CODE_FILE.fullmatch(text)
        return (Path(__file__).parent / named[1]).read_text() if named else text

    made: Json = _mapped(part, read)
    return made


def _mapped(value: Any, change: Callable[[str], object]) -> Any:
    """Return a part of the template with every text in it changed; keys stay."""
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def only(name: str) -> Json:
    """Return a fragment as a template of its own."""
    return {"AWSTemplateFormatVersion": "2010-09-09", **yaml.safe_load((FRAGMENTS / f"{name}.yaml").read_text())}


def merged(sam: Json, parts: Mapping[str, Json]) -> Json:
    """Return the one template; raise ValueError where two parts define the same thing."""
    template: Json = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Roadstead: a registry for OCI artifacts on S3, Lambda and DynamoDB",
    }
    for name, part in {**parts, "chalice": {"Resources": _of_chalice(sam["Resources"], parts)}}.items():
        for section in _SECTIONS:
            have = template.setdefault(section, {})
            if twice := set(have) & set(part.get(section, {})):
                raise ValueError(f"{name} defines again: {', '.join(sorted(twice))}")
            have |= part.get(section, {})
    return {section: content for section, content in template.items() if content}


def _of_chalice(resources: Json, parts: Mapping[str, Json]) -> Json:
    made: Json = {}
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":
            made |= _function(name, resource["Properties"])
        elif resource["Type"] == "AWS::Serverless::Api":
            made |= _api(name, resource["Properties"], fronted="front" in parts)
        elif resource["Type"] == "AWS::Logs::LogGroup":
            continue  # Chalice's are for `chalice deploy`; each function here has one under the stack's name.
        elif resource["Type"] == "AWS::IAM::Role":
            made[name] = _named(resource, _log_group(name.removesuffix("Role")))
        else:
            made[name] = resource
    return {name: _conditional(name, resource) for name, resource in made.items()}


def _conditional(name: str, resource: Json) -> Json:
    """Return a resource that is there only where its function is of use."""
    found = (condition for function, condition in _ONLY_WHERE.items() if name.startswith(function))
    condition = next(found, "")
    return {**resource, "Condition": condition} if condition else resource


def _log_group(function: str) -> str:
    # Chalice calls its handler of the API by two names.
    return f"{function.replace('ApiHandler', 'APIHandler')}Logs"


def _named(value: Any, logs: str) -> Any:
    """Return a part of the template with references in place of the names in `.chalice/`."""

    def name(text: str) -> object:
        if _OWN_LOGS.fullmatch(text):
            return {"Fn::GetAtt": [logs, "Arn"]}
        found = ((re.fullmatch(pattern, text), make) for pattern, make in _NAMES)
        return next((make(match) for match, make in found if match), text)

    return _mapped(value, name)


def _function(name: str, sam: Json) -> Json:
    """Return a function, its log group, and what calls it: a schedule, or the queue of jobs."""
    logs = _log_group(name)
    kept = ("Runtime", "Handler", "Tags", "Timeout", "MemorySize", "Architectures", "Role")
    properties = {key: sam[key] for key in kept if key in sam}
    properties["Tags"] = [{"Key": key, "Value": value} for key, value in sam.get("Tags", {}).items()]
    properties["Code"] = {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": "CodeKey"}}
    properties["Environment"] = {"Variables": _environment(sam["Environment"]["Variables"])}
    properties["LoggingConfig"] = {"LogGroup": {"Ref": logs}, "LogFormat": "Text"}
    properties |= _loop(sam)
    made: Json = {
        name: {"Type": "AWS::Lambda::Function", "Properties": properties},
        logs: {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {
                "LogGroupName": {"Fn::Sub": "/roadstead/${AWS::StackName}/" + name},
                "RetentionInDays": {"Ref": "LogDays"},
            },
        },
    }
    for event in sam.get("Events", {}).values():
        if event["Type"] == "Schedule":
            made |= _schedule(name, event["Properties"]["Schedule"])
        elif event["Type"] == "SQS":
            made |= _feeding(name, event["Properties"])
    return made


def _loop(sam: Json) -> Json:
    """Return what lets jobs go on: Lambda takes what wakes itself for a mistake, and ends it at the 16th time."""
    fed = [_queue_of(event["Properties"]) for event in sam.get("Events", {}).values() if event["Type"] == "SQS"]
    return {"RecursiveLoop": "Allow"} if JOBS_QUEUE in fed else {}


def _feeding(name: str, source: Json) -> Json:
    """Return what feeds a function from its queue."""
    kept = ("BatchSize", "MaximumBatchingWindowInSeconds", "ScalingConfig")
    properties = {key: source[key] for key in kept if key in source}
    queue = {"EventSourceArn": {"Fn::GetAtt": [_QUEUES[_queue_of(source)], "Arn"]}, "FunctionName": {"Ref": name}}
    return {f"{name}Feed": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {**queue, **properties}}}


def _queue_of(source: Json) -> str:
    """Return what app.py calls the queue of a source of events."""
    return str(source["Queue"]["Fn::Sub"]).rpartition(":")[2]


def _environment(variables: Mapping[str, str]) -> Json:
    own = {name: _BY_VARIABLE.get(name) or _named(value, "") for name, value in variables.items()}
    own |= {name: {"Ref": parameter} for name, parameter in _BY_PARAMETER.items()}
    own["ROADSTEAD_RELAY"] = {"Fn::If": ["HasRelayInternet", "yes", ""]}
    return {**own, "ROADSTEAD_PUBLIC_URL": {"Fn::If": ["HasDomain", {"Fn::Sub": "https://${DomainName}"}, ""]}}


def _schedule(name: str, rate: str) -> Json:
    """Return what calls a function again and again, and keeps the calls that failed."""
    target = {"Fn::GetAtt": [name, "Arn"]}
    return {
        f"{name}Schedule": {
            "Type": "AWS::Events::Rule",
            "Properties": {"ScheduleExpression": rate, "Targets": [{"Id": name, "Arn": target}]},
        },
        f"{name}SchedulePermission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "FunctionName": {"Ref": name},
                "Action": "lambda:InvokeFunction",
                "Principal": "events.amazonaws.com",
                "SourceArn": {"Fn::GetAtt": [f"{name}Schedule", "Arn"]},
            },
        },
        f"{name}Failures": {
            "Type": "AWS::Lambda::EventInvokeConfig",
            # Lambda tries whether the role may, and refuses where it may not yet.
            "DependsOn": [f"{name}FailuresPolicy"],
            "Properties": {
                "FunctionName": {"Ref": name},
                "Qualifier": "$LATEST",
                "MaximumRetryAttempts": 2,
                "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}},
            },
        },
        f"{name}FailuresPolicy": {
            "Type": "AWS::IAM::Policy",
            "Properties": {
                "PolicyName": "failures",
                "Roles": [{"Ref": f"{name}Role"}],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": "sqs:SendMessage",
                            "Resource": {"Fn::GetAtt": ["DeadLetters", "Arn"]},
                        }
                    ],
                },
            },
        },
    }


def _api(name: str, sam: Json, *, fronted: bool) -> Json:
    """Return the API with our answers, its deployment and its public stages."""
    rest = {
        "Type": "AWS::ApiGateway::RestApi",
        "Properties": {
            "Name": {"Ref": "AWS::StackName"},
            "Body": sam["DefinitionBody"],
            "BinaryMediaTypes": ["*/*"],
            "EndpointConfiguration": {"Types": ["REGIONAL"]},
            # To overwrite would drop the gateway responses, which CloudFormation would not notice.
            "Mode": "merge",
        },
        "Metadata": {"cfn-lint": {"config": {"ignore_checks": ["W3660"]}}},
    }
    responses = {f"Answer{_camel(each.type)}": _answer(name, each, fronted=fronted) for each in RESPONSES}
    content = hashlib.sha256(json.dumps([rest, responses], sort_keys=True).encode()).hexdigest()[:10]
    deployment = {
        "Type": "AWS::ApiGateway::Deployment",
        "DependsOn": [*responses],
        "Properties": {"RestApiId": {"Ref": name}, "Description": content},
    }
    stages = {f"Stage{_camel(stage)}": _stage(name, stage, f"Deployment{content}") for stage in STAGES}
    return {name: rest, **responses, f"Deployment{content}": deployment, **stages}


def for_values(template: Json, values: Mapping[str, str]) -> Json:
    """Return the template as it is to be deployed with these parameters, those of the stack that stands included.

    A deployment is a picture of the API: what decides where clients are sent must change it too.
    """
    [name] = [each for each in template["Resources"] if each.startswith("Deployment")]
    defaults = {each: template["Parameters"][each]["Default"] for each in _SENDING if each in template["Parameters"]}
    chosen = {each: values.get(each, default) for each, default in defaults.items()}
    content = hashlib.sha256(json.dumps([name, chosen], sort_keys=True).encode()).hexdigest()[:10]
    made: Json = json.loads(json.dumps(template).replace(f'"{name}"', f'"Deployment{content}"'))
    return made


def _camel(text: str) -> str:
    return "".join(part.capitalize() for part in text.split("_"))


def _answer(api: str, response: GatewayResponse, *, fronted: bool) -> Json:
    own = {"Fn::Sub": "${RestAPI}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}
    reached = {"Fn::If": ["HasFront", {"Fn::GetAtt": ["Distribution", "DomainName"]}, own]} if fronted else own
    host = {"Fn::If": ["HasDomain", {"Ref": "DomainName"}, reached]}
    given = headers(response, "${Host}").items()
    properties: Json = {
        "RestApiId": {"Ref": api},
        "ResponseType": response.type,
        "ResponseParameters": {
            key: {"Fn::Sub": [value, {"Host": host}]} if "${Host}" in value else value for key, value in given
        },
        "ResponseTemplates": {"application/json": body(response)},
    }
    if response.status:
        properties["StatusCode"] = str(response.status)
    return {"Type": "AWS::ApiGateway::GatewayResponse", "Properties": properties}


def _stage(api: str, stage: str, deployment: str) -> Json:
    limits = {"ThrottlingRateLimit": {"Ref": "RequestsPerSecond"}, "ThrottlingBurstLimit": {"Ref": "Burst"}}
    logs = {"DestinationArn": {"Fn::GetAtt": ["GatewayLogGroup", "Arn"]}, "Format": json.dumps(GATEWAY_LINE)}
    return {
        "Type": "AWS::ApiGateway::Stage",
        "Properties": {
            "RestApiId": {"Ref": api},
            "StageName": stage,
            "DeploymentId": {"Ref": deployment},
            "TracingEnabled": {"Fn::If": ["HasTracing", True, False]},
            "AccessLogSetting": {"Fn::If": ["HasGatewayLogs", logs, {"Ref": "AWS::NoValue"}]},
            "MethodSettings": [{"HttpMethod": "*", "ResourcePath": "/*", **limits}],
        },
    }
