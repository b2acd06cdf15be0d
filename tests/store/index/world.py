"""A bucket, a table and an index over them; what S3 has, computed the slow and obvious way; what the index shows.

`shown` reads the index only through what the API reads it through, `expected` reads only S3. After every push and
delete, and after every reindex, the two must be one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import orjson

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.oci.pages import PageRequest
from chalicelib.store import blobs, layout, listings, manifests
from chalicelib.store.blobs import Blob
from chalicelib.store.content import Content
from chalicelib.store.index import Index, artifacts, attributes, descriptions, events, kinds, repositories
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.sqlite import SqliteTable
from chalicelib.store.table import Table
from tests.memory import Clock, Inline, MemoryObjects

PROJECT = 7
HOME = Repository("library/app")
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
Json = dict[str, Any]
Shown = Mapping[str, Any]


def image(name: str, *, subject: Digest | None = None, config: Json | None = None, **fields: Any) -> Json:
    """Return an image's manifest; images of different names differ, and have different configs."""
    content = orjson.dumps(config or {"architecture": "amd64", "os": "linux", "config": {"Cmd": [name]}})
    document: Json = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": descriptor(content, CONFIG_TYPE) | {"data_of_test": content.decode()},
        "layers": [descriptor(f"layer of {name}".encode(), LAYER_TYPE)],
        **fields,
    }
    if subject:
        document["subject"] = {"mediaType": oci.OCI_MANIFEST, "digest": str(subject), "size": 2}
    return document


def index_of(*children: Json, **fields: Any) -> Json:
    """Return an index of manifests."""
    entries = [
        descriptor(orjson.dumps(child), child["mediaType"]) | {"platform": {"architecture": "amd64", "os": "linux"}}
        for child in children
    ]
    return {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries, **fields}


def descriptor(content: bytes, media_type: str) -> Json:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def digest_of(document: Json) -> Digest:
    return Digest.of(orjson.dumps(document))


