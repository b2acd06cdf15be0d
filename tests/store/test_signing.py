"""URLs of `Presigner` are those of botocore, and S3 services believe them for what they were signed for and no more.

botocore reads the system's clock: its URL is made first, and ours at the moment that it names.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import parse_qs, parse_qsl, urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st
from mypy_boto3_s3 import S3Client

from chalicelib.store.objects import S3Objects
from chalicelib.store.signing import Credentials, Presigner
from tests.engines import ENGINES
from tests.store.s3 import BUCKET, make_bucket, s3_objects

PERMANENT = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TEMPORARY = Credentials("ASIAEXAMPLE", "secret", "IQoJb3JpZ2luX2VjEE4aCXVzLWVhc3QtMSJH+/=")


@dataclass(frozen=True, slots=True)
class Place:
    """How a bucket is reached: botocore's endpoint (None is AWS itself) and our base."""

    region: str
    endpoint: str | None
    base: str


PLACES = {
    "AWS": Place("eu-central-1", None, "https://bucket.s3.eu-central-1.amazonaws.com"),
    "AWS, first region": Place("us-east-1", None, "https://bucket.s3.us-east-1.amazonaws.com"),
    "a port": Place("us-east-1", "http://127.0.0.1:8333", "http://127.0.0.1:8333/bucket"),
    "IPv6": Place("us-east-1", "http://[::1]:8333", "http://[::1]:8333/bucket"),
    "the port of http": Place("us-east-1", "http://s3.test:80", "http://s3.test:80/bucket"),
    "the port of https": Place("us-east-1", "https://s3.test:443", "https://s3.test:443/bucket"),
    "capitals": Place("us-east-1", "https://S3.Test:9000", "https://S3.Test:9000/bucket"),
}
KEYS = (
    "data/0b6ed3d5-9b5c-4d0e-9c5e-1f6b8a1c9f00",
    "repositories/a.b/c_d--e/_tags/v1.0_X-2",
    "catalog/a!b!c",
    "with space+plus%25/~tilde'()*",
    "question?hash#colon:semi;comma,equals=at@and&",
    "double//slash/",
    "/leading",
    "ümläut/日本",
)


@cache
def _client(place: Place, credentials: Credentials) -> S3Client:
    return boto3.client(
        "s3",
        region_name=place.region,
        endpoint_url=place.endpoint,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token or None,
        config=Config(
            signature_version="s3v4",
            s3={
                "addressing_style": "path" if place.endpoint else "virtual",
                "us_east_1_regional_endpoint": "regional",
            },
        ),
    )


def _ours(place: Place, credentials: Credentials, moment: str) -> Presigner:
    now = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return Presigner(place.base, place.region, lambda: credentials, lambda: now)


