"""Clients of AWS for the steps of deploying; credentials, region and endpoints are those of every AWS tool."""

from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# What a step reports in words instead of a stack trace.
FAILURES = (BotoCoreError, ClientError)


def client(service: str) -> Any:
    """Return a client; raise ValueError where no region is set."""
    session = boto3.Session()
    if not session.region_name:
        raise ValueError("no region: set AWS_REGION, for example AWS_REGION=eu-central-1")
    return session.client(service, region_name=session.region_name)  # type: ignore[call-overload] # any service


def code_of(error: Exception) -> str:
    """Return the code by which AWS names a failure, or ""."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
