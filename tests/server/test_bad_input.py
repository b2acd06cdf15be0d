"""Bad input of every kind: each request gets the answer it must get, leaks nothing and leaves nothing behind."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mypy_boto3_s3 import S3Client
from nacl.signing import SigningKey

from chalicelib.api import auth, tokens
from chalicelib.config import Settings
from chalicelib.jobs import abandoned_uploads
from chalicelib.oci.errors import ErrorCode
from chalicelib.oci.names import Repository
from chalicelib.policy.grants import Action, Grant, Principal
from chalicelib.services import Services, build
from chalicelib.store import layout
from chalicelib.store.table import Delete, Slice
from tests.engines import Engine
from tests.server import bad_http, bad_input, bad_manifests
from tests.server.cases import (
    CONFIG,
    IMAGE,
    IMAGE_TYPE,
    INDEX_TYPE,
    LAYER,
    OTHER,
    REPOSITORY,
    TAG,
    Case,
    Ending,
    digest,
)
from tests.server.running import BUCKET, PASSWORD, SIGNING_KEY, Server, table_of
from tests.server.wire import Answer, ClosedError

CASES = (*bad_input.cases(), *bad_http.cases(), *bad_manifests.cases())
_MARK = re.compile(rb"@(\w+)@")
_PAUSE = 0.1
# What S3 needs for a part of its own: an upload with as much is a multipart upload.
_MUCH = bytes(5 * 1024 * 1024)
_FORBIDDEN = re.compile(
    rb"Traceback|File \"|\.py\b|chalicelib|boto|aiohttp|moto|orjson|Error:|Exception|"
    rb"_(?:blobs|manifests|tags|tagged|referrers)/|\bcatalog/|\bdata/[0-9a-f]|<html|<\?xml"
)
_KNOWN = frozenset(ErrorCode.__members__)


@dataclass(frozen=True, slots=True)
class Site:
    """A registry with something in it, and its bucket."""

    server: Server
    s3: S3Client
    services: Services

    def holds(self) -> dict[str, str]:
        """Return every key and what is under it, apart from the moment a link was made, and what tags were before."""
        objects = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        parts = self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        held = {entry["Key"]: "" if "/_blobs/" in entry["Key"] else entry["ETag"] for entry in objects}
        found = held | {part["Key"]: part["UploadId"] for part in parts}
        return {key: value for key, value in found.items() if not key.startswith(layout.HISTORY)}

    def forget_failed_logins(self) -> None:
        """Let nobody wait for what a case before did."""
        table = self.services.directory.table
        for record in table.query("logins/", Slice()).entries:
            table.commit(Delete(record.key))

    def lines(self) -> int:
        return self.server.out().count("\n")


@pytest.fixture(scope="module")
def site(server: Server, s3: S3Client, engine: Engine) -> Site:
    post = partial(server.ask, "POST")
    for repository, content in ((REPOSITORY, CONFIG), (REPOSITORY, LAYER), (OTHER, CONFIG)):
        answer = post(f"/v2/{repository}/blobs/uploads/?digest={digest(content)}", None, content)
        assert answer.status == 201
    typed = server.admin | {"Content-Type": IMAGE_TYPE}
    assert server.ask("PUT", f"/v2/{REPOSITORY}/manifests/{TAG}", typed, IMAGE).status == 201
    return Site(server, s3, build(_settings(engine, server)))


@pytest.fixture(scope="module", autouse=True)
def nothing_left(site: Site) -> Iterator[None]:
    """Check, after all cases, that the bucket holds what it held before, once abandoned uploads are dropped."""
    abandoned_uploads.run(site.services, timedelta(0))
    before = site.holds()
    yield
    abandoned_uploads.run(site.services, timedelta(0))
    assert site.holds() == before


def _settings(engine: Engine, server: Server) -> Settings:
    return Settings(
        bucket=BUCKET,
        table=table_of(server.folder),
        s3_endpoint=engine.endpoint,
        access_key=engine.access_key,
        secret_key=engine.secret_key,
        signing_key=bytes.fromhex(SIGNING_KEY),
        admin_password=PASSWORD,
    )


def test_there_are_enough_cases_and_each_has_a_name_of_its_own() -> None:
    names = [case.id for case in CASES]

    assert len(names) == len(set(names))
    assert len(names) >= 300


def test_what_forgers_change_is_a_token_that_is_taken(site: Site) -> None:
    answer = site.server.ask(
        "GET", f"/v2/{REPOSITORY}/manifests/{TAG}", {"Authorization": f"Bearer {_forged(_claims())}"}
    )

    assert (answer.status, answer.body) == (200, IMAGE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input_gets_its_answer(site: Site, case: Case) -> None:
    site.forget_failed_logins()

    answer = _send(site, case)

    if answer is not None:
        assert answer.status == case.status
        _check_form(case, answer)
        _check_secrets(site, answer)


def _send(site: Site, case: Case) -> Answer | None:
    lines = site.lines()
    pieces = [_MARK.sub(lambda mark: _meaning(site, mark[1].decode()), piece) for piece in case.pieces]
    lines = site.lines()
    with site.server.wire() as wire:
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(_PAUSE)
            try:
                wire.send(piece)
            except ConnectionError:
                break
        if case.ending is Ending.GONE:
            wire.reset()
            _await(lambda: site.lines() > lines)
            return None
        if case.ending is Ending.OPEN:
            return wire.answer(case.method)
        # Who sends no more may be answered, or just be hung up on.
        wire.finish()
        try:
            return wire.answer(case.method)
        except ClosedError:
            _await(lambda: site.lines() > lines)
            return None


def _await(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "the server did not notice that the client had gone"
        time.sleep(0.01)


def _check_form(case: Case, answer: Answer) -> None:
    for name in case.headers:
        assert answer.header(name), f"{name} is missing"
    if case.parsed:
        assert re.fullmatch(r"[0-9a-f-]{16,64}", answer.header("x-request-id"))
    if not case.code or case.method == "HEAD":
        return
    assert answer.header("content-type") == "application/json"
    (error,) = answer.json()["errors"]
    assert error["code"] == case.code
    assert error["code"] in _KNOWN
    assert set(error) <= {"code", "message", "detail"}
    assert len(error["message"]) > 10


def _check_secrets(site: Site, answer: Answer) -> None:
    secrets = (BUCKET, PASSWORD, SIGNING_KEY, site.services.settings.access_key, site.services.settings.secret_key)
    text = answer.body + repr(answer.headers).encode()
    assert not _FORBIDDEN.search(answer.body)
    # A redirect is the one answer that names the bucket: it is a presigned address.
    assert not [secret for secret in secrets if secret.encode() in text]


def _meaning(site: Site, mark: str) -> bytes:
    """Return what a mark stands for."""
    kind, _, name = mark.partition("_")
    if kind == "token":
        return _TOKENS[name](site).encode()
    if kind == "upload" and name:
        return _UPLOADS[name](site).encode()
    return _MEANINGS[mark](site).encode()


def _begun(site: Site, repository: str = REPOSITORY) -> str:
    return site.server.ask("POST", f"/v2/{repository}/blobs/uploads/").header("location")


def _received(content: bytes, site: Site) -> str:
    answer = site.server.ask("PATCH", _begun(site), None, content)
    assert answer.status == 202
    return answer.header("location")


def _ended(site: Site) -> str:
    location = _received(LAYER, site)
    assert site.server.ask("PUT", f"{location}&digest={digest(LAYER)}").status == 201
    return location


def _cancelled(site: Site) -> str:
    location = _received(LAYER, site)
    assert site.server.ask("DELETE", location).status == 204
    return location


def _pull_only(site: Site) -> str:  # noqa: ARG001 - as the other makers
    grant = Grant(Principal("reader"), {f"repository:{REPOSITORY}": frozenset({Action.PULL})})
    return tokens.issue(_key(), grant, datetime.now(UTC), 600)


_MEANINGS: Mapping[str, Callable[[Site], str]] = {
    "admin": lambda site: site.server.admin["Authorization"],
    "bucket": lambda _: BUCKET,
    "upload": _begun,
    "state": lambda site: _begun(site).partition("?")[2],
    "received": partial(_received, b"hello"),
    "received_much": partial(_received, _MUCH),
    "ended": _ended,
    "cancelled": _cancelled,
    "pull_only": _pull_only,
}


def _state(site: Site, change: Callable[[str, str, str], str]) -> str:
    """Return an upload's URL with its algorithm, expiry and signature changed."""
    path, _, state = _begun(site).partition("?_state=")
    return f"{path}?_state={change(*state.split('.'))}"