@dataclass
class World:
    """One process's way to a bucket and a table that others may share."""

    clock: Clock = field(default_factory=Clock)
    pool: Executor = field(default_factory=Inline)
    engine: Table | None = None
    objects: MemoryObjects = field(init=False)
    table: Table = field(init=False)
    index: Index = field(init=False)

    def __post_init__(self) -> None:
        self.objects = MemoryObjects(self.clock)
        self.table = self.engine or SqliteTable(":memory:", lambda: self.clock().timestamp())
        self.index = Index(self.table, Content(self.objects, self.pool, self.clock), self.clock)

    def over(self, table: Table) -> Index:
        """Return an index over the same bucket and another way to the table."""
        return Index(table, self.index.content, self.clock)

    def store(self, document: Json, *tags: str, repository: Repository = HOME) -> Digest:
        """Put a manifest and all that it needs into S3, and tell nobody."""
        self._put(document, tags, repository)
        return digest_of(document)

    def _put(
        self, document: Json, tags: Iterable[str], repository: Repository
    ) -> Sequence[tuple[Digest, oci.Manifest]]:
        """Store a manifest and return the children that were retired and are back."""
        for blob in (document.get("config"), *document.get("layers", ())):
            if blob:
                self._hold(blob, repository)
        back: list[tuple[Digest, oci.Manifest]] = []
        content, digest = self.index.content, digest_of(document)
        manifests.put(content, repository, parsed(document), digest, map(Tag, tags), back.extend)
        return back

    def _hold(self, blob: Json, repository: Repository) -> None:
        key = layout.data(blob["digest"])
        self.objects.put(key, blob.get("data_of_test", "a layer").encode())
        blobs.hold(self.index.content, repository, Digest.parse(blob["digest"]), Blob(key, blob["size"]))

    def push(self, document: Json, *tags: str, repository: Repository = HOME) -> Digest:
        """Push a manifest as the registry does: S3, then the index."""
        digest = digest_of(document)
        for child, manifest in self._put(document, tags, repository):
            events.pushed(self.index, PROJECT, repository, manifest, child, ())
        events.pushed(self.index, PROJECT, repository, parsed(document), digest, map(Tag, tags))
        return digest

    def delete(self, digest: Digest) -> None:
        """Delete a manifest as the registry does."""
        manifests.delete(self.index.content, HOME, digest)
        events.deleted(self.index, PROJECT, HOME, digest)

    def untag(self, tag: str) -> None:
        """Delete a tag as the registry does."""
        manifests.delete_tag(self.index.content, HOME, Tag(tag))
        events.untagged(self.index, PROJECT, HOME, Tag(tag))

    def home(self, repository: Repository = HOME) -> RepositoryRecord:
        """Return the repository's record."""
        found = repositories.find(self.index, PROJECT, repository)
        assert found
        return found

    def artifact(self, digest: Digest) -> artifacts.Artifact:
        found = artifacts.find(self.index, self.home(), str(digest))
        assert found
        return found

    def listed(self) -> list[str]:
        """Return the digests that lists show, newest first."""
        home = self.home()
        return [found.digest for found in artifacts.newest(self.index, home, 0, 1000)]

    def shown(self, repository: Repository = HOME) -> Shown:
        """Return what the index shows of a repository, without what time and chance decided."""
        home = self.home(repository)
        known = _digests(self.index, home)
        listed = [found.digest for found in artifacts.scan(self.index, home)]
        return {
            "listed": sorted(listed),
            "artifacts": home.artifacts,
            "manifests": home.manifests,
            "bytes": home.bytes,
            "tags": dict(artifacts.tag_names(self.index, home)),
            "known": {digest: self._known(home, digest) for digest in known},
            "parents": {digest: artifacts.parents(self.index, home, digest) for digest in known},
            "accessories": {
                digest: sorted((a.digest, a.type) for a in artifacts.accessories(self.index, home, digest).entries)
                for digest in known
            },
        }

    def _known(self, home: RepositoryRecord, digest: str) -> Json:
        found = artifacts.find(self.index, home, digest)
        assert found
        drop = ("id", "pushed", "labels")
        page = artifacts.tags(self.index, home, digest)
        assert found.tags == len(page.entries)
        return {
            **{name: value for name, value in found.document.items() if name not in drop},
            # A push leaves them to whoever looks first.
            "extra_attrs": descriptions.attributes(self.index.content, home.repository, found.document),
            "tags": [tag.name for tag in page.entries],
            "children": [child["digest"] for child in artifacts.children(self.index, home, digest)],
        }

    def attributes(self, digest: Digest) -> Mapping[str, Any]:
        """Return what an artifact's config says, as the API asks for it."""
        home = repositories.find(self.index, PROJECT, HOME)
        assert home
        return attributes.of(self.index, home, self.artifact(digest))

    def expected(self, repository: Repository = HOME) -> Shown:
        """Return what the index should show, from S3 alone."""
        content = self.index.content
        names = listings.tags(content, repository, PageRequest()).entries
        tags = {name: str(manifests.head(content, repository, Tag(name)).digest) for name in names}
        stored = set(map(str, manifests.stored(content, repository))) | set(tags.values())
        known = {digest: self._described(repository, digest, tags) for digest in sorted(stored)}
        parents = {
            digest: tuple(sorted(other for other in known if digest in known[other]["children"])) for digest in known
        }
        accessories: dict[str, list[tuple[str, str]]] = {digest: [] for digest in known}
        for digest, document in known.items():
            if document["subject"] in accessories:
                accessories[document["subject"]].append((digest, document["accessory"]))
        attached = {name: relation for name in tags if (relation := kinds.attached(name))}
        for name, relation in attached.items():
            accessories.setdefault(relation.subject, []).append((tags[name], relation.type))
        hidden = {tags[name] for name in attached} | {d for d in known if known[d]["subject"]}
        listed = [d for d in known if d not in hidden and (known[d]["tags"] or not parents[d])]
        return {
            "listed": sorted(listed),
            "artifacts": len(listed),
            "manifests": len(known),
            "bytes": sum(document["bytes"] for document in known.values()),
            "tags": tags,
            "known": known,
            "parents": parents,
            "accessories": {digest: sorted(accessories[digest]) for digest in known},
        }

    def _described(self, repository: Repository, digest: str, tags: Mapping[str, str]) -> Json:
        content = self.index.content
        manifest = descriptions.read(content, repository, Digest.parse(digest))
        assert manifest
        described = descriptions.describe(content, repository, Digest.parse(digest), manifest)
        return {
            **described.document,
            "tags": sorted(name for name, named in tags.items() if named == digest),
            "children": [child["digest"] for child in described.children],
        }


def _digests(index: Index, home: RepositoryRecord) -> list[str]:
    from chalicelib.store.table import every  # noqa: PLC0415 - what no function of the API's tells

    return [record.key.sort for record in every(index.table, home.partition("artifacts"))]


def parsed(document: Json) -> oci.Manifest:
    return oci.parse(orjson.dumps(document), document["mediaType"])
