"""The whole stack on emulated AWS: made by the commands that the README names, from the package that is deployed.

ministack runs the functions in processes of their own under their roles, whose policies it enforces; so a right that
a policy lacks fails here as on AWS.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import secrets, stack
from infra.package import CODE, package
from infra.stack import Stack
from tests.aws.distribution import Distribution, Resolver, distribution
from tests.aws.door import Origin, at
from tests.aws.shims import SHIMS
from tests.engines.engine import Engine, client
from tests.engines.ministack import ministack
from tests.engines.process import HOST, free_ports, running, wait_ready

ROOT = Path(__file__).parents[2]
RELAY_IMAGE = "relay:v1"
NAME, SECRETS, CODE_BUCKET = "roadstead", "/roadstead", "code"


@dataclass(frozen=True, slots=True)
class Cloud:
    """An emulated account in which the stack stands."""

    engine: Engine
    outputs: Mapping[str, str]
    password: str
    template: Mapping[str, Any]
    parameters: Mapping[str, str]

    @property
    def api(self) -> str:
        """The address below which the API's stages are."""
        return f"{self.engine.endpoint}/_aws/execute-api/{self.outputs['ApiId']}"

    def client(self, service: str) -> Any:
        return client(self.engine, service)

    @property
    def known(self) -> Mapping[str, str]:
        """What the template's parameters and its resources came to."""
        return {**self.parameters, "Bucket": self.outputs["BucketName"], "Table": self.outputs["TableName"]}

    def origins(self, uploads: str = "") -> dict[str, Origin]:
        """Return the origins of the template by their names, the relay among them where its address is given."""
        s3 = self.client("s3")

        def portal(target: str) -> str:
            # CloudFront signs what it asks this bucket.
            asked = {"Bucket": self.outputs["PortalBucketName"], "Key": target.lstrip("/")}
            return str(s3.generate_presigned_url("get_object", Params=asked))

        bucket = at(f"{self.engine.endpoint}/{self.outputs['BucketName']}")
        return {"api": at(self.api), "bucket": bucket, "portal": portal} | ({"relay": at(uploads)} if uploads else {})

    def front(self) -> Distribution:
        """Return the distribution that the stack's template makes with a relay."""
        return distribution(self.template, {**self.parameters, "RelayImage": RELAY_IMAGE})

    def put(self, code: Path) -> str:
        """Put a package of the functions beside those that are there; return its key."""
        return stack.upload(self.client("s3"), CODE_BUCKET, code)

    def update(self, template: Mapping[str, Any], **parameters: str) -> list[str]:
        """Change the stack, as the command does; return the lines that it tells."""
        lines: list[str] = []
        wanted = Stack(NAME, template, {**self.parameters, **parameters}, _placed(self.engine, template))
        stack.deploy(self.client("cloudformation"), wanted, lines.append)
        return lines


def environment(engine: Engine) -> dict[str, str]:
    """Return what the commands of a person with this account have in their environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ROADSTEAD_"))}
    return kept | {
        "AWS_ENDPOINT_URL": engine.endpoint,
        "AWS_ACCESS_KEY_ID": engine.access_key,
        "AWS_SECRET_ACCESS_KEY": engine.secret_key,
        "AWS_REGION": engine.region,
        "AWS_DEFAULT_REGION": engine.region,
    }


@contextmanager
def deployed(folder: Path, packaged: Callable[[Path], Path] = package, /, **parameters: str) -> Iterator[Cloud]:
    """Make the stack in an empty account, from the package that `packaged` makes in a folder."""
    template = shimmed(packaged(folder))
    with ministack() as engine:
        s3 = client(engine, "s3")
        s3.create_bucket(Bucket=CODE_BUCKET)
        made = secrets.make(client(engine, "ssm"), SECRETS)
        key = stack.upload(s3, CODE_BUCKET, folder / CODE)
        given = {"CodeBucket": CODE_BUCKET, "CodeKey": key, "SecretsPath": SECRETS, **parameters}
        wanted = Stack(NAME, template, given, _placed(engine, template))
        outputs = stack.deploy(client(engine, "cloudformation"), wanted, lambda _: None)
        yield Cloud(engine, outputs, made["admin-password"], template, given)


def shimmed(path: Path) -> Mapping[str, Any]:
    """Return the template as the emulator can take it."""
    template: dict[str, Any] = json.loads(path.read_text())
    for shim in SHIMS:
        shim(template)
    return template


def _placed(engine: Engine, template: Mapping[str, Any]) -> str:
    s3 = client(engine, "s3")
    text = json.dumps(template).encode()
    s3.put_object(Bucket=CODE_BUCKET, Key="template.json", Body=text)
    return stack.url_of(s3, CODE_BUCKET, "template.json")


@contextmanager
def relay(engine: Engine, template: Mapping[str, Any], known: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Run the relay with the settings that a template gives its task; yield its address.

    `known` is what the template's parameters and its bucket and table came to.
    """
    (port,) = free_ports(1)
    made = Resolver(template, {"AWS::Region": engine.region, "RelayImage": RELAY_IMAGE, **known})
    [container] = made.value(template["Resources"]["RelayTask"]["Properties"]["ContainerDefinitions"])
    own = {each["Name"]: each["Value"] for each in container["Environment"]}
    place = {"HOST": HOST, "PORT": str(port), "DATA": str(folder / "relay")}
    settings = environment(engine) | own | place
    command = [sys.executable, "-m", "chalicelib.cli.main", "serve"]
    with running(command, environment=settings, directory=folder) as process:
        wait_ready(lambda: _listens(port), process, folder)
        yield f"http://{HOST}:{port}"


def _listens(port: int) -> None:
    found = subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://{HOST}:{port}/v2/"], check=False)
    if found.returncode:
        raise OSError("not yet")
