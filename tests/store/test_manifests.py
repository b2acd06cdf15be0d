"""Manifests, tags and referrers: what is served, what is refused, and what races and crashes leave."""

from collections.abc import Callable
from urllib.parse import urlsplit

import orjson
import pytest

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout
from chalicelib.store.manifests import DIGEST
from tests.memory import Clock, MemoryObjects, located
from tests.store.client import Client, Document, code, image, index
from tests.store.faults import Fault, every_fault
from tests.store.schedule import Action, Choose, every_order, interleave

CONFIG = b"{}"
ONE = image(CONFIG, annotations={"n": "1"})
TWO = image(CONFIG, annotations={"n": "2"})
SIGNATURE = image(CONFIG, subject=ONE, artifactType="application/x-signature")
REPOSITORY = Repository("a/b")


@pytest.fixture
def client() -> Client:
    (client,) = _processes(1)
    return client


def _processes(count: int) -> tuple[Client, ...]:
    """Return processes over a bucket where the repository holds the config."""
    clock = Clock()
    bucket = MemoryObjects(clock)
    clients = tuple(Client.of(bucket, clock) for _ in range(count))
    clients[-1].push_blob("a/b", CONFIG)
    return clients


def _delete(client: Client, reference: object) -> int:
    if isinstance(reference, Digest):
        return client.delete_alone("a/b", reference).status
    return client.ask("DELETE", f"/v2/a/b/manifests/{reference}").status


def _pull(client: Client, reference: object) -> bytes | None:
    """Return the manifest, if GET and HEAD agree on it, or None."""
    answer, head = client.manifest("a/b", reference), client.manifest("a/b", reference, "HEAD")
    assert answer.status == head.status, (answer, head)
    if answer.status == 404:
        return None
    assert answer.status == 200, answer
    names = ("Content-Type", "Docker-Content-Digest", "ETag")
    assert [answer.headers[name] for name in names] == [head.headers[name] for name in names]
    assert head.headers["Content-Length"] == str(len(answer.body))
    return answer.body


# Serving.


@pytest.mark.parametrize("reference", ["v1", str(ONE.digest)])
def test_a_manifest_comes_back_byte_for_byte(client: Client, reference: str) -> None:
    content = b" \n" + ONE.content + b"\n"
    spaced = Document(content, ONE.media_type)
    client.push_manifest("a/b", "v1", spaced)

    answer = client.manifest("a/b", "v1" if reference == "v1" else spaced.digest)

    assert answer.body == content
    assert answer.headers["Content-Type"] == ONE.media_type
    assert answer.headers["Docker-Content-Digest"] == str(spaced.digest)


def test_a_manifest_is_unknown_in_other_repositories(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)

    answers = [client.manifest(name, reference) for name in ("a/a", "a/b/c") for reference in ("v1", ONE.digest)]

    assert [code(answer) for answer in answers] == ["MANIFEST_UNKNOWN"] * 4


def test_a_tag_moves_and_the_digest_stays(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)

    client.push_manifest("a/b", "v1", TWO)

    assert _pull(client, "v1") == TWO.content
    assert _pull(client, ONE.digest) == ONE.content


def test_a_push_by_digest_names_as_many_tags_as_it_says(client: Client) -> None:
    answer = client.put_manifest("a/b", f"{ONE.digest}?tag=v1&tag=v1.0&tag=v1", ONE)

    assert (answer.status, answer.headers["OCI-Tag"]) == (201, "v1, v1.0")
    assert client.tags("a/b") == ["v1", "v1.0"]
    assert _pull(client, "v1.0") == ONE.content


def test_a_push_by_digest_alone_makes_no_tag_and_lists_the_repository(client: Client) -> None:
    client.push_manifest("a/b", ONE.digest, ONE)

    assert client.tags("a/b") == []
    assert orjson.loads(client.ask("GET", "/v2/_catalog").body) == {"repositories": ["a/b"]}


@pytest.mark.parametrize("reference", ["v1", str(ONE.digest)])
def test_a_damaged_manifest_is_never_served(client: Client, reference: str) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.objects.damage(layout.tag(REPOSITORY, Tag("v1")), TWO.content)
    client.objects.damage(layout.manifest(REPOSITORY, ONE.digest), TWO.content)

    answer = client.manifest("a/b", reference)

    assert (answer.status, code(answer)) == (500, "UNKNOWN")
    assert TWO.content not in answer.body


