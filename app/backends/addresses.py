"""Which addresses a backend may have.

Public ones, and where the operator allows it those of the machine and of private networks. Never those that lead
somewhere else by being translated, nor the metadata services of clouds, whatever is allowed. The networks are those
of IANA's special-purpose registries (RFC 6890, RFC 8190), which differ between releases of Python's `ipaddress`.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address


class Reach(StrEnum):
    """Where an address leads."""

    PUBLIC = "public"
    PRIVATE = "private"
    """This machine or a private network: for backends that may be there."""
    NEVER = "never"


_NEVER = [
    ip_network(network)
    for network in (
        "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128",  # metadata of clouds
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",  # Teredo, ORCHID, 6to4, documentation
    )
]  # fmt: skip
_PRIVATE = [
    ip_network(network)
    for network in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7",
    )
]  # fmt: skip
_UNICAST = IPv6Network("2000::/3")
"""Outside of it lie link-local, multicast, NAT64 (64:ff9b::/96, 64:ff9b:1::/48) and all that is not given out."""


class RefusedAddressError(OSError):
    """A backend's address is one that it may not have."""


def reach(text: str) -> Reach:
    """Where an address as text leads; `NEVER` for what is no address. One that holds an IPv4 address leads there."""
    try:
        address: IPAddress = ip_address(text)
    except ValueError:
        return Reach.NEVER
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return Reach.NEVER
        address = address.ipv4_mapped or address
    if any(address in network for network in _NEVER):
        return Reach.NEVER
    if any(address in network for network in _PRIVATE):
        return Reach.PRIVATE
    return Reach.PUBLIC if isinstance(address, IPv4Address) or address in _UNICAST else Reach.NEVER


def require(text: str, *, allow_private: bool) -> None:
    """Raise `RefusedAddressError` unless a backend may be at this address."""
    found = reach(text)
    if found is Reach.NEVER or (found is Reach.PRIVATE and not allow_private):
        raise RefusedAddressError(f"{found} address")
