"""What every `ObjectStore` does: one suite, run on the store in memory and on S3 services.

* A class of tests derives from `ObjectStoreContract`, names its `engine` and gives `objects` and `other`: two
  processes' ways to one bucket.
* Each test works below a prefix of its own, so a bucket serves all of them. With `folder` it is one of tags, whose
  past versions are kept, by the bucket or by the store.
* `CANNOT` lists what an engine does not do. Such a test must fail there (xfail is strict), so a row that an engine
  no longer needs shows itself.
"""

import io
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.uploads import MIN_PART
from chalicelib.store.objects import KEPT, OCTETS, ConditionFailedError, MultipartGoneError, ObjectStore

_PART_AGAIN = "takes a completion a second time, and does not look at the condition then"
_KEY_ERROR = "answers with status 500 where a part comes after the end of its upload"
_FOLDERS = "lists folder by folder, not in byte order, and skips what StartAfter is inside of"
_DELETIONS_LAST = "lists deletions after all that was there, with times in whole seconds"
_PATHS = "takes keys for paths: backslashes become slashes, and two slashes one"
# fmt: off
CANNOT: Mapping[tuple[str, str], str] = {
    ("moto",      "test_completing_twice_fails_and_changes_nothing"):            _PART_AGAIN,
    ("moto",      "test_a_part_of_a_completed_upload_is_gone"):                  _KEY_ERROR,
    ("moto",      "test_an_aborted_upload_is_gone"):                             _KEY_ERROR,
    ("moto",      "test_an_unfinished_upload_tells_when_it_was_begun"):          "says that all were begun in 2010",
    ("moto, versioned", "test_a_deletion_is_a_version"):                         _DELETIONS_LAST,
    ("moto, versioned", "test_the_latest_version_of_what_is_deleted_is_the_deletion"): _DELETIONS_LAST,
    ("ministack", "test_completing_twice_fails_and_changes_nothing"):            _PART_AGAIN,
    ("ministack", "test_a_small_part_before_the_last_is_refused"):               "takes parts of any size",
    ("seaweedfs", "test_odd_characters_in_a_key_are_kept[back\\\\slash]"):       _PATHS,
    ("seaweedfs", "test_odd_characters_in_a_key_are_kept[double//slash]"):       _PATHS,
    ("seaweedfs", "test_a_listing_is_in_byte_order_of_the_keys"):                _FOLDERS,
    ("seaweedfs", "test_a_listing_begins_strictly_after"):                       _FOLDERS,
    ("seaweedfs", "test_a_prefix_cuts_keys_anywhere"):                           _FOLDERS,
    ("seaweedfs", "test_pages_together_are_the_whole_listing"):                  _FOLDERS,
    ("seaweedfs", "test_completing_with_a_part_that_was_replaced_is_gone"):      "keeps both parts that had a number",
}
# fmt: on
# In byte order: `!` sorts before `-`, `-` before `/`, `/` before digits, capitals before small letters.
ORDERED = ("l/A", "l/a", "l/a!b", "l/a-1", "l/a.b", "l/a/x", "l/a/x/y", "l/a0", "l/a_", "l/ab", "l/b")
BETWEEN = ("", "a", "l", "l/", "l/a!", "l/a-0", "l/a/", "l/a/x!", "l/aa", "l/zz", "z")
# The characters of tags and of the catalog, without a slash: all that the registry pages through is flat.
FLAT = ("0.1", "10", "9", "A", "Z", "_", "a", "a!b", "a!b!c", "a-b", "a-b!c", "a.b", "a.b!c", "ab", "v1", "v1.0")
ODD_NAMES = (
    "with space",
    "two  spaces",
    "plus+plus",
    "50%",
    "%2F",
    "a%20b",
    "quote'quote",
    'double"quote',
    "back\\slash",
    "question?mark=1&two=2",
    "hash#tag",
    "at@colon:semi;comma,",
    "dollar$star*paren()",
    "tilde~caret^grave`",
    "less<more>pipe|",
    "brackets[]braces{}",
    "equals=bang!",
    "double//slash",
    "dots...",
)
WRONG = '"00000000000000000000000000000000"'
_numbers = count(1)


class Contract:
    """What the suites share; `engine` is the first half of the keys of `CANNOT`."""

    engine = ""
    folder = ""

    @pytest.fixture(autouse=True)
    def _expectations(self, request: pytest.FixtureRequest) -> None:
        reason = CANNOT.get((self.engine, request.node.name))
        if reason:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def at(self) -> str:
        return f"contract-{next(_numbers)}/{self.folder}"


