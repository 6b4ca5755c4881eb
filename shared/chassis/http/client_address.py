"""The client of a request: its address and its user agent."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

LONGEST_USER_AGENT = 300

Networks = Sequence[IPv4Network | IPv6Network]


@dataclass(frozen=True)
class Client:
    """The sender of a request: address, user agent, and the endpoint called (`POST /v1/strategies`)."""

    ip_address: str | None
    user_agent: str | None
    endpoint: str = ""


def client_of(request: web.Request, endpoint: str, proxies: Networks) -> Client:
    """`proxies` are the networks whose X-Forwarded-For is trusted."""
    return Client(
        client_address(request.remote, request.headers.getall("X-Forwarded-For", []), proxies),
        clean_user_agent(request.headers.get("User-Agent")),
        endpoint,
    )


def client_address(peer: str | None, forwarded: Sequence[str], proxies: Networks) -> str | None:
    """Return the nearest address that is not one of `proxies`: the peer's, or the one that the proxies forward for.

    If a proxy forwards something that is not an address, return the proxy's own. Returns None if the peer has none.
    """
    address = _address(peer or "")
    hops = [hop for line in forwarded for hop in line.split(",")]
    while address is not None and hops and any(address in network for network in proxies):
        named = _address(hops.pop().strip())
        if named is None:
            break
        address = named
    return None if address is None else str(address).partition("%")[0]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def clean_user_agent(header: str | None) -> str | None:
    """Return the user agent, truncated, with non-printable characters replaced."""
    if not header:
        return None
    return "".join(char if char.isprintable() else "?" for char in header[:LONGEST_USER_AGENT])
