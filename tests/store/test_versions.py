"""How S3's listing of versions is read, page by page, and what the keeper of copies does under contention."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.store import layout
from chalicelib.store.connections import Answer
from chalicelib.store.objects import ConditionFailedError, Version
from chalicelib.store.versions import every_version
from tests.memory import Clock, MemoryObjects

KEY = "repositories/a/_tags/v1"


def _page(*elements: str, more: str = "") -> Answer:
    end = f"<NextKeyMarker>{more}</NextKeyMarker><NextVersionIdMarker>{len(elements)}</NextVersionIdMarker>"
    text = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{end if more else ''}{''.join(elements)}"
    document = f'<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{text}</ListVersionsResult>'
    return Answer(200, {}, document.encode())


def _element(number: int, key: str = KEY, kind: str = "Version", latest: str = "false") -> str:
    about = f"<Key>{key}</Key><VersionId>id-{number}</VersionId><IsLatest>{latest}</IsLatest>"
    size = f"<Size>{number}</Size><ETag>&quot;{number}&quot;</ETag>" if kind == "Version" else ""
    since = "<LastModified>2026-03-01T12:00:00.000Z</LastModified>"
    return f"<{kind}>{about}{since}{size}<Owner><ID>x</ID></Owner></{kind}>"


class Pages:
    """Answers one page after the other, and notes where each was to begin."""

    def __init__(self, *pages: Answer | None) -> None:
        self._pages = list(pages)
        self.asked: list[Mapping[str, str]] = []

    def __call__(self, query: Mapping[str, str]) -> Answer | None:
        self.asked.append(dict(query))
        return self._pages.pop(0)


def test_versions_and_deletions_come_in_the_order_of_the_document() -> None:
    elements = (_element(3, latest="true"), _element(2, kind="DeleteMarker"), _element(1))

    found = every_version(Pages(_page(*elements)), KEY)

    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert found == (
        Version("id-3", moment, 3, '"3"', deleted=False, latest=True),
        Version("id-2", moment, 0, "", deleted=True, latest=False),
        Version("id-1", moment, 1, '"1"', deleted=False, latest=False),
    )


def test_pages_are_read_as_long_as_they_end_with_the_key() -> None:
    pages = Pages(
        _page(_element(4), _element(3), more=KEY),
        _page(_element(2), more=KEY),
        _page(_element(1), _element(9, KEY + "-longer"), more=KEY + "-longer"),
    )

    found = every_version(pages, KEY)

    assert [version.id for version in found] == ["id-4", "id-3", "id-2", "id-1"]
    whole = {"versions": "", "prefix": KEY}
    assert pages.asked == [
        whole,
        {**whole, "key-marker": KEY, "version-id-marker": "2"},
        {**whole, "key-marker": KEY, "version-id-marker": "1"},
    ]


def test_longer_keys_are_left_out_and_no_page_of_them_is_read() -> None:
    pages = Pages(_page(_element(1, KEY + "-longer"), more=KEY + "-longer"))

    assert every_version(pages, KEY) == ()


def test_where_there_is_no_bucket_there_are_no_versions() -> None:
    assert every_version(Pages(None), KEY) == ()


def _under_contention(times: int) -> MemoryObjects:
    """Return a way to a bucket where somebody else writes the tag before so many conditional requests on it."""
    objects = MemoryObjects(Clock(), versioned=False)
    objects.put(KEY, b"first")
    other = objects.beside()
    left = iter(range(times))

    def interfere(operation: str, key: str) -> None:
        if key == KEY and operation in ("put", "delete_if") and (number := next(left, None)) is not None:
            other.put(KEY, b"other %d" % number)

    objects.before = interfere
    return objects


def test_a_write_that_meets_others_comes_after_them_and_loses_none() -> None:
    objects = _under_contention(5)

    objects.put(KEY, b"mine")

    contents = [objects.get(KEY, version.id) for version in objects.versions(KEY)]
    assert [found and found.content for found in contents] == [
        b"mine",
        *(b"other %d" % number for number in (4, 3, 2, 1, 0)),
        b"first",
    ]


def test_a_delete_that_meets_others_comes_after_them() -> None:
    objects = _under_contention(5)

    objects.delete(KEY)

    assert objects.get(KEY) is None
    assert [version.deleted for version in objects.versions(KEY)] == [True, *[False] * 6]


@pytest.mark.parametrize(
    "do", [lambda objects: objects.put(KEY, b"mine"), lambda objects: objects.delete(KEY)], ids=["put", "delete"]
)
def test_who_meets_others_without_end_is_told_to_try_again(do: Callable[[MemoryObjects], object]) -> None:
    objects = _under_contention(1000)

    with pytest.raises(RegistryError) as refused:
        do(objects)

    assert refused.value.code is ErrorCode.UNAVAILABLE


def test_a_condition_that_no_longer_holds_is_not_tried_again() -> None:
    objects = _under_contention(1)
    head = objects.head(KEY)
    assert head is not None

    with pytest.raises(ConditionFailedError):
        objects.put(KEY, b"mine", if_match=head.etag)

    found = objects.get(KEY)
    assert found is not None
    assert found.content == b"other 0"


def test_only_tags_are_copied() -> None:
    objects = MemoryObjects(Clock(), versioned=False)

    for number in range(3):
        for key in ("catalog/a", "uploads/1", "repositories/a/_tagged/sha256/0/v1", KEY):
            objects.put(key, b"%d" % number)

    assert len(objects.keys(layout.HISTORY)) == len(objects.keys(layout.kept(KEY))) == 2
