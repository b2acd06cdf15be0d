"""What can be wrong with what a registry stores, as data: how bad it is, what it means, and what to do.

Invariants:
* Whoever looks for damage names it by `Damage` alone; words and weight are in `ROWS`.
* What `mends` is "" is never repaired by itself: nobody but a person has what is missing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Weight(StrEnum):
    """How bad it is."""

    BROKEN = "broken"  # Something that was pushed cannot be pulled, or does not show what was pushed.
    WRONG = "wrong"  # Everything can be pulled; lists, numbers or a later push may go wrong.
    WASTE = "waste"  # It takes room, and nothing else.


class Damage(StrEnum):
    """What is wrong."""

    MANIFEST_DAMAGED = "manifest_damaged"
    TAG_DAMAGED = "tag_damaged"
    TAG_WITHOUT_MANIFEST = "tag_without_manifest"
    TAG_WITHOUT_HINT = "tag_without_hint"
    INDEX_WITHOUT_CHILDREN = "index_without_children"
    REFERRER_MISSING = "referrer_missing"
    REFERRER_STRAY = "referrer_stray"
    LINK_DAMAGED = "link_damaged"
    LINK_WITHOUT_ENTRY = "link_without_entry"
    BLOB_MISSING = "blob_missing"
    BLOB_DAMAGED = "blob_damaged"
    BLOB_NOT_HELD = "blob_not_held"
    IMAGE_BROKEN = "image_broken"
    ENTRY_BROKEN = "entry_broken"
    ENTRY_DAMAGED = "entry_damaged"
    BYTES_UNKNOWN = "bytes_unknown"
    BYTES_SUPERFLUOUS = "bytes_superfluous"
    CATALOG_MISSING = "catalog_missing"
    RECORD_WRONG = "record_wrong"
    USAGE_WRONG = "usage_wrong"
    NAME_UNKNOWN = "name_unknown"


@dataclass(frozen=True, slots=True)
class Row:
    """What a damage is: its weight, a clause that says it, what a repair does or "", what a person can do."""

    weight: Weight
    says: str
    mends: str
    advice: str


_AGAIN = "run the verification with repair"
_PUSH = "push the image again"
_LATER = "if a repair leaves it, something else is at work there: look at the log of the registry"

# fmt: off
ROWS: Mapping[Damage, Row] = MappingProxyType({
    Damage.MANIFEST_DAMAGED: Row(
        Weight.BROKEN, "the manifest's bytes do not match its digest, or are no manifest",
        "it is written anew from a tag that carries it", "push it again, or delete it by its digest"),
    Damage.TAG_DAMAGED: Row(
        Weight.BROKEN, "the tag cannot be read", "it is written anew from its manifest", "push the tag again"),
    Damage.TAG_WITHOUT_MANIFEST: Row(
        Weight.BROKEN, "the tag names a manifest that is not stored by itself",
        "the manifest is written from the tag, which carries it", _AGAIN),
    Damage.TAG_WITHOUT_HINT: Row(
        Weight.WRONG, "deleting the manifest would not find the tag", "the hint is written", _AGAIN),
    Damage.INDEX_WITHOUT_CHILDREN: Row(
        Weight.BROKEN, "the repository has none of the manifests that the index names", "",
        "push the manifests again, or delete the index"),
    Damage.REFERRER_MISSING: Row(
        Weight.BROKEN, "the manifest is not listed, or wrongly, among the referrers of its subject",
        "its entry is written", _AGAIN),
    Damage.REFERRER_STRAY: Row(
        Weight.BROKEN, "what is listed among referrers is not there", "the entry is deleted", _AGAIN),
    Damage.LINK_DAMAGED: Row(
        Weight.BROKEN, "what says where the blob is cannot be read",
        "it leads to equal bytes that the registry has", _PUSH),
    Damage.LINK_WITHOUT_ENTRY: Row(
        Weight.WRONG, "nobody else can share the blob, and its bytes would never be collected",
        "the bytes are checked and entered", _AGAIN),
    Damage.BLOB_MISSING: Row(
        Weight.BROKEN, "the blob's bytes are missing or of another size",
        "it leads to equal bytes that the registry has", _PUSH),
    Damage.BLOB_DAMAGED: Row(
        Weight.BROKEN, "the blob's bytes do not match its digest", "it leads to equal bytes that the registry has",
        "delete the blob by its digest and push the image again"),
    Damage.BLOB_NOT_HELD: Row(
        Weight.BROKEN, "the manifest names a blob that its repository does not hold",
        "it is linked from another repository of the project", _PUSH),
    Damage.IMAGE_BROKEN: Row(
        Weight.BROKEN, "the manifest names a blob that cannot be pulled", "", _PUSH),
    Damage.ENTRY_BROKEN: Row(
        Weight.WRONG, "the index of blobs leads to bytes that are not there", "the entry is deleted", _AGAIN),
    Damage.ENTRY_DAMAGED: Row(
        Weight.WRONG, "the index of blobs would give the next push bytes that are damaged",
        "the entry is deleted, the bytes stay", _AGAIN),
    Damage.BYTES_UNKNOWN: Row(
        Weight.WASTE, "bytes that nothing leads to, and that the registry has nowhere else",
        "they are entered into the index of blobs, for links that lack them or for the collector", _AGAIN),
    Damage.BYTES_SUPERFLUOUS: Row(
        Weight.WASTE, "bytes that nothing leads to, and that the registry has elsewhere", "they are deleted", _AGAIN),
    Damage.CATALOG_MISSING: Row(
        Weight.WRONG, "the catalog does not list the repository", "it is listed", _AGAIN),
    Damage.RECORD_WRONG: Row(
        Weight.WRONG, "the index of artifacts says something else than the bucket", "it is read in again", _LATER),
    Damage.USAGE_WRONG: Row(
        Weight.WRONG, "what counts as used was not what is stored", "it is counted again", _LATER),
    Damage.NAME_UNKNOWN: Row(
        Weight.WASTE, "the registry never writes an object of this name", "",
        "look at what wrote it, and delete it by hand"),
})
# fmt: on


def is_bad(damage: Damage) -> bool:
    """Tell whether a damage that stays is more than a waste of room."""
    return ROWS[damage].weight is not Weight.WASTE


def left(found: Mapping[str, int], repaired: Mapping[str, int]) -> int:
    """Return how much of what was found is bad and was not repaired."""
    return sum(number - repaired.get(name, 0) for name, number in found.items() if is_bad(Damage(name)))


def line(damage: Damage, where: str, what: Iterable[str], *, repaired: bool) -> str:
    """Return a sentence about one damage: where it is, what is wrong, and what was or is to be done."""
    row = ROWS[damage]
    end = f"repaired: {row.mends}" if repaired else row.advice
    return f"{row.weight} {damage} {' '.join((where, *filter(None, what)))}: {row.says}; {end}"
