"""Cold start: from the first import to the first answer of the Lambda function, without the interpreter's own start.

* The yardstick is what an application has loaded that imports Chalice and boto3 and makes its two clients.
* The best of several counts: a start can be disturbed, not quickened.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.report import Row, Table, Verdict, progress
from bench.stage import Stage

BUDGET = 0.35
_PROJECT = Path(__file__).parent.parent
_TIMED = "import time; began = time.perf_counter()\n{}\nprint(time.perf_counter() - began)"
_YARDSTICK = "import chalice, boto3; boto3.client('s3'); boto3.client('dynamodb')"
_OURS = "import app; answer = app.app({event}, None); assert answer['statusCode'] in (200, 401), answer"
_EVENT: Mapping[str, object] = {
    "resource": "/{proxy+}",
    "path": "/",
    "httpMethod": "GET",
    "headers": {"Host": "registry.example"},
    "multiValueHeaders": {"Host": ["registry.example"]},
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "pathParameters": None,
    "stageVariables": None,
    "requestContext": {
        "resourcePath": "/",
        "httpMethod": "GET",
        "path": "/v2/",
        "stage": "v2",
        "domainName": "registry.example",
        "identity": {"sourceIp": "192.0.2.1"},
    },
    "body": None,
    "isBase64Encoded": False,
}


def measure(_stage: Stage, *, best_of: int) -> Table:
    """Compare the two; nothing of it needs S3."""
    programs = {"chalice + boto3": _YARDSTICK, "import app": _OURS.format(event=dict(_EVENT))}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(best_of + 1):
        for name, text in programs.items():
            times[name].append(_seconds(text))
    yardstick, ours = (min(values[1:]) for values in times.values())
    for name, values in times.items():
        progress(f"{name}: best {min(values[1:]):.3f} s, worst {max(values[1:]):.3f} s")
    ratio = ours / yardstick
    verdict = Verdict.KEPT if ratio <= BUDGET else Verdict.SLOW
    budget = f"{ratio:.2f} of it, <= {BUDGET}"
    row = Row("import, first answer", f"{yardstick:.3f} s", f"{ours:.3f} s", budget, verdict)
    return Table(
        "cold start, beside importing chalice and boto3 and making two clients", [row], theirs="chalice + boto3"
    )


def _seconds(text: str) -> float:
    command = [sys.executable, "-c", _TIMED.format(text)]
    done = subprocess.run(command, cwd=_PROJECT, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"cold start: {done.stderr}")
    # What a function prints is its log; the figure is the last line.
    return float(done.stdout.splitlines()[-1])


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "ROADSTEAD_BUCKET": "example",
        "ROADSTEAD_TABLE": "example",
        "ROADSTEAD_ADMIN_PASSWORD": "example",
        "ROADSTEAD_SIGNING_KEY": "00" * 32,
    }
