"""A TCP relay that counts what passes through it: how many bytes a copy really took, whoever spoke to whom."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HOST = "127.0.0.1"
_PIECE = 256 << 10


class Relay:
    """`down` bytes came from the far side, `up` went there; `passed` waits for some of either."""

    def __init__(self, far: tuple[str, int]) -> None:
        self._far = far
        self._changed = threading.Condition()
        self.up = self.down = 0
        self._carriers: list[threading.Thread] = []
        self._listener = socket.create_server((_HOST, 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.port}"

    def passed(self, size: int, seconds: float = 120) -> None:
        """Wait until so many bytes passed, both ways together."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.up + self.down >= size, seconds), (self.up, self.down)

    def forget(self) -> None:
        with self._changed:
            self.up = self.down = 0

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                carrier = threading.Thread(target=self._carry, args=(near,), daemon=True)
                self._carriers.append(carrier)
                carrier.start()

    def close(self) -> None:
        # Whoever waits to accept is not woken by a close alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for carrier in self._carriers:
            carrier.join(10)

    def _carry(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(self._far) as far:
            back = threading.Thread(target=self._pump, args=(far, near, "down"), daemon=True)
            back.start()
            self._pump(near, far, "up")
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                sink.sendall(piece)
                with self._changed:
                    setattr(self, way, getattr(self, way) + len(piece))
                    self._changed.notify_all()
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relaying(far: tuple[str, int]) -> Iterator[Relay]:
    """Relay connections to an address."""
    relay = Relay(far)
    thread = threading.Thread(target=relay.serve, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join()
