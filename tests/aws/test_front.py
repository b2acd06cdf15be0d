"""The front on emulated AWS: the stack with CloudFront goes up, and a HEAD finds its way through what is deployed.

ministack keeps distributions and functions but serves nothing by them. So the test does what CloudFront would:
it walks from answer to answer by the template's behaviours and functions, which it compares with what is deployed.
"""

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.aws.cloud import Cloud, deployed
from tests.aws.door import Behind, opened
from tests.aws.test_stack import CONTENT, logged_in, push_blob
from tests.engines.process import HOST, free_ports
from tests.infra.test_cloudfront import CODE, behaviors, request, response, run, taker

pytestmark = pytest.mark.aws


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with deployed(tmp_path_factory.mktemp("package"), Front="true") as made:
        yield made


def test_who_comes_without_a_token_is_sent_to_the_token_service_of_the_front(cloud: Cloud) -> None:
    refused = httpx.get(f"{cloud.api}/v2/")

    host = cloud.outputs["FrontHost"]
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == f'Bearer realm="https://{host}/service/token",service="{host}"'


def test_the_distribution_stands_with_its_behaviours_and_origins(cloud: Cloud) -> None:
    [made] = cloud.client("cloudfront").list_distributions()["DistributionList"]["Items"]

    origins = {each["Id"]: each["DomainName"] for each in made["Origins"]["Items"]}
    assert made["DomainName"] == cloud.outputs["FrontHost"]
    assert origins["api"].startswith(f"{cloud.outputs['ApiId']}.execute-api.")
    assert origins["bucket"].startswith(f"{cloud.outputs['BucketName']}.s3.")
    assert origins["portal"].startswith(f"{cloud.outputs['PortalBucketName']}.s3.")
    assert [each["PathPattern"] for each in made["CacheBehaviors"]["Items"]] == [
        each["PathPattern"] for each in behaviors()[:-1]
    ]


def test_every_function_is_live_with_the_code_that_was_tested(cloud: Cloud) -> None:
    cloudfront = cloud.client("cloudfront")
    names = [each["Name"] for each in cloudfront.list_functions(Stage="LIVE")["FunctionList"]["Items"]]

    live = [cloudfront.get_function(Name=name, Stage="LIVE")["FunctionCode"].read().decode() for name in names]

    # There is no other region to fail over to.
    needed = [path for path in CODE.glob("*.js") if path.stem != "failover"]
    assert sorted(live) == sorted(path.read_text() for path in needed)


def test_a_head_through_the_front_ends_at_the_bucket_with_length_and_digest(cloud: Cloud) -> None:
    person = logged_in(cloud, "library/front")
    digest = push_blob(person, "library/front", CONTENT)
    path = f"/v2/library/front/blobs/{digest}"

    [asked] = run("host.js", [request(path, {"host": {"value": cloud.outputs["FrontHost"]}})])
    forwarded = asked["headers"]["x-forwarded-host"]["value"]
    redirect = person.ask("HEAD", path, x_forwarded_host=forwarded)
    location = urlsplit(redirect.headers["location"])

    assert (redirect.status_code, location.netloc) == (307, "")
    assert taker(location.path)["TargetOriginId"] == "bucket"
    query = dict(parse_qsl(location.query))
    mark = query.pop("_digest")
    bucket = f"{cloud.engine.endpoint}/{cloud.outputs['BucketName']}"
    found = httpx.head(f"{bucket}{location.path}", params=query)
    assert (found.status_code, found.headers["content-length"]) == (200, str(len(CONTENT)))
    [answer] = run("bucket-response.js", [response("HEAD", mark)])
    assert answer["headers"]["docker-content-digest"] == {"value": digest}


def test_pages_of_the_portal_come_from_its_bucket(cloud: Cloud) -> None:
    page = {"Bucket": cloud.outputs["PortalBucketName"], "Key": "portal/index.html", "Body": b"a page"}
    cloud.client("s3").put_object(**page)
    (port,) = free_ports(1)

    with opened(Behind(cloud.origins(), cloud.front()), port):
        answers = [httpx.get(f"http://{HOST}:{port}{path}") for path in ("/portal/", "/portal/projects/1")]

    assert [(each.status_code, each.content) for each in answers] == [(200, b"a page")] * 2
