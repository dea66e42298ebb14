"""Which addresses a backend may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.addresses import Reach, RefusedAddressError, reach, require

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.0.1", "2606:4700:4700::1111", "2a00:1450::1"]
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1",
    "fd12:3456::1", "fc00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
    "fd20:ce::254", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1",  # noqa: S104
    "192.0.2.1", "198.18.0.1", "192.88.99.1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2002:7f00:1::",
    "2002:a00:1::1", "2001:0:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "::7f00:1",
    "::ffff:169.254.169.254", "::ffff:0:0", "2001:db8::1", "100::1", "localhost", "", "127.1", "2130706433",
    "0x7f000001", "1.1.1.1%1", "1.1.1.1/32", "017700000001",
]  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "addresses"), [(Reach.PUBLIC, PUBLIC), (Reach.PRIVATE, PRIVATE), (Reach.NEVER, NEVER)]
)
def test_where_addresses_lead(expected: Reach, addresses: list[str]) -> None:
    assert {address: reach(address) for address in addresses} == dict.fromkeys(addresses, expected)


def test_what_a_backend_may_have() -> None:
    for address in PUBLIC:
        require(address, allow_private=False)
    for address in PRIVATE:
        require(address, allow_private=True)
        with pytest.raises(RefusedAddressError, match="private"):
            require(address, allow_private=False)
    for address in NEVER:
        with pytest.raises(RefusedAddressError):
            require(address, allow_private=True)


@given(st.ip_addresses(v=4))
def test_an_address_written_as_ipv6_leads_where_it_leads(address: object) -> None:
    assert reach(f"::ffff:{address}") is reach(str(address))


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_is_public_that_pythons_own_list_calls_otherwise(address: object) -> None:
    if reach(str(address)) is Reach.PUBLIC:
        assert getattr(address, "is_global", False)
