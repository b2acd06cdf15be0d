"""A client that carries a small image, or a chart, to a registry and back into a store that has never seen it.

Small enough for a function's event: what the API takes without a relay.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.clients import images
from tests.clients.bench import Bench
from tests.clients.clients import CLIENTS, Cannot, Client
from tests.clients.registry import Registry


def client_named(name: str) -> Client:
    [found] = [each for each in CLIENTS if each.name == name]
    assert found.program.is_file(), f"{name} is not installed: run tests/clients/install.sh"
    return found


def small(layout: Path) -> images.Image:
    """Write an image of three layers, none above three MiB."""
    few = (images.File("etc/motd", b"lying at anchor\n"), images.File("srv/few", images.MIB))
    return images.build_image(layout, (few, (images.File("srv/fewer", 1000),)))


def bench_of(client: Client, folder: Path, url: str, password: str, image: images.Image) -> Bench:
    """Return a place for a client, with nothing to carry but the image."""
    at = urlsplit(url)
    chart = images.write_chart(folder / "chart")
    registry = Registry(at.hostname or "", at.port or 80, "admin", password, "library")
    cargo = images.Cargo(image, image, images.Index(image.layout, image.digest, (image,)), folder, chart)
    return Bench(client.name, folder, registry, cargo, f"run-{secrets.token_hex(4)}", client.daemon)


def carry(name: str, url: str, password: str) -> None:
    """Log in, push and pull with a client, and check what arrived on both sides."""
    with carrying(name, url, password) as (client, bench):
        target = bench.reference("small", client.tag)
        client.push(bench, bench.cargo.image, target)
        bench.registry.whole(target.repository, target.tag)
        assert client.holds(bench, bench.cargo.image) <= client.pull(bench, target)


@contextmanager
def carrying(name: str, url: str, password: str) -> Iterator[tuple[Client, Bench]]:
    """Yield a client that is logged in, at a place with an image and names of its own."""
    # Not a folder of pytest's: docker's sockets lie below it, whose paths have to be short.
    with tempfile.TemporaryDirectory(prefix="carry-") as home:
        client, image = client_named(name), small(Path(home, "image"))
        bench = bench_of(client, Path(home), url, password, image)
        with bench.stack:
            if not isinstance(client.login, Cannot):
                client.login(bench, bench.registry.user, password)
            yield client, bench