def _flipped(text: str) -> str:
    return ("1" if text[0] == "0" else "0") + text[1:]


def _located(services: Services) -> str:
    return auth.upload_location(services, auth.new_ticket(services, Repository.parse(REPOSITORY), "sha256"))


def _long_ago(site: Site) -> str:
    return _located(replace(site.services, now=lambda: datetime.now(UTC) - timedelta(days=2)))


def _strange(site: Site) -> str:
    return _located(replace(site.services, settings=replace(site.services.settings, signing_key=bytes(32))))


_UPLOADS: Mapping[str, Callable[[Site], str]] = {
    "tampered": lambda site: _state(site, lambda kind, end, signed: f"{kind}.{end}.{_flipped(signed)}"),
    "retimed": lambda site: _state(site, lambda kind, end, signed: f"{kind}.{int(end) + 1}.{signed}"),
    "other_algorithm": lambda site: _state(site, lambda _, end, signed: f"sha512.{end}.{signed}"),
    "expired": _long_ago,
    "foreign": _strange,
    "elsewhere": lambda site: _begun(site).replace(REPOSITORY, OTHER),
    "unsigned": lambda site: _begun(site).partition("?")[0] + "?",
    "other_id": lambda site: re.sub(r"uploads/[0-9a-f]{8}", "uploads/00000000", _begun(site)),
    "odd_state": lambda site: _state(site, lambda *_: "...%00%FF"),
    "huge_expiry": lambda site: _state(site, lambda kind, _, signed: f"{kind}.{'9' * 9000}.{signed}"),
    "text_signature": lambda site: _state(site, lambda kind, end, _: f"{kind}.{end}.%C3%BC%FF"),
}


