"""What `roadstead doctor` asks of a deployment's pulls and pushes, in the scratch repository."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from chalicelib.cli.findings import Check, Finding, Needs, Verdict, document_faults, judged
from chalicelib.cli.subject import ARTIFACT_TYPE, MANIFEST_TYPE, Image, Subject, content, digest

if TYPE_CHECKING:
    import httpx

_OK, _CREATED, _ACCEPTED, _PARTIAL = 200, 201, 202, 206
_SERVER_ERRORS = 500
_PIECE = 64 * 1024
_MB = 1_000_000
_CHUNKED_BYTES = (100_000, 3 * _MB)
_LIMITS_MB = (1, 4, 4.5, 5, 6, 9, 10, 11)
# What every deployment takes in one body: base64 makes of it what a Lambda just accepts.
_LEAST_MB = 4
_LEAST_SECONDS = 300
_MARGIN_SECONDS = 10


def layer_of(subject: Subject) -> str:
    """Return the address of the scratch image's layer."""
    return f"{subject.repository}/blobs/{digest(_image(subject).layer)}"


def _manifest_of(subject: Subject) -> str:
    return f"{subject.repository}/manifests/{digest(_image(subject).manifest)}"


def _image(subject: Subject) -> Image:
    assert subject.image is not None
    return subject.image


def _head_manifest(subject: Subject) -> Finding:
    return _head(subject, _manifest_of(subject), _image(subject).manifest, MANIFEST_TYPE)


def _head_blob(subject: Subject) -> Finding:
    return _head(subject, layer_of(subject), _image(subject).layer, "")


def _head(subject: Subject, where: str, data: bytes, media_type: str) -> Finding:
    answers = subject.chase("HEAD", where)
    last = answers[-1]
    if last.status_code != _OK:
        return Finding(Verdict.BROKEN, f"{_chain(answers)}: status {last.status_code}")
    length, kind = last.headers.get("content-length", "none"), last.headers.get("content-type", "none")
    broken = [] if length == str(len(data)) else [f"Content-Length is {length}, not {len(data)}"]
    if media_type and kind != media_type:
        broken.append(f"Content-Type is {kind}")
    named = last.headers.get("docker-content-digest", "none")
    differs = [] if named == digest(data) else [f"Docker-Content-Digest at the end is {named}"]
    return judged(f"{_chain(answers)}: {length} bytes, digest and type as by GET", broken, differs)


def _chain(answers: Sequence["httpx.Response"]) -> str:
    return " -> ".join(f"{answer.status_code} {urlsplit(str(answer.url)).netloc}" for answer in answers)


def _get_manifest(subject: Subject) -> Finding:
    broken = []
    accepts: tuple[list[tuple[str, str]], ...] = (
        [],
        [("Accept", "application/json"), ("Accept", MANIFEST_TYPE)],
        [("Accept", "*/*"), ("Accept-Encoding", "gzip")],
    )
    packed = False
    for headers in accepts:
        answer = subject.chase("GET", _manifest_of(subject), headers)[-1]
        packed = packed or "content-encoding" in answer.headers
        if answer.status_code != _OK or answer.content != _image(subject).manifest:
            broken.append(
                f"with {len(headers)} lines about what is accepted: status {answer.status_code}, other bytes"
            )
    return judged("the same bytes however it is asked", broken, ["it is compressed on the way"] if packed else [])


def _get_blob(subject: Subject) -> Finding:
    answers = subject.chase("GET", layer_of(subject))
    right = digest(answers[-1].content) == digest(_image(subject).layer)
    return judged(f"{_chain(answers)}: right bytes", [] if right else [f"{_chain(answers)}: other bytes"])


def _range(subject: Subject) -> Finding:
    answer = subject.chase("GET", layer_of(subject), {"Range": "bytes=1000-1999"})[-1]
    right = answer.status_code == _PARTIAL and answer.content == _image(subject).layer[1000:2000]
    whole = answer.status_code == _OK and answer.content == _image(subject).layer
    return judged("a part", [] if right or whole else ["other bytes"], ["the whole comes"] if whole else [])


def _lifetime(subject: Subject) -> Finding:
    first = subject.authorised("GET", layer_of(subject))
    if not first.is_redirect:
        return Finding(Verdict.NA, "blobs come without a redirect")
    target = str(first.url.join(first.headers["location"]))
    seconds = int(parse_qs(urlsplit(target).query)["X-Amz-Expires"][0])
    differs = [f"signed for {seconds} s: slow pulls break"] if seconds < _LEAST_SECONDS else []
    if subject.patient:
        time.sleep(max(seconds - _MARGIN_SECONDS, 0))
        answer = subject.ask("GET", target)
        broken = [] if answer.status_code == _OK else [f"dead before {seconds} s: status {answer.status_code}"]
        return judged(f"still good shortly before its {seconds} s are over", broken, differs)
    return judged(f"signed for {seconds} s; --patient tries it to the end", (), differs)


def _chunked(subject: Subject) -> Finding:
    broken = []
    for size in _CHUNKED_BYTES:
        data = content(f"chunked {size}", size)
        answer = subject.authorised("PATCH", subject.begin(), (), _pieces(data))
        broken += _not_whole(subject, answer, data, f"{size} bytes in chunks")
    return judged("chunked bodies arrive whole", broken)


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


