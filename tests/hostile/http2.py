"""An HTTP/2 client whose body has another length than declared."""

import socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamReset

from tests.hostile.wire import PATIENCE_S

STREAM = 1


def post(port: int, path: str, declared: int, body: bytes) -> int | None:
    """Send a body with `declared` as its content-length. Returns the status, or None if the stream was reset."""
    client = H2Connection(H2Configuration(validate_outbound_headers=False))
    client.initiate_connection()
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "localhost",
        ":path": path,
        "content-type": "application/json",
        "content-length": str(declared),
    }
    client.send_headers(STREAM, list(fields.items()))
    client.send_data(STREAM, body, end_stream=True)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        while True:
            connection.sendall(client.data_to_send())
            received = connection.recv(65_536)
            assert received, "closed before its stream ended"
            for event in client.receive_data(received):
                assert not isinstance(event, ConnectionTerminated), event
                if isinstance(event, StreamReset):
                    return None
                if isinstance(event, ResponseReceived):
                    return int(dict(event.headers)[b":status"])
