"""Ports that nobody has."""

import socket


class Ports:
    """Hands out free ports of 127.0.0.1, none of them twice; all are held until released together."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self, preferred: int = 0) -> int:
        """The preferred one if it is free, else any."""
        for port in (preferred, 0) if preferred else (0,):
            probe = socket.socket()
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.close()
                continue
            self._held.append(probe)
            found: int = probe.getsockname()[1]
            return found
        raise AssertionError("unreachable: port 0 is any free port")

    def release(self) -> None:
        """Let go of all, for the servers to take."""
        for probe in self._held:
            probe.close()
        self._held.clear()