def _not_whole(subject: Subject, answer: "httpx.Response", data: bytes, what: str) -> list[str]:
    if answer.status_code != _ACCEPTED:
        return [f"{what}: status {answer.status_code}"]
    done = subject.finish(str(answer.url.join(answer.headers["location"])), data)
    return [] if done.status_code == _CREATED else [f"{what}: status {done.status_code} for their digest"]


def _whole(subject: Subject) -> Finding:
    data = content("whole", _MB)
    done = subject.finish(subject.begin(), data, data)
    return judged("stored", [] if done.status_code == _CREATED else [f"status {done.status_code}"])


def _expect(subject: Subject) -> Finding:
    data = content("expect", _PIECE)
    answer = subject.authorised("PATCH", subject.begin(), {"Expect": "100-continue"}, data)
    return judged("the body is taken", _not_whole(subject, answer, data, "a body that was announced"))


def _limits(subject: Subject) -> Finding:
    seen: list[str] = []
    broken: list[str] = []
    differs: list[str] = []
    for size in _LIMITS_MB:
        location = subject.begin()
        answer = subject.authorised("PATCH", location, (), content("limit", int(size * _MB)))
        seen.append(f"{size} MB: {answer.status_code}")
        if answer.status_code != _ACCEPTED:
            (broken if size <= _LEAST_MB else differs).append(seen[-1])
            differs += [f"{size} MB: {fault}" for fault in document_faults(answer)]
        subject.authorised("DELETE", str(answer.url.join(answer.headers.get("location", location))))
    return judged(", ".join(seen), broken, differs)


def _spellings(subject: Subject) -> Finding:
    manifest, repository = _manifest_of(subject), subject.repository
    right = {
        "%3A for a colon": manifest.replace(":", "%3A"),
        "a slash at the end": f"{repository}/tags/list/",
    }
    odd = {
        "two slashes": manifest.replace("/v2/", "/v2//"),
        "%252F in a name": f"/v2/{subject.project}%252Fimage/tags/list",
    }
    broken = [
        f"{name}: status {answer.status_code}"
        for name, where in right.items()
        if (answer := subject.chase("GET", where)[-1]).status_code != _OK
    ]
    answers = [(name, subject.chase("GET", where)[-1]) for name, where in odd.items()]
    broken += [f"{name}: status {answer.status_code}" for name, answer in answers if answer.is_server_error]
    differs = [f"{name}: {fault}" for name, answer in answers if answer.is_error for fault in document_faults(answer)]
    seen = ", ".join(f"{name} gives {answer.status_code}" for name, answer in answers)
    return judged(seen, broken, differs)


def _plus(subject: Subject) -> Finding:
    where = f"{subject.repository}/referrers/{digest(_image(subject).manifest)}"
    found = [len(_referrers(subject, f"{where}?artifactType={kind}")) for kind in _KINDS]
    broken = [] if found[0] == 1 else ["%2B in a query is not a plus sign"]
    differs = ["a plus sign in a query is not the blank of forms"] if found[1] else []
    return judged("%2B is a plus sign, + a blank", broken, differs)


_KINDS = (quote(ARTIFACT_TYPE, safe="/"), ARTIFACT_TYPE)


def _referrers(subject: Subject, where: str) -> list[object]:
    return list(json.loads(subject.chase("GET", where)[-1].content)["manifests"])


# fmt: off
CHECKS: Sequence[Check] = (
    Check("head-manifest", "pull", "Where does HEAD of a manifest lead, and what does it say?", _head_manifest,
          "A wrong length breaks pulls by digest: HEAD must be redirected to an address signed for HEAD.",
          Needs.IMAGE),
    Check("head-blob", "pull", "Where does HEAD of a blob lead, and what does it say?", _head_blob,
          "As for manifests; the digest at the end is set by the function at CloudFront.", Needs.IMAGE),
    Check("manifest", "pull", "Do a manifest's bytes survive, whatever is accepted?", _get_manifest,
          "Binary media types must be */*, and nothing on the way may compress.", Needs.IMAGE),
    Check("blob", "pull", "Where does GET of a blob lead, and do its bytes survive?", _get_blob,
          "Ask the log for the request, and the bucket's policy.", Needs.IMAGE),
    Check("range", "pull", "Can a part of a blob be asked for?", _range,
          "Clients go on with broken downloads by Range.", Needs.IMAGE),
    Check("lifetime", "pull", "How long is a redirect good?", _lifetime,
          "It dies with the credentials that signed it: see the lifetime of the role's.", Needs.IMAGE),
    Check("chunked", "push", "Do chunked bodies arrive whole?", _chunked,
          "docker push sends them: push by the relay.", Needs.IMAGE),
    Check("whole", "push", "Does a body of known length arrive?", _whole,
          "Ask the log for the request.", Needs.IMAGE),
    Check("expect", "push", "Is Expect: 100-continue answered?", _expect,
          "Some clients wait for it for a second with each body.", Needs.IMAGE),
    Check("limits", "push", "How large may one body be, and what does a larger one get?", _limits,
          "Without a relay API Gateway's limits hold: the README names clients that push within them.", Needs.IMAGE),
    Check("spellings", "push", "Are odd but legal addresses understood?", _spellings,
          "Paths must come from requestContext.path and be decoded once.", Needs.IMAGE),
    Check("plus", "push", "Is a plus sign in a query what it is in forms?", _plus,
          "Queries come decoded from API Gateway: nothing may decode them again.", Needs.IMAGE),
)
# fmt: on
