"""The front: what its functions do to requests, where each path goes, and that no private answer is ever kept.

CloudFront itself runs nowhere here. Its functions run under Node, on events in the form that CloudFront gives them;
which behaviour takes a path is decided by CloudFront's rule, the first pattern that fits.
"""

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chalicelib.services import DIGEST_MARK
from infra.gateway import RESPONSES, STAGES, body
from infra.package import ROOT, fragments

Json = dict[str, Any]
CODE = ROOT / "infra" / "cloudfront"
EVENTS = Path(__file__).parent / "events"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_BUT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
ALL = "216adef6-5c7f-47e4-b989-5492eafa07d3"
# Statuses that CloudFront keeps for 10 seconds where nothing else is said.
KEPT_ERRORS = {400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}
LONGEST_CODE = 10_240
LONGEST_WAIT = 60
SHA256 = "sha256:" + "0a" * 32
SHA512 = "sha512:" + "0a" * 64
API, BUCKET, PORTAL, NOWHERE = "api", "bucket", "portal", "nowhere"
# fmt: off
NO_DIGESTS = (
    "", "sha256:", SHA256[:-1], SHA256 + "a", SHA256.upper(), SHA256.replace("a", "A"), SHA256 + "\n", SHA256 + "%0D",
    SHA256.replace(":", "%3A%3A"), SHA256.replace(":", "%"), "sha512:" + SHA256[7:], "sha256:" + SHA512[7:],
    "md5:" + "0" * 32, f"x{SHA256}", f"{SHA256}, {SHA256}", "%E0%A4%A",
)
PATHS = (
    ("/v2",                                                   API),
    ("/v2/",                                                  API),
    ("/v2/_catalog",                                          API),
    ("/v2/library/app/manifests/latest",                      API),
    (f"/v2/library/app/manifests/{SHA256}",                   API),
    (f"/v2/library/a/b/c/blobs/{SHA256}",                     API),
    ("/v2/library%2Fapp/tags/list",                           API),
    ("/v2/data/app/tags/list",                                API),
    ("/v2/portal/repositories/x/manifests/portal",            API),
    ("/service/token",                                        API),
    ("/api/v2.0/projects",                                    API),
    ("/api/v2.0/projects/library/repositories/app/artifacts", API),
    ("/c/login",                                              API),
    ("/c/log_out",                                            API),
    ("/data/01jdx7m3vq8w9k2n4r6t8y0b1c",                      BUCKET),
    ("/repositories/library/app/_manifests/sha256/0a0a",      BUCKET),
    ("/portal/",                                              PORTAL),
    ("/portal/assets/app.js",                                 PORTAL),
    ("/",                                                     NOWHERE),
    ("/V2/",                                                  NOWHERE),
    ("/uploads/1",                                            NOWHERE),
    ("/blobs/sha256/0a0a",                                    NOWHERE),
    ("/catalog/library",                                      NOWHERE),
    ("/history/1",                                            NOWHERE),
    ("/portalx",                                              NOWHERE),
)
# fmt: on
UPLOADS = (
    "/v2/app/blobs/uploads/",
    "/v2/library/a/b/blobs/uploads/",
    "/v2/library/app/blobs/uploads/0f3c-11",
    "/v2/library%2Fapp/blobs/uploads/0f3c-11",
)
FRONT = fragments()["front"]


def decided(part: Any, *, failover: bool = False) -> Any:
    """Return a part of the template as it is with another region behind it, or without; `None` is no value."""
    if isinstance(part, list):
        return [made for made in (decided(each, failover=failover) for each in part) if made is not None]
    if not isinstance(part, dict):
        return part
    if "Fn::If" in part and part["Fn::If"][0] == "HasFailover":
        chosen = part["Fn::If"][1 if failover else 2]
        return None if chosen == {"Ref": "AWS::NoValue"} else decided(chosen, failover=failover)
    made = {key: decided(each, failover=failover) for key, each in part.items()}
    return {key: each for key, each in made.items() if each is not None}


_CONFIG: Json = FRONT["Resources"]["Distribution"]["Properties"]["DistributionConfig"]
CONFIG: Json = decided(_CONFIG)
WITH_FAILOVER: Json = decided(_CONFIG, failover=True)
FUNCTIONS = {
    name: each["Properties"]
    for name, each in FRONT["Resources"].items()
    if each["Type"] == "AWS::CloudFront::Function"
}


