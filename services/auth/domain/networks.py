"""Networks under which clients are counted."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

NOWHERE = "0.0.0.0/32"  # for all clients without an address


def enclosing_network(address: str | None, prefixes: Mapping[int, int]) -> str:
    """Return the network of an address. `prefixes` are the prefix lengths by IP version."""
    if address is None:
        return NOWHERE
    parsed = ip_address(address)
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ip_network((parsed, prefixes[parsed.version]), strict=False))
