"""Lists of other registries: pages that lead on, in circles, or to others; what each make has instead."""

import json

import pytest

from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.store.remote import MissingError, Remote, RemoteError, UntrueError
from tests.store.remote.fake import FakeRegistry, answer

MANIFEST = b'{"schemaVersion":2}'


def document(fields: object, **headers: str) -> object:
    return answer(200, json.dumps(fields).encode(), **headers)


def test_tags_come_page_by_page(registry: FakeRegistry, remote: Remote) -> None:
    registry.page = 2
    for tag in ("v1", "v2", "v3", "v4", "v5"):
        registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, tag)

    assert list(remote.tags("a/b")) == ["v1", "v2", "v3", "v4", "v5"]
    assert len(registry.asked) == 3


def test_no_repository_is_not_no_tags(registry: FakeRegistry, remote: Remote) -> None:
    registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST)

    assert list(remote.tags("a/b")) == []
    with pytest.raises(MissingError):
        list(remote.tags("a/c"))


@pytest.mark.parametrize(
    ("link", "error"),
    [
        ('<http://other.example.com/v2/a/b/tags/list>; rel="next"', "another host"),
        ('<http://127.0.0.1:1/v2/a/b/tags/list>; rel="next"', "another host"),
        ('</v2/a/b/tags/list?n=1000>; rel="next"', "without an end"),
        ('<http://[>; rel="next"', "no address"),
    ],
)
def test_a_page_that_leads_astray_is_not_followed(
    registry: FakeRegistry, remote: Remote, link: str, error: str
) -> None:
    registry.instead("GET", "/v2/a/b/tags/list", answer(200, b'{"tags":["v1"]}', Link=link))

    with pytest.raises(RemoteError, match=error):
        list(remote.tags("a/b"))
    assert len(registry.asked) == 1


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("</v2/a/b/tags/list?last=v1>;rel=next", True),
        ('</v2/a/b/tags/list?last=v1&x=a,b>; title="x"; rel="next"', True),
        ('</first>; rel="first", </v2/a/b/tags/list?last=v1>; rel="next"', True),
        ("<?last=v1>; rel=next", True),
        ('</v2/a/b/tags/list?last=v1>; rel="previous"', False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_the_way_to_the_next_page_is_read_as_it_is_written(
    registry: FakeRegistry, remote: Remote, link: str, *, leads: bool
) -> None:
    registry.instead("GET", "/v2/a/b/tags/list?n", answer(200, b'{"tags":["v1"]}', Link=link))
    registry.instead("GET", "/v2/a/b/tags/list?last", answer(200, b'{"tags":["v2"]}'))

    assert list(remote.tags("a/b")) == (["v1", "v2"] if leads else ["v1"])


@pytest.mark.parametrize(
    "content",
    [b'{"tags":"v1"}', b'{"tags":[1,null,{}]}', b'{"tags":["../x","a/b","","a b"]}', b"{}", b'{"tags":null}'],
)
def test_what_is_no_tag_is_left_out(registry: FakeRegistry, remote: Remote, content: bytes) -> None:
    registry.instead("GET", "/v2/a/b/tags/list", answer(200, content))

    assert list(remote.tags("a/b")) == []


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"[" * 100_000])
def test_what_is_no_list_is_told(registry: FakeRegistry, remote: Remote, content: bytes) -> None:
    registry.instead("GET", "/v2/a/b/tags/list", answer(200, content))

    with pytest.raises(UntrueError):
        list(remote.tags("a/b"))


def test_a_catalog_is_read_and_narrowed(registry: FakeRegistry, remote: Remote) -> None:
    registry.page = 1
    for name in ("a/b", "a/c", "ab/d"):
        registry.add_manifest(name, MANIFEST, OCI_MANIFEST)

    assert list(remote.repositories()) == ["a/b", "a/c", "ab/d"]
    assert list(remote.repositories(["a"])) == ["a/b", "a/c"]


@pytest.mark.parametrize("status", [400, 404, 405])
def test_referrers_come_from_the_tag_where_the_registry_does_not_list_them(
    registry: FakeRegistry, remote: Remote, status: int
) -> None:
    registry.instead("GET", "/v2/a/b/referrers/", answer(status))
    listed = {"schemaVersion": 2, "manifests": [{"digest": "sha256:1"}, {"no": "digest"}, 7]}
    registry.add_manifest("a/b", json.dumps(listed).encode(), OCI_MANIFEST, "sha256-00")

    assert remote.referrers("a/b", "sha256:00") == [{"digest": "sha256:1"}]


@pytest.mark.parametrize(("pages", "said"), [(3, "x" * (6 << 20)), (200, "")])
def test_referrers_without_an_end_are_refused(registry: FakeRegistry, remote: Remote, pages: int, said: str) -> None:
    page = json.dumps({"manifests": [{"digest": "sha256:1", "annotations": {"said": said}}]}).encode()
    for number in range(pages):
        link = f"</v2/a/b/referrers/sha256:00?page={number + 1}>; rel=next" if number < pages - 1 else ""
        where = f"?page={number}" if number else ""
        registry.instead("GET", f"/v2/a/b/referrers/sha256:00{where}", answer(200, page, Link=link), times=1)

    with pytest.raises(UntrueError, match="too many referrers"):
        remote.referrers("a/b", "sha256:00")


def test_a_page_of_a_proxy_is_no_list_of_referrers(registry: FakeRegistry, remote: Remote) -> None:
    registry.instead("GET", "/v2/a/b/referrers/", answer(200, b"<html>welcome</html>"))

    assert remote.referrers("a/b", "sha256:00") == []


def test_a_registry_that_is_down_has_not_no_referrers(registry: FakeRegistry, remote: Remote) -> None:
    registry.instead("GET", "/v2/a/b/referrers/", answer(502))

    with pytest.raises(RemoteError):
        remote.referrers("a/b", "sha256:00")
