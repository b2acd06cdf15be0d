"""History and undo of tags: in a bucket that keeps versions as S3 does, and in one whose store keeps copies."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import blobs, history, layout, manifests, referrers
from chalicelib.store.blobs import Blob
from chalicelib.store.content import Content
from chalicelib.store.history import Reach, TagState, undo
from chalicelib.store.objects import Version
from chalicelib.store.versions import LAST
from tests.memory import START, Asked, Clock, Inline, MemoryObjects
from tests.store.client import Document, image, index
from tests.store.faults import Fault, every_fault
from tests.store.schedule import Action, Choose, every_insertion, interleave, some_orders

REPOSITORY = Repository("a/b")
TAG = Tag("v1")
KEY = layout.tag(REPOSITORY, TAG)
CONFIG = b"{}"
LAYER = b"a layer"
ONE, TWO, THREE = (image(CONFIG, [LAYER], annotations={"n": str(number)}) for number in (1, 2, 3))
MINUTE = timedelta(minutes=1)


class Registry:
    """A repository that holds two blobs, as one process sees it."""

    def __init__(self, objects: MemoryObjects, clock: Clock) -> None:
        self.objects = objects
        self.clock = clock
        self.content = Content(objects, Inline(), clock)

    def beside(self) -> "Registry":
        """Return another process."""
        return Registry(self.objects.beside(), self.clock)

    def hold(self, *contents: bytes) -> None:
        for content in contents:
            blobs.hold(self.content, REPOSITORY, Digest.of(content), Blob("data/any", len(content)))

    def push(self, document: Document, *tags: Tag) -> None:
        manifest = oci.parse(document.content, document.media_type)
        manifests.put(self.content, REPOSITORY, manifest, document.digest, tags or (TAG,))
        self.clock.advance(MINUTE)

    def delete(self) -> None:
        manifests.delete_tag(self.content, REPOSITORY, TAG)
        self.clock.advance(MINUTE)

    def undo(self, version: str = "") -> Digest:
        digest = undo(self.content, REPOSITORY, TAG, version)
        self.clock.advance(MINUTE)
        return digest

    def states(self) -> tuple[TagState, ...]:
        return history.history(self.content, REPOSITORY, TAG)

    def named(self) -> list[Digest | None]:
        return [state.digest for state in self.states()]

    def pull(self, reference: Tag | Digest = TAG) -> bytes | None:
        """Return the manifest that a pull brings, or None."""
        try:
            return manifests.get(self.content, REPOSITORY, reference).content
        except RegistryError as error:
            if error.code is not ErrorCode.MANIFEST_UNKNOWN:
                raise
            return None


def _registry(versioned: bool) -> Registry:
    clock = Clock()
    registry = Registry(MemoryObjects(clock, versioned=versioned), clock)
    registry.hold(CONFIG, LAYER)
    return registry


@pytest.fixture(params=[True, False], ids=["versioned", "unversioned"])
def versioned(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def registry(versioned: bool) -> Registry:
    return _registry(versioned)


def _digests(*documents: Document | None) -> list[Digest | None]:
    return [document.digest if document else None for document in documents]


def _refusal(do: Callable[[], object]) -> RegistryError:
    with pytest.raises(RegistryError) as refused:
        do()
    return refused.value


@contextmanager
def _may_be_refused(*codes: ErrorCode) -> Iterator[None]:
    try:
        yield
    except RegistryError as error:
        if error.code not in codes:
            raise


# History.


def test_history_tells_what_a_tag_named_since_when_the_newest_first(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO)
    registry.delete()
    registry.push(THREE)

    states = registry.states()

    assert [state.digest for state in states] == _digests(THREE, None, TWO, ONE)
    assert [state.time - START for state in states] == [3 * MINUTE, 2 * MINUTE, 1 * MINUTE, 0 * MINUTE]
    assert [state.size for state in states] == [len(THREE.content), 0, len(TWO.content), len(ONE.content)]
    assert [state.deleted for state in states] == [False, True, False, False]
    assert [state.current for state in states] == [True, False, False, False]
    assert len({state.version for state in states}) == 4


def test_a_manifest_that_is_pushed_again_is_the_same_state(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO)
    registry.push(TWO)

    new, old = registry.states()

    assert (new.digest, new.time - START, new.current) == (TWO.digest, MINUTE, True)
    assert old.digest == ONE.digest


def test_a_tag_that_is_deleted_is_so_in_its_history(registry: Registry) -> None:
    registry.push(ONE)
    registry.delete()

    deleted, before = registry.states()

    assert (deleted.digest, deleted.deleted, deleted.current) == (None, True, True)
    assert (before.digest, before.current) == (ONE.digest, False)


def test_deleting_a_manifest_is_in_the_history_of_its_tags(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO)

    manifests.delete(registry.content, REPOSITORY, TWO.digest)

    assert registry.named() == _digests(None, TWO, ONE)


def test_tags_have_histories_of_their_own(registry: Registry) -> None:
    for tag in (Tag("v1.0"), Tag("v1-b"), Tag("v"), Tag("v10")):
        registry.push(TWO, tag)
        registry.push(THREE, tag)
    registry.push(ONE)

    assert registry.named() == _digests(ONE)


def test_a_tag_that_never_was_has_no_history(registry: Registry) -> None:
    registry.push(ONE, Tag("other"))

    refused = _refusal(registry.states)

    assert refused.code is ErrorCode.MANIFEST_UNKNOWN
    assert "a/b has no tag v1" in refused.message


def test_of_a_long_history_the_last_states_are_told(registry: Registry) -> None:
    documents = [image(CONFIG, annotations={"n": str(number)}) for number in range(LAST + 10)]
    for document in documents:
        registry.push(document)

    assert registry.named() == _digests(*documents[: -LAST - 2 : -1])


def test_copies_beyond_those_that_are_told_are_deleted_now_and_then() -> None:
    registry = _registry(versioned=False)
    kept = []
    for number in range(300):
        registry.push(image(CONFIG, annotations={"n": str(number)}))
        kept.append(len(registry.objects.keys(layout.HISTORY)))

    assert kept[: LAST + 1] == list(range(LAST + 1))
    assert LAST in kept[LAST + 1 :]
    assert min(kept[LAST:]) == LAST


def test_the_order_is_right_even_where_a_clock_goes_back(registry: Registry) -> None:
    registry.push(ONE)
    registry.clock.advance(-60 * MINUTE)
    registry.push(TWO)
    registry.delete()
    registry.clock.advance(-60 * MINUTE)
    registry.push(THREE)

    assert registry.named() == _digests(THREE, None, TWO, ONE)


def test_what_expires_is_gone_from_the_history() -> None:
    registry = _registry(versioned=True)
    for document in (ONE, TWO, THREE):
        registry.push(document)

    registry.objects.expire(KEY, kept=2)

    assert registry.named() == _digests(THREE, TWO)


def test_copies_that_go_while_the_history_is_read_are_left_out() -> None:
    registry = _registry(versioned=False)
    for document in (ONE, TWO, THREE):
        registry.push(document)
    oldest = registry.objects.keys(layout.kept(KEY))[0]
    other = registry.beside()

    def remove(operation: str, key: str) -> None:
        if (operation, key) == ("get", oldest):
            other.objects.delete(oldest)

    registry.objects.before = remove

    assert registry.named() == _digests(THREE, TWO)


def test_a_tag_from_before_versions_were_kept_has_its_place_in_the_history() -> None:
    registry = _registry(versioned=False)
    registry.push(ONE)
    registry.objects.unversion(KEY)

    registry.push(TWO)

    new, old = registry.states()
    assert (new.digest, old.digest) == (TWO.digest, ONE.digest)
    assert old.time == START
    assert registry.undo() == ONE.digest


# Undo.


def test_an_undo_brings_back_what_the_tag_named_before(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO)

    digest = registry.undo()

    assert digest == ONE.digest
    assert registry.pull() == ONE.content
    assert registry.pull(TWO.digest) == TWO.content
    assert registry.named() == _digests(ONE, TWO, ONE)


def test_a_second_undo_undoes_the_first(registry: Registry) -> None:
    for document in (ONE, TWO, THREE):
        registry.push(document)

    undone = [registry.undo() for _ in range(4)]

    assert undone == _digests(TWO, THREE, TWO, THREE)
    assert registry.pull() == THREE.content


def test_an_undo_of_a_delete_brings_the_tag_back(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO)
    registry.delete()

    digest = registry.undo()

    assert digest == TWO.digest
    assert registry.pull() == TWO.content


def test_an_undo_never_deletes_but_looks_past_the_time_without_the_tag(registry: Registry) -> None:
    registry.push(ONE)
    registry.delete()
    registry.push(TWO)

    assert registry.undo() == ONE.digest


def test_a_version_leads_further_back(registry: Registry) -> None:
    for document in (ONE, TWO, THREE):
        registry.push(document)
    oldest = registry.states()[-1]

    digest = registry.undo(oldest.version)

    assert digest == ONE.digest
    assert registry.pull() == ONE.content
    assert registry.named() == _digests(ONE, THREE, TWO, ONE)


def test_an_undo_to_what_is_there_changes_nothing(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO)
    before = registry.states()

    digest = registry.undo(before[0].version)

    assert digest == TWO.digest
    assert registry.states() == before


@pytest.mark.parametrize("steps", ["", "1", "11", "1-", "1-1"], ids=["never", "once", "twice", "gone", "back"])
def test_where_no_other_manifest_was_before_there_is_no_undo(registry: Registry, steps: str) -> None:
    for step in steps:
        registry.push(ONE) if step == "1" else registry.delete()
    if steps.endswith("-"):
        registry.undo()

    refused = _refusal(registry.undo)

    assert refused.code is ErrorCode.MANIFEST_UNKNOWN
    assert registry.pull() == (ONE.content if steps else None)


def test_a_version_that_is_not_in_the_history_is_refused(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO)
    registry.push(THREE, Tag("other"))
    registry.delete()
    deletion = registry.states()[0].version
    (foreign,) = history.history(registry.content, REPOSITORY, Tag("other"))

    for version in (deletion, foreign.version, "no version", "../x", KEY):
        refused = _refusal(partial(registry.undo, version))
        assert refused.code is ErrorCode.MANIFEST_UNKNOWN
        assert f"v1 has no version {version} that names a manifest" in refused.message
    assert registry.pull() is None


def test_a_manifest_that_was_deleted_comes_back_with_its_referrer_and_its_tag(registry: Registry) -> None:
    signature = image(CONFIG, subject=ONE, artifactType="application/x-signature")
    registry.push(ONE, Tag("image"))
    registry.push(signature)
    manifests.delete(registry.content, REPOSITORY, signature.digest)
    assert registry.pull(signature.digest) is None

    registry.undo()

    found = referrers.referrers(registry.content, REPOSITORY, ONE.digest, "", "")
    assert registry.pull() == registry.pull(signature.digest) == signature.content
    assert [each["digest"] for each in found.descriptors] == [str(signature.digest)]


def test_a_manifest_whose_blob_is_gone_does_not_come_back(registry: Registry) -> None:
    other = image(CONFIG)
    registry.push(ONE)
    registry.push(other)
    blobs.release(registry.content, REPOSITORY, Digest.of(LAYER))

    refused = _refusal(registry.undo)

    assert refused.code is ErrorCode.MANIFEST_UNKNOWN
    assert "no longer holds what it refers to" in refused.message
    assert registry.pull() == other.content


def test_an_index_whose_manifests_are_gone_does_not_come_back(registry: Registry) -> None:
    both = index([ONE, TWO])
    for document in (ONE, TWO):
        registry.push(document, Tag("child"))
    registry.push(both)
    registry.push(THREE)
    for document in (ONE, TWO):
        manifests.delete(registry.content, REPOSITORY, document.digest)
        # The collector was there, and then the bucket's lifecycle.
        registry.objects.delete(layout.manifest(REPOSITORY, document.digest))
        registry.objects.expire(layout.manifest(REPOSITORY, document.digest), kept=0)

    assert _refusal(registry.undo).code is ErrorCode.MANIFEST_UNKNOWN
    assert registry.pull() == THREE.content


def test_an_index_brings_its_children_back(registry: Registry) -> None:
    """Deleting an index takes its children along (`store.cascade`): going back to it would be of no use without."""
    both = index([ONE, TWO])
    for document in (ONE, TWO):
        registry.push(document, Tag("child"))
    registry.push(both, Tag("inner"))
    outer = index([both])
    registry.push(outer)
    for document in (outer, both, ONE, TWO):
        manifests.delete(registry.content, REPOSITORY, document.digest)

    assert registry.undo() == outer.digest

    for document in (outer, both, ONE, TWO):
        assert registry.pull(document.digest) == document.content
    assert registry.pull(Tag("child")) is None


def test_a_child_comes_back_from_an_older_version_where_there_is_one(registry: Registry, versioned: bool) -> None:
    both = index([ONE])
    registry.push(ONE, Tag("child"))
    registry.push(both)
    manifests.delete(registry.content, REPOSITORY, both.digest)
    registry.objects.delete(layout.manifest(REPOSITORY, ONE.digest), layout.tag(REPOSITORY, Tag("child")))

    if versioned:
        assert registry.undo() == both.digest
        assert registry.pull(ONE.digest) == ONE.content
    else:
        assert "no longer holds what it refers to" in _refusal(registry.undo).message


def test_whatever_comes_back_is_put_back_as_a_push_with_the_tag_last(registry: Registry) -> None:
    both, put = index([ONE]), list[tuple[Digest, tuple[str, ...]]]()
    registry.push(ONE, Tag("child"))
    registry.push(both)
    for document in (both, ONE):
        manifests.delete(registry.content, REPOSITORY, document.digest)

    def do(repository: Repository, manifest: oci.Manifest, digest: Digest, tags: Iterable[Tag]) -> None:
        names = tuple(tags)
        put.append((digest, tuple(tag.name for tag in names)))
        manifests.put(registry.content, repository, manifest, digest, names)

    undo(registry.content, REPOSITORY, TAG, put=do)

    assert put == [(ONE.digest, ()), (both.digest, ("v1",))]


# How far back.


def test_what_ended_before_the_window_is_forgotten_and_what_still_was_is_not(registry: Registry) -> None:
    registry.push(ONE)
    registry.clock.advance(timedelta(days=100))
    registry.push(TWO)
    replaced = registry.clock() - MINUTE
    registry.clock.advance(timedelta(days=20))

    def named(days: int) -> list[Digest | None]:
        reach = Reach(ended=registry.clock() - timedelta(days=days))
        return [state.digest for state in history.history(registry.content, REPOSITORY, TAG, reach)]

    assert registry.clock() - replaced < timedelta(days=21)
    assert named(21) == [TWO.digest, ONE.digest]
    assert named(19) == [TWO.digest]
    forgotten = Reach(ended=registry.clock() - timedelta(days=19))
    refused = _refusal(lambda: undo(registry.content, REPOSITORY, TAG, reach=forgotten))
    assert "or too long ago" in refused.message


def test_a_tag_that_was_deleted_before_the_window_has_no_history(registry: Registry) -> None:
    registry.push(ONE)
    registry.delete()
    registry.clock.advance(timedelta(days=30))
    forgotten = Reach(ended=registry.clock() - timedelta(days=29))

    refused = _refusal(lambda: history.history(registry.content, REPOSITORY, TAG, forgotten))

    assert refused.code is ErrorCode.MANIFEST_UNKNOWN


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=12), st.integers(0, 400), st.integers(0, 400))
def test_within_reach_is_what_was_there_at_some_moment_of_it(
    steps: list[tuple[int, bool]], begun: int, ended: int
) -> None:
    moment, oldest_first = START, list[Version]()
    for number, (minutes, deleted) in enumerate(steps):
        moment += minutes * MINUTE
        oldest_first.append(Version(str(number), moment, 1, "", deleted, number == len(steps) - 1))
    reach = Reach(START + begun * MINUTE, START + ended * MINUTE)

    found = {version.id for version in history.within(oldest_first[::-1], reach)}

    for version, following in zip(oldest_first, [*oldest_first, None][1:], strict=True):
        until = version.modified if version.deleted else following.modified if following else None
        stays = version.modified >= reach.begun and (until is None or until >= reach.ended)
        assert (version.id in found) == stays


def test_a_damaged_version_is_never_brought_back() -> None:
    registry = _registry(versioned=False)
    registry.push(ONE)
    registry.push(TWO)
    (copy,) = registry.objects.keys(layout.kept(KEY))
    registry.objects.damage(copy, TWO.content)

    refused = _refusal(registry.undo)

    assert refused.code is ErrorCode.UNKNOWN
    assert registry.pull() == TWO.content


# What it costs.


def test_a_push_to_a_versioned_bucket_pays_nothing_for_history() -> None:
    registry = _registry(versioned=True)
    registry.push(ONE)
    registry.objects.asked.clear()

    registry.push(TWO)

    assert [asked for asked in registry.objects.asked if asked.key == KEY] == [Asked("put", KEY)]
    assert registry.objects.keys(layout.HISTORY) == ()


def test_a_history_takes_a_request_for_each_state_and_one_more() -> None:
    registry = _registry(versioned=True)
    for document in (ONE, TWO, THREE):
        registry.push(document)
    registry.objects.asked.clear()

    registry.states()

    assert registry.objects.asked == [Asked("versions", KEY), *[Asked("get", KEY)] * 3]


def test_where_the_store_keeps_copies_a_push_over_a_tag_takes_two_requests_more() -> None:
    registry = _registry(versioned=False)
    registry.push(ONE)
    registry.objects.asked.clear()

    registry.push(TWO)

    about = [asked.operation for asked in registry.objects.asked if KEY in asked.key]
    # Now and then a listing follows, and a deletion of the oldest copies.
    assert about[:2] + about[-1:] == ["get", "put", "put"]
    assert about[2:-1] in ([], ["list"])


# Random histories.

STEPS = st.lists(st.sampled_from(["1", "2", "3", "-", "undo", "back"]), max_size=12)


@given(STEPS, st.booleans())
def test_history_is_exactly_what_the_tag_went_through(steps: Sequence[str], versioned: bool) -> None:
    registry = _registry(versioned=versioned)
    documents = {"1": ONE, "2": TWO, "3": THREE}
    by_digest = {document.digest: document for document in documents.values()}
    past: list[Digest | None] = []
    for step in steps:
        now = past[-1] if past else None
        if step in documents:
            registry.push(documents[step])
            past.append(documents[step].digest)
        elif step == "-" and now:
            registry.delete()
            past.append(None)
        elif step == "undo" and any(digest not in (None, now) for digest in past):
            past.append(registry.undo())
            assert past[-1] == next(digest for digest in reversed(past[:-1]) if digest not in (None, now))
        elif step == "back" and past:
            first = registry.states()[-1]
            past.append(registry.undo(first.version))
            assert past[-1] == past[0]

        went = [digest for digest, before in zip(past, [None, *past], strict=False) if digest != before]
        assert (registry.named() if past else []) == went[::-1]
        now = past[-1] if past else None
        assert registry.pull() == (by_digest[now].content if now else None)


# Crashes and races.


def test_a_fault_at_any_request_of_an_undo_leaves_the_old_state_or_the_new(versioned: bool) -> None:
    def scenario(fault: Fault) -> None:
        registry = _registry(versioned)
        registry.push(ONE)
        manifests.delete(registry.content, REPOSITORY, ONE.digest)
        registry.push(TWO)
        process, done = registry.beside(), []

        with fault.on(process.objects), _may_be_refused(ErrorCode.UNAVAILABLE):
            done.append(process.undo())

        pulled = registry.pull()
        assert pulled in ([ONE.content] if done else [ONE.content, TWO.content]), fault
        if pulled == ONE.content:
            assert registry.pull(ONE.digest) == ONE.content, fault
        assert registry.named() == _digests(*([ONE] if pulled == ONE.content else []), TWO, None, ONE), fault
        assert registry.beside().undo(registry.states()[-1].version) == ONE.digest, fault
        assert registry.pull() == ONE.content, fault

    assert every_fault(scenario) > 30


def test_a_fault_at_any_request_of_a_push_or_a_delete_leaves_a_true_history(versioned: bool) -> None:
    def scenario(fault: Fault) -> None:
        registry = _registry(versioned)
        registry.push(ONE)
        process = registry.beside()
        seen: list[Document | None] = [ONE]

        with fault.on(process.objects):
            for document in (TWO, None):
                seen.append(document)
                with _may_be_refused(ErrorCode.UNAVAILABLE, ErrorCode.MANIFEST_UNKNOWN):
                    process.push(document) if document else process.delete()

        named = registry.named()
        pulled = registry.pull()
        assert (named[0] is None) == (pulled is None), fault
        assert named[::-1] in _histories(seen), fault

    assert every_fault(scenario) > 30


def _histories(seen: Sequence[Document | None]) -> list[list[Digest | None]]:
    """Return the histories of what was tried: any step after the first may not have been done."""
    first, *rest = seen
    tried = [[first]]
    for document in rest:
        tried += [[*before, document] for before in tried if before[-1] is not document]
    return [_digests(*each) for each in tried]


def _race(versioned: bool, other: Callable[[Registry], object]) -> Callable[[Choose], None]:
    def race(choose: Choose) -> None:
        registry = _registry(versioned)
        registry.push(ONE)
        registry.push(TWO)
        undoing, pushing = registry.beside(), registry.beside()

        results = interleave(
            [Action[object](undoing.objects, undoing.undo), Action(pushing.objects, lambda: other(pushing))], choose
        )

        assert results[0] in (ONE.digest, TWO.digest), results
        named = registry.named()
        pulled = registry.pull()
        assert (named[0] and Digest.of(pulled or b"")) == named[0]
        assert named[-2:] == _digests(TWO, ONE)
        if pulled is not None:
            assert registry.pull(Digest.of(pulled)) == pulled
        assert set(named) <= {ONE.digest, TWO.digest, THREE.digest, None}

    return race


def test_a_push_and_an_undo_at_once_leave_one_of_the_two_whole(versioned: bool) -> None:
    race = _race(versioned, lambda process: process.push(THREE))

    every_insertion(race)
    some_orders(race, 200)


def test_a_delete_and_an_undo_at_once_leave_the_tag_or_nothing(versioned: bool) -> None:
    race = _race(versioned, lambda process: process.delete())

    every_insertion(race)
    some_orders(race, 200)
