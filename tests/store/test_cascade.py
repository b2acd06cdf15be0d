"""What goes with an artifact that is deleted and what stays, as a table; after each row S3 and the index are one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Tag
from chalicelib.oci.pages import PageRequest
from chalicelib.store import cascade, condemned, layout, listings, manifests
from chalicelib.store.cascade import Manner
from chalicelib.store.index import artifacts, events, labels, repositories
from chalicelib.store.table import Key, Put, Slice
from tests.store.faults import Fault, Kind, every_fault
from tests.store.index.world import HOME, PROJECT, Json, World, digest_of, image, index_of

_TYPES = {
    "cosign": "application/vnd.dev.cosign.artifact.sig.v1+json",
    "notation": "application/vnd.cncf.notary.signature",
    "sbom": "application/vnd.goharbor.harbor.sbom.v1",
    "anything": "application/vnd.example",
}
_ACCELERATED = "io.goharbor.artifact.v1alpha1.acceleration.source.digest"


class Fleet(World):
    """A world in which manifests have names."""

    def __init__(self) -> None:
        super().__init__()
        self.named: dict[str, Json] = {}
        self.told: list[str] = []

    def build(self, plan: str) -> None:
        """Push what a plan says: `name[:tag,tag] = kind of names` for each, with semicolons between."""
        for step in plan.split(";"):
            head, _, tail = (part.strip() for part in step.partition("="))
            name, _, tags = head.partition(":")
            kind, _, others = tail.partition(" of ")
            self.named[name] = self._document(name, kind, others.split())
            self.push(self.named[name], *map(self.tag, filter(None, tags.split(","))))

    def _document(self, name: str, kind: str, others: list[str]) -> Json:
        if kind == "index":
            return index_of(*(self.named[other] for other in others), annotations={"name": name})
        if kind == "nydus":
            return image(name, annotations={_ACCELERATED: str(self.digest(others[0]))})
        if kind in _TYPES:
            return image(name, subject=self.digest(others[0]), artifactType=_TYPES[kind])
        return image(name)

    def tag(self, text: str) -> str:
        """Return a tag; `sig@a` is the one by which cosign attaches something to `a`."""
        suffix, _, subject = text.partition("@")
        return f"sha256-{self.digest(subject).hex}.{suffix}" if subject else text

    def digest(self, name: str) -> Digest:
        return digest_of(self.named[name])

    def cascade(self, name: str) -> None:
        cascade.delete(self.index.content, self.index, PROJECT, HOME, self.digest(name), Manner(self.tell))

    def tell(self, reference: Tag | Digest) -> None:
        self.told.append(str(reference))
        if isinstance(reference, Tag):
            events.untagged(self.index, PROJECT, HOME, reference)
        else:
            events.deleted(self.index, PROJECT, HOME, reference)

    def there(self) -> set[str]:
        heads = {name: self.objects.head(layout.manifest(HOME, self.digest(name))) for name in self.named}
        return {name for name, head in heads.items() if condemned.is_live(head)}

    def tags(self) -> set[str]:
        return set(listings.tags(self.index.content, HOME, PageRequest()).entries)

    def check(self) -> None:
        """S3 and the index are one, and nothing of what is gone is left but hints."""
        assert self.shown() == self.expected()
        for name in set(self.named) - self.there():
            digest = self.digest(name)
            for key in self.objects.keys(layout.all_referrers(HOME)):
                assert not key.endswith(digest.hex)
            assert not [tag for tag in self.tags() if self.head(tag) == digest]

    def head(self, tag: str) -> Digest:
        return manifests.head(self.index.content, HOME, Tag(tag)).digest


@dataclass(frozen=True)
class Row:
    """What was pushed, what is deleted, and what goes with it ("" where the delete is refused)."""

    plan: str
    deleted: str
    gone: str
    kept_tags: str = ""


# fmt: off
ROWS: Mapping[str, Row] = {
    "an image goes with its tags":
        Row("a:v1,v2 = image; b:v3 = image", "a", "a", "v3"),
    "blobs that others share stay for them":
        Row("a:v1 = image; b = index of a", "b", "b", "v1"),
    "an index takes its children":
        Row("a = image; b = image; i:v1 = index of a b", "i", "i a b"),
    "a child with a tag stays":
        Row("a:own = image; b = image; i:v1 = index of a b", "i", "i b", "own"),
    "a child of two indexes stays with the other":
        Row("a = image; b = image; i:v1 = index of a b; j:v2 = index of b", "i", "i a", "v2"),
    "a child is not deleted while its index is there":
        Row("a = image; i:v1 = index of a", "a", "", "v1"),
    "a child with a tag is not either":
        Row("a:own = image; i:v1 = index of a", "a", "", "own v1"),
    "indexes of indexes go to the bottom":
        Row("a = image; i = index of a; j:v1 = index of i", "j", "j i a"),
    "an inner index with a tag stays whole":
        Row("a = image; i:v2 = index of a; j:v1 = index of i", "j", "j", "v2"),
    "a signature goes with its subject":
        Row("a:v1 = image; s = cosign of a", "a", "a s"),
    "so do Notation's, Harbor's SBOM, Nydus's image and whatever else names it":
        Row("a:v1 = image; n = notation of a; b = sbom of a; y = nydus of a; x = anything of a", "a", "a n b y x"),
    "a signature with a tag goes all the same":
        Row("a:v1 = image; s:signed = cosign of a", "a", "a s"),
    "what signs a signature goes as well":
        Row("a:v1 = image; s = cosign of a; t = cosign of s", "a", "a s t"),
    "a signature goes alone":
        Row("a:v1 = image; s = cosign of a; t = notation of a", "s", "s", "v1"),
    "children take their signatures along":
        Row("a = image; s = cosign of a; i:v1 = index of a; t = cosign of i", "i", "i a s t"),
    "signatures of a child that stays stay":
        Row("a:own = image; s = cosign of a; i:v1 = index of a", "i", "i", "own"),
    "an index that is a signature takes its children":
        Row("a:v1 = image; b = image; i:sig@a = index of b", "a", "a i b"),
    "what is attached by its tag goes":
        Row("a:v1 = image; s:sig@a = image; t:att@a = image", "a", "a s t"),
    "what tags attach to another as well loses one tag":
        Row("a:v1 = image; b:v2 = image; s:sbom@a,sbom@b = image", "a", "a", "v2 sbom@b"),
    "and goes with the other":
        Row("b:v2 = image; s:sbom@b = image", "b", "b s"),
    "an accessory that an index needs stays":
        Row("a:v1 = image; s = cosign of a; i:v2 = index of s", "a", "a", "v2"),
    "an accessory whose subject never came goes alone":
        Row("a = image; s = cosign of a; b:v1 = image", "s", "s", "v1"),
}
# fmt: on


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_what_goes_and_what_stays(fleet: Fleet, row: Row) -> None:
    fleet.build(row.plan)
    every = fleet.there()

    if row.gone:
        fleet.cascade(row.deleted)
    else:
        with pytest.raises(RegistryError, match="delete that one first") as refused:
            fleet.cascade(row.deleted)
        assert refused.value.status == 412

    assert fleet.there() == every - set(row.gone.split())
    assert fleet.tags() == {fleet.tag(tag) for tag in row.kept_tags.split()}
    fleet.check()


def test_each_deletion_is_told_once_accessories_first_and_children_last(fleet: Fleet) -> None:
    fleet.build("a = image; s = cosign of a; i:v1 = index of a; t = notation of i")

    fleet.cascade("i")

    assert fleet.told == [str(fleet.digest(name)) for name in ("t", "i", "s", "a")]


def test_labels_go_with_their_artifact(fleet: Fleet) -> None:
    fleet.build("a:v1 = image; b:v2 = image")
    for name in ("a", "b"):
        labels.add(fleet.index, fleet.home(), str(fleet.digest(name)), 5)

    fleet.cascade("a")
    fleet.build("a:v1 = image")

    assert fleet.artifact(fleet.digest("a")).labels == ()
    assert fleet.artifact(fleet.digest("b")).labels == (5,)


def test_an_accessory_of_a_type_that_is_not_hard_stays(fleet: Fleet) -> None:
    fleet.build("a:v1 = image; s = cosign of a; n = notation of a")
    key = Key(fleet.home().partition("accessories"), f"{fleet.digest('a')}/{fleet.digest('n')}")
    record = fleet.table.get(key)
    assert record
    fleet.table.commit(Put(key, {**record.document, "type": "soft.example"}))

    fleet.cascade("a")

    assert fleet.there() == {"n"}


@pytest.mark.parametrize("known", [True, False])
def test_what_is_not_there_is_not_found_and_makes_nothing(fleet: Fleet, known: bool) -> None:
    if known:
        fleet.build("a:v1 = image")
    with pytest.raises(RegistryError) as refused:
        cascade.delete(fleet.index.content, fleet.index, PROJECT, HOME, Digest.of(b"nothing"), Manner(fleet.tell))

    assert refused.value.code is ErrorCode.MANIFEST_UNKNOWN
    assert (repositories.find(fleet.index, PROJECT, HOME) is not None) == known
    assert fleet.told == []


def test_what_the_index_missed_is_deleted_with_its_children(fleet: Fleet) -> None:
    fleet.build("a = image; b:v2 = image")
    fleet.named["i"] = index_of(fleet.named["a"])
    fleet.store(fleet.named["i"], "v1")

    fleet.cascade("i")

    assert fleet.there() == {"b"}
    fleet.check()


def test_what_s3_lost_is_not_found_and_leaves_the_index(fleet: Fleet) -> None:
    fleet.build("a:v1 = image; b:v2 = image")
    manifests.delete(fleet.index.content, HOME, fleet.digest("a"))

    with pytest.raises(RegistryError) as refused:
        fleet.cascade("a")

    assert refused.value.code is ErrorCode.MANIFEST_UNKNOWN
    fleet.check()


def test_a_circle_of_subjects_ends(fleet: Fleet) -> None:
    """Digests that name each other cannot be made; the index may still say so of what it was told wrongly."""
    fleet.build("a:v1 = image; s = cosign of a")
    home = fleet.home()
    [record] = fleet.table.query(home.partition("accessories"), Slice()).entries
    turned = Key(record.key.partition, f"{fleet.digest('s')}/{fleet.digest('a')}")
    fleet.table.commit(Put(turned, {**record.document, "digest": str(fleet.digest("a"))}))

    fleet.cascade("a")

    assert fleet.there() == set()


WHOLE = "a = image; b:own = image; s = cosign of a; i:v1 = index of a b; t = notation of i; j:v2 = index of b"


def test_a_child_for_which_a_tag_is_pushed_meanwhile_keeps_it() -> None:
    for number in count():
        fleet = Fleet()
        fleet.build("a = image; b = image; both = index of a b")
        requests = iter(range(number, -1, -1))

        def push(_operation: str, _key: str, fleet: Fleet = fleet, left: Iterator[int] = requests) -> None:
            if next(left, None) == 0:
                fleet.push(fleet.named["a"], "v1")

        fleet.objects.before = push
        fleet.cascade("both")
        if next(requests, None) is not None:
            break

        assert fleet.head("v1") == fleet.digest("a")
        fleet.check()
    assert number > 10


def test_a_fault_at_any_request_leaves_nothing_that_lacks_a_part_and_the_rest_can_be_deleted() -> None:
    def scenario(fault: Fault) -> None:
        fleet = Fleet()
        fleet.build(WHOLE)

        with fault.on(fleet.objects), suppress(RegistryError):
            fleet.cascade("i")
        fleet.objects.before = fleet.objects.after = lambda _operation, _key: None

        assert whole(fleet), str(fault)
        repaired(fleet)
        for name in ("i", "t", "a", "s"):
            with suppress(RegistryError):
                fleet.cascade(name)
        assert fleet.there() == {"b", "j"}, str(fault)
        fleet.check()

    assert every_fault(scenario) > 2 * len(Kind)


def whole(fleet: Fleet) -> bool:
    """Tell whether everything that an index which is there names is there as well."""
    there = {str(fleet.digest(name)) for name in fleet.there()}
    named = (fleet.named[name].get("manifests", []) for name in fleet.there())
    return all(child["digest"] in there for children in named for child in children)


def repaired(fleet: Fleet) -> None:
    """Tell the index of every manifest and tag that was there, as a repair does."""
    for digest in map(digest_of, fleet.named.values()):
        events.found(fleet.index, PROJECT, HOME, digest)
    names = [name for name, _ in artifacts.tag_names(fleet.index, fleet.home())]
    events.retagged(fleet.index, PROJECT, HOME, dict.fromkeys(names, ""))


@st.composite
def plans(draw: st.DrawFn) -> str:
    """Make a plan of up to eight manifests, each over some of those before it."""
    steps: list[str] = []
    for number in range(draw(st.integers(1, 8))):
        tag = draw(st.sampled_from(["", f":v{number}"]))
        before = [f"n{each}" for each in range(number)]
        kind = draw(st.sampled_from(["image", "index", "cosign"])) if before else "image"
        most = {"image": 0, "index": 3, "cosign": 1}[kind]
        others = draw(st.lists(st.sampled_from(before), min_size=1, max_size=most, unique=True)) if most else []
        steps.append(f"n{number}{tag} = {kind}{' of ' if others else ''}{' '.join(others)}")
    return ";".join(steps)


@settings(deadline=None)
@given(plans(), st.data())
def test_whatever_is_deleted_indexes_keep_their_children_and_the_index_is_right(
    plan: str, data: st.DataObject
) -> None:
    fleet = Fleet()
    fleet.build(plan)
    name = data.draw(st.sampled_from(sorted(fleet.named)))
    needed = artifacts.has_parents(fleet.index, fleet.home(), str(fleet.digest(name)))
    tagged = {other for other in fleet.named if f"{other}:" in plan and "cosign" not in plan}
    before = fleet.there()

    try:
        fleet.cascade(name)
    except RegistryError:
        assert needed
        assert fleet.there() == before
    else:
        assert not needed
        assert name not in fleet.there()
        assert tagged - {name} <= fleet.there()
    assert whole(fleet)
    fleet.check()
