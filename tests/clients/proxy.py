"""Own the recording proxy that stands between one client and the registry.

* Bodies pass through as they came, chunk by chunk: the client meets the registry's own wire behaviour.
* Each request is recorded with its status and the bytes of its body, so that "uploads nothing" is counted.
* Each client has a proxy of its own, so its registry has a name (host:port) that no other client's caches know.
* Only the registry's own address is rewritten, in the two headers that can carry it, as any reverse proxy does.
"""

import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedReader
from queue import SimpleQueue
from threading import Thread
from typing import Self

PIECE = 256 * 1024
ADDRESSED = (b"location:", b"www-authenticate:")
UPLOAD = re.compile(r"/v2/.+/blobs/uploads/")
MOUNT = re.compile(r"/blobs/uploads/\?.*\bmount=")


@dataclass(slots=True)
class Exchange:
    """One request as it went by, and the status of its answer (0 until it comes)."""

    method: str
    target: str
    content_range: str = ""
    body: int = 0
    status: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.target} ({self.body} bytes) -> {self.status}"


@dataclass(frozen=True, slots=True)
class Record:
    """What one client asked of the registry during one operation."""

    exchanges: tuple[Exchange, ...]

    @property
    def blob_bytes(self) -> int:
        """Bytes that were sent to upload URLs."""
        return sum(each.body for each in self.exchanges if UPLOAD.match(each.target))

    @property
    def mounts(self) -> int:
        """Mounts that the registry granted."""
        return sum(bool(MOUNT.search(each.target)) and each.status == HTTPStatus.CREATED for each in self.exchanges)

    @property
    def commits(self) -> int:
        """Uploads that the registry accepted as blobs."""
        return sum(
            each.method == "PUT" and bool(UPLOAD.match(each.target)) and each.status == HTTPStatus.CREATED
            for each in self.exchanges
        )

    @property
    def chunks(self) -> int:
        """Accepted pieces of uploads that the client itself split."""
        return sum(
            each.method == "PATCH" and bool(each.content_range) and each.status == HTTPStatus.ACCEPTED
            for each in self.exchanges
        )

    def asked(self, method: str, pattern: str) -> bool:
        """Tell whether a request of this method and path succeeded."""
        return any(
            each.method == method and re.search(pattern, each.target) and each.status < HTTPStatus.BAD_REQUEST
            for each in self.exchanges
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self.exchanges))


@dataclass(frozen=True, slots=True)
class Head:
    """The start line and the header lines of a message, each with its line end."""

    lines: tuple[bytes, ...]

    @classmethod
    def read(cls, stream: BufferedReader) -> Self | None:
        lines = [*iter(stream.readline, b"\r\n")] if (first := stream.readline()) else []
        return cls((first, *lines)) if first else None

    def value(self, name: bytes) -> bytes:
        prefix = name + b":"
        return next((line[len(prefix) :].strip() for line in self.lines if line.lower().startswith(prefix)), b"")

    @property
    def status(self) -> int:
        return int(self.lines[0].split()[1])

    def renamed(self, old: bytes, new: bytes) -> "Head":
        return Head(
            tuple(line.replace(old, new) if line.lower().startswith(ADDRESSED) else line for line in self.lines)
        )

    def __bytes__(self) -> bytes:
        return b"".join(self.lines) + b"\r\n"


Frame = tuple[bytes, int]  # what goes on the wire, and how much of it is body
Pump = Callable[[BufferedReader, socket.socket, SimpleQueue[Exchange]], None]


def buffered(connection: socket.socket) -> BufferedReader:
    return BufferedReader(socket.SocketIO(connection, "rb"), PIECE)


def exactly(source: BufferedReader, size: int) -> Iterator[Frame]:
    """Yield `size` bytes of body."""
    while size:
        piece = source.read1(min(size, PIECE))
        if not piece:
            raise ConnectionError("the message ended early")
        yield piece, len(piece)
        size -= len(piece)


def chunks(source: BufferedReader) -> Iterator[Frame]:
    """Yield a chunked body as it is framed, trailers and all."""
    while True:
        line = source.readline()
        yield line, 0
        size = int(line.split(b";")[0], 16)
        if not size:
            break
        yield from exactly(source, size)
        yield source.readline(), 0
    while (trailer := source.readline()) != b"\r\n":
        yield trailer, 0
    yield trailer, 0


def rest(source: BufferedReader) -> Iterator[Frame]:
    """Yield a body that ends with its connection."""
    while piece := source.read1(PIECE):
        yield piece, len(piece)


def body(head: Head, source: BufferedReader, *, unframed: Iterable[Frame] = ()) -> Iterable[Frame]:
    """Yield the body that `head` announces, or `unframed` where it announces none."""
    if b"chunked" in head.value(b"transfer-encoding").lower():
        return chunks(source)
    if length := head.value(b"content-length"):
        return exactly(source, int(length))
    return unframed


@dataclass(slots=True)
class RecordingProxy:
    """Listens on a port of its own and hands every connection to the registry."""

    upstream: tuple[str, int]
    exchanges: list[Exchange] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=128))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def start(self) -> None:
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    @contextmanager
    def recording(self) -> Iterator[list[Exchange]]:
        """Yield a list that holds, once the block is left, what was asked meanwhile."""
        seen: list[Exchange] = []
        start = len(self.exchanges)
        try:
            yield seen
        finally:
            seen += self.exchanges[start:]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self.upstream) as server:
            requests, responses = buffered(client), buffered(server)
            pending: SimpleQueue[Exchange] = SimpleQueue()
            # Some clients try TLS first: the registry itself has to turn that away, and quickly.
            http = requests.peek(1)[:1].isupper()
            send: Pump = self._requests if http else self._unparsed
            receive: Pump = self._responses if http else self._unparsed
            sender = Thread(target=self._send, args=(send, requests, server, pending), daemon=True)
            sender.start()
            with suppress(OSError, ValueError):
                receive(responses, client, pending)
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            sender.join()

    def _send(
        self, send: Pump, requests: BufferedReader, server: socket.socket, pending: SimpleQueue[Exchange]
    ) -> None:
        with suppress(OSError, ValueError):
            send(requests, server, pending)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)
        # A server may refuse before it has read all: reading on lets the client see the refusal, not a reset.
        with suppress(OSError):
            while requests.read1(PIECE):
                pass

    def _unparsed(self, source: BufferedReader, target: socket.socket, _pending: SimpleQueue[Exchange]) -> None:
        for frame, _ in rest(source):
            target.sendall(frame)

    def _requests(self, source: BufferedReader, server: socket.socket, pending: SimpleQueue[Exchange]) -> None:
        while head := Head.read(source):
            method, target, _ = head.lines[0].decode().split()
            exchange = Exchange(method, target, head.value(b"content-range").decode())
            self.exchanges.append(exchange)
            pending.put(exchange)
            server.sendall(bytes(head))
            for frame, size in body(head, source):
                server.sendall(frame)
                exchange.body += size

    def _responses(self, source: BufferedReader, client: socket.socket, pending: SimpleQueue[Exchange]) -> None:
        old, new = "{}:{}".format(*self.upstream).encode(), self.address.encode()
        while head := Head.read(source):
            client.sendall(bytes(head.renamed(old, new)))
            if head.status < HTTPStatus.OK:
                continue
            exchange = pending.get()
            exchange.status = head.status
            empty = exchange.method == "HEAD" or head.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
            for frame, _ in () if empty else body(head, source, unframed=rest(source)):
                client.sendall(frame)
