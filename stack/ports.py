"""Reservation of free ports."""

import errno
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stack.failure import BadInput

LOWEST = 15_000
TRIES = 100
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_EPHEMERAL = 32_768  # if the system does not provide the range


class Ports:
    """Hand out distinct free ports of 127.0.0.1 and reserve each until its server is about to start."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def take(self, preferred: int = 0) -> int:
        """Return the preferred port if it is free, else any free port."""
        for port in _candidates(preferred):
            if found := self._hold(port):
                return found
        raise AssertionError("unreachable: port 0 is any free port")

    def take_exactly(self, port: int) -> int:
        """Reserve this port. Raises BadInput if another program uses it."""
        if found := self._hold(port):
            return found
        raise BadInput(f"port {port} is taken by another program: choose another with --port")

    def _hold(self, port: int) -> int:
        """Bind the port and return it; 0 if it is taken."""
        if port and _is_taken_on_ipv6(port):
            return 0
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore recently closed connections
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)  # with SO_REUSEADDR two sockets may bind the same port; only one may listen
        except OSError:
            probe.close()
            return 0
        found: int = probe.getsockname()[1]
        self._held[found] = probe
        return found

    def release(self, *ports: int) -> None:
        """Release these ports for their servers; without arguments, all ports."""
        for port in ports or tuple(self._held):
            if (probe := self._held.pop(port, None)) is not None:
                probe.close()


def _is_taken_on_ipv6(port: int) -> bool:
    """Check ::1 too: clients resolve `localhost` to it first and would reach another program."""
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:  # OSError: no IPv6 on this machine
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("::1", port))
            probe.listen(1)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _candidates(preferred: int) -> Iterator[int]:
    """Yield ports below the ephemeral range: an outgoing connection could take the port of a restarting server."""
    if preferred:
        yield preferred
    if (first := _first_ephemeral()) > LOWEST + TRIES:
        yield from random.sample(range(LOWEST, first), TRIES)
    yield 0


def _first_ephemeral() -> int:
    try:
        return int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError):
        return FIRST_EPHEMERAL
