"""How many S3 requests an operation takes: exact numbers, since each one costs time and money."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from chalicelib.oci.digests import Digest
from tests.memory import Clock, MemoryObjects
from tests.store.client import Client, image, location

LAYERS = tuple(b"layer %d" % number for number in range(5))
CONFIG = b"{}"
IMAGE = image(CONFIG, LAYERS)
BIG = 50_000_000
BIGGER = 50 << 20


@dataclass(frozen=True)
class Row:
    """An operation, the requests that it takes, how many the design allows, and what the index asks of S3 after it."""

    name: str
    prepare: Callable[[Client], None]
    operation: Callable[[Client], int]
    requests: int
    budget: int
    indexing: int = 0


def _nothing(client: Client) -> None:
    """An empty registry will do."""


def _image(client: Client) -> None:
    for blob in (CONFIG, *LAYERS):
        client.push_blob("a/b", blob)
    client.push_manifest("a/b", "v1", IMAGE)


def _layers(client: Client) -> None:
    for blob in (CONFIG, *LAYERS):
        client.push_blob("a/b", blob)
    client.push_manifest("a/b", "v1", image(CONFIG))


def _ask(method: str, target: str) -> Callable[[Client], int]:
    return lambda client: client.ask(method, f"/v2/{target}").status


def _post_and_put(size: int) -> Callable[[Client], int]:
    content = bytes(size)
    return lambda client: client.finish(client.begin("a/b"), Digest.of(content), content).status


def _post_patch_and_put(size: int) -> Callable[[Client], int]:
    content = bytes(size)

    def operation(client: Client) -> int:
        where = location(client.patch(client.begin("a/b"), content))
        return client.finish(where, Digest.of(content)).status

    return operation


def _put_image(client: Client) -> int:
    return client.put_manifest("a/b", "v2", IMAGE).status


def _many_tags(client: Client) -> None:
    _image(client)
    keep = image(CONFIG, LAYERS[:1])
    for number in range(1000):
        client.push_manifest("a/b", f"t{number}", keep)
    client.push_manifest("a/b", "v2", IMAGE)


def _10k_tags(client: Client) -> None:
    _image(client)
    for number in range(10_000):
        client.objects.put(f"repositories/a/b/_tags/t{number:05}", b"{}", metadata={"digest": str(IMAGE.digest)})


_MOUNT = f"a/c/blobs/uploads/?mount={Digest.of(CONFIG)}&from=a/b"
# fmt: off
ROWS = (
    Row("manifest by tag, GET",          _image,     _ask("GET", "a/b/manifests/v1"),                 1,  1),
    Row("manifest by tag, HEAD",         _image,     _ask("HEAD", "a/b/manifests/v1"),                1,  1),
    Row("manifest by digest, GET",       _image,     _ask("GET", f"a/b/manifests/{IMAGE.digest}"),    1,  1),
    Row("manifest by digest, HEAD",      _image,     _ask("HEAD", f"a/b/manifests/{IMAGE.digest}"),   1,  1),
    Row("manifest, unknown tag",         _image,     _ask("HEAD", "a/b/manifests/none"),              1,  1),
    Row("blob, GET",                     _image,     _ask("GET", f"a/b/blobs/{Digest.of(CONFIG)}"),   1,  1),
    Row("blob, HEAD",                    _image,     _ask("HEAD", f"a/b/blobs/{Digest.of(CONFIG)}"),  1,  1),
    Row("upload begun",                  _nothing,   _ask("POST", "a/b/blobs/uploads/"),              0,  0),
    Row("1 MB, POST and PUT",            _nothing,   _post_and_put(1_000_000),                        4,  4),
    Row("1 MB, POST, PATCH and PUT",     _nothing,   _post_patch_and_put(1_000_000),                  7, 12),
    Row("50 MB, POST, PATCH and PUT",    _nothing,   _post_patch_and_put(BIG),                       11, 12),
    Row("50 MiB, POST, PATCH and PUT",   _nothing,   _post_patch_and_put(BIGGER),                    12, 12),
    Row("manifest PUT, 5 layers",        _image,     _put_image,                                     11, 12, 1),
    Row("manifest PUT, new, 5 layers",   _layers,    _put_image,                                     11, 12, 1),
    Row("mount",                         _image,     _ask("POST", _MOUNT),                            2,  2),
    Row("100 of 10 000 tags",            _10k_tags,  _ask("GET", "a/b/tags/list?n=100"),              1,  1),
    Row("manifest DELETE, 1 002 tags",   _many_tags, _ask("DELETE", f"a/b/manifests/{IMAGE.digest}"),  8, 12, 4),
)
# fmt: on


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_operation_takes_exactly_so_many_requests(row: Row) -> None:
    clock = Clock()
    client = Client.of(MemoryObjects(clock), clock)
    row.prepare(client)
    client.objects.asked.clear()
    client.indexing.asked.clear()

    status = row.operation(client)

    assert status < 300 or status in (307, 404)
    assert len(client.objects.asked) == row.requests, client.objects.asked
    assert len(client.indexing.asked) == row.indexing, client.indexing.asked
    assert row.requests + row.indexing <= row.budget


def test_the_work_after_the_last_byte_does_not_grow_with_the_size() -> None:
    def last_put(size: int) -> int:
        clock = Clock()
        client = Client.of(MemoryObjects(clock), clock)
        content = bytes(size)
        where = location(client.patch(client.begin("a/b"), content))
        client.objects.asked.clear()
        assert client.finish(where, Digest.of(content)).status == 201
        return len(client.objects.asked)

    # Both leave 4 MiB beyond their full parts.
    assert last_put(20 << 20) == last_put(212 << 20) == 6
