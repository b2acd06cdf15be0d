"""Every key has one meaning, and what is read back from a key is what was put into it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chalicelib.store
from chalicelib.oci.digests import HEX_LENGTH, Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout

REPOSITORY = Repository("library/nginx")
DIGEST = Digest("sha256", "a" * 64)
SUBJECT = Digest("sha512", "b" * 128)

# fmt: off
KEYS = [
    (layout.data("id"),                                 "data/id"),
    (layout.upload("id"),                               "uploads/id"),
    (layout.collector(7, "name"),                       "collector/7/name"),
    (layout.blob(DIGEST),                               f"blobs/sha256/{'a' * 64}"),
    (layout.collector(7, "seen"),                       "collector/7/seen"),
    (layout.catalog(REPOSITORY),                        "catalog/library!nginx"),
    (layout.link(REPOSITORY, DIGEST),                   f"repositories/library/nginx/_blobs/sha256/{'a' * 64}"),
    (layout.manifest(REPOSITORY, DIGEST),               f"repositories/library/nginx/_manifests/sha256/{'a' * 64}"),
    (layout.tag(REPOSITORY, Tag("v1")),                 "repositories/library/nginx/_tags/v1"),
    (layout.tags(REPOSITORY),                           "repositories/library/nginx/_tags/"),
    (layout.tagged(REPOSITORY, DIGEST),                 f"repositories/library/nginx/_tagged/sha256/{'a' * 64}/"),
    (layout.referrers(REPOSITORY, SUBJECT),             f"repositories/library/nginx/_referrers/sha512-{'b' * 128}/"),
    (layout.referrer(REPOSITORY, SUBJECT, DIGEST),
     f"repositories/library/nginx/_referrers/sha512-{'b' * 128}/sha256-{'a' * 64}"),
    (layout.cached(REPOSITORY, DIGEST),                 f"repositories/library/nginx/_cached/sha256/{'a' * 64}"),
    (layout.noted(REPOSITORY, Tag("v1")),               "repositories/library/nginx/_noted/v1"),
    (layout.collector(7, "linked"),                     "collector/7/linked"),
    (layout.needs(REPOSITORY),                          "collector/needs/library!nginx"),
    (layout.role(),                                     "region/role"),
    (layout.heartbeat("eu-west-3"),                     "heartbeats/eu-west-3"),
    (layout.kept(layout.tag(REPOSITORY, Tag("v1"))),    "history/repositories/library/nginx/_tags/v1/"),
]
# fmt: on

_part = st.from_regex(r"[a-z0-9]{1,3}((\.|_|__|-{1,2})[a-z0-9]{1,2}){0,2}", fullmatch=True)
repositories = st.lists(_part, min_size=1, max_size=4).map("/".join).map(Repository.parse)
digests = st.builds(
    lambda algorithm, digit: Digest(algorithm, digit * HEX_LENGTH[algorithm]),
    st.sampled_from(sorted(HEX_LENGTH)),
    st.sampled_from("0af"),
)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,5}", fullmatch=True).map(Tag.parse)
meanings = st.one_of(
    st.tuples(st.just(layout.catalog), repositories),
    st.tuples(st.just(layout.link), repositories, digests),
    st.tuples(st.just(layout.manifest), repositories, digests),
    st.tuples(st.just(layout.tag), repositories, tags),
    st.tuples(st.just(layout.cached), repositories, digests),
    st.tuples(st.just(layout.noted), repositories, tags),
    st.tuples(st.just(layout.referrer), repositories, digests, digests),
    st.tuples(st.just(layout.blob), digests),
)


@pytest.mark.parametrize(("key", "expected"), KEYS, ids=[key for _, key in KEYS])
def test_keys_are_where_the_design_says(key: str, expected: str) -> None:
    assert key == expected


def test_digests_are_read_back_from_keys() -> None:
    assert layout.blob_digest(layout.blob(DIGEST)) == str(DIGEST)
    assert layout.link_digest(REPOSITORY, layout.link(REPOSITORY, DIGEST)) == str(DIGEST)
    assert layout.referrer_digests(REPOSITORY, layout.referrer(REPOSITORY, SUBJECT, DIGEST)) == (
        str(SUBJECT),
        str(DIGEST),
    )


@given(meanings, meanings)
def test_two_things_never_share_a_key(one: tuple[object, ...], two: tuple[object, ...]) -> None:
    keys = [build(*arguments) for build, *arguments in (one, two)]  # type: ignore[operator]

    assert (keys[0] == keys[1]) == (one == two)


@given(repositories, repositories)
def test_no_listing_of_a_repository_shows_another_one(one: Repository, two: Repository) -> None:
    prefixes = [layout.tags(one), layout.tagged(one, DIGEST), layout.referrers(one, SUBJECT)]
    keys = [layout.tag(two, Tag("t")), layout.tagged(two, DIGEST) + "t", layout.referrer(two, SUBJECT, DIGEST)]

    shown = [key.startswith(prefix) for prefix, key in zip(prefixes, keys, strict=True)]

    assert shown == [one == two] * 3


@given(repositories)
def test_a_repository_reads_back_from_the_catalog(repository: Repository) -> None:
    assert layout.catalog_name(layout.catalog(repository)) == repository.name


@given(st.lists(repositories, max_size=4))
def test_the_catalog_is_in_the_order_of_names_part_by_part(names: list[Repository]) -> None:
    by_key = sorted(names, key=layout.catalog)

    assert by_key == sorted(names, key=lambda repository: repository.name.split("/"))


@given(st.uuids().map(str))
def test_an_upload_reads_back_from_its_keys(upload: str) -> None:
    assert layout.upload_id(layout.upload(upload)) == upload
    assert layout.upload_id(layout.data(upload)) == upload


def test_the_docstring_of_the_module_shows_every_key() -> None:
    described = re.findall(r"^    (\S.*?) {2,}\S", layout.__doc__ or "", re.MULTILINE)
    shapes = [re.compile(re.sub(r"<[^>]+>", "[^_].*", line)) for line in described]
    keys = [key + "x" * key.endswith("/") for _, key in KEYS]

    assert all(any(shape.fullmatch(key) for shape in shapes) for key in keys)
    assert all(any(shape.fullmatch(key) for key in keys) for shape in shapes)


def test_keys_are_built_in_no_other_module() -> None:
    folder = Path(chalicelib.store.__file__).parent
    markers = re.compile(r'"[^"\n]*(repositories/|_tags|_blobs/|_manifests/|_tagged/|_referrers/|catalog/)')

    found = [
        path.name for path in folder.glob("*.py") if path.name != "layout.py" and markers.search(path.read_text())
    ]

    assert found == []
