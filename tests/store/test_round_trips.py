"""How many S3 requests an operation waits for one after another: those of one round are under way together.

Each request of a round waits until all of its round have arrived, so an operation that does fewer at once than the
table says never ends a round, and fails.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import pytest

from chalicelib.oci.digests import Digest
from tests.memory import Clock, MemoryObjects
from tests.store.client import Client, image

LAYERS = tuple(b"layer %d" % number for number in range(5))
CONFIG = b"{}"
IMAGE = image(CONFIG, LAYERS)
SIGNATURES = tuple(image(CONFIG, subject=IMAGE, annotations={"n": str(number)}) for number in range(5))
_SECONDS = 10


class Rounds:
    """A hook that lets requests go on round by round."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._lock = threading.Lock()
        self._arrived = 0
        self._ends = tuple(accumulate(sizes))
        self._barriers = [threading.Barrier(size) for size in sizes]

    def __call__(self, operation: str, key: str) -> None:
        with self._lock:
            place = next((n for n, end in enumerate(self._ends) if self._arrived < end), None)
            self._arrived += 1
        assert place is not None, f"one request too many: {operation} {key}"
        self._barriers[place].wait(_SECONDS)

    @property
    def complete(self) -> bool:
        """Tell whether every round took place."""
        return self._arrived == self._ends[-1]


@dataclass(frozen=True)
class Row:
    """An operation, what it begins from, and the size of each round."""

    name: str
    prepare: Callable[[Client], object]
    operation: Callable[[Client], int]
    rounds: tuple[int, ...]


def _blobs(client: Client) -> None:
    for blob in (CONFIG, *LAYERS):
        client.push_blob("a/b", blob)


def _image(client: Client) -> None:
    _blobs(client)
    for tag in ("v1", "v2", "v3"):
        client.push_manifest("a/b", tag, IMAGE)


def _signatures(client: Client) -> None:
    client.push_blob("a/b", CONFIG)
    for signature in SIGNATURES:
        client.push_manifest("a/b", signature.digest, signature)


def _put(reference: object, document: object = IMAGE) -> Callable[[Client], int]:
    return lambda client: client.put_manifest("a/b", reference, document).status  # type: ignore[arg-type]


def _ask(method: str, target: str) -> Callable[[Client], int]:
    return lambda client: client.ask(method, f"/v2/{target}").status


def _push_blob(client: Client) -> int:
    content = bytes(1_000_000)
    return client.finish(client.begin("a/b"), Digest.of(content), content).status


SIGNED = image(CONFIG, LAYERS, subject=SIGNATURES[0])
_MOUNT = f"a/c/blobs/uploads/?mount={Digest.of(CONFIG)}&from=a/b"
# fmt: off
ROWS = (
    Row("manifest by tag",             _image,      _ask("GET", "a/b/manifests/v1"),                  (1,)),
    Row("blob",                        _image,      _ask("GET", f"a/b/blobs/{Digest.of(CONFIG)}"),    (1,)),
    Row("tags",                        _image,      _ask("GET", "a/b/tags/list?n=100"),               (1,)),
    Row("mount",                       _image,      _ask("POST", _MOUNT),                           (1, 1)),
    Row("1 MB, POST and PUT",          _image,      _push_blob,                                     (1, 1, 1, 1)),
    Row("manifest, first, 5 layers",   _blobs,      _put("v1"),                                     (7, 3, 1, 1)),
    Row("manifest, 5 layers",          _image,      _put("v4"),                                     (7, 2, 1, 1)),
    Row("manifest, first, subject",    _blobs,      _put("v1", SIGNED),                             (7, 3, 1, 1, 1)),
    Row("manifest, three tags",        _image,      _put(f"{IMAGE.digest}?tag=x&tag=y&tag=z"),      (7, 4, 3, 1)),
    Row("manifest DELETE, three tags", _image,      _ask("DELETE", f"a/b/manifests/{IMAGE.digest}"),  (1, 1, 3, 1, 1, 3)),
    Row("five referrers",              _signatures, _ask("GET", f"a/b/referrers/{IMAGE.digest}"),     (1, 5)),
)
# fmt: on


@pytest.fixture
def client() -> Iterator[Client]:
    """Give a client of a process whose pool has threads."""
    clock = Clock()
    with ThreadPoolExecutor(32) as pool:
        yield Client.of(MemoryObjects(clock), clock, pool=pool)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_requests_that_do_not_need_each_other_are_under_way_together(client: Client, row: Row) -> None:
    row.prepare(client)
    client.objects.before = rounds = Rounds(row.rounds)

    status = row.operation(client)

    assert status in (200, 201, 202, 307)
    assert rounds.complete


def test_a_manifest_of_five_layers_takes_twelve_requests_in_four_round_trips_at_most() -> None:
    pushes = {row.name: row.rounds for row in ROWS if row.name.startswith("manifest, ")}
    plain = [pushes[name] for name in ("manifest, first, 5 layers", "manifest, 5 layers")]

    assert max(map(len, plain)) <= 4
    assert max(map(sum, plain)) <= 12