def run(file: str, events: Sequence[Json]) -> list[Json]:
    """Return what a function makes of each event, as CloudFront would get it."""
    node = shutil.which("node")
    assert node, "these tests run CloudFront's functions under Node: install nodejs"
    # The module that CloudFront has notes in the request what it was told of origins.
    module = "const told = [];const cf = {createRequestOriginGroup: (group) => told.push(group)};"
    code = (CODE / file).read_text().replace("import cf from 'cloudfront';", module)
    noted = (
        "(event) => { const made = handler(event); return cf_noted(made); }" if code.startswith(module) else "handler"
    )
    keep = "const cf_noted = (made) => ({ ...made, told: told.splice(0) });" if code.startswith(module) else ""
    program = f"'use strict';{code}\n{keep}console.log(JSON.stringify({json.dumps(events)}.map({noted})));"
    ran = subprocess.run([node], input=program, check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    made: list[Json] = json.loads(ran.stdout)
    return made


def request(uri: str = "", headers: Json | None = None, query: Json | None = None) -> Json:
    """Return the event of a viewer's request."""
    event: Json = json.loads((EVENTS / "viewer-request.json").read_text())
    event["request"]["uri"] = uri or event["request"]["uri"]
    event["request"]["headers"] |= headers or {}
    event["request"]["querystring"] |= query or {}
    return event


def response(method: str, *marks: str) -> Json:
    """Return the event of an answer of S3 to a request with these digests in its query."""
    event: Json = json.loads((EVENTS / "viewer-response.json").read_text())
    event["request"]["method"] = method
    if marks:
        several = {"multiValue": [{"value": mark} for mark in marks]} if len(marks) > 1 else {}
        event["request"]["querystring"][DIGEST_MARK] = {"value": marks[-1], **several}
    return event


# The functions.


@pytest.mark.parametrize("sent", [{}, {"x-forwarded-host": {"value": "evil.example.com"}}])
def test_the_registry_learns_by_which_host_the_client_came(sent: Json) -> None:
    event = request(headers=sent)

    [passed] = run("host.js", [event])

    expected = copy.deepcopy(event["request"])
    expected["headers"]["x-forwarded-host"] = {"value": "registry.example.org"}
    assert passed == expected


def test_several_claims_of_a_host_become_one() -> None:
    claims = {"value": "a.example", "multiValue": [{"value": "a.example"}, {"value": "b.example"}]}

    [passed] = run("host.js", [request(headers={"x-forwarded-host": claims})])

    assert passed["headers"]["x-forwarded-host"] == {"value": "registry.example.org"}


def test_what_only_reads_is_asked_elsewhere_where_this_region_fails() -> None:
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    events = [request("/v2/library/app/manifests/v1") for _ in methods]
    for method, event in zip(methods, events, strict=True):
        event["request"]["method"] = method

    made = run("failover.js", events)

    group = {
        "originIds": [{"originId": "api"}, {"originId": "other"}],
        "failoverCriteria": {"statusCodes": [500, 502, 503, 504]},
    }
    assert [each.pop("told") for each in made] == [[group], [group], [], [], [], [], []]
    assert made == run("host.js", events)


def test_with_another_region_the_api_and_the_buckets_have_a_second_origin() -> None:
    origins = {each["Id"]: each for each in WITH_FAILOVER["Origins"] if "Id" in each}
    [group] = WITH_FAILOVER["OriginGroups"]["Items"]
    members = [each["OriginId"] for each in group["Members"]["Items"]]
    using = {
        each["PathPattern"] for each in WITH_FAILOVER["CacheBehaviors"] if each.get("TargetOriginId") == "buckets"
    }

    assert {"api", "other", "bucket", "other-bucket"} <= set(origins)
    assert "OriginGroups" not in CONFIG
    assert {"other", "other-bucket"}.isdisjoint(each.get("Id", "") for each in CONFIG["Origins"])
    # To a presigned address of the other bucket, this one answers 403.
    assert (members, group["FailoverCriteria"]["StatusCodes"]["Items"][0]) == (["bucket", "other-bucket"], 403)
    assert using == {"/repositories/*", "/data/*"}
    assert origins["other-bucket"]["S3OriginConfig"] == {"OriginAccessIdentity": ""}
    assert origins["api"]["ConnectionAttempts"] * origins["api"]["ConnectionTimeout"] <= 5


def test_a_front_that_waits_for_the_domain_has_its_certificate_and_not_its_name() -> None:
    """CloudFront gives a name to one distribution; `associate-alias` moves it to one with a certificate for it."""
    assert CONFIG["Aliases"]["Fn::If"][:2] == ["HasFrontAlias", [{"Ref": "DomainName"}]]
    assert CONFIG["ViewerCertificate"]["Fn::If"][0] == "HasFrontCertificate"
    assert FRONT["Parameters"]["FrontAlias"]["Default"] == "true"
    assert {"Condition": "HasFrontCertificate"} in FRONT["Conditions"]["HasFrontAlias"]["Fn::And"]


def test_no_behaviour_that_takes_writes_has_an_origin_group() -> None:
    """CloudFront refuses that; so the function of the API makes its group for each request that reads."""
    groups = {each["Id"] for each in WITH_FAILOVER["OriginGroups"]["Items"]}
    grouped = [each for each in WITH_FAILOVER["CacheBehaviors"] if each.get("TargetOriginId") in groups]
    api = [each for each in WITH_FAILOVER["CacheBehaviors"] if each.get("TargetOriginId") == "api"]

    assert all(set(each["AllowedMethods"]) == {"GET", "HEAD"} for each in grouped)
    assert {name for each in api for name in functions_of(each).values()} == {"FailoverFunction"}


def test_a_token_never_reaches_the_bucket_and_the_rest_does() -> None:
    presigned = json.loads((EVENTS / "viewer-response.json").read_text())["request"]["querystring"]
    event = request("/data/1", query=presigned)

    [passed] = run("bucket-request.js", [event])

    del event["request"]["headers"]["authorization"]
    assert passed == event["request"]


def test_a_head_of_the_bucket_says_the_digest_that_the_address_has() -> None:
    marks = [SHA256, SHA512, SHA256.replace(":", "%3A"), SHA512.replace(":", "%3a")]

    answers = run("bucket-response.js", [response("HEAD", mark) for mark in marks])

    said = [answer["headers"].pop("docker-content-digest")["value"] for answer in answers]
    assert said == [SHA256, SHA512, SHA256, SHA512]
    assert answers == [response("HEAD")["response"]] * len(marks)


@pytest.mark.parametrize("mark", NO_DIGESTS)
def test_what_is_no_digest_is_not_believed(mark: str) -> None:
    event = response("HEAD", mark)

    assert run("bucket-response.js", [event]) == [event["response"]]


@pytest.mark.parametrize("event", [response("GET", SHA256), response("HEAD"), response("HEAD", SHA512, SHA256)],
                         ids=["bytes", "no digest", "two digests"])  # fmt: skip
def test_other_answers_of_the_bucket_stay_as_they_are(event: Json) -> None:
    assert run("bucket-response.js", [event]) == [event["response"]]


def test_pages_of_the_portal_are_one_page_and_files_are_files() -> None:
    # fmt: off
    pages = {
        "/portal/":                              "/portal/index.html",
        "/portal/projects/library":              "/portal/index.html",
        "/portal/projects/v1.2/tags":            "/portal/index.html",
        "/portal/index.html":                    "/portal/index.html",
        "/portal/assets/app.3f2a.js":            "/portal/assets/app.3f2a.js",
    }
    # fmt: on

    assert [made["uri"] for made in run("portal.js", [request(uri) for uri in pages])] == list(pages.values())


def test_people_who_come_to_the_host_are_sent_to_the_portal() -> None:
    for made in run("elsewhere.js", [request("/"), request("/portal")]):
        assert (made["statusCode"], made["headers"]["location"]["value"]) == (302, "/portal/")


def test_what_is_nowhere_is_answered_as_the_api_answers_it() -> None:
    [unknown] = [each for each in RESPONSES if each.type == "MISSING_AUTHENTICATION_TOKEN"]

    for made in run("elsewhere.js", [request(uri) for uri in ("/v1/", "/v3", "/.env", "/portalx", "//")]):
        assert made["statusCode"] == unknown.status
        assert made["headers"] == {"content-type": {"value": "application/json"}}
        assert json.loads(made["body"]) == json.loads(body(unknown))


def test_the_template_holds_each_function_as_it_was_tested() -> None:
    held = sorted(each["FunctionCode"] for each in FUNCTIONS.values())

    assert held == sorted(path.read_text() for path in CODE.glob("*.js"))
    for each in FUNCTIONS.values():
        assert len(each["FunctionCode"].encode()) <= LONGEST_CODE
        assert each["FunctionConfig"]["Runtime"] == "cloudfront-js-2.0"
        assert each["AutoPublish"]


def test_what_cloudfront_knows_in_all_regions_is_named_by_its_own() -> None:
    """Two regions' stacks have one name as a rule, and one CloudFront."""
    named = [
        each["Name"]["Fn::Sub"]
        for resource in FRONT["Resources"].values()
        for each in (resource["Properties"], *resource["Properties"].values())
        if isinstance(each, dict) and "Name" in each
    ]

    assert len(named) >= 10
    assert [name for name in named if not name.startswith("${AWS::StackName}-${AWS::Region}-")] == []


def test_no_name_of_a_file_is_left_in_the_template() -> None:
    named = [text for part in fragments().values() for text in texts(part) if text.startswith("@cloudfront/")]

    assert named == []


def texts(part: object) -> Iterator[str]:
    """Yield every text of a part of the template."""
    if isinstance(part, str):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from texts(each)


# The distribution.


def behaviors(*, relay: bool = False) -> list[Json]:
    """Return the behaviours in the order in which CloudFront tries them, the default one last."""
    listed = []
    for each in CONFIG["CacheBehaviors"]:
        chosen = each["Fn::If"][1 if relay else 2] if "Fn::If" in each else each
        if chosen != {"Ref": "AWS::NoValue"}:
            listed.append(chosen)
    return [*listed, {**CONFIG["DefaultCacheBehavior"], "PathPattern": "*"}]


def taker(path: str, *, relay: bool = False) -> Json:
    """Return the behaviour that takes a path: the first whose pattern fits, with * for anything and ? for one."""
    for each in behaviors(relay=relay):
        pattern = re.escape(each["PathPattern"]).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(pattern, path):
            return each
    raise AssertionError(path)


def functions_of(behavior: Json) -> dict[str, str]:
    """Return the names of a behaviour's functions by their events."""
    return {each["EventType"]: each["FunctionARN"]["Fn::GetAtt"][0] for each in behavior["FunctionAssociations"]}


@pytest.mark.parametrize(("path", "where"), PATHS)
def test_each_path_goes_where_it_belongs(path: str, where: str) -> None:
    chosen = taker(path)

    assert (NOWHERE if chosen["PathPattern"] == "*" else chosen["TargetOriginId"]) == where


@pytest.mark.parametrize("path", UPLOADS)
def test_uploads_go_to_the_relay_where_there_is_one(path: str) -> None:
    assert taker(path)["TargetOriginId"] == "api"
    assert taker(path, relay=True)["TargetOriginId"] == "relay"


@pytest.mark.parametrize(("path", "where"), PATHS)
def test_a_relay_takes_no_other_path(path: str, where: str) -> None:
    assert taker(path, relay=True) == taker(path), where


def test_the_relay_is_reached_inside_the_network_alone_and_gets_all_that_the_client_sent() -> None:
    [origin] = [each["Fn::If"][1] for each in CONFIG["Origins"] if "Fn::If" in each]
    uploads = taker(UPLOADS[0], relay=True)
    way = FRONT["Resources"]["RelayOrigin"]["Properties"]["VpcOriginEndpointConfig"]

    assert origin["Id"] == "relay"
    assert origin["VpcOriginConfig"]["VpcOriginId"] == {"Fn::GetAtt": ["RelayOrigin", "Id"]}
    assert origin["VpcOriginConfig"]["OriginReadTimeout"] == LONGEST_WAIT
    assert way["Arn"] == {"Ref": "RelayBalancer"}
    assert uploads["OriginRequestPolicyId"] == ALL
    assert functions_of(uploads) == {"viewer-request": "HostFunction"}


def test_every_public_stage_has_its_behaviour() -> None:
    taken = {each["PathPattern"] for each in behaviors() if each["TargetOriginId"] == "api"}

    assert taken == {f"/{stage}/*" for stage in STAGES} | {"/v2"}


def test_nothing_but_the_portal_is_ever_kept() -> None:
    kept = [each["PathPattern"] for each in behaviors(relay=True) if each["CachePolicyId"] != CACHING_DISABLED]

    assert kept == ["/portal/*"]
    assert functions_of(taker("/portal/")) == {"viewer-request": "PortalFunction"}
    assert "OriginRequestPolicyId" not in taker("/portal/")


def test_no_error_is_remembered_for_others() -> None:
    seconds = {each["ErrorCode"]: each["ErrorCachingMinTTL"] for each in CONFIG["CustomErrorResponses"]}

    assert seconds == dict.fromkeys(KEPT_ERRORS, 0)
    assert all(set(each) == {"ErrorCode", "ErrorCachingMinTTL"} for each in CONFIG["CustomErrorResponses"])


def test_no_answer_of_the_registry_is_compressed_on_the_way() -> None:
    assert [each["PathPattern"] for each in behaviors(relay=True) if each["Compress"]] == ["/portal/*"]


def test_nothing_is_taken_without_tls() -> None:
    plain = {each["PathPattern"]: each["ViewerProtocolPolicy"] for each in behaviors(relay=True)}

    assert {path for path, policy in plain.items() if policy != "https-only"} == {"/portal/*", "*"}
    assert {plain["/portal/*"], plain["*"]} == {"redirect-to-https"}
    certificate = CONFIG["ViewerCertificate"]["Fn::If"][1]
    assert certificate["MinimumProtocolVersion"] == "TLSv1.2_2021"


def test_only_the_registry_takes_more_than_questions() -> None:
    methods = [(each["TargetOriginId"], set(each["AllowedMethods"])) for each in behaviors(relay=True)]
    writing = {origin for origin, allowed in methods if allowed - {"GET", "HEAD"}}
    every = {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}

    assert writing == {"api", "relay"}
    assert all(allowed == every for origin, allowed in methods if origin in writing)


def test_the_registry_gets_all_that_the_client_sent_but_its_host() -> None:
    for each in behaviors():
        if each["TargetOriginId"] == "api":
            assert each["OriginRequestPolicyId"] == ALL_BUT_HOST
            assert functions_of(each) == {"viewer-request": "HostFunction"}


def test_the_bucket_gets_the_presigned_query_and_nothing_else() -> None:
    policy = FRONT["Resources"]["PresignedRequests"]["Properties"]["OriginRequestPolicyConfig"]
    ours = [each for each in behaviors() if each["TargetOriginId"] == "bucket"]

    assert policy["HeadersConfig"] == {"HeaderBehavior": "none"}
    assert policy["CookiesConfig"] == {"CookieBehavior": "none"}
    assert policy["QueryStringsConfig"] == {"QueryStringBehavior": "allExcept", "QueryStrings": [DIGEST_MARK]}
    for each in ours:
        assert each["OriginRequestPolicyId"] == {"Ref": "PresignedRequests"}
        assert functions_of(each) == {
            "viewer-request": "BucketRequestFunction",
            "viewer-response": "BucketResponseFunction",
        }
    assert len(ours) == 2


def test_no_header_of_cloudfront_s_own_comes_beside_the_presigned_query() -> None:
    """It adds X-Amz-Cf-Id for every origin but those of kind S3, and S3 wants each header of that family signed."""
    [bucket] = [each for each in CONFIG["Origins"] if each.get("Id") == "bucket"]

    assert bucket["S3OriginConfig"] == {"OriginAccessIdentity": ""}
    assert {"CustomOriginConfig", "OriginAccessControlId"}.isdisjoint(bucket)


def test_the_front_has_no_rights_of_its_own_but_to_read_the_portal(template: Json) -> None:
    with_access = [each["Id"] for each in CONFIG["Origins"] if "OriginAccessControlId" in each]
    every = [each.get("Properties", {}) for each in template["Resources"].values()]
    policies = [each for each in every if "cloudfront.amazonaws.com" in json.dumps(each)]

    assert with_access == ["portal"]
    [policy] = policies
    assert policy["Bucket"] == {"Ref": "PortalBucket"}
    [allowed] = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    assert allowed["Action"] == "s3:GetObject"
    assert allowed["Resource"] == {"Fn::Sub": "${PortalBucket.Arn}/portal/*"}
    assert "distribution/${Distribution}" in json.dumps(allowed["Condition"])


def test_without_the_parameter_there_is_no_front() -> None:
    assert FRONT["Parameters"]["Front"]["Default"] == "false"
    conditions = {name: each.get("Condition") for name, each in FRONT["Resources"].items()}
    assert conditions.pop("RelayOrigin") == "HasFrontedRelay"
    assert conditions.pop("FailoverFunction") == "HasFailover"
    assert {"Condition": "HasFront"} in FRONT["Conditions"]["HasFailover"]["Fn::And"]
    assert set(conditions.values()) == {"HasFront"}
    assert {"Condition": "HasFront"} in FRONT["Conditions"]["HasFrontedRelay"]["Fn::And"]
    assert {each.get("Condition") for each in FRONT["Outputs"].values()} == {"HasFront"}


def test_the_challenge_names_the_front_where_there_is_one(template: Json) -> None:
    challenge = template["Resources"]["AnswerUnauthorized"]["Properties"]["ResponseParameters"]

    [_, names] = challenge["gatewayresponse.header.WWW-Authenticate"]["Fn::Sub"]

    assert names["Host"]["Fn::If"][2]["Fn::If"][:2] == ["HasFront", {"Fn::GetAtt": ["Distribution", "DomainName"]}]


def test_the_front_waits_for_no_stage_that_waits_for_the_front() -> None:
    named = json.dumps(FRONT["Resources"]["Distribution"])

    assert "RestAPI" in named
    assert not re.search(r"Stage[A-Z]|Deployment|Answer[A-Z]", named)
