"""DynamoDB Local: Amazon's own emulator, a Java program from Maven. Its conditions are those of DynamoDB."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.engine import Engine
from tests.engines.ministack import cache_directory
from tests.engines.process import HOST, free_ports, running, wait_ready

VERSION = "3.3.1"
_PROJECT = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>roadstead</groupId><artifactId>engines</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>software.amazon.dynamodb</groupId><artifactId>DynamoDBLocal</artifactId><version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""
# Its own main program listens on every interface and has no option for the address.
_PROGRAM = f"""
import org.eclipse.jetty.server.Connector;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import software.amazon.dynamodb.services.local.main.ServerRunner;
import software.amazon.dynamodb.services.local.server.DynamoDBProxyServer;

public class Loopback {{
    public static void main(String[] arguments) throws Exception {{
        DynamoDBProxyServer service = ServerRunner.createServerFromCommandLineArgs(arguments);
        var server = DynamoDBProxyServer.class.getDeclaredField("server");
        server.setAccessible(true);
        for (Connector connector : ((Server) server.get(service)).getConnectors()) {{
            ((ServerConnector) connector).setHost("{HOST}");
        }}
        service.start();
        service.join();
    }}
}}
"""


@contextmanager
def dynamodb_local() -> Iterator[Engine]:
    """Serve an empty DynamoDB Local, on the loopback interface alone."""
    libraries = _installed()
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="dynamodb-local-") as folder:
        directory = Path(folder)
        engine = Engine("dynamodb-local", f"http://{HOST}:{port}")
        command = _command(libraries, port)
        with running(command, environment=_environment(directory), directory=directory) as process:
            wait_ready(lambda: _connect(port), process, directory)
            yield engine


def _command(libraries: Path, port: int) -> list[str]:
    return [
        *("java", "-Xmx512m", f"-Djava.library.path={libraries}", "-cp", f"{libraries}/*"),
        *(str(libraries.parent / "Loopback.java"), "-inMemory", "-disableTelemetry", "-port", str(port)),
    ]


def _connect(port: int) -> None:
    # It begins to listen when all else is ready.
    socket.create_connection((HOST, port), timeout=5).close()


def _environment(directory: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(directory), "TMPDIR": str(directory)}


def _installed() -> Path:
    """Return the folder of the libraries, fetched by whichever test process comes first."""
    home = cache_directory() / f"dynamodb-local-{VERSION}"
    home.mkdir(parents=True, exist_ok=True)
    libraries, complete = home / "libraries", home / ".complete"
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(libraries, ignore_errors=True)
            (home / "pom.xml").write_text(_PROJECT)
            copy = ["dependency:copy-dependencies", f"-DoutputDirectory={libraries}"]
            subprocess.run(["mvn", "-q", "-B", *copy], cwd=home, check=True)
            complete.touch()
        (home / "Loopback.java").write_text(_PROGRAM)
    return libraries
