"""Settings: the only reader of the environment.

A secret may be a text in the environment, or `ssm:NAME`: then it is a parameter of SSM, which `services` reads.
Each field of `Settings` says which variable sets it. The README's table is compared with `VARIABLES` by a test.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from types import MappingProxyType

# fmt: off
VARIABLES: Mapping[str, str] = MappingProxyType({
    "ROADSTEAD_BUCKET":             "the bucket of all content",
    "ROADSTEAD_TABLE":              "the DynamoDB table of projects and rights, or file:PATH",
    "ROADSTEAD_QUEUE":              "the SQS queue of jobs, which AWS Lambda then does; else the server does them",
    "ROADSTEAD_ADMIN_PASSWORD":     "password of the user admin; else one is made and kept in the data folder",
    "ROADSTEAD_SIGNING_KEY":        "keys that sign tokens, 64 hexadecimal digits each, with commas between",
    "ROADSTEAD_S3_PUBLIC_ENDPOINT": "where clients reach S3, if not where the server does",
    "ROADSTEAD_PUBLIC_URL":         "where clients reach the registry, if not at the Host that they send",
    "ROADSTEAD_HISTORY_DAYS":       "for how many days a tag can go back to what it named before; 30",
    "ROADSTEAD_GC_GRACE_SECONDS":   "how long garbage collection spares what nothing needs; 7200, in all processes",
    "ROADSTEAD_METRICS":            "open, if everybody may read the metrics; else who may see all quotas",
    "ROADSTEAD_PRIVATE_TARGETS":    "networks and hosts that are not public, and that users may have it speak to",
    "ROADSTEAD_RELAY":              "yes, where a relay answers for uploads and reaches other registries",
    "ROADSTEAD_REGION_NAME":        "this region's name, where the registry is in two regions; else it is in one",
    "ROADSTEAD_REGION_ROLE":        "primary or replica: what the region is until one is promoted; primary",
    "ROADSTEAD_PEER_BUCKET":        "the other region's bucket: a replica reads there what has not arrived",
    "ROADSTEAD_PEER_REGION":        "the AWS region of that bucket",
    "ROADSTEAD_PEER_URL":           "where clients reach the registry in the other region",
    "ROADSTEAD_PEER_S3_ENDPOINT":   "an S3 service other than AWS, of that bucket",
    "ROADSTEAD_ARRIVALS":           "true, where the table is this region's alone and follows the bucket",
    "AWS_REGION":                   "region of bucket and table",
    "AWS_ENDPOINT_URL_S3":          "an S3 service other than AWS",
    "AWS_ENDPOINT_URL_DYNAMODB":    "a DynamoDB service other than AWS",
    "AWS_ENDPOINT_URL_SQS":         "an SQS service other than AWS",
    "AWS_ENDPOINT_URL_SSM":         "an SSM service other than AWS",
})
# fmt: on

# Clients have no use for a Location that is this server's own address: it is answered by the same host.
THROUGH_THE_SERVER = "/"
# Begins the name of a table that is a SQLite file of this machine.
FILE_TABLE = "file:"
_KEY_BYTES = 32
_TARGETS, _TARGET = "ROADSTEAD_PRIVATE_TARGETS", re.compile(r"[0-9A-Za-z._-]+")
_PARAMETER = "ssm:"
_SIGNING_KEY, _ADMIN_PASSWORD = "ROADSTEAD_SIGNING_KEY", "ROADSTEAD_ADMIN_PASSWORD"
_METRICS, _OPEN = "ROADSTEAD_METRICS", "open"
_HISTORY_DAYS, _MOST_DAYS = "ROADSTEAD_HISTORY_DAYS", 3650
_GRACE, _MOST_SECONDS = "ROADSTEAD_GC_GRACE_SECONDS", 30 * 24 * 60 * 60
_REGION_NAME, _REGION_ROLE = "ROADSTEAD_REGION_NAME", "ROADSTEAD_REGION_ROLE"
_ARRIVALS = "ROADSTEAD_ARRIVALS"
_PRIMARY, _REPLICA = "primary", "replica"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """The other region: its bucket, where that is, and where clients reach its registry."""

    bucket: str = ""
    region: str = ""
    url: str = ""
    s3_endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process is to work."""

    bucket: str = "roadstead"
    table: str = "roadstead"
    queue: str = ""
    region: str = "us-east-1"
    admin_password: str = field(default="", repr=False)
    signing_key: bytes = field(default=b"", repr=False)
    # These verify and do not sign: the keys before and after the one that signs (docs/operations.md).
    other_keys: tuple[bytes, ...] = field(default=(), repr=False)
    s3_endpoint: str = ""
    s3_public_endpoint: str = ""
    dynamodb_endpoint: str = ""
    sqs_endpoint: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    public_url: str = ""
    ssm_endpoint: str = ""
    open_metrics: bool = False
    # A function leads clients there for what it cannot send itself (api.proxied_blobs).
    relay: bool = False
    # What a tag ceased to name longer ago is forgotten; the bucket need not keep it (infra/templates/storage.yaml).
    history_window: timedelta = timedelta(days=30)
    # See `store.content`: who is told that a blob is there, and the collector, must go by the same one.
    grace: timedelta = timedelta(hours=2)
    # Networks and names of hosts that are no public addresses, and may be sent to all the same.
    private_targets: tuple[str, ...] = ()
    # "" where the registry is in one region alone (docs/decisions/022).
    region_name: str = ""
    # What the region is as long as its bucket says nothing about it.
    begins_as_replica: bool = False
    peer: PeerSettings = field(default_factory=PeerSettings)
    # The table is this region's alone, and what arrives in the bucket is brought into it (docs/decisions/023).
    takes_arrivals: bool = False
    # Names of SSM's parameters that are not read yet, by the variables whose values they have.
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings that the environment gives; raise ValueError with the variable to mend."""
        secrets = {name: environment.get(name, "") for name in (_SIGNING_KEY, _ADMIN_PASSWORD)}
        stored = {name: value for name, value in secrets.items() if value.startswith(_PARAMETER)}
        get = {**environment, **dict.fromkeys(stored, "")}.get
        key, *others = _keys_of(get(_SIGNING_KEY, "")) or (b"",)
        if get(_METRICS, "") not in ("", _OPEN):
            raise ValueError(f"{_METRICS} must be {_OPEN}, or not set")
        return cls(
            bucket=get("ROADSTEAD_BUCKET", "roadstead"),
            table=get("ROADSTEAD_TABLE", "roadstead"),
            queue=get("ROADSTEAD_QUEUE", ""),
            region=get("AWS_REGION") or get("AWS_DEFAULT_REGION") or "us-east-1",
            admin_password=get(_ADMIN_PASSWORD, ""),
            signing_key=key,
            other_keys=tuple(others),
            s3_endpoint=(get("AWS_ENDPOINT_URL_S3") or get("AWS_ENDPOINT_URL") or "").rstrip("/"),
            s3_public_endpoint=get("ROADSTEAD_S3_PUBLIC_ENDPOINT", ""),
            dynamodb_endpoint=(get("AWS_ENDPOINT_URL_DYNAMODB") or get("AWS_ENDPOINT_URL") or "").rstrip("/"),
            sqs_endpoint=(get("AWS_ENDPOINT_URL_SQS") or get("AWS_ENDPOINT_URL") or "").rstrip("/"),
            access_key=get("AWS_ACCESS_KEY_ID", ""),
            secret_key=get("AWS_SECRET_ACCESS_KEY", ""),
            session_token=get("AWS_SESSION_TOKEN", ""),
            public_url=get("ROADSTEAD_PUBLIC_URL", "").rstrip("/"),
            ssm_endpoint=(get("AWS_ENDPOINT_URL_SSM") or get("AWS_ENDPOINT_URL") or "").rstrip("/"),
            open_metrics=get(_METRICS, "") == _OPEN,
            relay=get("ROADSTEAD_RELAY", "") == "yes",
            history_window=timedelta(days=_number_of(_HISTORY_DAYS, get(_HISTORY_DAYS) or "30", "days", _MOST_DAYS)),
            grace=timedelta(seconds=_number_of(_GRACE, get(_GRACE) or "7200", "seconds", _MOST_SECONDS)),
            private_targets=_targets_of(get(_TARGETS) or ""),
            region_name=_name_of(get(_REGION_NAME, "")),
            begins_as_replica=_is_replica(get(_REGION_ROLE, ""), get(_REGION_NAME, "")),
            peer=_peer_of(environment),
            takes_arrivals=_is_true(_ARRIVALS, get(_ARRIVALS, "")),
            parameters={name: value.removeprefix(_PARAMETER) for name, value in stored.items()},
        )

    def with_parameters(self, values: Mapping[str, str]) -> "Settings":
        """Return settings whose secrets are the values of SSM's parameters, by their names."""
        given = {variable: values[name] for variable, name in self.parameters.items()}
        key, *others = (
            _keys_of(given[_SIGNING_KEY]) if _SIGNING_KEY in given else (self.signing_key, *self.other_keys)
        )
        password = given.get(_ADMIN_PASSWORD, self.admin_password)
        return replace(self, signing_key=key, other_keys=tuple(others), admin_password=password, parameters={})

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """Every key that verifies, first the one that signs; none where the settings have none."""
        return (self.signing_key, *self.other_keys) if self.signing_key else ()


