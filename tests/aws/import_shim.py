"""Between `chalice deploy` and ministack 1.5.33, which takes no Swagger document: the import as calls that it takes.

* `POST /restapis?mode=import` becomes an API, its authorizers, resources, methods and integrations.
* `PUT /restapis/ID?mode=overwrite` forgets the gateway responses, as AWS does, and adds the paths that are new. The
  other paths stay: on AWS a deployment keeps its own, in ministack all deployments share them.
* An empty `minimumCompressionSize` is dropped; it would be given back as no number.
Everything else passes through, byte for byte.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.engines.engine import Engine, client
from tests.engines.process import HOST

Json = dict[str, Any]


@contextmanager
def taking_swagger(engine: Engine) -> Iterator[str]:
    """Serve the emulator's API with the import; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = answer(engine, self.command, self.path, dict(self.headers), content)
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "content-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}"
        server.shutdown()


def answer(engine: Engine, method: str, path: str, headers: Json, content: bytes) -> tuple[int, Json, bytes]:
    """Answer a request of Chalice's."""
    parts = urlsplit(path)
    mode = parse_qs(parts.query).get("mode", [""])[0]
    gateway = client(engine, "apigateway")
    if method == "POST" and mode == "import":
        return 201, {"Content-Type": "application/json"}, json.dumps({"id": _import(gateway, content)}).encode()
    if method == "PUT" and mode == "overwrite":
        api = parts.path.split("/")[2]
        _overwrite(gateway, api, json.loads(content))
        return 200, {"Content-Type": "application/json"}, json.dumps({"id": api}).encode()
    if method == "PATCH" and parts.path.startswith("/restapis/"):
        content = _without_empty_sizes(content)
    # The connection's headers are this hop's own.
    kept = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "connection")}
    got = httpx.request(method, f"{engine.endpoint}{path}", headers=kept, content=content, timeout=120)
    return got.status_code, dict(got.headers), got.content


def _import(gateway: Any, content: bytes) -> str:
    swagger = json.loads(content)
    binary = swagger.get("x-amazon-apigateway-binary-media-types", [])
    api = str(gateway.create_rest_api(name=swagger["info"]["title"], binaryMediaTypes=binary)["id"])
    _add(gateway, api, swagger)
    return api


def _overwrite(gateway: Any, api: str, swagger: Json) -> None:
    for each in gateway.get_gateway_responses(restApiId=api)["items"]:
        if not each["defaultResponse"]:
            gateway.delete_gateway_response(restApiId=api, responseType=each["responseType"])
    _add(gateway, api, swagger)


def _add(gateway: Any, api: str, swagger: Json) -> None:
    authorizers = _authorizers(gateway, api, swagger)
    ids = {each["path"]: each["id"] for each in gateway.get_resources(restApiId=api, limit=500)["items"]}
    for path, item in swagger["paths"].items():
        if path in ids and path != "/":
            continue
        parent = ids["/"]
        for part in path.strip("/").split("/") if path != "/" else []:
            here = _path_of(ids, parent) + part
            ids[here] = ids.get(here) or _resource(gateway, api, parent, part)
            parent = ids[here]
        if path == "/" and gateway.get_resource(restApiId=api, resourceId=parent).get("resourceMethods"):
            continue
        for verb, operation in item.items():
            _method(
                gateway, {"restApiId": api, "resourceId": parent, "httpMethod": verb.upper()}, operation, authorizers
            )


def _resource(gateway: Any, api: str, parent: str, part: str) -> str:
    return str(gateway.create_resource(restApiId=api, parentId=parent, pathPart=part)["id"])


def _path_of(ids: dict[str, str], wanted: str) -> str:
    [path] = [path for path, each in ids.items() if each == wanted]
    return path.rstrip("/") + "/"


def _authorizers(gateway: Any, api: str, swagger: Json) -> dict[str, str]:
    found = {each["name"]: each["id"] for each in gateway.get_authorizers(restApiId=api)["items"]}
    for name, scheme in swagger.get("securityDefinitions", {}).items():
        told = scheme.get("x-amazon-apigateway-authorizer")
        if told and name not in found:
            found[name] = gateway.create_authorizer(
                restApiId=api,
                name=name,
                type=told["type"].upper(),
                authorizerUri=told["authorizerUri"],
                identitySource=f"method.request.header.{scheme['name']}",
                authorizerResultTtlInSeconds=told["authorizerResultTtlInSeconds"],
            )["id"]
    return found


def _method(gateway: Any, where: Json, operation: Json, authorizers: dict[str, str]) -> None:
    names = [name for each in operation.get("security", []) for name in each if name in authorizers]
    guard = {"authorizationType": "CUSTOM", "authorizerId": authorizers[names[0]]} if names else {}
    gateway.put_method(**where, **({"authorizationType": "NONE"} | guard))
    told = operation["x-amazon-apigateway-integration"]
    gateway.put_integration(
        **where, type=told["type"].upper(), integrationHttpMethod=told["httpMethod"], uri=told["uri"]
    )


def _without_empty_sizes(content: bytes) -> bytes:
    told = json.loads(content)
    told["patchOperations"] = [
        each for each in told["patchOperations"] if each["path"] != "/minimumCompressionSize" or each.get("value")
    ]
    return json.dumps(told).encode()
