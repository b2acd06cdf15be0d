"""What can be shown of an artifact's content: an image's build history; a chart's values, readme and dependencies.

Invariants:
* What was pushed is read within bounds, whatever it claims to be: bytes that come in, bytes that they unpack to, and
  bytes that go out. Nothing is written anywhere, and no path of an archive means anything here.
* The answer is what was pushed, as a text or as JSON, and never something that a browser runs.
"""

import io
import zlib
from collections.abc import Callable, Mapping

from chalicelib.api.harbor.artifact_views import ADDITIONS, Located, located
from chalicelib.api.harbor.calls import HarborCall, answer
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, not_found
from chalicelib.api.http import Response
from chalicelib.oci.manifests import Manifest
from chalicelib.store import blobs
from chalicelib.store.index import descriptions

_CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_LARGEST_CHART = 8 << 20
_LARGEST_UNPACKED = 64 << 20
_LARGEST_FILE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS
_UNREADABLE = "the chart cannot be read: it is no gzipped tar archive, or too large"


def get_addition(call: HarborCall) -> Response:
    """Show an addition that artifacts of this type have."""
    found, name = located(call), call.parameters["addition"].lower()
    kind = found.artifact.document["type"]
    if found.is_index or name not in ADDITIONS.get(kind, ()):
        raise bad_request(f"an artifact of type {kind} has no {name}")
    manifest = descriptions.read(call.services.content, found.home.repository, found.digest)
    if manifest is None:
        raise not_found(f"artifact {found.artifact.digest}")
    return _HANDLERS[name](call, found, manifest)


def _build_history(call: HarborCall, found: Located, manifest: Manifest) -> Response:
    config = descriptions.read_config(call.services.content, found.home.repository, manifest.blobs[0])
    return _list(config, "history")


def _dependencies(call: HarborCall, found: Located, manifest: Manifest) -> Response:
    config = descriptions.read_config(call.services.content, found.home.repository, manifest.blobs[0])
    return _list(config, "dependencies")


def _list(config: Mapping[str, object], name: str) -> Response:
    value = config.get(name)
    return answer(value if isinstance(value, list) else [])


def _values(call: HarborCall, found: Located, manifest: Manifest) -> Response:
    return _text(_file(call, found, manifest, "values.yaml"), "text/plain")


def _readme(call: HarborCall, found: Located, manifest: Manifest) -> Response:
    return _text(_file(call, found, manifest, "readme.md"), "text/markdown")


def _text(content: bytes, media_type: str) -> Response:
    return Response(200, {"Content-Type": f"{media_type}; charset=utf-8"}, content)


def _file(call: HarborCall, found: Located, manifest: Manifest, name: str) -> bytes:
    """Return a file at the top of a chart."""
    layer = next((blob for blob in manifest.blobs[1:] if blob.media_type == _CHART_LAYER), None)
    content = call.services.content
    blob = blobs.find(content, found.home.repository, layer.digest) if layer else None
    if layer is None or blob is None:
        raise not_found(f"{name} of the chart")
    packed = content.objects.get(blob.key) if blob.size <= _LARGEST_CHART else None
    if packed is None or not layer.digest.matches(packed.content):
        raise HarborError(HarborCode.UNPROCESSABLE_ENTITY, _UNREADABLE)
    file = unpack(packed.content, name)
    if file is None:
        raise not_found(f"{name} of the chart")
    return file


def unpack(packed: bytes, name: str) -> bytes | None:
    """Return a file in the top folder of a gzipped tar archive, or None; raise UNPROCESSABLE_ENTITY."""
    import tarfile  # noqa: PLC0415 - few calls need it, and every start would pay for it

    try:
        whole = _unzip(packed)
        with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as archive:
            for member in archive:
                folder, _, rest = member.name.removeprefix("./").partition("/")
                if folder and rest.lower() == name and member.isreg() and member.size <= _LARGEST_FILE:
                    file = archive.extractfile(member)
                    return file.read() if file else None
    except (tarfile.TarError, zlib.error, ValueError, EOFError, OSError) as error:
        raise HarborError(HarborCode.UNPROCESSABLE_ENTITY, _UNREADABLE) from error
    return None


def _unzip(packed: bytes) -> bytes:
    """Return what gzip packed; raise ValueError where that is more than there is room for."""
    unzip = zlib.decompressobj(_GZIP)
    whole = unzip.decompress(packed, _LARGEST_UNPACKED)
    if unzip.unconsumed_tail:
        raise ValueError(len(whole))
    return whole


_HANDLERS: Mapping[str, Callable[[HarborCall, Located, Manifest], Response]] = {
    "build_history": _build_history,
    "dependencies": _dependencies,
    "values.yaml": _values,
    "readme.md": _readme,
}
