"""The registry that `roadstead doctor` examines: requests to it, and a scratch image that is gone afterwards.

Invariants:
* Requests carry the headers given and no others that a client could do without: no Accept, no cookies.
* Redirects are followed by `chase` alone, and credentials stay with the registry's host.
* The scratch project is this run's own, and is removed with what is in it whatever happened.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chalicelib.cli.client import Client, path
from chalicelib.cli.failures import CommandError

if TYPE_CHECKING:
    import httpx

Headers = Mapping[str, str] | Sequence[tuple[str, str]]

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# A plus sign in a query is where spellings part.
ARTIFACT_TYPE = "application/vnd.roadstead.doctor+json"
_LAYER_BYTES = 300_000
_MOST_REDIRECTS = 5
_CREATED = 201


@dataclass(frozen=True, slots=True)
class Image:
    """What was pushed to be read again."""

    layer: bytes
    manifest: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """A registry, who asks it, and the scratch repository where there is one."""

    client: Client
    http: "httpx.Client"
    project: str = ""
    token: str = ""
    image: Image | None = None
    trouble: str = ""
    patient: bool = False
    load: bool = False

    @property
    def server(self) -> str:
        """Return the origin of the registry."""
        return self.client.login.server

    @property
    def repository(self) -> str:
        """Return the path of the scratch repository."""
        return f"/v2/{self.project}/image"

    def ask(
        self, method: str, where: str, headers: Headers = (), content: bytes | Iterable[bytes] | None = None
    ) -> "httpx.Response":
        """Return the answer to a request without credentials of its own; raise httpx.HTTPError."""
        url = where if "://" in where else self.server + where
        return self.http.request(method, url, headers=headers or None, content=content)

    def authorised(
        self, method: str, where: str, headers: Headers = (), content: bytes | Iterable[bytes] | None = None
    ) -> "httpx.Response":
        """Return the answer to a request with the token of the scratch repository; raise httpx.HTTPError."""
        given = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        return self.ask(method, where, [("Authorization", f"Bearer {self.token}"), *given], content)

    def chase(self, method: str, where: str, headers: Headers = ()) -> list["httpx.Response"]:
        """Return the answers from the registry to the end of its redirects; raise httpx.HTTPError."""
        answers = [self.authorised(method, where, headers)]
        while answers[-1].is_redirect and len(answers) <= _MOST_REDIRECTS:
            target = str(answers[-1].url.join(answers[-1].headers["location"]))
            at_home = urlsplit(target).netloc == urlsplit(self.server).netloc
            # A presigned address and a token at once is one credential too many for S3.
            keep = at_home and "X-Amz-Signature" not in target
            answers.append((self.authorised if keep else self.ask)(method, target, headers))
        return answers

    def begin(self) -> str:
        """Begin an upload and return its address; raise httpx.HTTPError, ValueError."""
        answer = self.authorised("POST", f"{self.repository}/blobs/uploads/")
        if "location" not in answer.headers:
            raise ValueError(f"an upload does not begin: status {answer.status_code}")
        return str(answer.url.join(answer.headers["location"]))

    def finish(self, location: str, data: bytes, content: bytes = b"") -> "httpx.Response":
        """Complete an upload under the digest of `data`; raise httpx.HTTPError."""
        joint = "&" if "?" in location else "?"
        return self.authorised("PUT", f"{location}{joint}digest={digest(data)}", (), content)

    def put_manifest(self, reference: str, manifest: bytes) -> "httpx.Response":
        """Push a manifest; raise httpx.HTTPError."""
        where = f"{self.repository}/manifests/{reference}"
        return self.authorised("PUT", where, {"Content-Type": MANIFEST_TYPE}, manifest)


def bare(*, insecure: bool, timeout: float) -> "httpx.Client":
    """Return an HTTP client that adds nothing to requests; `timeout` in seconds."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy  # noqa: PLC0415 - `--help` needs no client

    import httpx  # noqa: PLC0415

    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    http = httpx.Client(cookies=cookies, verify=not insecure, timeout=timeout)
    for name in ("Accept", "Accept-Encoding"):
        del http.headers[name]
    return http


def digest(data: bytes) -> str:
    """Return the digest of a content."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def content(name: str, size: int) -> bytes:
    """Return `size` bytes that no compression makes smaller by much, the same for a name every time."""
    return hashlib.shake_256(name.encode()).digest(size)


def get_token(subject: Subject, scopes: Sequence[str], *, anonymous: bool = False) -> str:
    """Return a token for scopes, as whoever is logged in or as nobody; raise httpx.HTTPError, ValueError."""
    login = subject.client.login
    auth = (login.user, login.password) if login.user and not anonymous else None
    query = {"service": [urlsplit(subject.server).netloc], "scope": list(scopes)}
    answer = subject.http.request("GET", f"{subject.server}/service/token", params=query, auth=auth)
    document = answer.json() if answer.is_success else {}
    token = document.get("token") or document.get("access_token")
    if not token:
        raise ValueError(f"the token service gives no token: status {answer.status_code}")
    return str(token)


@contextmanager
def scratch(subject: Subject) -> Iterator[Subject]:
    """Give the subject with a project and an image in it, both gone afterwards; without rights, as it was."""
    if not subject.client.login.user or not subject.project:
        yield replace(subject, project="", trouble="log in as somebody who may create projects")
        return
    try:
        body = {"project_name": subject.project, "metadata": {"public": "false"}}
        subject.client.change("POST", "/projects", body)
    except CommandError as error:
        yield replace(subject, project="", trouble=f"no scratch project: {error.message}")
        return
    try:
        yield _with_image(subject)
    finally:
        remove(subject)


def _with_image(subject: Subject) -> Subject:
    import httpx  # noqa: PLC0415 - `--help` needs no HTTP client

    try:
        token = get_token(subject, [f"repository:{subject.project}/image:pull,push,delete"])
        subject = replace(subject, token=token)
        return replace(subject, image=_pushed(subject))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError) as error:
        return replace(subject, trouble=f"the image cannot be pushed: {error}")


def _pushed(subject: Subject) -> Image:
    layer, config = content("layer", _LAYER_BYTES), b"{}"
    image = Image(layer, manifest_of([layer], config))
    answers = [subject.finish(subject.begin(), data, data) for data in (layer, config)]
    answers += [
        subject.put_manifest("latest", image.manifest),
        subject.put_manifest(digest(referrer := manifest_of([], config, image.manifest)), referrer),
    ]
    for answer in answers:
        if answer.status_code != _CREATED:
            raise ValueError(f"{answer.request.method} was answered with status {answer.status_code}")
    return image


def manifest_of(layers: Sequence[bytes], config: bytes, subject: bytes = b"") -> bytes:
    """Return a manifest of layers, or one that refers to another."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers],
    }
    if subject:
        document |= {"artifactType": ARTIFACT_TYPE, "subject": _descriptor(subject, MANIFEST_TYPE)}
    return json.dumps(document).encode()


def _descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def remove(subject: Subject) -> None:
    """Remove the scratch project and what is in it; raise CommandError."""
    try:
        for row in subject.client.each(path("projects", subject.project, "repositories")):
            name = str(row.get("name", "")).removeprefix(f"{subject.project}/")
            subject.client.change("DELETE", path("projects", subject.project, "repositories", name))
        subject.client.change("DELETE", path("projects", subject.project))
    except CommandError as error:
        raise CommandError(f"The project {subject.project} is left over: {error.message}") from error
