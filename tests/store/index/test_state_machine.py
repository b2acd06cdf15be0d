"""Random histories of pushes, tags, deletes and interruptions: a reindex always ends with what S3 has.

Every step may be cut off after any commit to the table, before or after it was done; then the index may lag behind
S3, until the next reindex. Where nothing was cut off, it never lags.
"""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chalicelib.jobs import reindex
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Tag
from chalicelib.store import manifests
from chalicelib.store.index import Index, events
from tests.memory import Inline
from tests.store.index.tables import StoppingTable
from tests.store.index.world import HOME, PROJECT, Json, Shown, World, digest_of, image, index_of, parsed

A, B, C = image("a"), image("b"), image("c")
PAIR, OTHER_PAIR = index_of(A, B), index_of(B, C, annotations={"other": "pair"})
NESTED = index_of(PAIR, A)
SIGNATURE = image("signature", subject=digest_of(A))
ATTACHED = f"sha256-{digest_of(PAIR).hex}.sig"
DOCUMENTS = (A, B, C, PAIR, OTHER_PAIR, NESTED, SIGNATURE)
TAGS = ("latest", "v1", ATTACHED)

documents = st.integers(0, len(DOCUMENTS) - 1).map(DOCUMENTS.__getitem__)
tags = st.sampled_from(TAGS)
# At which commit a step is cut off, and whether that one was done; most are not.
cuts = st.one_of(st.none(), st.none(), st.none(), st.tuples(st.integers(1, 6), st.booleans()))
Cut = tuple[int, bool] | None


def without_sizes(shown: Shown) -> Json:
    """Leave out the sizes: those of indexes count the children that were there when they were pushed."""
    known = {digest: {**document, "size": 0} for digest, document in shown["known"].items()}
    return {**shown, "known": known}


class Histories(RuleBasedStateMachine):
    """A repository, its index, and whether something was cut off since the last reindex."""

    @initialize()
    def start(self) -> None:
        self.world = World()
        self.lagging = False
        self.push(A, ["latest"], None)

    def tell(self, cut: Cut, deed: Callable[[Index], None]) -> None:
        """Tell the index of something, perhaps not to the end."""
        if cut is None:
            deed(self.world.index)
            return
        try:
            deed(self.world.over(StoppingTable(self.world.table, at=cut[0], done=cut[1])))
        except ConnectionResetError:
            self.lagging = True

    @rule(document=documents, names=st.lists(tags, max_size=2, unique=True), cut=cuts)
    def push(self, document: Json, names: list[str], cut: Cut) -> None:
        try:
            digest = self.world.store(document, *names)
        except RegistryError:
            return  # An index of which nothing is there.
        told = map(Tag, names)
        self.tell(cut, lambda index: events.pushed(index, PROJECT, HOME, parsed(document), digest, told))

    @rule(document=documents, cut=cuts)
    def delete(self, document: Json, cut: Cut) -> None:
        digest = digest_of(document)
        try:
            manifests.delete(self.world.index.content, HOME, digest)
        except RegistryError:
            return
        self.tell(cut, lambda index: events.deleted(index, PROJECT, HOME, digest))

    @rule(name=tags, cut=cuts)
    def untag(self, name: str, cut: Cut) -> None:
        try:
            manifests.delete_tag(self.world.index.content, HOME, Tag(name))
        except RegistryError:
            return
        self.tell(cut, lambda index: events.untagged(index, PROJECT, HOME, Tag(name)))

    @rule(document=documents)
    def report_without_reason(self, document: Json) -> None:
        events.deleted(self.world.index, PROJECT, HOME, digest_of(document))
        events.found(self.world.index, PROJECT, HOME, digest_of(document))

    @rule(cut=cuts)
    def reindex(self, cut: Cut) -> None:
        self.lagging = False
        self.tell(cut, self.reindexed)

    @rule()
    def reindex_whole(self) -> None:
        self.reindexed(self.world.index)
        self.lagging = False
        assert self.world.shown() == self.world.expected()

    @staticmethod
    def reindexed(index: Index) -> None:
        cursor = reindex.Cursor(PROJECT, "library", HOME.name)
        while cursor.phase < reindex.PHASES:
            cursor = reindex.within(index, Inline(), cursor)

    @precondition(lambda self: not self.lagging)
    @invariant()
    def the_index_shows_what_s3_has(self) -> None:
        assert without_sizes(self.world.shown()) == without_sizes(self.world.expected())

    def teardown(self) -> None:
        self.reindexed(self.world.index)
        assert self.world.shown() == self.world.expected()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