def test_a_damaged_manifest_is_mended_by_pushing_it_again(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.objects.damage(layout.manifest(REPOSITORY, ONE.digest), b"{}")

    client.push_manifest("a/b", "v1", ONE)

    assert _pull(client, ONE.digest) == ONE.content


def test_a_damaged_manifest_can_be_deleted(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.objects.damage(layout.manifest(REPOSITORY, ONE.digest), b"{}")

    status = _delete(client, ONE.digest)

    assert status == 202
    assert _pull(client, ONE.digest) is None
    assert _pull(client, "v1") is None


# References.


def test_a_manifest_whose_content_is_missing_is_refused_and_leaves_nothing(client: Client) -> None:
    document = image(CONFIG, [b"one", b"two"])
    client.push_blob("a/b", b"one")
    client.push_blob("a/elsewhere", b"two")
    before = client.objects.keys()

    answer = client.put_manifest("a/b", "v1", document)

    assert (answer.status, code(answer)) == (404, "MANIFEST_BLOB_UNKNOWN")
    (missing,) = orjson.loads(answer.body)["errors"][0]["detail"]
    assert missing["digest"] == orjson.loads(document.content)["layers"][1]["digest"]
    assert client.objects.keys() == before


def test_layers_that_are_held_elsewhere_by_design_may_be_missing(client: Client) -> None:
    document = orjson.loads(image(CONFIG, [b"foreign"]).content)
    document["layers"][0]["urls"] = ["https://example.com/layer"]

    answer = client.put_manifest("a/b", "v1", Document(orjson.dumps(document), ONE.media_type))

    assert answer.status == 201


@pytest.mark.parametrize(
    ("here", "children", "status"),
    [
        ((), (), 201),
        ((), (ONE,), 404),
        ((), (ONE, TWO), 404),
        ((ONE,), (ONE, TWO), 201),
        ((ONE, TWO), (ONE, TWO), 201),
    ],
    ids=["of nothing", "of one, none here", "of two, none here", "of two, one here", "of two, both here"],
)
def test_an_index_needs_one_of_its_manifests(
    client: Client, here: tuple[Document, ...], children: tuple[Document, ...], status: int
) -> None:
    for child in here:
        client.push_manifest("a/b", child.digest, child)

    answer = client.put_manifest("a/b", "v1", index(children))

    assert answer.status == status
    assert _pull(client, "v1") == (index(children).content if status == 201 else None)


def test_an_index_may_name_a_manifest_that_only_a_tag_carries(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.objects.delete(layout.manifest(REPOSITORY, ONE.digest))

    answer = client.put_manifest("a/b", "all", index([ONE]))

    assert answer.status == 201


def test_a_manifest_may_refer_to_a_subject_that_is_not_there(client: Client) -> None:
    answer = client.put_manifest("a/b", "sig", SIGNATURE)

    assert (answer.status, answer.headers["OCI-Subject"]) == (201, str(ONE.digest))
    assert client.referrers("a/b", ONE.digest) == {str(SIGNATURE.digest)}


# Tags that carry what was lost.


def test_a_digest_whose_manifest_is_gone_is_found_through_its_tag(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.objects.delete(layout.manifest(REPOSITORY, ONE.digest))

    assert _pull(client, ONE.digest) == ONE.content


def test_a_tag_that_has_moved_does_not_answer_for_its_old_digest(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.push_manifest("a/b", "v1", TWO)
    client.objects.delete(layout.manifest(REPOSITORY, ONE.digest))

    assert _pull(client, ONE.digest) is None


def test_among_many_that_moved_the_tag_that_stayed_is_found(client: Client) -> None:
    for number in range(30):
        client.push_manifest("a/b", f"t{number:02}", ONE)
    for number in (*range(20), *range(21, 30)):
        client.push_manifest("a/b", f"t{number:02}", TWO)
    client.objects.delete(layout.manifest(REPOSITORY, ONE.digest))

    assert _pull(client, ONE.digest) == ONE.content


# Referrers.


def test_referrers_tell_type_and_annotations_and_can_be_filtered(client: Client) -> None:
    sbom = image(CONFIG, subject=ONE, artifactType="application/x-sbom", annotations={"by": "hand"})
    plain = image(CONFIG, subject=ONE)
    for document in (SIGNATURE, sbom, plain):
        client.push_manifest("a/b", document.digest, document)

    answer = client.ask("GET", f"/v2/a/b/referrers/{ONE.digest}?artifactType=application/x-sbom")

    assert client.referrers("a/b", ONE.digest) == {str(each.digest) for each in (SIGNATURE, sbom, plain)}
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert orjson.loads(answer.body)["manifests"] == [
        {**sbom.descriptor(), "artifactType": "application/x-sbom", "annotations": {"by": "hand"}}
    ]


def test_referrers_that_are_too_many_for_one_answer_come_in_pages(client: Client) -> None:
    documents = [
        image(CONFIG, subject=ONE, annotations={"n": str(number), "long": "x" * 1_500_000}) for number in range(5)
    ]
    for document in documents:
        client.push_manifest("a/b", document.digest, document)
    found: list[str] = []
    url, pages = f"/v2/a/b/referrers/{ONE.digest}", 0

    while url:
        answer = client.ask("GET", url)
        assert len(answer.body) < 4 << 20
        found += [entry["digest"] for entry in orjson.loads(answer.body)["manifests"]]
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
        pages += 1

    assert sorted(found) == sorted(str(document.digest) for document in documents)
    assert pages == 3


def test_a_deleted_manifest_refers_to_nothing(client: Client) -> None:
    client.push_manifest("a/b", "sig", SIGNATURE)

    _delete(client, SIGNATURE.digest)

    assert client.referrers("a/b", ONE.digest) == set()


# Deleting and listing.


def test_deleting_a_tag_deletes_nothing_else(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.push_manifest("a/b", "v2", ONE)

    status = _delete(client, "v1")

    assert status == 202
    assert client.tags("a/b") == ["v2"]
    assert _pull(client, ONE.digest) == ONE.content
    assert _delete(client, "v1") == 404


def test_deleting_a_manifest_deletes_the_tags_that_name_it_and_no_others(client: Client) -> None:
    for tag in ("v1", "v2", "moved"):
        client.push_manifest("a/b", tag, ONE)
    client.push_manifest("a/b", "moved", TWO)
    client.push_manifest("a/b", "other", TWO)

    status = _delete(client, ONE.digest)

    assert status == 202
    assert client.tags("a/b") == ["moved", "other"]
    assert _pull(client, ONE.digest) is None
    assert _pull(client, "moved") == TWO.content
    assert _delete(client, ONE.digest) == 404


def test_deleting_a_manifest_that_only_a_tag_carries_deletes_it(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.objects.delete(layout.manifest(REPOSITORY, ONE.digest))

    status = _delete(client, ONE.digest)

    assert status == 202
    assert (_pull(client, ONE.digest), _pull(client, "v1")) == (None, None)


def test_more_than_a_thousand_tags_of_one_manifest_are_deleted(client: Client) -> None:
    for number in range(1003):
        key = layout.tag(REPOSITORY, Tag(f"t{number:04}"))
        client.objects.put(layout.tagged(REPOSITORY, ONE.digest) + f"t{number:04}", b"")
        client.objects.put(key, ONE.content, content_type=ONE.media_type, metadata={DIGEST: str(ONE.digest)})
    client.push_manifest("a/b", "t0000", ONE)

    status = _delete(client, ONE.digest)

    assert status == 202
    assert client.tags("a/b") == []


def test_a_repository_that_never_had_a_manifest_has_no_list_of_tags(client: Client) -> None:
    answer = client.ask("GET", "/v2/a/b/tags/list")

    assert (answer.status, code(answer)) == (404, "NAME_UNKNOWN")


def test_tags_come_in_byte_order_and_in_pages(client: Client) -> None:
    names = ["0.1", "10", "9", "A", "Z", "_x", "a", "a-b", "a.b", "a_b", "latest"]
    for name in reversed(names):
        client.push_manifest("a/b", name, ONE)
    url, pages = "/v2/a/b/tags/list?n=3", []

    while url:
        answer = client.ask("GET", url)
        pages.append(orjson.loads(answer.body)["tags"])
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")

    assert pages == [names[start : start + 3] for start in range(0, len(names), 3)]


def test_the_catalog_comes_in_pages(client: Client) -> None:
    names = ["a/a", "a/a/b", "a/a/b/c", "a/a/c", "a/a-b", "a/a.b", "a/a0", "a/b", "a-b/a", "b/a"]
    for name in names:
        client.push_blob(name, CONFIG)
        client.push_manifest(name, "v1", ONE)
    url, found = "/v2/_catalog?n=3", []

    while url:
        answer = client.ask("GET", url)
        found += orjson.loads(answer.body)["repositories"]
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")

    assert found == names


# Races, in every order of their S3 requests.


def _race(
    prepare: Callable[[Client], object],
    one: Callable[[Client], int],
    two: Callable[[Client], int],
    check: Callable[[Client, list[int | BaseException]], None],
) -> int:
    """Run two operations in every order of their requests; `check` gets a third process and the answers."""

    def run(choose: Choose) -> None:
        first, second, reader = _processes(3)
        prepare(reader)
        actions = [Action(first.objects, lambda: one(first)), Action(second.objects, lambda: two(second))]
        check(reader, interleave(actions, choose))

    return every_order(run)


def _push(tag: object, document: Document) -> Callable[[Client], int]:
    return lambda client: client.put_manifest("a/b", tag, document).status


def _deletion(reference: object) -> Callable[[Client], int]:
    return lambda client: _delete(client, reference)


def test_of_two_pushes_of_one_tag_one_stands_whole_and_both_digests_are_there() -> None:
    outcomes = set()

    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert statuses == [201, 201]
        outcomes.add(_pull(reader, "v1"))
        assert _pull(reader, ONE.digest) == ONE.content
        assert _pull(reader, TWO.digest) == TWO.content
        assert orjson.loads(reader.ask("GET", "/v2/_catalog").body) == {"repositories": ["a/b"]}

    _race(lambda _: None, _push("v1", ONE), _push("v1", TWO), check)

    assert outcomes == {ONE.content, TWO.content}


def test_a_tag_that_moves_while_its_manifest_is_deleted_stays_on_the_new_one() -> None:
    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert statuses == [201, 202]
        assert _pull(reader, "v1") == TWO.content
        assert _pull(reader, ONE.digest) is None

    orders = _race(
        lambda client: client.push_manifest("a/b", "v1", ONE), _push("v1", TWO), _deletion(ONE.digest), check
    )

    # The tag moves before, between and after the deletion's look at it and its delete.
    assert orders >= 3


@pytest.mark.parametrize(
    "before", [None, "v1", "v0"], ids=["pushed by digest", "under that tag", "under another tag"]
)
def test_a_push_beside_the_deletion_of_the_same_manifest_leaves_all_of_it_or_nothing(before: str | None) -> None:
    outcomes = set()

    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert statuses == [201, 202]
        by_tag, by_digest = _pull(reader, "v1"), _pull(reader, ONE.digest)
        assert by_tag == by_digest
        assert reader.tags("a/b") == (["v1"] if by_tag else [])
        outcomes.add(by_tag)

    _race(
        lambda client: client.push_manifest("a/b", before or ONE.digest, ONE),
        _push("v1", ONE),
        _deletion(ONE.digest),
        check,
    )

    assert outcomes == {ONE.content, None}


def test_a_first_push_beside_a_deletion_is_there_if_its_tag_is() -> None:
    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert statuses[0] == 201
        assert statuses[1] in (202, 404)
        by_tag, by_digest = _pull(reader, "v1"), _pull(reader, ONE.digest)
        assert by_tag == by_digest
        assert statuses[1] == 202 or by_tag == ONE.content

    _race(lambda _: None, _push("v1", ONE), _deletion(ONE.digest), check)


def test_two_deletions_of_a_manifest_leave_nothing() -> None:
    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert 202 in statuses
        assert set(statuses) <= {202, 404}
        assert (_pull(reader, "v1"), _pull(reader, ONE.digest)) == (None, None)

    _race(lambda client: client.push_manifest("a/b", "v1", ONE), _deletion(ONE.digest), _deletion(ONE.digest), check)


def test_a_tag_deleted_while_it_moves_is_gone_or_the_new_one() -> None:
    outcomes = set()

    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert statuses == [201, 202]
        outcomes.add(_pull(reader, "v1"))
        assert _pull(reader, ONE.digest) == ONE.content
        assert _pull(reader, TWO.digest) == TWO.content

    _race(lambda client: client.push_manifest("a/b", "v1", ONE), _push("v1", TWO), _deletion("v1"), check)

    assert outcomes == {TWO.content, None}


def test_an_index_pushed_while_its_manifest_is_deleted_is_whole_or_was_pushed_first() -> None:
    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert statuses[0] in (201, 404)
        assert statuses[1] == 202
        assert _pull(reader, ONE.digest) is None
        assert _pull(reader, "all") == (index([ONE]).content if statuses[0] == 201 else None)

    _race(
        lambda client: client.push_manifest("a/b", "v1", ONE),
        _push("all", index([ONE])),
        _deletion(ONE.digest),
        check,
    )


def test_a_manifest_pushed_while_its_config_is_deleted_is_whole_or_refused() -> None:
    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert statuses[0] in (201, 404)
        assert statuses[1] == 202
        assert _pull(reader, "v1") == (ONE.content if statuses[0] == 201 else None)

    config = orjson.loads(ONE.content)["config"]["digest"]
    _race(
        lambda _: None,
        _push("v1", ONE),
        lambda client: client.ask("DELETE", f"/v2/a/b/blobs/{config}").status,
        check,
    )


def test_referrers_and_their_manifests_part_only_where_a_push_met_a_deletion() -> None:
    outcomes = set()

    def check(reader: Client, statuses: list[int | BaseException]) -> None:
        assert statuses == [201, 202]
        assert _pull(reader, "sig") == _pull(reader, SIGNATURE.digest)
        outcomes.add((_pull(reader, "sig") is not None, bool(reader.referrers("a/b", ONE.digest))))
        reader.push_manifest("a/b", "sig", SIGNATURE)
        assert reader.referrers("a/b", ONE.digest) == {str(SIGNATURE.digest)}

    orders = _race(
        lambda client: client.push_manifest("a/b", SIGNATURE.digest, SIGNATURE),
        _push("sig", SIGNATURE),
        _deletion(SIGNATURE.digest),
        check,
    )

    # The tag moves before, between and after the deletion's look at it and its delete.
    assert orders >= 3
    assert outcomes >= {(True, True), (False, False)}


# Crashes and faults, at every S3 request.


def test_a_push_that_fails_anywhere_leaves_the_old_tag_or_the_new_one() -> None:
    def scenario(fault: Fault) -> None:
        one, two = _processes(2)
        two.push_manifest("a/b", "v1", ONE)
        statuses = []

        with fault.on(one.objects):
            statuses.append(one.put_manifest("a/b", "v1", TWO).status)

        tag = _pull(two, "v1")
        assert tag == TWO.content if 201 in statuses else tag in (ONE.content, TWO.content), fault
        assert _pull(two, ONE.digest) == ONE.content
        assert tag == ONE.content or _pull(two, TWO.digest) == TWO.content
        assert set(statuses) <= {201, 503}
        two.push_manifest("a/b", "v1", TWO)
        assert _pull(two, "v1") == TWO.content

    assert every_fault(scenario) >= 25


def test_a_first_push_with_several_tags_that_fails_anywhere_has_no_tag_without_its_manifest() -> None:
    target = f"{SIGNATURE.digest}?tag=v1&tag=v2"

    def scenario(fault: Fault) -> None:
        one, two = _processes(2)

        with fault.on(one.objects):
            one.put_manifest("a/b", target, SIGNATURE)

        for tag in ("v1", "v2"):
            if _pull(two, tag) is not None:
                assert _pull(two, SIGNATURE.digest) == SIGNATURE.content, fault
                assert two.referrers("a/b", ONE.digest) == {str(SIGNATURE.digest)}
                assert orjson.loads(two.ask("GET", "/v2/_catalog").body) == {"repositories": ["a/b"]}
        assert two.put_manifest("a/b", target, SIGNATURE).status == 201
        assert two.tags("a/b") == ["v1", "v2"]

    assert every_fault(scenario) >= 40


def test_a_deletion_that_fails_anywhere_can_be_repeated_and_never_strands_a_tag() -> None:
    def scenario(fault: Fault) -> None:
        one, two = _processes(2)
        for tag in ("v1", "v2"):
            two.push_manifest("a/b", tag, SIGNATURE)
        statuses = []

        with fault.on(one.objects):
            statuses.append(_delete(one, SIGNATURE.digest))

        for tag in ("v1", "v2"):
            assert _pull(two, tag) in (None, _pull(two, SIGNATURE.digest)), fault
        assert set(statuses) <= {202, 503}
        left = _pull(two, SIGNATURE.digest)
        assert _delete(two, SIGNATURE.digest) == (404 if left is None else 202)
        assert two.tags("a/b") == []
        assert two.referrers("a/b", ONE.digest) == set()

    assert every_fault(scenario) >= 35


def test_a_head_that_is_redirected_leads_to_what_is_there(client: Client) -> None:
    client.push_manifest("a/b", "v1", ONE)
    client.objects.delete(layout.manifest(REPOSITORY, ONE.digest))

    answer = client.ask("HEAD", f"/v2/a/b/manifests/{ONE.digest}", redirect_head=True)

    assert answer.status == 307
    assert urlsplit(answer.headers["Location"]).scheme == "https"
    assert client.objects.head(located(answer.headers["Location"])) is not None
