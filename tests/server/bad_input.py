"""Requests that no client of good will sends, and what the registry answers to each.

* A name, a tag, a digest is bad wherever it stands: each table is sent to every endpoint that takes one.
* What is wrong with manifests is in `bad_manifests`, what is wrong with HTTP itself in `bad_http`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from tests.server.cases import (
    CONFIG,
    IMAGE,
    IMAGE_TYPE,
    LAYER,
    MISSING,
    OTHER,
    REPOSITORY,
    TAG,
    Case,
    asking,
    digest,
    numbered,
)
from tests.server.running import PASSWORD
from tests.server.wire import basic

_HEX = "a" * 64
_HELD = digest(LAYER)

# fmt: off
NAMES = (
    "Library/app", "library/App", "LIBRARY", "a..b", "a/..b", "a___b", "a_-b", "a-_b", "a._b", "a.-b", "-a", "a-",
    ".a", "a.", "_a", "a_", "a__", "a//b", "/a", "a/", "//", "a/./b", "a/../b", "..", ".", "../..", "%2e%2e", "a%2f",
    "a%2F%2Fb", "%2e%2e%2fb", "a%252Fb", "a%00b", "%00", "a%0ab", "a%0d%0aX-Evil:%20yes", "a%09b", "a%20b", "a+b",
    "a:b", "a@b", "a%5cb", "a~b", "a!b", "a$b", "a'b", "a%22b", "a*b", "a(b)", "a,b", "a;b=c", "a=b", "a|b", "a%7Bb",
    "%C3%A4", "%D0%B0", "%EF%BD%81", "%D9%A1", "a%E2%80%8Bb", "a%FF", "%C0%AE%C0%AE", "%F0%9F%9A%A2", "a%CC%81",
    "%ED%A0%80", "%", "%zz", "a%2", "%3Cscript%3E", "%24%7Bjndi:ldap:x%7D", "_blobs", "a/_b/c", "_catalog/x",
    "A" * 64, "a" * 256, "a/" * 127 + "aa", "a/" * 150 + "a", "a" * 4000, "-" * 300, "a-" * 100, "a" * 250 + "-" * 50,
)
TAGS = (
    ".hidden", "-dash", ".", "..", "...", "a%20b", "a+b", "a%00", "%00", "a%0ab", "a%0d%0ab", "a@b", "a!b", "a*", "~",
    "%C3%A9", "%D0%B0", "%FF", "a%5cb", "%3Cscript%3E", "a" * 129, "a" * 5000, "a%22b", "a=b", "a,b", "%7B%7D",
)
DIGESTS = (
    "sha256:", ":", f":{_HEX}", f"sha256:{_HEX[1:]}", f"sha256:{_HEX}a", f"sha256:{_HEX.upper()}", f"SHA256:{_HEX}",
    f"sha256:{_HEX[1:]}g", f"sha256:{_HEX[1:]}%20", f"sha256:{_HEX}%0a", f"sha256:{_HEX}%00", f"sha512:{_HEX}",
    f"sha512:{_HEX * 2}a", f"sha256:{_HEX * 2}", f"md5:{_HEX[:32]}", f"sha1:{_HEX[:40]}", f"sha384:{_HEX[:96]}",
    f"blake3:{_HEX}", f"sha256+b64u:{_HEX}", f"sha256:{_HEX}:{_HEX}", f"sha256::{_HEX}", f"sha256:sha256:{_HEX}",
    f"sha256:{'a' * 5000}", f"sha256:{'%61' * 64}a", f"%73ha256:{_HEX}0", f"sha256:{'%D9%A1' * 64}", "a:b", "tag:1",
    "sha256:..", f"sha256:{'.' * 64}", f"sha256:-{_HEX[1:]}", f"sha256:0x{_HEX[2:]}", f"sha256: {_HEX[1:]}".replace(" ", "+"),
    f"{'a' * 400}:{_HEX}", f"sha256.sha512:{_HEX}", f"{'a.' * 200}a:{_HEX}", "%FF:%FF",
)
RANGES = (
    ("first only",         "0",                       "BLOB_UPLOAD_INVALID", 400),
    ("no last",            "0-",                      "BLOB_UPLOAD_INVALID", 400),
    ("no first",           "-4",                      "BLOB_UPLOAD_INVALID", 400),
    ("dash",               "-",                       "BLOB_UPLOAD_INVALID", 400),
    ("words",              "from-to",                 "BLOB_UPLOAD_INVALID", 400),
    ("blanks",             "0 - 4",                   "BLOB_UPLOAD_INVALID", 400),
    ("signs",              "+0-+4",                   "BLOB_UPLOAD_INVALID", 400),
    ("negative",           "-1--4",                   "BLOB_UPLOAD_INVALID", 400),
    ("fractions",          "0.0-4.0",                 "BLOB_UPLOAD_INVALID", 400),
    ("hexadecimal",        "0x0-0x4",                 "BLOB_UPLOAD_INVALID", 400),
    ("exponents",          "0e0-4e0",                 "BLOB_UPLOAD_INVALID", 400),
    ("with a size",        "bytes 0-4/5",             "BLOB_UPLOAD_INVALID", 400),
    ("with a star",        "bytes */5",               "BLOB_UPLOAD_INVALID", 400),
    ("another unit",       "items 0-4",               "BLOB_UPLOAD_INVALID", 400),
    ("equals",             "bytes=0-4",               "BLOB_UPLOAD_INVALID", 400),
    ("two ranges",         "0-1,2-4",                 "BLOB_UPLOAD_INVALID", 400),
    ("19 digits",          f"{'0' * 19}-4",           "BLOB_UPLOAD_INVALID", 400),
    ("9000 digits",        f"0-{'9' * 9000}",         "BLOB_UPLOAD_INVALID", 400),
    ("other digits",       "\u0660-\u0664",           "BLOB_UPLOAD_INVALID", 400),
    ("markup",             "<b>0</b>-4",              "BLOB_UPLOAD_INVALID", 400),
    ("a gap",              "5-9",                     "BLOB_UPLOAD_INVALID", 416),
    ("a gap of one",       "1-5",                     "BLOB_UPLOAD_INVALID", 416),
    ("far away",           f"{'9' * 18}-{'9' * 18}",  "BLOB_UPLOAD_INVALID", 416),
    ("inverted",           "4-0",                     "BLOB_UPLOAD_INVALID", 416),
    ("too long",           "0-5",                     "SIZE_INVALID",        400),
    ("too short",          "0-3",                     "SIZE_INVALID",        400),
    ("much too long",      f"0-{'9' * 18}",           "SIZE_INVALID",        400),
)
BASIC = (
    ("wrong password",     basic("admin", "guess")),
    ("no password",        basic("admin", "")),
    ("wrong user",         basic("root", PASSWORD)),
    ("no user",            basic("", PASSWORD)),
    ("user in upper case", basic("ADMIN", "guess")),
    ("a NUL",              basic("admin\0", "guess")),
    ("text",               basic("\u00fc\U0001f600", "\u00fc" * 100)),
    ("long",               basic("admin", "x" * 9000)),
    ("no colon",           "Basic " + base64.b64encode(b"admin").decode()),
    ("nothing",            "Basic"),
    ("blank",              "Basic "),
    ("not base64",         "Basic ???"),
    ("half of base64",     "Basic YWRtaW46Z3Vlc3"),
    ("not text",           "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode()),
    ("not ASCII",          "Basic \u00fc\u00f6"),
    ("not UTF-8",          "Basic \udcff\udcfe"),
    ("another scheme",     "Digest username=admin"),
    ("an AWS signature",   "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, Signature=x"),
    ("no scheme",          "YWRtaW46Z3Vlc3M="),
    ("a scheme in words",  "please let me in"),
)
TOKENS = ("expired", "early", "foreign", "unsigned", "hmac", "wrong_kid", "no_kid", "tampered", "truncated",
          "no_expiry", "text_expiry", "wrong_issuer", "critical", "list_payload", "bad_actions", "bad_access")
BEARERS = (
    ("nothing",     "Bearer"),
    ("blank",       "Bearer  "),
    ("dots",        "Bearer ..."),
    ("two dots",    "Bearer a.b.c"),
    ("many dots",   "Bearer " + "." * 5000),
    ("no dots",     "Bearer abc"),
    ("not ASCII",   "Bearer \u00fc.\u00fc.\u00fc"),
    ("not UTF-8",   "Bearer \udcff.\udcff.\udcff"),
    ("not base64",  "Bearer !!!.!!!.!!!"),
    ("numbers",     "Bearer MQ.MQ.MQ"),
    ("huge",        "Bearer " + "a" * 16000),
    ("basic's",     "Bearer YWRtaW46Z3Vlc3M="),
)
UPLOADS = ("tampered", "retimed", "other_algorithm", "expired", "foreign", "elsewhere", "unsigned", "other_id",
           "odd_state", "huge_expiry", "text_signature")
METHODS = {
    "/v2/":                                    ("GET", "HEAD"),
    "/v2/_catalog":                            ("GET",),
    f"/v2/{REPOSITORY}/tags/list":             ("GET",),
    f"/v2/{REPOSITORY}/manifests/{TAG}":       ("GET", "HEAD", "PUT", "DELETE"),
    f"/v2/{REPOSITORY}/blobs/{_HELD}":         ("GET", "HEAD", "DELETE"),
    f"/v2/{REPOSITORY}/blobs/uploads/":        ("POST",),
    f"/v2/{REPOSITORY}/blobs/uploads/x":       ("GET", "PATCH", "PUT", "DELETE"),
    f"/v2/{REPOSITORY}/referrers/{_HELD}":     ("GET",),
    "/service/keys":                           ("GET",),
    "/service/token":                          ("GET", "POST"),
    "/service/metrics":                        ("GET",),
    "/metrics":                                ("GET",),
}
ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LINK")
NOWHERE = (
    "/", "//", "/v1/", "/v3/", "/v2x", "/V2/", "/v2/a", "/v2/a/b", "/v2/a/tags", "/v2/a/tags/", "/v2/tags/list",
    "/v2/a/manifests", "/v2/a/manifests/", "/v2/manifests/x", "/v2/a/blobs/", "/v2/a/referrers/", "/v2/_catalog/x/",
    "/v2//manifests/x", "/v2/a/tags/lists", "/v2/../v2/", "/./v2/", "/api", "/service", "/service/tokens",
    "/favicon.ico", "/robots.txt", "/.git/config", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
    "/cgi-bin/x", "/metric", "/debug/pprof", "/@bucket@/", "/@bucket@", "/@bucket@/blobs/x", "/@bucket@/uploads/x",
    "/@bucket@/data/x", "/v2/#x", "/" + "a" * 9000, "/" + "a/" * 4000, "/%FF", "/v2/%00",
)
PAGES = (
    ("n=-1", 400), ("n=x", 400), ("n=1.5", 400), ("n=1e3", 400), ("n=0x10", 400), ("n=%201", 400), ("n=%2B1", 400),
    ("n=%00", 400), ("n=%D9%A1", 400), ("n=%FF", 400), ("n=1;2", 400), ("n=[]", 400), ("n=" + "9" * 9000, 200),
    ("n=999999999999999999999", 200), ("n=0", 200), ("n=", 200), ("n=1&n=x", 200), ("n[]=1", 200), ("n=0001", 200),
    ("last=%00", 400), ("last=a%0d%0ab", 400), ("last=" + "a" * 2000, 400), ("last=zzz", 200), ("last=", 200), ("&&&==&", 200), ("%", 200), ("a" * 9000, 200),
)
ARTIFACT_TYPES = ("x", "application/x", "%00", "%0d%0a", "%FF", "a" * 9000, "a&artifactType=b", "%22%3E", "*", "{}", "")

# fmt: on


def cases() -> Iterator[Case]:
    """Return the cases of names, digests, ranges, credentials, addresses and queries."""
    yield from numbered("name", _names())
    yield from numbered("tag", _tags())
    yield from numbered("digest", _digests())
    yield from numbered("range", _ranges())
    yield from numbered("credentials", _credentials())
    yield from numbered("upload-url", _upload_urls())
    yield from numbered("blob", _blobs())
    yield from numbered("method", _methods())
    yield from numbered("path", _paths())
    yield from numbered("query", _queries())
    yield from numbered("form", _forms())


def _names() -> Iterator[Case]:
    typed = {"Content-Type": IMAGE_TYPE}
    for name in NAMES:
        yield asking(f"GET {name}", f"GET /v2/{name}/manifests/{TAG}", 400, "NAME_INVALID")
        yield asking(f"PUT {name}", f"PUT /v2/{name}/manifests/{TAG}", 400, "NAME_INVALID", headers=typed, body=IMAGE)
        yield asking(f"POST {name}", f"POST /v2/{name}/blobs/uploads/", 400, "NAME_INVALID")
        yield asking(f"HEAD {name}", f"HEAD /v2/{name}/blobs/{MISSING}", 400, "NAME_INVALID")
        yield asking(
            f"mount {name}",
            f"POST /v2/{REPOSITORY}/blobs/uploads/?mount={MISSING}&from={quote(name, safe='%')}",
            400,
            "NAME_INVALID",
        )
        nobody = asking(
            f"nobody {name}", f"GET /v2/{name}/tags/list", 401, "UNAUTHORIZED", headers={"Authorization": ""}
        )
        yield replace(nobody, headers=("www-authenticate",))
    whole = "library/" + "a" * 247
    yield asking("255", f"GET /v2/{whole}/tags/list", 404, "NAME_UNKNOWN")
    yield asking("255 with the host", f"POST /v2/{whole}/blobs/uploads/", 400, "NAME_INVALID")
    yield asking("255 with the host", f"PUT /v2/{whole}/manifests/x", 400, "NAME_INVALID", headers=typed, body=IMAGE)
    room = 255 - len("registry.test") - 1
    yield asking("just too long", f"POST /v2/{whole[: room + 1]}/blobs/uploads/", 400, "NAME_INVALID")
    yield asking("just fits", f"POST /v2/{whole[:room]}/blobs/uploads/", 202)
    yield asking("an encoded slash", f"GET /v2/{quote(REPOSITORY, safe='')}/manifests/{TAG}", 200)
    words = "library/blobs/tags/uploads/manifests/list"
    yield asking("words of the paths", f"GET /v2/{words}/tags/list", 404, "NAME_UNKNOWN")
    for name in ("app", "a" * 240):
        yield asking(f"in no project GET {name}", f"GET /v2/{name}/manifests/{TAG}", 403, "DENIED")
        line = f"PUT /v2/{name}/manifests/{TAG}"
        yield asking(f"in no project PUT {name}", line, 403, "DENIED", headers=typed, body=IMAGE)
        yield asking(f"in no project POST {name}", f"POST /v2/{name}/blobs/uploads/", 403, "DENIED")
    for name in ("nowhere/app", "blobs/uploads"):
        yield asking(f"in no project GET {name}", f"GET /v2/{name}/manifests/{TAG}", 404, "MANIFEST_UNKNOWN")
        line = f"PUT /v2/{name}/manifests/{TAG}"
        yield asking(f"in no project PUT {name}", line, 404, "NAME_UNKNOWN", headers=typed, body=IMAGE)
        yield asking(f"in no project POST {name}", f"POST /v2/{name}/blobs/uploads/", 404, "NAME_UNKNOWN")


def _tags() -> Iterator[Case]:
    for tag in TAGS:
        target = f"/v2/{REPOSITORY}/manifests/{tag}"
        yield asking(f"PUT {tag}", f"PUT {target}", 400, "MANIFEST_INVALID", body=IMAGE)
        for method in ("GET", "HEAD", "DELETE"):
            yield asking(f"{method} {tag}", f"{method} {target}", 404, "MANIFEST_UNKNOWN")
        target = f"/v2/{REPOSITORY}/manifests/{digest(IMAGE)}?tag=ok&tag={quote(tag, safe='%')}"
        yield asking(f"tag={tag}", f"PUT {target}", 400, "MANIFEST_INVALID", body=IMAGE)
    many = "&".join(f"tag=t{number}" for number in range(51))
    yield asking("51 tags", f"PUT /v2/{REPOSITORY}/manifests/{digest(IMAGE)}?{many}", 414, "UNSUPPORTED", body=IMAGE)
    yield asking(
        "an empty tag=", f"PUT /v2/{REPOSITORY}/manifests/{digest(IMAGE)}?tag=", 400, "MANIFEST_INVALID", body=IMAGE
    )


def _digests() -> Iterator[Case]:
    for text in DIGESTS:
        in_query = quote(text, safe="%:")
        lines = (
            f"GET /v2/{REPOSITORY}/blobs/{text}",
            f"HEAD /v2/{REPOSITORY}/blobs/{text}",
            f"DELETE /v2/{REPOSITORY}/blobs/{text}",
            f"GET /v2/{REPOSITORY}/manifests/{text}",
            f"PUT /v2/{REPOSITORY}/manifests/{text}",
            f"DELETE /v2/{REPOSITORY}/manifests/{text}",
            f"GET /v2/{REPOSITORY}/referrers/{text}",
            f"POST /v2/{REPOSITORY}/blobs/uploads/?digest={in_query}",
            f"POST /v2/{REPOSITORY}/blobs/uploads/?mount={in_query}",
            f"PUT @upload@&digest={in_query}",
        )
        for line in lines:
            yield asking(line, line, 400, "DIGEST_INVALID", body=IMAGE if line.startswith("P") else b"")
    for algorithm in ("md5", "SHA256", "sha", "sha256:", "%00", "%FF", "a" * 5000):
        line = f"POST /v2/{REPOSITORY}/blobs/uploads/?digest-algorithm={algorithm}"
        yield asking(line, line, 400, "DIGEST_INVALID")
    yield asking("no digest", "PUT @upload@", 400, "DIGEST_INVALID", body=LAYER)
    yield asking("an empty digest", "PUT @upload@&digest=", 400, "DIGEST_INVALID", body=LAYER)


def _ranges() -> Iterator[Case]:
    for name, text, code, status in RANGES:
        sent = {"Content-Range": text}
        yield asking(f"PATCH {name}", "PATCH @upload@", status, code, headers=sent, body=b"hello")
        yield asking(
            f"PUT {name}", f"PUT @upload@&digest={digest(b'hello')}", status, code, headers=sent, body=b"hello"
        )
        line = f"POST /v2/{REPOSITORY}/blobs/uploads/?digest={digest(b'hello')}"
        yield asking(f"POST {name}", line, status, code, headers=sent, body=b"hello")
    # `received` is an upload that has five bytes already.
    for text, code, status in (
        ("0-4", "BLOB_UPLOAD_INVALID", 416),
        ("4-8", "BLOB_UPLOAD_INVALID", 416),
        ("6-10", "BLOB_UPLOAD_INVALID", 416),
        ("5-4", "BLOB_UPLOAD_INVALID", 416),
        ("5-10", "SIZE_INVALID", 400),
    ):
        case = asking(
            f"after five bytes {text}",
            "PATCH @received@",
            status,
            code,
            headers={"Content-Range": text},
            body=b"hello",
        )
        yield replace(case, headers=("location", "range") if status == 416 else ())
    chunked = {"Content-Range": "0-9", "Transfer-Encoding": "chunked"}
    yield asking(
        "fewer chunked bytes", "PATCH @upload@", 400, "SIZE_INVALID", headers=chunked, body=b"5\r\nhello\r\n0\r\n\r\n"
    )
    chunked = {"Content-Range": "0-3", "Transfer-Encoding": "chunked"}
    yield asking(
        "more chunked bytes", "PATCH @upload@", 400, "SIZE_INVALID", headers=chunked, body=b"5\r\nhello\r\n0\r\n\r\n"
    )


def _credentials() -> Iterator[Case]:
    sent = [*BASIC, *BEARERS, *((name, f"Bearer @token_{name}@") for name in TOKENS)]
    for name, value in sent:
        for line in ("GET /v2/", f"GET /v2/{REPOSITORY}/manifests/{TAG}", f"DELETE /v2/{REPOSITORY}/manifests/{TAG}"):
            case = asking(f"{name} {line}", line, 401, "UNAUTHORIZED", headers={"Authorization": value})
            yield replace(case, headers=("www-authenticate",))
    for name, value in BASIC:
        yield asking(f"token {name}", "GET /service/token", 401, "UNAUTHORIZED", headers={"Authorization": value})
    bearer = {"Authorization": "Bearer @pull_only@"}
    named = (
        f"PUT /v2/{REPOSITORY}/manifests/{TAG}",
        f"POST /v2/{REPOSITORY}/blobs/uploads/",
        f"DELETE /v2/{REPOSITORY}/manifests/{TAG}",
        f"DELETE /v2/{REPOSITORY}/blobs/{_HELD}",
    )
    for line in named:
        yield asking(f"pull only {line}", line, 403, "DENIED", headers=bearer)
    others = (
        f"GET /v2/{OTHER}/tags/list",
        "GET /v2/_catalog",
        f"GET /v2/{REPOSITORY}x/tags/list",
        f"GET /v2/{REPOSITORY}/x/tags/list",
    )
    for line in others:
        yield replace(
            asking(f"pull only {line}", line, 401, "UNAUTHORIZED", headers=bearer), headers=("www-authenticate",)
        )


def _upload_urls() -> Iterator[Case]:
    for name in UPLOADS:
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            body = LAYER if method in ("PATCH", "PUT") else b""
            query = f"&digest={_HELD}" if method == "PUT" else ""
            yield asking(
                f"{name} {method}", f"{method} @upload_{name}@{query}", 404, "BLOB_UPLOAD_UNKNOWN", body=body
            )
    for name in ("ended", "cancelled"):
        for method in ("GET", "PATCH", "DELETE"):
            body = LAYER if method == "PATCH" else b""
            yield asking(f"{name} {method}", f"{method} @{name}@", 404, "BLOB_UPLOAD_UNKNOWN", body=body)
    yield asking("cancelled PUT", f"PUT @cancelled@&digest={_HELD}", 404, "BLOB_UPLOAD_UNKNOWN", body=LAYER)
    yield asking("ended PUT of another", f"PUT @ended@&digest={digest(CONFIG)}", 404, "BLOB_UPLOAD_UNKNOWN")
    yield asking("ended PUT again", f"PUT @ended@&digest={_HELD}", 201)
    without = {"Authorization": ""}
    yield asking("no credentials needed", "GET @upload@", 204, headers=without)
    yield asking(
        "not a bearer of other rights",
        f"POST /v2/{REPOSITORY}/blobs/uploads/?@state@",
        401,
        "UNAUTHORIZED",
        headers=without,
    )


def _blobs() -> Iterator[Case]:
    """Content that is not what it is called, in every way there is to send it."""
    wrong, right = digest(b"something else"), digest(LAYER)
    chunked = {"Transfer-Encoding": "chunked"}
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAYER), LAYER)
    whole = f"POST /v2/{REPOSITORY}/blobs/uploads/?digest="
    for name in (wrong, digest(LAYER + b"\n"), digest(b""), digest(b"something else", "sha512")):
        yield asking(f"POST {name}", whole + name, 400, "DIGEST_INVALID", body=LAYER)
        yield asking(f"POST chunked {name}", whole + name, 400, "DIGEST_INVALID", headers=chunked, body=body)
        yield asking(f"PUT {name}", f"PUT @upload@&digest={name}", 400, "DIGEST_INVALID", body=LAYER)
        yield asking(
            f"PUT chunked {name}", f"PUT @upload@&digest={name}", 400, "DIGEST_INVALID", headers=chunked, body=body
        )
        yield asking(f"PATCH, PUT {name}", f"PUT @received@&digest={name}", 400, "DIGEST_INVALID")
        yield asking(
            f"PATCH, PUT the rest {name}", f"PUT @received@&digest={name}", 400, "DIGEST_INVALID", body=LAYER
        )
        large = f"PUT @received_much@&digest={name}"
        yield asking(f"in parts {name}", large, 400, "DIGEST_INVALID", body=LAYER)
    yield asking("an empty body", whole + right, 400, "DIGEST_INVALID")
    yield asking("the right one again", whole + right, 201, body=LAYER)
    yield asking("the right one in chunks", whole + right, 201, headers=chunked, body=body)
    for encoding in ("gzip", "deflate", "br", "identity", "x"):
        sent = {"Content-Encoding": encoding}
        yield asking(f"{encoding} is the client's business", whole + right, 201, headers=sent, body=LAYER)
    yield asking("GET a missing blob", f"GET /v2/{REPOSITORY}/blobs/{MISSING}", 404, "BLOB_UNKNOWN")
    yield asking("GET another's blob", f"GET /v2/{OTHER}/blobs/{right}", 404, "BLOB_UNKNOWN")
    yield asking("HEAD another's blob", f"HEAD /v2/{OTHER}/blobs/{right}", 404, "BLOB_UNKNOWN")
    yield asking("DELETE a missing blob", f"DELETE /v2/{REPOSITORY}/blobs/{MISSING}", 404, "BLOB_UNKNOWN")
    yield asking("GET a manifest as a blob", f"GET /v2/{REPOSITORY}/blobs/{digest(IMAGE)}", 404, "BLOB_UNKNOWN")
    yield asking("GET a blob as a manifest", f"GET /v2/{REPOSITORY}/manifests/{right}", 404, "MANIFEST_UNKNOWN")
    yield asking("GET another's manifest", f"GET /v2/{OTHER}/manifests/{digest(IMAGE)}", 404, "MANIFEST_UNKNOWN")
    yield asking("mount a missing blob", f"POST /v2/{OTHER}/blobs/uploads/?mount={MISSING}&from={REPOSITORY}", 202)


def _methods() -> Iterator[Case]:
    for path, offered in METHODS.items():
        for method in ALL_METHODS:
            if method not in offered:
                case = asking(f"{method} {path}", f"{method} {path}", 405, "UNSUPPORTED")
                yield replace(case, headers=("allow",))
    yield Case("CONNECT", (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",), 404, "UNSUPPORTED")


def _paths() -> Iterator[Case]:
    for path in NOWHERE:
        yield asking(path, f"GET {path}", 404, "UNSUPPORTED")
    yield asking("the whole address", "GET http://registry.test/v2/", 200)


def _queries() -> Iterator[Case]:
    for query, status in PAGES:
        for path in (f"/v2/{REPOSITORY}/tags/list", "/v2/_catalog"):
            yield asking(f"{path}?{query}", f"GET {path}?{query}", status, "" if status == 200 else "UNSUPPORTED")
    for artifact_type in ARTIFACT_TYPES:
        line = f"GET /v2/{REPOSITORY}/referrers/{digest(IMAGE)}?artifactType={artifact_type}"
        yield asking(line, line, 200)
    for last in ("%00", "a%0d%0ab", "a" * 3000):
        line = f"GET /v2/{REPOSITORY}/referrers/{digest(IMAGE)}?last={last}"
        yield asking(line, line, 400, "UNSUPPORTED")
    for scope in (
        "x",
        ":",
        "::",
        "repository",
        "repository:",
        "repository::pull",
        "repository:a:fly",
        "%00",
        "%FF",
        "a" * 9000,
        "registry:catalog:*",
        "repository:A:pull",
        "repository:a:pull,pull,*",
    ):
        yield asking(f"scope={scope}", f"GET /service/token?scope={scope}", 200)


def _forms() -> Iterator[Case]:
    forms = (
        ("nothing", b"", 400, "UNSUPPORTED"),
        ("JSON", json.dumps({"grant_type": "password"}).encode(), 400, "UNSUPPORTED"),
        ("bytes", b"\xff\xfe" * 100, 400, "UNSUPPORTED"),
        ("another grant", b"grant_type=refresh_token&refresh_token=x", 400, "UNSUPPORTED"),
        ("two grants", b"grant_type=password&grant_type=password", 400, "UNSUPPORTED"),
        ("too many fields", b"a=b&" * 1000, 400, "UNSUPPORTED"),
        ("no user", b"grant_type=password", 401, "UNAUTHORIZED"),
        ("wrong password", b"grant_type=password&username=admin&password=guess", 401, "UNAUTHORIZED"),
        ("bytes as password", b"grant_type=password&username=admin&password=%FF%00", 401, "UNAUTHORIZED"),
    )
    for name, body, status, code in forms:
        yield asking(name, "POST /service/token", status, code, headers={"Authorization": ""}, body=body)
    huge = b"grant_type=password&username=admin&password=" + b"x" * 1_000_000
    yield asking("huge", "POST /service/token", 400, "UNSUPPORTED", headers={"Authorization": ""}, body=huge)