def _key() -> SigningKey:
    return SigningKey(bytes.fromhex(SIGNING_KEY))


def _claims(**changed: object) -> dict[str, object]:
    moment = int(time.time())
    access = [{"type": "repository", "name": REPOSITORY, "actions": ["pull", "push", "delete"]}]
    claims = {"iss": tokens.ISSUER, "sub": "admin", "adm": True, "kind": "user", "uid": 1, "iat": moment}
    return {**claims, "nbf": moment, "exp": moment + 600, "jti": "x", "access": access, **changed}


def _encoded(value: object) -> str:
    return tokens._encode(orjson.dumps(value))  # noqa: SLF001 - a forger knows the form


def _signed(header: object, claims: object, key: SigningKey) -> str:
    text = f"{_encoded(header)}.{_encoded(claims)}"
    return f"{text}.{tokens._encode(key.sign(text.encode()).signature)}"  # noqa: SLF001


def _forged(claims: object, key: SigningKey | None = None, **changed: object) -> str:
    header = {"alg": "EdDSA", "typ": "JWT", "kid": tokens.key_id(_key().verify_key), **changed}
    return _signed({name: value for name, value in header.items() if value is not None}, claims, key or _key())


def _without(name: str) -> dict[str, object]:
    return {key: value for key, value in _claims().items() if key != name}


_TOKENS: Mapping[str, Callable[[Site], str]] = {
    "expired": lambda _: _forged(_claims(nbf=1, exp=2)),
    "early": lambda _: _forged(_claims(nbf=int(time.time()) + 3600)),
    "foreign": lambda _: _forged(_claims(), SigningKey(bytes(32))),
    "unsigned": lambda _: _forged(_claims(), alg="none").rpartition(".")[0] + ".",
    "hmac": lambda _: _forged(_claims(), SigningKey(bytes(32)), alg="HS256"),
    "wrong_kid": lambda _: _forged(_claims(), kid="../../key"),
    "no_kid": lambda _: _forged(_claims(), kid=None),
    "tampered": lambda _: "{}.{}.{}".format(*_swap(_forged(_claims(sub="x")), _forged(_claims()))),
    "truncated": lambda _: _forged(_claims())[:-10],
    "no_expiry": lambda _: _forged(_without("exp")),
    "text_expiry": lambda _: _forged(_claims(exp="never")),
    "wrong_issuer": lambda _: _forged(_claims(iss="somebody")),
    "critical": lambda _: _forged(_claims(), crit=["b64"]),
    "list_payload": lambda _: _forged([]),
    "bad_actions": lambda _: _forged(_claims(access=[{"type": "repository", "name": "a", "actions": ["fly"]}])),
    "bad_access": lambda _: _forged(_claims(access={"a": 1})),
}


def _swap(one: str, another: str) -> Iterator[str]:
    """Yield the parts of one token with the claims of another."""
    header, _, signature = one.split(".")
    yield from (header, another.split(".")[1], signature)


_QUICK = settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
_FIELDS = st.fixed_dictionaries(
    {"schemaVersion": st.just(2) | _JSON},
    optional={
        name: _JSON
        | st.lists(st.fixed_dictionaries({"digest": _JSON, "size": _JSON, "mediaType": _JSON}), max_size=3)
        for name in ("mediaType", "config", "layers", "manifests", "subject", "annotations", "artifactType")
    },
)
_TYPES = st.sampled_from(["", IMAGE_TYPE, INDEX_TYPE])


@_QUICK
@given(body=st.binary(max_size=300), content_type=_TYPES)
def test_random_bytes_are_no_manifest(site: Site, body: bytes, content_type: str) -> None:
    assert _offer(site, body, content_type) == "MANIFEST_INVALID"


@_QUICK
@given(document=_FIELDS, content_type=_TYPES)
def test_random_documents_are_manifests_or_refused(site: Site, document: object, content_type: str) -> None:
    code = _offer(site, json.dumps(document).encode(), content_type)

    assert code in ("", "MANIFEST_INVALID", "MANIFEST_BLOB_UNKNOWN")


def _offer(site: Site, body: bytes, content_type: str) -> str:
    """Push what may be a manifest, delete it if it was, and return the code of the refusal if it was not."""
    target = f"/v2/{REPOSITORY}/manifests/{digest(body)}"
    answer = site.server.ask("PUT", target, site.server.admin | {"Content-Type": content_type}, body)
    if answer.status == 201:
        assert site.server.ask("DELETE", target).status == 202
        return ""
    _check_secrets(site, answer)
    (code,) = answer.codes()
    return str(code)