def parse_keys(texts: Iterable[str]) -> tuple[bytes, ...]:
    """Return signing keys from their hexadecimal digits; raise ValueError where one is not 32 bytes."""
    keys = tuple(bytes.fromhex(text) for text in texts)
    if any(len(key) != _KEY_BYTES for key in keys):
        raise ValueError
    return keys


def _number_of(name: str, variable: str, unit: str, most: int) -> int:
    number = int(variable) if variable.isascii() and variable.isdecimal() else 0
    if not 1 <= number <= most:
        raise ValueError(f"{name} must be a number of {unit} from 1 to {most}")
    return number


def _targets_of(variable: str) -> tuple[str, ...]:
    targets = tuple(filter(None, (each.strip() for each in variable.split(","))))
    try:
        for each in targets:
            if not _TARGET.fullmatch(each):
                ip_network(each)
    except ValueError as error:
        raise ValueError(
            f"{_TARGETS} must be networks (10.1.0.0/16), addresses and names of hosts: {error}"
        ) from error
    return targets


def _name_of(variable: str) -> str:
    if variable and not _NAME.fullmatch(variable):
        raise ValueError(f"{_REGION_NAME} must be lower-case letters, digits and hyphens, at most 40: eu-west-3")
    return variable


def _is_replica(variable: str, name: str) -> bool:
    if variable not in ("", _PRIMARY, _REPLICA):
        raise ValueError(f"{_REGION_ROLE} must be {_PRIMARY} or {_REPLICA}, or not set")
    if variable == _REPLICA and not name:
        raise ValueError(f"{_REGION_ROLE} is {_REPLICA}: set {_REGION_NAME} as well, to a name of this region")
    return variable == _REPLICA


def _is_true(name: str, variable: str) -> bool:
    if variable not in ("", "true", "false"):
        raise ValueError(f"{name} must be true or false, or not set")
    return variable == "true"


def _peer_of(environment: Mapping[str, str]) -> PeerSettings:
    get = environment.get
    return PeerSettings(
        bucket=get("ROADSTEAD_PEER_BUCKET", ""),
        region=get("ROADSTEAD_PEER_REGION", ""),
        url=get("ROADSTEAD_PEER_URL", "").rstrip("/"),
        s3_endpoint=get("ROADSTEAD_PEER_S3_ENDPOINT", "").rstrip("/"),
    )


def _keys_of(variable: str) -> tuple[bytes, ...]:
    try:
        return parse_keys(variable.split(",")) if variable else ()
    except ValueError as error:
        raise ValueError(
            "ROADSTEAD_SIGNING_KEY must be 64 hexadecimal digits, as `openssl rand -hex 32` prints them,"
            " or several such keys with commas between"
        ) from error
