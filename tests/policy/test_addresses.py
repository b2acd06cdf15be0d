"""Which addresses are public, whatever they are written as."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import addresses


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::101:101", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("127.8.8.8", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("224.0.0.1", False),
        ("239.255.255.250", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("ff0e::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::a00:1", False),
        ("2002:a00:1::", False),
        ("2001:db8::1", False),
    ],
)
def test_public_addresses_are_told_from_all_others(address: str, public: bool) -> None:
    assert addresses.is_public(ip_address(address)) == public


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_good_in_ipv6_s_clothes(address: IPv4Address) -> None:
    public = addresses.is_public(address)
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        assert addresses.is_public(IPv6Address(prefix | int(address))) == public


@pytest.mark.parametrize(
    ("host", "address", "allowed", "may"),
    [
        ("a.example", "1.1.1.1", (), True),
        ("a.example", "10.1.2.3", (), False),
        ("a.example", "10.1.2.3", ("10.1.0.0/16",), True),
        ("a.example", "::ffff:10.1.2.3", ("10.1.0.0/16",), True),
        ("a.example", "10.2.2.3", ("10.1.0.0/16",), False),
        ("a.example", "10.1.2.3", ("A.example.",), True),
        ("b.example", "10.1.2.3", ("a.example",), False),
        ("a.example", "fd00::1", ("fd00::/8",), True),
        ("a.example", "fe80::1%eth0", (), False),
        ("a.example", "no address", (), False),
    ],
)
def test_what_is_not_public_is_reached_where_it_is_allowed(
    host: str, address: str, allowed: tuple[str, ...], may: bool
) -> None:
    assert addresses.may_reach(host, address, allowed) == may
