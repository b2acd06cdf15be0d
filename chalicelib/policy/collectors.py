"""Collectors of logs: how an administrator names one, and which addresses cannot be one's.

Invariant: only a system administrator says where messages go, and no answer of the other side is ever shown. So that
it is a private address, as those of log collectors are, gives nobody anything. The addresses of a machine's own
metadata are none of a collector's; they are refused when they are connected to, whatever name led there.
"""

import ipaddress
import re
from typing import NamedTuple

_NAME = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})", re.ASCII
)
_HIGHEST_PORT = 65535


class Endpoint(NamedTuple):
    """Where messages are sent by TCP."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Return the endpoint that a text names; raise ValueError."""
        match = _NAME.fullmatch(text)
        port = int(match["port"]) if match else 0
        if match is None or not 1 <= port <= _HIGHEST_PORT:
            raise ValueError(
                "must be host:port of a syslog service that listens on TCP, such as logs.example.org:514"
            )
        return cls(match["host"].strip("[]"), port)


def may_be_sent_to(address: str) -> bool:
    """Tell whether an IP address can be a log collector's."""
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    metadata = found == ipaddress.ip_address("fd00:ec2::254")
    return not (found.is_link_local or found.is_multicast or found.is_unspecified or metadata)
