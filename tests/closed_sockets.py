"""Closes the sockets of the test process: a test reaches this machine, and the servers that the run was given.

The processes that tests start get their addresses from the tests.
"""

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any  # addresses of sockets
from urllib.parse import urlsplit

LOCAL_NAMES = frozenset({"", "localhost", socket.gethostname()})
_connect, _connect_ex, _sendto, _getaddrinfo = (
    socket.socket.connect,
    socket.socket.connect_ex,
    socket.socket.sendto,
    socket.getaddrinfo,
)


class SocketClosed(Exception):
    """A test tried to reach another machine."""


def is_allowed(host: str) -> bool:
    if host in LOCAL_NAMES or host in _given_hosts():
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _given_hosts() -> set[str]:
    """Return the hosts of the servers that the run was given."""
    brokers = [f"//{each}" for each in os.environ.get("TEST_KAFKA_BOOTSTRAP", "").split(",")]
    return {urlsplit(text).hostname or "" for text in (os.environ.get("TEST_POSTGRES_DSN", ""), *brokers)}


def close_sockets() -> None:
    """Refuse every address beyond this machine, from now on."""
    _install(_checked_connect, _checked_connect_ex, _checked_sendto, _checked_getaddrinfo)


@contextmanager
def open_sockets() -> Iterator[None]:
    """Open them, to fetch the servers that the run needs."""
    _install(_connect, _connect_ex, _sendto, _getaddrinfo)
    try:
        yield
    finally:
        close_sockets()


def _install(connect: Any, connect_ex: Any, sendto: Any, getaddrinfo: Any) -> None:  # Any: functions of socket
    for name, function in (("connect", connect), ("connect_ex", connect_ex), ("sendto", sendto)):
        setattr(socket.socket, name, function)
    socket.getaddrinfo = getaddrinfo


def _check(host: object) -> None:
    text = host.decode(errors="replace") if isinstance(host, bytes) else host
    if isinstance(text, str) and not is_allowed(text):
        raise SocketClosed(f"a test tried to reach {text}")


def _checked_connect(self: socket.socket, address: Any) -> None:
    _check_address(self, address)
    _connect(self, address)


def _checked_connect_ex(self: socket.socket, address: Any) -> int:
    _check_address(self, address)
    return _connect_ex(self, address)


def _checked_sendto(self: socket.socket, data: Any, *arguments: Any) -> int:
    _check_address(self, arguments[-1])
    return _sendto(self, data, *arguments)


def _checked_getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
    _check(host)
    return _getaddrinfo(host, *arguments, **named)


def _check_address(connected: socket.socket, address: Any) -> None:
    if connected.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
        _check(address[0])
