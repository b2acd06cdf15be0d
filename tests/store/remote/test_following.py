"""Where another registry leads to, what goes along, and what is not followed."""

import ssl
from collections.abc import Iterator

import pytest

from chalicelib.store.remote import DownError, OffsetError, Remote, RemoteError, Site, connect
from tests.store.remote.conftest import HERE
from tests.store.remote.fake import (
    ACCESS_KEY,
    ACCESS_SECRET,
    Answer,
    FakeRegistry,
    Handler,
    answer,
    digest_of,
    faking,
)

LAYER = b"layer" * 1000
DIGEST = digest_of(LAYER)


@pytest.fixture
def storage() -> Iterator[FakeRegistry]:
    with faking() as made:
        made.instead("GET", "/signed", answer(200, LAYER))
        made.instead("HEAD", "/signed", answer(200, LAYER))
        yield made


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_blob_elsewhere_is_read_there_without_our_credential(storage: FakeRegistry, status: int) -> None:
    with faking(auth="basic") as registry:
        registry.instead("GET", "/v2/a/b/blobs/", answer(status, Location=f"{storage.url}/signed?X=1"))
        site = Site(registry.url, access_key=ACCESS_KEY, access_secret=ACCESS_SECRET)
        registry.auth = "basic"
        with connect(site, HERE) as remote, remote.read_blob("a/b", DIGEST) as blob:
            assert blob.read(1 << 20) == LAYER

    assert [each.target for each in storage.asked] == ["/signed?X=1"]
    assert "authorization" not in storage.asked[0].headers


def test_who_we_are_goes_along_where_the_way_stays_with_the_registry(registry: FakeRegistry, remote: Remote) -> None:
    registry.auth = "basic"
    registry.add_blob("a/b", LAYER)
    registry.instead("GET", "/v2/x/y/blobs/", answer(307, Location=f"/v2/a/b/blobs/{DIGEST}"))
    remote.ping()

    with remote.read_blob("x/y", DIGEST) as blob:
        assert blob.read(1 << 20) == LAYER
    assert "authorization" in registry.asked[-1].headers


def test_the_size_of_a_blob_is_had_where_head_is_denied_elsewhere(
    registry: FakeRegistry, remote: Remote, storage: FakeRegistry
) -> None:
    storage.replaced.clear()
    storage.instead("GET", "/signed", answer(200, LAYER))
    storage.instead("HEAD", "/signed", answer(403))
    for method in ("HEAD", "GET"):
        registry.instead(method, "/v2/a/b/blobs/", answer(307, Location=f"{storage.url}/signed"))

    assert remote.blob_size("a/b", DIGEST) == len(LAYER)
    assert [each.method for each in storage.asked] == ["HEAD", "GET"]


def test_a_location_that_does_not_say_its_repository_is_one_of_the_upload_that_was_begun() -> None:
    with faking(auth="bearer") as registry:
        registry.instead("POST", "/v2/a/b/blobs/uploads/", begun_at("/v2/blob-uploads/7"))
        registry.instead("PATCH", "/v2/blob-uploads/7", admitted)
        registry.instead("PUT", "/v2/blob-uploads/7", admitted)
        with connect(Site(registry.url, "jfrog-artifactory", ACCESS_KEY, ACCESS_SECRET), HERE) as remote:
            remote.put_blob(remote.begin_upload("a/b"), DIGEST, len(LAYER), [LAYER])


def begun_at(location: str) -> Answer:
    def begin(handler: Handler) -> None:
        if handler.admitted():
            handler.give(202, b"", {"Location": location})

    return begin


def admitted(handler: Handler) -> None:
    if handler.admitted():
        handler.give(201)


def test_the_place_of_a_blob_is_told_without_going_there(
    registry: FakeRegistry, remote: Remote, storage: FakeRegistry
) -> None:
    registry.add_blob("a/b", LAYER)
    assert remote.blob_location("a/b", DIGEST) is None

    registry.instead("GET", "/v2/a/b/blobs/", answer(307, Location=f"{storage.url}/signed?X=1#part"))
    assert remote.blob_location("a/b", DIGEST) == f"{storage.url}/signed?X=1"
    assert storage.asked == []


def test_a_way_in_a_circle_ends(registry: FakeRegistry, remote: Remote) -> None:
    registry.instead("GET", "/v2/a/b/blobs/", answer(307, Location=f"/v2/a/b/blobs/{DIGEST}"))

    with pytest.raises(RemoteError, match="too often"):
        remote.read_blob("a/b", DIGEST)
    assert len(registry.asked) == 5


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://a/", "//", "http://", "http://[::1", "http://a:b/", ""]
)
def test_what_is_no_address_is_not_followed(registry: FakeRegistry, remote: Remote, location: str) -> None:
    registry.instead("GET", "/v2/a/b/blobs/", answer(307, Location=location))

    with pytest.raises(RemoteError):
        remote.read_blob("a/b", DIGEST)


