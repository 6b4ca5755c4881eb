"""Ports that nobody has."""

import errno
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cli.failure import BadInput

LOWEST = 15_000
TRIES = 100
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_EPHEMERAL = 32_768  # where the system does not say


class Ports:
    """Hands out free ports of 127.0.0.1, none of them twice, and holds each until its server is about to start."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def take(self, preferred: int = 0) -> int:
        """The preferred one if it is free, else any."""
        for port in _candidates(preferred):
            if found := self._hold(port):
                return found
        raise AssertionError("unreachable: port 0 is any free port")

    def take_exactly(self, port: int) -> int:
        """Raises BadInput when another program has it."""
        if found := self._hold(port):
            return found
        raise BadInput(f"port {port} is taken by another program: choose another one with --port")

    def _hold(self, port: int) -> int:
        """0 when it is taken."""
        if port and _is_taken_on_ipv6(port):
            return 0
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections just closed do not matter
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)  # two that merely bind with SO_REUSEADDR would both succeed
        except OSError:
            probe.close()
            return 0
        found: int = probe.getsockname()[1]
        self._held[found] = probe
        return found

    def release(self, *ports: int) -> None:
        """Let go, for a server to take; without ports, of all."""
        for port in ports or tuple(self._held):
            if (probe := self._held.pop(port, None)) is not None:
                probe.close()


def _is_taken_on_ipv6(port: int) -> bool:
    """Clients resolve `localhost` to ::1 first, and would reach another program there."""
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:  # OSError: there is no IPv6
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("::1", port))
            probe.listen(1)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _candidates(preferred: int) -> Iterator[int]:
    """Below the ports of outgoing connections: one of those could take the place of a server that restarts."""
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
