"""Raw HTTP that no client library would send."""

import select
import socket
import time
from dataclasses import dataclass, field

from tests.pace import patient

PATIENCE_S = patient(8.0)


@dataclass(frozen=True)
class RawAnswer:
    """`status` 0: the connection was closed without an answer; -1: neither happened within the time limit."""

    status: int
    seconds: float
    head: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        return self.status == 0 or 400 <= self.status < 500


def head(method: str, target: str, **headers: str) -> bytes:
    """Return a request's head. Write dashes in header names as underscores."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def exchange(port: int, sent: bytes, *, end: bool = False, patience_s: float = PATIENCE_S) -> RawAnswer:
    """Send, and read one answer at the same time. `end` closes our side after sending."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as connection:
        received, answered = _talk(connection, sent, end, began + patience_s)
    seconds = time.monotonic() - began
    if not received.startswith(b"HTTP/1."):  # empty, or a GOAWAY frame of HTTP/2
        return RawAnswer(0 if answered else -1, seconds)
    top, _, body = received.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return RawAnswer(int(lines[0].split()[1]), seconds, lines[0], body, headers)


def _talk(connection: socket.socket, sent: bytes, end: bool, until: float) -> tuple[bytes, bool]:
    """Return the received bytes, and whether the answer is complete or the connection was closed."""
    received, rest = b"", memoryview(sent)
    connection.setblocking(False)
    if end and not rest:
        connection.shutdown(socket.SHUT_WR)
    while not _complete(received):
        readable, writable, _ = select.select(
            [connection], [connection] if rest else [], [], until - time.monotonic()
        )
        if not readable and not writable:
            return received, False
        try:
            if writable:
                rest = rest[connection.send(rest[:65_536]) :]
                if end and not rest:
                    connection.shutdown(socket.SHUT_WR)
            if readable:
                if not (more := connection.recv(65_536)):
                    return received, True
                received += more
        except ConnectionError:
            if not readable:
                rest = rest[:0]  # closed by the peer; data sent before may still be readable
            else:
                return received, True
    return received, True


def _complete(received: bytes) -> bool:
    top, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in top.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return top.split()[1] in (b"204", b"304") or body.endswith(b"0\r\n\r\n")