@pytest.mark.parametrize("host", ["169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "10.0.0.1"])
def test_a_way_into_the_private_net_is_not_followed(registry: FakeRegistry, remote: Remote, host: str) -> None:
    registry.instead("GET", "/v2/a/b/blobs/", answer(307, Location=f"http://{host}/latest/meta-data"))

    with pytest.raises(DownError, match="not a public address"):
        remote.read_blob("a/b", DIGEST)


def test_a_way_from_https_to_http_is_not_followed(certified: ssl.SSLContext, ca: str, storage: FakeRegistry) -> None:
    with faking(certified) as registry:
        registry.instead("GET", "/v2/a/b/blobs/", answer(307, Location=f"{storage.url}/signed"))
        site = Site(registry.url, ca_certificate=ca)
        with connect(site, HERE) as remote, pytest.raises(RemoteError, match="https to http"):
            remote.read_blob("a/b", DIGEST)
        assert storage.asked == []


def test_a_certificate_is_checked_by_the_ca_that_the_site_names(certified: ssl.SSLContext, ca: str) -> None:
    with faking(certified) as registry:
        with connect(Site(registry.url), HERE) as remote, pytest.raises(DownError, match="CERTIFICATE_VERIFY_FAILED"):
            remote.ping()
        assert registry.asked == []
        for site in (Site(registry.url, ca_certificate=ca), Site(registry.url, skip_cert_verify=True)):
            with connect(site, HERE) as remote:
                remote.ping()


def test_an_address_or_a_certificate_that_is_none_is_refused_at_once() -> None:
    for site in (Site("ftp://a"), Site("a.example.com"), Site("https://a", ca_certificate="no PEM")):
        with pytest.raises(RemoteError):
            connect(site)


def test_an_upload_goes_where_the_registry_says_without_our_credential(storage: FakeRegistry) -> None:
    with faking(auth="basic") as registry:
        site = Site(registry.url, access_key=ACCESS_KEY, access_secret=ACCESS_SECRET)
        where = f"{storage.url}/up?sig=a%2Fb&x"
        registry.instead("POST", "/v2/a/b/blobs/uploads/", answer(202, Location=where))
        storage.instead("PATCH", "/up", answer(202, Range="0-4"))
        storage.instead("PUT", "/up", answer(201))
        registry.auth = "basic"
        with connect(site, HERE) as remote:
            location = remote.begin_upload("a/b")
            remote.finish(remote.send(location, b"layer", 0), DIGEST)

    assert [each.method for each in storage.asked] == ["PATCH", "PUT"]
    assert storage.asked[1].target == f"/up?sig=a%2Fb&x&digest=sha256%3A{DIGEST[7:]}"
    assert all("authorization" not in each.headers for each in storage.asked)


def test_a_chunk_is_sent_on_to_where_it_is_led(registry: FakeRegistry, remote: Remote, storage: FakeRegistry) -> None:
    registry.instead("PATCH", "/v2/a/b/", answer(307, Location=f"{storage.url}/up"))
    storage.instead("PATCH", "/up", answer(202, Range="0-4"))

    location = remote.begin_upload("a/b")
    remote.send(location, b"layer", 0)

    assert storage.asked[-1].content == b"layer"


def test_an_upload_that_leads_nowhere_is_an_error(registry: FakeRegistry, remote: Remote) -> None:
    for location in ("http://10.0.0.1/up", "nonsense://x"):
        registry.replaced.clear()
        registry.instead("POST", "/v2/a/b/blobs/uploads/", answer(202, Location=location))
        with pytest.raises(RemoteError):
            remote.send(remote.begin_upload("a/b"), b"x", 0)


def test_chunks_that_do_not_follow_are_told(registry: FakeRegistry, remote: Remote) -> None:
    location = remote.begin_upload("a/b")
    location = remote.send(location, b"abc", 0)

    with pytest.raises(OffsetError) as caught:
        remote.send(location, b"abc", 0)
    assert caught.value.status == 416
    assert remote.uploaded(location) == 3
    registry.instead("PATCH", "/v2/a/b/", answer(202, Range="0-8"))
    with pytest.raises(OffsetError) as caught:
        remote.send(location, b"def", 3)
    assert caught.value.status == 202
