"""Which addresses the registry may connect to for its users: public ones, and those that the operator allows.

Invariants:
* What is not known to be public is private: loopback, link-local (where a cloud tells credentials), multicast, ...
* An IPv6 address that stands for an IPv4 one is as good as that one.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_IPV4_BITS = 0xFFFFFFFF


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the public Internet."""
    if isinstance(address, IPv6Address) and (inner := _inner(address)) is not None:
        return is_public(inner)
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for, or None."""
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in _TRANSLATED):
        return IPv4Address(int(address) & _IPV4_BITS)
    return None


def may_reach(host: str, address: str, allowed: Iterable[str]) -> bool:
    """Tell whether a host may be reached at an address; `allowed` are networks, addresses and names of hosts."""
    found = parsed(address)
    if found is None:
        return False
    return is_public(found) or any(_allows(each, host, found) for each in allowed)


def parsed(text: str) -> Address | None:
    """Return the address that a text is, or None; a zone is dropped."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _allows(each: str, host: str, address: Address) -> bool:
    try:
        network = ip_network(each)
    except ValueError:
        return each.lower().rstrip(".") == host.lower().rstrip(".")
    inner = _inner(address) if isinstance(address, IPv6Address) else None
    return address in network or (inner is not None and inner in network)
