"""The part of HTTP/2 needed by a client whose body has another length than declared."""

import socket
import struct
from dataclasses import dataclass

from tests.hostile.wire import PATIENCE_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, GO_AWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
STREAM = 1
STATUS_400 = 0x80 | 12  # from HPACK's static table


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    def encoded(self) -> bytes:
        top = struct.pack(">I", len(self.payload))[1:] + bytes([self.kind, self.flags])
        return top + struct.pack(">I", self.stream) + self.payload


def post(port: int, path: str, declared: int, body: bytes) -> list[Frame]:
    """Send a body with `declared` as its content-length, and return the frames of the stream until it ends."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "localhost",
        ":path": path,
        "content-type": "application/json",
        "content-length": str(declared),
    }
    block = b"".join(b"\x00" + _literal(name) + _literal(value) for name, value in fields.items())
    sent = [
        Frame(SETTINGS, 0, 0, b""),
        Frame(HEADERS, END_HEADERS, STREAM, block),
        Frame(DATA, END_STREAM, STREAM, body),
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(PREFACE + b"".join(frame.encoded() for frame in sent))
        received = b""
        while not (frames := _frames_if_ended(received)):
            more = connection.recv(65_536)
            assert more, "closed before its stream ended"
            received += more
        return frames


def _literal(text: str) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def _frames_if_ended(received: bytes) -> list[Frame]:
    """Return the stream's frames if its last one is among them, otherwise none."""
    frames = []
    while len(received) >= 9 and len(received) >= (end := 9 + int.from_bytes(received[:3])):
        frames.append(Frame(received[3], received[4], int.from_bytes(received[5:9]), received[9:end]))
        received = received[end:]
    of_stream = [frame for frame in frames if frame.stream == STREAM]
    last = [f for f in of_stream if f.kind == RESET or (f.kind in (DATA, HEADERS) and f.flags & END_STREAM)]
    return of_stream if last else []
