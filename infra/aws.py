"""Clients of AWS for the steps of deploying; credentials, region and endpoints are those of every AWS tool."""

import os
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# What a step reports in words instead of a stack trace.
FAILURES = (BotoCoreError, ClientError)


def client(service: str, region: str | None = None) -> Any:
    """Return a client of `region`, or else of the one that is set; raise ValueError where none is."""
    session = boto3.Session(region_name=region)
    # boto3 alone does not know the variable that Lambda and the newer tools have.
    region = session.region_name or os.environ.get("AWS_REGION")
    if not region:
        raise ValueError("no region: set AWS_DEFAULT_REGION, for example AWS_DEFAULT_REGION=eu-central-1")
    return session.client(service, region_name=region)  # type: ignore[call-overload] # any service


def code_of(error: Exception) -> str:
    """Return the code by which AWS names a failure, or ""."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
