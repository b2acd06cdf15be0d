"""What is not HTTP, or not quite: lines, headers, hosts, lengths and bodies, and what the registry answers to each.

* Where HTTP leaves a choice, the stricter one is wanted: what two parsers might read differently is refused.
* A client that breaks the connection cannot be answered; one that only stops sending may be, or is hung up on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.server.cases import IMAGE, IMAGE_TYPE, LAYER, REPOSITORY, TAG, Case, Ending, asking, digest, numbered, raw
from tests.server.wire import request

_HELD = digest(LAYER)

# fmt: off
# What is not HTTP, or HTTP that two readers could take for two different things.
GARBAGE = (
    ("words",                    b"hello registry\r\n\r\n"),
    ("a TLS hello",              b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n"),
    ("HTTP/2",                   b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/3.5",                 b"GET /v2/ HTTP/3.5\r\nHost: x\r\n\r\n"),
    ("HTTP/x",                   b"GET /v2/ HTTP/x\r\nHost: x\r\n\r\n"),
    ("no path",                  b"GET HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a blank in the path",      b"GET /v2/ /x HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a NUL in the path",        b"GET /v2/\0 HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("bytes in the path",        b"GET /v2/\xff HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("text in the path",         "GET /v2/\u00e4 HTTP/1.1\r\nHost: x\r\n\r\n".encode()),
    ("bytes in the query",       b"GET /v2/?\xff HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a star for a path",        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a relative path",          b"GET v2/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a Windows path",           b"GET \\v2\\ HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a broken address",         b"GET http://[::1/v2/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a method in lower case",   b"get /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("an unknown method",        b"BREW /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a method of symbols",      b"G@T /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a huge method",            b"A" * 20_000 + b" /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a huge path",              b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a huge query",             b"GET /v2/?" + b"a=b&" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a huge header",            b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"),
    ("a huge header name",       b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"a" * 70_000 + b": 1\r\n\r\n"),
    ("too many headers",         b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 1000 + b"\r\n"),
    ("no host",                  b"GET /v2/ HTTP/1.1\r\n\r\n"),
    ("two hosts",                b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("a folded header",          b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n"),
    ("a blank before the colon", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n"),
    ("a header without colon",   b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX\r\n\r\n"),
    ("a header without name",    b"GET /v2/ HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n"),
    ("a NUL in a header",        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n"),
    ("a bare CR in a header",    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n"),
    ("bare line feeds",          b"GET /v2/ HTTP/1.1\nHost: x\n\n"),
)
FRAMINGS = (
    ("both lengths",             b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("both lengths, turned",     b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("two lengths",              b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("two equal lengths",        b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("a list of lengths",        b"Content-Length: 5, 5\r\n\r\nhello"),
    ("a signed length",          b"Content-Length: +5\r\n\r\nhello"),
    ("a negative length",        b"Content-Length: -5\r\n\r\nhello"),
    ("a hexadecimal length",     b"Content-Length: 0x5\r\n\r\nhello"),
    ("a length in words",        b"Content-Length: five\r\n\r\nhello"),
    ("a length with a blank",    b"Content-Length: 5 5\r\n\r\nhello"),
    ("a huge length",            b"Content-Length: " + b"9" * 40 + b"\r\n\r\nhello"),
    ("no length",                b"Content-Length:\r\n\r\nhello"),
    ("an unknown encoding",      b"Transfer-Encoding: zip\r\n\r\nhello"),
    ("almost chunked",           b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked, then not",        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("compressed, then chunked", b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice",            b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked on two lines",     b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a chunk in words",         b"Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n"),
    ("a negative chunk",         b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
    ("a 0x chunk",               b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("a huge chunk",             b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\nhello\r\n0\r\n\r\n"),
    ("no chunk size",            b"Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
    ("a chunk too long",         b"Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n"),
    ("line feeds as chunk ends", b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n"),
)
# fmt: on


def cases() -> Iterator[Case]:
    """Return every case of bad HTTP."""
    yield from numbered("body", _broken_bodies())
    yield from numbered("host", _hosts())
    yield from numbered("http", _http())


def _broken_bodies() -> Iterator[Case]:
    """Bodies that end before, or go on after, their stated end."""
    begun = {
        "PATCH": "@upload@",
        "PUT": f"@upload@&digest={_HELD}",
        "POST": f"/v2/{REPOSITORY}/blobs/uploads/?digest={_HELD}",
    }
    admin = {"Authorization": "@admin@"}
    for method, target in begun.items():
        short = request(method, target, {**admin, "Content-Length": "100"}, LAYER)
        cut = request(method, target, {**admin, "Transfer-Encoding": "chunked"}, b"ff\r\n" + LAYER)
        unended = request(method, target, {**admin, "Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n")
        for name, sent in (("short", short), ("cut in a chunk", cut), ("no last chunk", unended)):
            case = Case(f"{method} {name}", (sent,), 400, "BLOB_UPLOAD_INVALID", method)
            yield replace(case, ending=Ending.FINISHED)
            yield replace(case, id=f"{case.id}, gone", status=0, ending=Ending.GONE)
        late = (unended, b"zz\r\n\r\n")
        yield Case(f"{method} a broken chunk, later", late, 400, "BLOB_UPLOAD_INVALID", method)
    typed = {**admin, "Content-Type": IMAGE_TYPE, "Content-Length": str(len(IMAGE) + 1)}
    short = request("PUT", f"/v2/{REPOSITORY}/manifests/{TAG}", typed, IMAGE)
    case = Case("PUT manifest short", (short,), 400, "BLOB_UPLOAD_INVALID", "PUT")
    yield replace(case, ending=Ending.FINISHED)
    yield replace(case, id=f"{case.id}, gone", status=0, ending=Ending.GONE)
    form = request("POST", "/service/token", {"Content-Length": "100"}, b"grant_type=password")
    case = Case("POST form short", (form,), 400, "BLOB_UPLOAD_INVALID", "POST")
    yield replace(case, ending=Ending.FINISHED)
    typed["Content-Length"] = str(len(IMAGE) - 1)
    more = request("PUT", f"/v2/{REPOSITORY}/manifests/{TAG}", typed, IMAGE)
    yield Case("more than stated", (more,), 400, "UNSUPPORTED", "PUT", parsed=False)
    yield asking("a body on GET", "GET /v2/", 200, headers={"Content-Length": "5"}, body=b"hello")
    yield asking(
        "a body on DELETE",
        f"DELETE /v2/{REPOSITORY}/manifests/nothing",
        404,
        "MANIFEST_UNKNOWN",
        headers={"Content-Length": "5"},
        body=b"hello",
    )


def _hosts() -> Iterator[Case]:
    """Hosts that are none: the answer must not build an address of them."""
    for host in ("[::1", 'a"b', "a b", "a/b", "a@b", "a\\b", "<x>", "\udcff", "x:port", "x:99999999"):
        yield asking(host, "GET /v2/", 400, "UNSUPPORTED", headers={"Authorization": "", "Host": host})


def _http() -> Iterator[Case]:
    for name, sent in GARBAGE:
        yield raw(name, sent)
    for name, rest in FRAMINGS:
        head = (
            f"POST /v2/{REPOSITORY}/blobs/uploads/?digest={_HELD} HTTP/1.1\r\nHost: x\r\nAuthorization: @admin@\r\n"
        )
        yield raw(name, head.encode() + rest)
    smuggled = b"0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
    line = f"POST /v2/{REPOSITORY}/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nAuthorization: @admin@\r\n".encode()
    yield raw("a smuggled request", line + b"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled)
    yield asking("an upgrade", "GET /v2/", 200, headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    yield asking("HTTP/2 offered", "GET /v2/", 200, headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    yield asking("an odd expectation", "GET /v2/", 200, headers={"Expect": "a miracle"})
    yield asking("a user agent that is no text", "GET /v2/", 200, headers={"User-Agent": "\udcff"})
    yield asking(
        "an Accept that is no text", f"GET /v2/{REPOSITORY}/manifests/{TAG}", 200, headers={"Accept": "\udcff"}
    )
    yield asking("a huge Accept", f"GET /v2/{REPOSITORY}/manifests/{TAG}", 200, headers={"Accept": "x/y," * 3000})
    yield asking(
        "an odd If-None-Match",
        f"GET /v2/{REPOSITORY}/manifests/{TAG}",
        200,
        headers={"If-None-Match": '"\udcff", W/"x'},
    )
    yield Case("HTTP/1.0 without a host", (b"GET /v2/ HTTP/1.0\r\n\r\n",), 400, "UNSUPPORTED")
    old = Case("HTTP/1.0", (b"GET /v2/ HTTP/1.0\r\nHost: x\r\n\r\n",), 401, "UNAUTHORIZED")
    yield replace(old, headers=("www-authenticate",))