class ObjectStoreContract(Contract):
    """The suite."""

    # Reading and writing.

    def test_an_object_reads_back_whole(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}a", b"some bytes")

        found = objects.get(f"{at}a")

        assert found is not None
        assert found.content == b"some bytes"
        assert found.head == objects.head(f"{at}a")

    def test_the_head_tells_size_type_metadata_and_the_tag_that_the_write_returned(
        self, objects: ObjectStore, at: str
    ) -> None:
        metadata = {"digest": "sha256:0123", "other-name": "with spaces, and: signs"}
        etag = objects.put(f"{at}a", b"12345", content_type="text/x; charset=utf-8", metadata=metadata)

        head = objects.head(f"{at}a")

        assert head is not None
        assert (head.size, head.etag, head.content_type) == (5, etag, "text/x; charset=utf-8")
        assert head.metadata == metadata

    def test_an_object_without_a_type_is_octets_without_metadata(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}a", b"12345")

        head = objects.head(f"{at}a")

        assert head is not None
        assert (head.content_type, dict(head.metadata)) == (OCTETS, {})

    def test_an_empty_object_is_there(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}a", b"")

        found = objects.get(f"{at}a")
        head = objects.head(f"{at}a")

        assert found is not None
        assert found.content == b""
        assert head is not None
        assert head.size == 0
        assert b"".join(objects.read(f"{at}a")) == b""
        assert [entry.size for entry in objects.list(at).entries] == [0]

    def test_what_is_not_there_is_none_or_a_lookup_error(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}a/b", b"below")

        assert objects.get(f"{at}a") is None
        assert objects.head(f"{at}a") is None
        with pytest.raises(LookupError):
            list(objects.read(f"{at}a"))

    def test_reading_in_pieces_gives_every_byte_once(self, objects: ObjectStore, at: str) -> None:
        content = b"".join(number.to_bytes(4, "big") for number in range(700_000))
        objects.put(f"{at}a", content)

        pieces = list(objects.read(f"{at}a"))

        assert len(pieces) > 1
        assert b"".join(pieces) == content

    def test_reading_can_begin_anywhere_in_an_object(self, objects: ObjectStore, at: str) -> None:
        content = b"".join(number.to_bytes(4, "big") for number in range(700_000))
        objects.put(f"{at}a", content)

        assert b"".join(objects.read(f"{at}a", 1)) == content[1:]
        assert b"".join(objects.read(f"{at}a", len(content) - 1)) == content[-1:]
        with pytest.raises(LookupError):
            list(objects.read(f"{at}b", 1))

    def test_reading_can_be_given_up_half_way(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}a", bytes(3 << 20))
        pieces = objects.read(f"{at}a")

        first = next(pieces)
        del pieces

        assert first
        assert objects.head(f"{at}a") is not None

    def test_a_write_replaces_bytes_type_and_metadata(self, objects: ObjectStore, at: str) -> None:
        first = objects.put(f"{at}a", b"first", content_type="text/first", metadata={"digest": "one", "gone": "x"})
        second = objects.put(f"{at}a", b"the second", content_type="text/second", metadata={"digest": "two"})

        found = objects.get(f"{at}a")

        assert found is not None
        assert found.content == b"the second"
        assert (found.head.size, found.head.etag, found.head.content_type) == (10, second, "text/second")
        assert found.head.metadata == {"digest": "two"}
        assert first != second

    def test_equal_bytes_have_equal_entity_tags(self, objects: ObjectStore, at: str) -> None:
        assert objects.put(f"{at}a", b"same") == objects.put(f"{at}b", b"same")

    def test_a_write_is_seen_by_every_other_process(self, objects: ObjectStore, other: ObjectStore, at: str) -> None:
        etag = objects.put(f"{at}a", b"bytes")

        found = other.get(f"{at}a")
        head = other.head(f"{at}a")

        assert found is not None
        assert found.content == b"bytes"
        assert head is not None
        assert head.etag == etag
        assert b"".join(other.read(f"{at}a")) == b"bytes"
        assert [entry.key for entry in other.list(at).entries] == [f"{at}a"]

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_characters_in_a_key_are_kept(self, objects: ObjectStore, at: str, name: str) -> None:
        key = f"{at}{name}"
        etag = objects.put(key, name.encode())

        found = objects.get(key)
        head = objects.head(key)
        listed = [entry.key for entry in objects.list(at).entries]
        after = objects.list(at, after=key).entries
        objects.delete_if(key, etag)

        assert found is not None
        assert found.content == name.encode()
        assert head is not None
        assert listed == [key]
        assert after == ()
        assert objects.get(key) is None

    # Conditions.

    def test_a_write_if_absent_creates(self, objects: ObjectStore, at: str) -> None:
        etag = objects.put(f"{at}a", b"first", if_absent=True)

        assert _state(objects, f"{at}a") == (b"first", etag)

    def test_a_write_if_absent_of_what_is_there_changes_nothing(self, objects: ObjectStore, at: str) -> None:
        etag = objects.put(f"{at}a", b"first", content_type="text/x", metadata={"digest": "one"})

        with pytest.raises(ConditionFailedError):
            objects.put(f"{at}a", b"second", metadata={"digest": "two"}, if_absent=True)

        head = objects.head(f"{at}a")
        assert _state(objects, f"{at}a") == (b"first", etag)
        assert head is not None
        assert (head.content_type, head.metadata) == ("text/x", {"digest": "one"})

    def test_a_write_if_absent_fails_even_for_the_same_bytes(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}a", b"same", if_absent=True)

        with pytest.raises(ConditionFailedError):
            objects.put(f"{at}a", b"same", if_absent=True)

    def test_a_write_if_absent_creates_what_was_deleted(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}a", b"first")
        objects.delete(f"{at}a")

        etag = objects.put(f"{at}a", b"second", if_absent=True)

        assert _state(objects, f"{at}a") == (b"second", etag)

    def test_a_write_if_match_replaces_that_version(self, objects: ObjectStore, at: str) -> None:
        first = objects.put(f"{at}a", b"first")

        second = objects.put(f"{at}a", b"second", if_match=first)

        assert _state(objects, f"{at}a") == (b"second", second)

    def test_a_write_if_match_of_another_version_changes_nothing(self, objects: ObjectStore, at: str) -> None:
        first = objects.put(f"{at}a", b"first")
        second = objects.put(f"{at}a", b"second")

        with pytest.raises(ConditionFailedError):
            objects.put(f"{at}a", b"third", if_match=first)

        assert _state(objects, f"{at}a") == (b"second", second)

    @pytest.mark.parametrize("deleted", [False, True], ids=["never there", "deleted"])
    def test_a_write_if_match_of_what_is_absent_creates_nothing(
        self, objects: ObjectStore, at: str, deleted: bool
    ) -> None:
        etag = objects.put(f"{at}{'a' if deleted else 'b'}", b"first")
        objects.delete(f"{at}a")

        with pytest.raises(ConditionFailedError):
            objects.put(f"{at}a", b"second", if_match=etag)

        assert objects.get(f"{at}a") is None

    def test_of_many_writes_if_absent_at_once_one_wins(self, objects: ObjectStore, at: str) -> None:
        won = _race(lambda content: objects.put(f"{at}a", content, if_absent=True))

        found = objects.get(f"{at}a")
        assert found is not None
        assert won == [found.content]

    def test_of_many_writes_if_match_at_once_one_wins(self, objects: ObjectStore, at: str) -> None:
        etag = objects.put(f"{at}a", b"first")

        won = _race(lambda content: objects.put(f"{at}a", content, if_match=etag))

        found = objects.get(f"{at}a")
        assert found is not None
        assert won == [found.content]

    # Deleting.

    def test_deleting_takes_the_objects_named_and_no_others(self, objects: ObjectStore, at: str) -> None:
        _fill(objects, at, ("a", "a/b", "a-1", "b"))

        objects.delete(f"{at}a", f"{at}b")

        assert set(_names(objects, at)) == {"a-1", "a/b"}
        assert objects.get(f"{at}a") is None

    def test_deleting_what_is_absent_or_named_twice_is_no_error(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}a", b"x")

        objects.delete(f"{at}a", f"{at}a", f"{at}never")
        objects.delete(f"{at}a")
        objects.delete()

        assert objects.list(at).entries == ()

    def test_more_than_a_thousand_are_deleted_at_once(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}0000", b"x")
        objects.put(f"{at}1004", b"x")

        objects.delete(*(f"{at}{number:04}" for number in range(1005)))

        assert objects.list(at).entries == ()

    def test_deleting_a_version_that_is_there_deletes_it(self, objects: ObjectStore, at: str) -> None:
        etag = objects.put(f"{at}a", b"x")

        objects.delete_if(f"{at}a", etag)

        assert objects.get(f"{at}a") is None

    def test_deleting_another_version_deletes_nothing(self, objects: ObjectStore, at: str) -> None:
        first = objects.put(f"{at}a", b"first")
        second = objects.put(f"{at}a", b"second")

        with pytest.raises(ConditionFailedError):
            objects.delete_if(f"{at}a", first)

        assert _state(objects, f"{at}a") == (b"second", second)

    def test_deleting_a_version_of_what_is_absent_fails(self, objects: ObjectStore, at: str) -> None:
        etag = objects.put(f"{at}a", b"x")
        objects.delete(f"{at}a")

        with pytest.raises(ConditionFailedError):
            objects.delete_if(f"{at}a", etag)

    # Listing.

    def test_a_listing_is_in_byte_order_of_the_keys(self, objects: ObjectStore, at: str) -> None:
        _fill(objects, at, ORDERED)

        assert _names(objects, at) == list(ORDERED)

    def test_a_listing_begins_strictly_after(self, objects: ObjectStore, at: str) -> None:
        _fill(objects, at, ORDERED)

        for after in (*ORDERED, *BETWEEN):
            assert _names(objects, at, after=f"{at}{after}") == [name for name in ORDERED if name > after], after

    def test_a_flat_listing_is_in_byte_order_and_begins_strictly_after(self, objects: ObjectStore, at: str) -> None:
        _fill(objects, at, FLAT)

        for after in ("", *FLAT, "0", "a.", "v", "v1.", "z"):
            assert _names(objects, at, after=f"{at}{after}") == [name for name in FLAT if name > after], after

    def test_a_flat_listing_is_whole_in_pages_of_any_size(self, objects: ObjectStore, at: str) -> None:
        _fill(objects, at, FLAT)

        for limit in range(1, len(FLAT) + 2):
            assert _pages(objects, at, limit) == list(FLAT), limit

    def test_a_folder_beside_does_not_show(self, objects: ObjectStore, at: str) -> None:
        _fill(objects, at, ("_tags/a", "_tags/b", "_tagged/sha256/0/a", "_tags-x", "b/_tags/c"))

        assert _names(objects, f"{at}_tags/") == ["a", "b"]
        assert _names(objects, f"{at}_tags/", after=f"{at}_tags/a") == ["b"]

    def test_after_may_be_outside_the_prefix(self, objects: ObjectStore, at: str) -> None:
        objects.put(f"{at}l/a", b"x")

        before = objects.list(f"{at}l/", after=f"{at}a/z")
        behind = objects.list(f"{at}l/", after=f"{at}m/a")

        assert [entry.key for entry in before.entries] == [f"{at}l/a"]
        assert behind.entries == ()

    def test_a_prefix_cuts_keys_anywhere(self, objects: ObjectStore, at: str) -> None:
        _fill(objects, at, ORDERED)

        for prefix in ("l/a", "l/a/", "l/a/x", "l/A"):
            below = [name.removeprefix(prefix) for name in ORDERED if name.startswith(prefix)]
            assert _names(objects, f"{at}{prefix}") == below, prefix

    @pytest.mark.parametrize(("limit", "more"), [(1, True), (2, True), (4, True), (5, False), (1000, False)])
    def test_a_page_has_at_most_the_limit_and_tells_whether_more_follows(
        self, objects: ObjectStore, at: str, limit: int, more: bool
    ) -> None:
        for number in range(5):
            objects.put(f"{at}{number}", b"x")

        page = objects.list(at, limit=limit)

        assert [entry.key for entry in page.entries] == [f"{at}{number}" for number in range(min(limit, 5))]
        assert page.more is more

    def test_pages_together_are_the_whole_listing(self, objects: ObjectStore, at: str) -> None:
        _fill(objects, at, ORDERED)

        for limit in (1, 2, 3, 7):
            assert _pages(objects, at, limit) == list(ORDERED), limit

    def test_no_page_has_more_than_a_thousand(self, objects: ObjectStore, at: str) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: objects.put(f"{at}{number:04}", b""), range(1003)))

        first = objects.list(at)
        second = objects.list(at, after=first.entries[-1].key)

        assert (len(first.entries), first.more) == (1000, True)
        assert [entry.key for entry in second.entries] == [f"{at}{number}" for number in (1000, 1001, 1002)]
        assert not second.more

    def test_an_empty_listing_has_nothing_more(self, objects: ObjectStore, at: str) -> None:
        page = objects.list(at)

        assert (page.entries, page.more) == ((), False)

    def test_an_entry_tells_size_and_time_of_the_last_write(
        self, objects: ObjectStore, now: Callable[[], datetime], at: str
    ) -> None:
        objects.put(f"{at}a", b"1")
        objects.put(f"{at}a", b"12345")

        (entry,) = objects.list(at).entries

        assert entry.size == 5
        assert entry.modified.tzinfo is not None
        assert abs(entry.modified - now()) < timedelta(seconds=5)

    # Multipart uploads.

    def test_parts_become_one_object_in_the_order_of_their_numbers(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        last = _put_part(objects, f"{at}a", multipart, 3, b"the end")
        first = _put_part(objects, f"{at}a", multipart, 1, _part(b"1"))
        middle = _put_part(objects, f"{at}a", multipart, 2, _part(b"2"))

        objects.complete(f"{at}a", multipart, [first, middle, last])

        head = objects.head(f"{at}a")
        assert b"".join(objects.read(f"{at}a")) == _part(b"1") + _part(b"2") + b"the end"
        assert head is not None
        assert (head.size, head.content_type) == (2 * MIN_PART + 7, OCTETS)
        assert _names(objects, at) == ["a"]
        assert list(objects.unfinished(at)) == []

    def test_the_tenth_part_follows_the_ninth(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        etags = [_put_part(objects, f"{at}a", multipart, n, _part(b"%2d" % n)) for n in range(1, 12)]

        objects.complete(f"{at}a", multipart, etags)

        read = b"".join(objects.read(f"{at}a"))
        starts = [read[n * MIN_PART : n * MIN_PART + 2] for n in range(11)]
        assert starts == [b"%2d" % n for n in range(1, 12)]
        assert len(read) == 11 * MIN_PART

    def test_large_parts_of_different_sizes_are_kept(self, objects: ObjectStore, at: str) -> None:
        contents = [bytes(16 << 20), bytes((20 << 20) + 3), b"\1"]
        multipart = objects.begin(f"{at}a")
        etags = [_put_part(objects, f"{at}a", multipart, n, content) for n, content in enumerate(contents, 1)]

        objects.complete(f"{at}a", multipart, etags)

        head = objects.head(f"{at}a")
        assert head is not None
        assert head.size == (36 << 20) + 4
        assert b"".join(objects.read(f"{at}a")).rstrip(b"\0")[-1:] == b"\1"

    def test_a_part_may_come_from_a_file_on_disk(self, objects: ObjectStore, at: str, tmp_path: Path) -> None:
        multipart = objects.begin(f"{at}a")
        (tmp_path / "part").write_bytes(_part(b"1"))
        with (tmp_path / "part").open("rb") as file:
            first = objects.put_part(f"{at}a", multipart, 1, file)
        last = _put_part(objects, f"{at}a", multipart, 2, b"the end")

        objects.complete(f"{at}a", multipart, [first, last])

        assert b"".join(objects.read(f"{at}a")) == _part(b"1") + b"the end"

    def test_a_single_small_part_is_enough(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        etag = _put_part(objects, f"{at}a", multipart, 1, b"1")

        objects.complete(f"{at}a", multipart, [etag])

        assert b"".join(objects.read(f"{at}a")) == b"1"

    def test_nothing_shows_before_the_parts_are_complete(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        _put_part(objects, f"{at}a", multipart, 1, b"1")

        assert objects.get(f"{at}a") is None
        assert objects.head(f"{at}a") is None
        assert objects.list(at).entries == ()

    def test_any_process_goes_on_with_a_multipart_upload(
        self, objects: ObjectStore, other: ObjectStore, at: str
    ) -> None:
        multipart = objects.begin(f"{at}a")
        first = _put_part(objects, f"{at}a", multipart, 1, _part(b"1"))
        second = _put_part(other, f"{at}a", multipart, 2, b"2")

        other.complete(f"{at}a", multipart, [first, second])

        assert b"".join(objects.read(f"{at}a")) == _part(b"1") + b"2"

    def test_a_part_written_again_replaces_the_first(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        _put_part(objects, f"{at}a", multipart, 1, b"first")
        etag = _put_part(objects, f"{at}a", multipart, 1, b"second")

        objects.complete(f"{at}a", multipart, [etag])

        assert b"".join(objects.read(f"{at}a")) == b"second"

    def test_completing_with_a_part_that_was_replaced_is_gone(self, objects: ObjectStore, at: str) -> None:
        multipart, etag = self._replaced_part(objects, at)

        with pytest.raises(MultipartGoneError):
            objects.complete(f"{at}a", multipart, [etag])

        assert objects.head(f"{at}a") is None

    def test_completing_never_gives_other_bytes_than_the_tag_names(self, objects: ObjectStore, at: str) -> None:
        multipart, etag = self._replaced_part(objects, at)

        with suppress(MultipartGoneError):
            objects.complete(f"{at}a", multipart, [etag])

        found = objects.get(f"{at}a")
        assert found is None or found.content == b"first"

    def _replaced_part(self, objects: ObjectStore, at: str) -> tuple[str, str]:
        """Return a multipart upload whose part was written twice, and the first's entity tag."""
        multipart = objects.begin(f"{at}a")
        etag = _put_part(objects, f"{at}a", multipart, 1, b"first")
        _put_part(objects, f"{at}a", multipart, 1, b"second")
        return multipart, etag

    def test_completing_with_a_part_that_never_came_is_gone(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        first = _put_part(objects, f"{at}a", multipart, 1, _part(b"1"))

        with pytest.raises(MultipartGoneError):
            objects.complete(f"{at}a", multipart, [first, WRONG])

        assert objects.head(f"{at}a") is None

    def test_a_small_part_before_the_last_is_refused(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        etags = [_put_part(objects, f"{at}a", multipart, n, bytes(MIN_PART - 1)) for n in (1, 2)]

        with pytest.raises(RegistryError) as refused:
            objects.complete(f"{at}a", multipart, etags)

        assert refused.value.code is ErrorCode.UNAVAILABLE
        assert objects.head(f"{at}a") is None

    def test_completing_over_an_object_changes_nothing(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        part = _put_part(objects, f"{at}a", multipart, 1, b"late")
        etag = objects.put(f"{at}a", b"early")

        with pytest.raises(ConditionFailedError):
            objects.complete(f"{at}a", multipart, [part])
        objects.abort(f"{at}a", multipart)

        assert _state(objects, f"{at}a") == (b"early", etag)
        assert list(objects.unfinished(at)) == []

    def test_of_two_multipart_uploads_of_a_key_the_first_to_complete_wins(
        self, objects: ObjectStore, other: ObjectStore, at: str
    ) -> None:
        one, two = objects.begin(f"{at}a"), other.begin(f"{at}a")
        first = _put_part(objects, f"{at}a", one, 1, b"one")
        second = _put_part(other, f"{at}a", two, 1, b"two")
        other.complete(f"{at}a", two, [second])

        with pytest.raises(ConditionFailedError):
            objects.complete(f"{at}a", one, [first])

        assert one != two
        assert b"".join(objects.read(f"{at}a")) == b"two"

    def test_completing_twice_fails_and_changes_nothing(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        etag = _put_part(objects, f"{at}a", multipart, 1, b"1")
        objects.complete(f"{at}a", multipart, [etag])

        with pytest.raises((ConditionFailedError, MultipartGoneError)):
            objects.complete(f"{at}a", multipart, [etag])

        assert b"".join(objects.read(f"{at}a")) == b"1"

    def test_a_part_of_a_completed_upload_is_gone(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        etag = _put_part(objects, f"{at}a", multipart, 1, b"1")
        objects.complete(f"{at}a", multipart, [etag])

        with pytest.raises(MultipartGoneError):
            _put_part(objects, f"{at}a", multipart, 2, b"2")

    def test_an_aborted_upload_is_gone(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")
        etag = _put_part(objects, f"{at}a", multipart, 1, b"1")

        objects.abort(f"{at}a", multipart)

        with pytest.raises(MultipartGoneError):
            _put_part(objects, f"{at}a", multipart, 2, b"2")
        with pytest.raises(MultipartGoneError):
            objects.complete(f"{at}a", multipart, [etag])
        assert objects.head(f"{at}a") is None

    def test_aborting_what_has_ended_is_no_error(self, objects: ObjectStore, at: str) -> None:
        aborted, completed = objects.begin(f"{at}a"), objects.begin(f"{at}b")
        etag = _put_part(objects, f"{at}b", completed, 1, b"1")
        objects.complete(f"{at}b", completed, [etag])

        objects.abort(f"{at}a", aborted)
        objects.abort(f"{at}a", aborted)
        objects.abort(f"{at}b", completed)

        assert b"".join(objects.read(f"{at}b")) == b"1"

    def test_unfinished_are_those_below_the_prefix_that_have_not_ended(self, objects: ObjectStore, at: str) -> None:
        begun = {name: objects.begin(f"{at}{name}") for name in ("x/a", "x/b", "x/c", "y/a")}
        again = objects.begin(f"{at}x/a")
        _put_part(objects, f"{at}x/a", begun["x/a"], 1, b"1")
        objects.abort(f"{at}x/b", begun["x/b"])
        objects.complete(f"{at}x/c", begun["x/c"], [_put_part(objects, f"{at}x/c", begun["x/c"], 1, b"1")])

        found = list(objects.unfinished(f"{at}x/"))

        assert {(each.key, each.id) for each in found} == {(f"{at}x/a", begun["x/a"]), (f"{at}x/a", again)}
        assert len(found) == 2

    def test_an_unfinished_upload_tells_when_it_was_begun(
        self, objects: ObjectStore, now: Callable[[], datetime], at: str
    ) -> None:
        objects.begin(f"{at}a")

        (found,) = objects.unfinished(at)

        assert abs(found.started - now()) < timedelta(seconds=5)

    def test_an_object_does_not_end_an_upload_of_its_key(self, objects: ObjectStore, at: str) -> None:
        multipart = objects.begin(f"{at}a")

        objects.put(f"{at}a", b"x")
        objects.delete(f"{at}a")

        assert [each.id for each in objects.unfinished(at)] == [multipart]


class VersionsContract(Contract):
    """What tags were, in a bucket that keeps versions and in one that does not."""

    @pytest.fixture
    def tag(self, at: str) -> str:
        return f"{at}_tags/v1"

    def test_the_versions_of_a_tag_are_what_it_was_the_newest_first(self, objects: ObjectStore, tag: str) -> None:
        etags = [_put_tag(objects, tag, number) for number in range(3)]

        versions = objects.versions(tag)
        read = [objects.get(tag, version.id) for version in versions]

        assert [version.etag for version in versions] == etags[::-1]
        assert [version.latest for version in versions] == [True, False, False]
        assert not any(version.deleted for version in versions)
        assert [found and found.content for found in read] == [b"content 2", b"content 1", b"content 0"]
        assert [found and found.head.metadata["digest"] for found in read] == ["2", "1", "0"]
        assert {found and found.head.content_type for found in read} == {"text/x"}
        assert [found and found.head.etag for found in read] == etags[::-1]
        assert [version.size for version in versions] == [9, 9, 9]

    def test_a_version_tells_since_when_it_was_there(
        self, objects: ObjectStore, now: Callable[[], datetime], tag: str
    ) -> None:
        for number in range(2):
            _put_tag(objects, tag, number)

        new, old = objects.versions(tag)

        assert old.modified <= new.modified
        assert all(abs(version.modified - now()) < timedelta(seconds=5) for version in (old, new))

    def test_the_same_bytes_written_again_are_a_version(self, objects: ObjectStore, tag: str) -> None:
        etags = {_put_tag(objects, tag, 1) for _ in range(3)}

        versions = objects.versions(tag)

        assert len(etags) == 1
        assert len({version.id for version in versions}) == 3

    def test_a_deletion_is_a_version(self, objects: ObjectStore, tag: str) -> None:
        _put_tag(objects, tag, 1)
        objects.delete(tag)
        second = _put_tag(objects, tag, 2)
        objects.delete_if(tag, second)
        _put_tag(objects, tag, 3)

        versions = objects.versions(tag)

        assert [version.deleted for version in versions] == [False, True, False, True, False]
        assert [version.latest for version in versions] == [True, False, False, False, False]
        assert len({version.id for version in versions}) == 5
        assert [objects.get(tag, version.id) is None for version in versions] == [False, True, False, True, False]

    def test_the_latest_version_of_what_is_deleted_is_the_deletion(self, objects: ObjectStore, tag: str) -> None:
        _put_tag(objects, tag, 1)
        objects.delete(tag)

        deletion, version = objects.versions(tag)
        found = objects.get(tag, version.id)

        assert (deletion.deleted, deletion.latest, deletion.size) == (True, True, 0)
        assert (version.deleted, version.latest) == (False, False)
        assert found is not None
        assert found.content == b"content 1"
        assert objects.get(tag) is None
        assert objects.head(tag) is None

    def test_a_write_that_was_refused_is_no_version(self, objects: ObjectStore, tag: str) -> None:
        etag = _put_tag(objects, tag, 1)

        with pytest.raises(ConditionFailedError):
            objects.put(tag, b"second", if_absent=True)
        with pytest.raises(ConditionFailedError):
            objects.put(tag, b"second", if_match=WRONG)
        with pytest.raises(ConditionFailedError):
            objects.delete_if(tag, WRONG)

        assert [version.etag for version in objects.versions(tag)] == [etag]

    def test_versions_are_of_this_key_alone(self, objects: ObjectStore, tag: str) -> None:
        others = (f"{tag}-b", f"{tag}.1", f"{tag}0", f"{tag}a", tag[:-1])
        for key in others:
            _put_tag(objects, key, 7)
            _put_tag(objects, key, 8)
        etag = _put_tag(objects, tag, 1)

        assert [version.etag for version in objects.versions(tag)] == [etag]
        assert [len(objects.versions(key)) for key in others] == [2] * len(others)

    def test_what_never_was_has_no_versions(self, objects: ObjectStore, tag: str) -> None:
        objects.delete(f"{tag}-never")
        _put_tag(objects, f"{tag}-other", 1)

        assert objects.versions(tag) == ()

    def test_a_version_that_never_was_is_not_found(self, objects: ObjectStore, tag: str) -> None:
        _put_tag(objects, tag, 1)
        _put_tag(objects, f"{tag}-other", 1)
        (other,) = objects.versions(f"{tag}-other")

        assert objects.get(tag, other.id) is None
        assert objects.get(tag, f"{KEPT}00000000000000-00000000") is None
        assert objects.get(tag, "no version") is None

    def test_the_last_fifty_versions_and_the_one_that_is_there_stay(self, objects: ObjectStore, tag: str) -> None:
        etags = [_put_tag(objects, tag, number) for number in range(60)]

        versions = objects.versions(tag)

        assert [version.etag for version in versions][:51] == etags[:-52:-1]
        assert objects.get(tag, versions[50].id) is not None

    def test_every_process_sees_the_same_versions(self, objects: ObjectStore, other: ObjectStore, tag: str) -> None:
        _put_tag(objects, tag, 1)
        _put_tag(other, tag, 2)
        _put_tag(objects, tag, 3)

        versions = other.versions(tag)

        assert versions == objects.versions(tag)
        assert [found and found.content for found in (other.get(tag, version.id) for version in versions)] == [
            b"content 3",
            b"content 2",
            b"content 1",
        ]

    def test_of_many_writers_at_once_each_leaves_a_version(self, objects: ObjectStore, tag: str) -> None:
        written = _race(lambda content: objects.put(tag, content))

        versions = objects.versions(tag)
        read = [objects.get(tag, version.id) for version in versions]

        assert sorted(found.content for found in read if found) == sorted(written)
        assert read[0] == objects.get(tag)

    def test_versions_show_in_no_listing(self, objects: ObjectStore, at: str, tag: str) -> None:
        for number in range(3):
            _put_tag(objects, tag, number)

        assert _names(objects, at) == ["_tags/v1"]
        assert _names(objects, f"{at}_tags/") == ["v1"]


def _put_tag(objects: ObjectStore, key: str, number: int) -> str:
    metadata = {"digest": str(number)}
    return objects.put(key, b"content %d" % number, content_type="text/x", metadata=metadata)


class NowFromTheSystem:
    """Gives the clock of stores that are other programs."""

    @pytest.fixture
    def now(self) -> Callable[[], datetime]:
        return lambda: datetime.now(UTC)


def _state(objects: ObjectStore, key: str) -> tuple[bytes, str]:
    found = objects.get(key)
    assert found is not None
    return found.content, found.head.etag


def _fill(objects: ObjectStore, at: str, names: Iterable[str]) -> None:
    for name in sorted(names, key=lambda name: name[::-1]):
        objects.put(f"{at}{name}", b"x")


def _names(objects: ObjectStore, at: str, after: str = "") -> list[str]:
    return [entry.key.removeprefix(at) for entry in objects.list(at, after=after).entries]


def _pages(objects: ObjectStore, at: str, limit: int) -> list[str]:
    """Return the whole listing, read in pages."""
    found: list[str] = []
    page = objects.list(at, limit=limit)
    while True:
        assert len(page.entries) <= limit
        found += [entry.key.removeprefix(at) for entry in page.entries]
        if not page.more:
            return found
        page = objects.list(at, after=page.entries[-1].key, limit=limit)


def _put_part(objects: ObjectStore, key: str, multipart: str, number: int, content: bytes) -> str:
    return objects.put_part(key, multipart, number, io.BytesIO(content))


def _part(content: bytes) -> bytes:
    """Return the smallest part that may stand before another, beginning with `content`."""
    return content.ljust(MIN_PART, b"\0")


def _race(write: Callable[[bytes], object]) -> list[bytes]:
    """Let sixteen threads write at once; return the contents of those that were not refused."""
    contents = [b"writer %d" % number for number in range(16)]
    with ThreadPoolExecutor(len(contents)) as pool:
        return [content for content, won in zip(contents, pool.map(_wins(write), contents), strict=True) if won]


def _wins(write: Callable[[bytes], object]) -> Callable[[bytes], bool]:
    def attempt(content: bytes) -> bool:
        try:
            write(content)
        except ConditionFailedError:
            return False
        return True

    return attempt
