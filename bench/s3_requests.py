"""S3 requests per registry operation: exact counts, the same on any machine. Over budget here fails the run.

* Each operation is repeated with new content and the worst repetition counts.
* What a registry does after its answer counts too. What a client does after a redirect does not: none is followed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.peers import PROJECT, Peer
from bench.registry import IMAGE, INDEX, Registry, digest_of, empty_index, image
from bench.report import Row, Table, Verdict, progress
from bench.stage import Stage
from tests.engines.ledger import counts, round_trips

MIB = 1024 * 1024
_SEEDERS = 8
_ACCEPT = {"Accept": f"{IMAGE}, {INDEX}"}
_TAGS_OF_DELETED = 2
# This bucket keeps no versions, unlike one on AWS: what a tag named before is copied first. A new tag takes a look at
# the tag and one at the copies, a deleted one a read and a copy. AWS's: tests/store/test_request_counts.py.
_FOR_A_NEW_TAG, _FOR_A_DELETED_TAG = 2, 2

Action = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is prepared: the listing and the deletion are about large repositories."""

    listed_tags: int
    tags_beside_deleted: int
    repetitions: int


FULL = Sizes(listed_tags=10_000, tags_beside_deleted=1_000, repetitions=2)
QUICK = Sizes(listed_tags=1_200, tags_beside_deleted=200, repetitions=1)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation to be counted: `prepare` does all that comes before and returns the rest.

    A budget in words is another operation: it may cost as much as that one does.
    """

    name: str
    prepare: Callable[[Client], Action]
    requests: int | str
    round_trips: int | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A registry, and repositories in it that were prepared."""

    registry: Registry
    sizes: Sizes
    repository: str
    other: str
    listed: str
    crowded: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation asked of S3."""

    requests: int
    round_trips: int

    def __str__(self) -> str:
        return f"{self.requests} in {self.round_trips}"


def measure(stage: Stage, sizes: Sizes) -> Table:
    """Count every operation on both registries."""
    theirs, ours = (_costs(stage, peer, sizes) for peer in stage.peers.values())
    rows = [_row(operation, theirs, ours) for operation in OPERATIONS]
    notes = (f"(listed: {sizes.listed_tags} tags; deleted from among {sizes.tags_beside_deleted} tags)",)
    return Table("S3 requests, in round trips one after another", rows, notes)


def _row(operation: Operation, theirs: Mapping[str, Cost], ours: Mapping[str, Cost]) -> Row:
    cost, trips = ours[operation.name], operation.round_trips
    requests = operation.requests if isinstance(operation.requests, int) else ours[operation.requests].requests
    kept = cost.requests <= requests and (trips is None or cost.round_trips <= trips)
    budget = str(requests) if trips is None else str(Cost(requests, trips))
    verdict = Verdict.KEPT if kept else Verdict.BROKEN
    return Row(operation.name, str(theirs[operation.name]), str(cost), budget, verdict)


def _costs(stage: Stage, peer: Peer, sizes: Sizes) -> dict[str, Cost]:
    names = [f"{PROJECT}/{secrets.token_hex(4)}" for _ in range(4)]
    with Registry(peer, *names) as registry:
        client = Client(registry, sizes, *names)
        with stage.undelayed():
            _prepare(client)
        return {operation.name: _cost(stage, client, operation) for operation in OPERATIONS}


def _cost(stage: Stage, client: Client, operation: Operation) -> Cost:
    costs = []
    for _ in range(client.sizes.repetitions):
        with stage.undelayed():
            action = operation.prepare(client)
        stage.settled(client.registry.peer)
        stage.proxy.reset()
        action()
        exchanges = stage.settled(client.registry.peer)
        costs.append(Cost(len(exchanges), round_trips(exchanges)))
        progress(f"{client.registry.peer.name}: {operation.name}: {costs[-1]}: {counts(exchanges)}")
    return Cost(max(cost.requests for cost in costs), max(cost.round_trips for cost in costs))


def _prepare(client: Client) -> None:
    _tagged_image(client)
    seed_tags(client.registry, client.listed, empty_index(), _numbered(client.sizes.listed_tags))
    seed_tags(client.registry, client.crowded, empty_index(), _numbered(client.sizes.tags_beside_deleted))


def _numbered(count: int) -> list[str]:
    return [f"t{number:05}" for number in range(count)]


def seed_tags(registry: Registry, repository: str, manifest: bytes, tags: Sequence[str]) -> None:
    """Put one manifest under many tags, over several connections."""
    progress(f"{registry.peer.name}: preparing {len(tags)} tags")

    def put(part: Iterable[str]) -> None:
        with Registry(registry.peer, repository) as own:
            for tag in part:
                own.put_manifest(repository, tag, manifest, INDEX)

    # The first alone: what it creates for all the others is not raced for.
    put(tags[:1])
    with ThreadPoolExecutor(_SEEDERS) as threads:
        list(threads.map(put, [tags[start::_SEEDERS] for start in range(1, _SEEDERS + 1)]))


def _tagged_image(client: Client) -> bytes:
    manifest = _image_to_push(client)
    client.registry.put_manifest(client.repository, "latest", manifest)
    return manifest


def _image_to_push(client: Client) -> bytes:
    blobs = [client.registry.push_blob(client.repository, secrets.token_bytes(1_000)) for _ in range(6)]
    return image(blobs[0], blobs[1:])


def _read_manifest(method: str, *, by_digest: bool = False) -> Callable[[Client], Action]:
    def prepare(client: Client) -> Action:
        reference = digest_of(_tagged_image(client)) if by_digest else "latest"
        path = f"/v2/{client.repository}/manifests/{reference}"
        return lambda: client.registry.call(method, path, headers=_ACCEPT, expect={200})

    return prepare


def _read_blob(method: str) -> Callable[[Client], Action]:
    def prepare(client: Client) -> Action:
        blob = client.registry.push_blob(client.repository, secrets.token_bytes(1_000))
        path = f"/v2/{client.repository}/blobs/{blob.digest}"
        return lambda: client.registry.call(method, path, expect={200, 307})

    return prepare


def _upload_at_once(client: Client) -> Action:
    content = secrets.token_bytes(MIB)
    return lambda: client.registry.push_blob(client.repository, content)


def _upload(size: int) -> Callable[[Client], Action]:
    def prepare(client: Client) -> Action:
        content = secrets.token_bytes(size)
        return lambda: _finish(client, _patched(client, content), content)

    return prepare


def _last_put(size: int) -> Callable[[Client], Action]:
    def prepare(client: Client) -> Action:
        content = secrets.token_bytes(size)
        location = _patched(client, content)
        return lambda: _finish(client, location, content)

    return prepare


def _patched(client: Client, content: bytes) -> str:
    return client.registry.patch_upload(client.registry.start_upload(client.repository), content)


def _finish(client: Client, location: str, content: bytes) -> None:
    client.registry.finish_upload(location, digest_of(content))


def _put_manifest(client: Client) -> Action:
    manifest = _image_to_push(client)
    tag = secrets.token_hex(4)
    return lambda: client.registry.put_manifest(client.repository, tag, manifest)


def _mount(client: Client) -> Action:
    blob = client.registry.push_blob(client.repository, secrets.token_bytes(1_000))
    path = f"/v2/{client.other}/blobs/uploads/?mount={blob.digest}&from={client.repository}"
    return lambda: client.registry.call("POST", path, expect={201})


def _list_tags(client: Client) -> Action:
    return lambda: client.registry.call("GET", f"/v2/{client.listed}/tags/list?n=100", expect={200})


def _delete_manifest(client: Client) -> Action:
    manifest = empty_index()
    for number in range(_TAGS_OF_DELETED):
        client.registry.put_manifest(client.crowded, f"deleted-{number}", manifest, INDEX)
    path = f"/v2/{client.crowded}/manifests/{digest_of(manifest)}"
    return lambda: client.registry.call("DELETE", path, expect={202})


# The budgets are those of the design, section 11; the work after the last byte is the same at any size.
OPERATIONS: Sequence[Operation] = (
    Operation("GET manifest by tag", _read_manifest("GET"), 1),
    Operation("HEAD manifest by tag", _read_manifest("HEAD"), 1),
    Operation("GET manifest by digest", _read_manifest("GET", by_digest=True), 1),
    Operation("HEAD manifest by digest", _read_manifest("HEAD", by_digest=True), 1),
    Operation("GET blob -> redirect", _read_blob("GET"), 1),
    Operation("HEAD blob -> redirect", _read_blob("HEAD"), 1),
    Operation("upload 1 MiB, POST+PUT", _upload_at_once, 4),
    Operation("upload 50 MiB, POST+PATCH+PUT", _upload(50 * MIB), 12),
    Operation("last PUT of 20 MiB", _last_put(20 * MIB), 12),
    Operation("last PUT of 50 MiB", _last_put(50 * MIB), "last PUT of 20 MiB"),
    Operation("manifest PUT, 5 layers", _put_manifest, 12 + _FOR_A_NEW_TAG, round_trips=4 + _FOR_A_NEW_TAG),
    Operation("mount", _mount, 2),
    Operation("tags/list?n=100", _list_tags, 1),
    Operation(
        f"manifest DELETE, {_TAGS_OF_DELETED} tags", _delete_manifest, 8 + (2 + _FOR_A_DELETED_TAG) * _TAGS_OF_DELETED
    ),
)
