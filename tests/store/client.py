"""A client of the registry without HTTP: requests go straight to `dispatch`."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import parse_qs

import orjson

from chalicelib.api.dispatch import dispatch
from chalicelib.api.http import Request, Response
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.manifests import OCI_INDEX, OCI_MANIFEST
from chalicelib.oci.names import Repository
from chalicelib.services import Services
from chalicelib.store import manifests
from chalicelib.store.uploads import Body, BrokenBodyError
from tests.api.asking import make_projects
from tests.memory import PASSWORD, Inline, MemoryObjects, located, services_over

NONE: Mapping[str, str] = MappingProxyType({})
PROJECTS = ("a", "a-b", "b")
_AUTHORIZATION = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Client:
    """A client that talks to one process of the registry, which has its own way to the bucket.

    What the artifact index asks of S3 after a push has been answered goes by `indexing`, where nothing is cut off or
    held up: its faults and races are tests.store.index's.
    """

    services: Services
    objects: MemoryObjects
    indexing: MemoryObjects

    @classmethod
    def of(cls, objects: MemoryObjects, now: Callable[[], datetime], *, pool: Executor | None = None) -> Self:
        """Return a client of a new process over the bucket, in which the projects `library` and `PROJECTS` are."""
        own, indexing = objects.beside(), objects.beside()
        services = services_over(own, now, pool=pool or Inline())
        make_projects(services, PROJECTS)
        index = replace(services.index, content=replace(services.content, objects=indexing))
        return cls(replace(services, index=index), own, indexing)

    def ask(
        self,
        method: str,
        url: str,
        body: bytes | Body = b"",
        headers: Mapping[str, str] = NONE,
        *,
        redirect_head: bool = False,
    ) -> Response:
        """Return the answer to a request as the administrator."""
        path, _, query = url.partition("?")
        sized = {"content-length": str(len(body))} if isinstance(body, bytes) and body else {}
        request = Request(
            method=method,
            path=path,
            query=parse_qs(query, keep_blank_values=True),
            headers={"authorization": _AUTHORIZATION, **sized, **headers},
            body=io.BytesIO(body) if isinstance(body, bytes) else body,
            base_url="http://registry.test",
            id="a request",
            redirect_head=redirect_head,
        )
        return dispatch(self.services, request)

    def delete_alone(self, repository: str, digest: Digest) -> Response:
        """Delete a manifest without what belongs to it, of which `store.cascade` makes a row of such deletes."""
        try:
            manifests.delete(self.services.content, Repository(repository), digest)
        except RegistryError as error:
            return Response(error.status)
        return Response(202)

    def begin(self, repository: str) -> str:
        """Begin an upload and return its location."""
        return location(self.ask("POST", f"/v2/{repository}/blobs/uploads/"))

    def patch(self, where: str, chunk: bytes | Body, headers: Mapping[str, str] = NONE) -> Response:
        """Add a chunk to an upload."""
        return self.ask("PATCH", where, chunk, headers)

    def finish(self, where: str, digest: Digest | str, body: bytes | Body = b"") -> Response:
        """End an upload."""
        return self.ask("PUT", f"{where}&digest={digest}", body)

    def push_blob(self, repository: str, content: bytes) -> Digest:
        """Push a blob in one piece and return its digest."""
        digest = Digest.of(content)
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)
        assert answer.status == 201, answer
        return digest

    def put_manifest(self, repository: str, reference: object, document: "Document") -> Response:
        """Put a manifest."""
        headers = {"content-type": document.media_type}
        return self.ask("PUT", f"/v2/{repository}/manifests/{reference}", document.content, headers)

    def push_manifest(self, repository: str, reference: object, document: "Document") -> Digest:
        """Put a manifest that must be taken, and return its digest."""
        answer = self.put_manifest(repository, reference, document)
        assert answer.status == 201, answer
        return document.digest

    def manifest(self, repository: str, reference: object, method: str = "GET") -> Response:
        """Ask for a manifest."""
        return self.ask(method, f"/v2/{repository}/manifests/{reference}")

    def blob(self, repository: str, digest: Digest) -> bytes | None:
        """Return the bytes that a pull of a blob brings, or None where the repository does not hold it."""
        answer = self.ask("GET", f"/v2/{repository}/blobs/{digest}")
        if answer.status == 404:
            return None
        assert answer.status == 307, answer
        return b"".join(self.objects.read(located(answer.headers["Location"])))

    def tags(self, repository: str) -> list[str]:
        """Return all tags."""
        listed: list[str] = orjson.loads(self.ask("GET", f"/v2/{repository}/tags/list").body).get("tags", [])
        return listed

    def referrers(self, repository: str, subject: Digest) -> set[str]:
        """Return the digests that refer to a manifest."""
        answer = self.ask("GET", f"/v2/{repository}/referrers/{subject}")
        return {entry["digest"] for entry in orjson.loads(answer.body)["manifests"]}


def location(answer: Response) -> str:
    """Return where an upload that was accepted goes on."""
    assert answer.status in (202, 204), answer
    return answer.headers["Location"]


def received(answer: Response) -> int:
    """Return how many bytes an upload has, as an answer tells; 0 and 1 look the same."""
    return int(answer.headers["Range"].partition("-")[2]) + 1


def code(answer: Response) -> str:
    """Return the error code of a refusal."""
    found: str = orjson.loads(answer.body)["errors"][0]["code"]
    return found


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest as it is sent."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> Digest:
        """Return the digest of its bytes."""
        return Digest.of(self.content)

    def descriptor(self) -> dict[str, Any]:
        """Return what refers to it."""
        return {"mediaType": self.media_type, "digest": str(self.digest), "size": len(self.content)}


def image(config: bytes, layers: Sequence[bytes] = (), *, subject: Document | None = None, **extra: Any) -> Document:
    """Return the manifest of an image."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _blob("application/vnd.oci.image.config.v1+json", config),
        "layers": [_blob("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
        **({"subject": subject.descriptor()} if subject else {}),
        **extra,
    }
    return Document(orjson.dumps(document), OCI_MANIFEST)


def index(children: Sequence[Document], *, subject: Document | None = None) -> Document:
    """Return an index of manifests."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [child.descriptor() for child in children],
        **({"subject": subject.descriptor()} if subject else {}),
    }
    return Document(orjson.dumps(document), OCI_INDEX)


def _blob(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


class Pieces:
    """A body that comes in pieces, runs a step between them, and may break off."""

    def __init__(self, *pieces: bytes | Callable[[], object], broken: bool = False) -> None:
        self._pieces = list(pieces)
        self._broken = broken

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        while self._pieces:
            piece = self._pieces.pop(0)
            if not isinstance(piece, bytes):
                piece()
                continue
            if len(piece) > size:
                self._pieces.insert(0, piece[size:])
            if piece:
                return piece[:size]
        if self._broken:
            raise BrokenBodyError
        return b""
