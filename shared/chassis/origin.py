"""Where a request comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web

LONGEST_USER_AGENT = 300

Networks = Sequence[IPv4Network | IPv6Network]


@dataclass(frozen=True)
class Client:
    """The one who asks: his address, what he says he is, and what he asked for (`POST /v1/strategies`)."""

    ip_address: str | None
    user_agent: str | None
    endpoint: str = ""


def client_of(request: web.Request, endpoint: str, proxies: Networks) -> Client:
    """`proxies` are those whose X-Forwarded-For is believed."""
    return Client(
        client_address(request.remote, request.headers.get("X-Forwarded-For", ""), proxies),
        clean_user_agent(request.headers.get("User-Agent")),
        endpoint,
    )


def client_address(peer: str | None, forwarded: str, proxies: Networks) -> str | None:
    """The peer, or whom a proxy of ours says it speaks for; None if that is no address."""
    try:
        address = ip_address(peer or "")
        if forwarded and any(address in network for network in proxies):
            address = ip_address(forwarded.rpartition(",")[2].strip())
    except ValueError:
        return None
    return str(address).partition("%")[0]


def clean_user_agent(header: str | None) -> str | None:
    """What a client says it is, cut to what is kept, without what does not print."""
    if not header:
        return None
    return "".join(char if char.isprintable() else "?" for char in header[:LONGEST_USER_AGENT])