def _parts(url: str) -> tuple[str, str, str, list[tuple[str, str]]]:
    """Return what makes two URLs the same request: botocore writes parameters in another order."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc, parts.path, sorted(parse_qsl(parts.query, keep_blank_values=True))


def _moment(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Date"][0]


@pytest.mark.parametrize("credentials", [PERMANENT, TEMPORARY], ids=["permanent", "temporary"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_urls_are_those_of_botocore(method: str, place: Place, credentials: Credentials) -> None:
    client = _client(place, credentials)
    operation = {"GET": "get_object", "HEAD": "head_object"}[method]

    for key in KEYS:
        theirs = client.generate_presigned_url(operation, Params={"Bucket": "bucket", "Key": key}, ExpiresIn=900)
        ours = _ours(place, credentials, _moment(theirs)).url(method, key, seconds=900)

        assert _parts(ours) == _parts(theirs)


def test_a_further_parameter_is_signed_as_botocore_does() -> None:
    place = PLACES["a port"]
    disposition = 'attachment; filename="a b+c&d=ü.txt"'
    theirs = _client(place, TEMPORARY).generate_presigned_url(
        "get_object",
        Params={
            "Bucket": "bucket",
            "Key": "data/x",
            "ResponseContentType": "application/x; a=b",
            "ResponseContentDisposition": disposition,
        },
        ExpiresIn=60,
    )

    ours = _ours(place, TEMPORARY, _moment(theirs)).url(
        "GET",
        "data/x",
        seconds=60,
        query={"response-content-type": "application/x; a=b", "response-content-disposition": disposition},
    )

    assert _parts(ours) == _parts(theirs)


@settings(max_examples=150, deadline=None)
@given(
    key=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40),
    name=st.sampled_from(["AWS", "a port"]),
)
def test_any_key_is_signed_as_botocore_does(key: str, name: str) -> None:
    place = PLACES[name]
    theirs = _client(place, PERMANENT).generate_presigned_url(
        "get_object", Params={"Bucket": "bucket", "Key": key}, ExpiresIn=9
    )

    ours = _ours(place, PERMANENT, _moment(theirs)).url("GET", key, seconds=9)

    assert _parts(ours) == _parts(theirs)


def test_the_signing_key_changes_with_day_region_and_secret() -> None:
    moment = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
    place = Place("eu-north-1", "http://127.0.0.1:1", "http://127.0.0.1:1/bucket")
    variants = [
        Presigner(place.base, region, lambda key=key: Credentials("A", key), lambda now=now: now)  # type: ignore[misc]
        for region in ("eu-north-1", "eu-west-1")
        for key in ("one", "two")
        for now in (moment, moment + timedelta(seconds=1))
    ]

    signatures = {parse_qs(each.url("GET", "k", seconds=1))["X-Amz-Signature"][0] for each in variants}

    assert len(signatures) == len(variants)


def test_credentials_are_asked_for_at_every_url() -> None:
    given_out = iter([Credentials("first", "1"), Credentials("second", "2")])
    presigner = Presigner("http://127.0.0.1:1/b", "us-east-1", lambda: next(given_out), lambda: datetime.now(UTC))

    urls = [presigner.url("GET", "k", seconds=1) for _ in range(2)]

    assert ["first" in urls[0], "second" in urls[1]] == [True, True]


def test_secrets_do_not_show_in_what_is_printed() -> None:
    printed = repr(TEMPORARY)

    assert TEMPORARY.secret_key not in printed
    assert TEMPORARY.token not in printed


@pytest.fixture(scope="module", params=["ministack", "seaweedfs"])
def objects(request: pytest.FixtureRequest) -> Iterator[S3Objects]:
    with ENGINES[request.param]() as engine:
        make_bucket(engine)
        with s3_objects(engine) as opened:
            opened.put("a key/with (odd) characters+~", b"content")
            opened.put("other", b"content")
            yield opened


KEY = "a key/with (odd) characters+~"


def _ask(method: str, url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.mark.engines
def test_s3_serves_what_was_signed(objects: S3Objects) -> None:
    presigner = objects.presigner

    assert _ask("GET", presigner.url("GET", KEY, seconds=60)) == (200, b"content")
    assert _ask("HEAD", presigner.url("HEAD", KEY, seconds=60)) == (200, b"")


@pytest.mark.engines
def test_s3_refuses_another_method(objects: S3Objects) -> None:
    presigner = objects.presigner

    assert _ask("HEAD", presigner.url("GET", KEY, seconds=60))[0] == 403
    assert _ask("GET", presigner.url("HEAD", KEY, seconds=60))[0] == 403
    assert _ask("DELETE", presigner.url("GET", KEY, seconds=60))[0] == 403


@pytest.mark.engines
def test_s3_refuses_what_has_expired(objects: S3Objects) -> None:
    a_while_ago = datetime.now(UTC) - timedelta(seconds=120)
    presigner = Presigner(objects.presigner.base, objects.region, objects.presigner.credentials, lambda: a_while_ago)

    assert _ask("GET", presigner.url("GET", KEY, seconds=60))[0] == 403
    assert _ask("GET", presigner.url("GET", KEY, seconds=300)) == (200, b"content")


@pytest.mark.engines
def test_s3_refuses_what_was_changed(objects: S3Objects) -> None:
    url = objects.presigner.url("GET", KEY, seconds=60)
    path = urlsplit(url).path
    changed = (
        url.replace(path, f"/{BUCKET}/other"),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url + "&response-content-type=text/html",
    )

    assert [_ask("GET", each)[0] for each in changed] == [403] * len(changed)


@pytest.mark.engines
def test_s3_takes_a_further_parameter_that_was_signed(objects: S3Objects) -> None:
    url = objects.presigner.url("GET", KEY, seconds=60, query={"response-content-type": "text/x; a=b"})

    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "text/x; a=b"
