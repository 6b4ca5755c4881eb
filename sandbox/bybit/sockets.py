"""WebSocket connections: operations of clients, messages to them, and faults of both."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aiohttp import WSMessage, WSMsgType, web

from sandbox.bybit.keys import ApiKey
from sandbox.bybit.messages import Json, ack, new_connection_id

# pybit registers a subscription only after sending it; an earlier acknowledgement makes its socket fail.
ACK_DELAY_S = 0.025
MAX_ARGS_LENGTH = 21_000
MAX_WAITING = 20_000  # messages to a client that does not read
IDLE_S = 600


class Connection:
    """One client. Messages to it are written in their order by a task of its own."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.id = new_connection_id()
        self.socket = socket
        self.address = request.remote or ""
        self.topics: set[str] = set()
        self.key: ApiKey | None = None
        self.is_open = True
        self.is_half_open = False  # an injected fault: nothing is read or written, and nothing closes it
        self._request = request
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING)

    def send(self, message: Json) -> None:
        try:
            self._waiting.put_nowait(json.dumps(message))
        except asyncio.QueueFull:
            self.cut()

    def cut(self) -> None:
        """Break the connection without a closing handshake."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def write(self) -> None:
        while True:
            text = await self._waiting.get()
            if not self.is_half_open:
                with suppress(ConnectionError):  # the client is disconnecting
                    await self.socket.send_str(text)


class SocketServer(ABC):
    """The connections of one stream. `admits`: whether an address may connect."""

    def __init__(self, admits: Callable[[str], bool]) -> None:
        self._admits = admits
        self._connections: list[Connection] = []
        self.refuses = False  # an injected fault: new connections get HTTP 503

    def topics(self) -> list[str]:
        """Return all topics with a subscriber."""
        return sorted({topic for connection in self._connections for topic in connection.topics})

    def connections(self, uid: str | None = None) -> list[Connection]:
        """Return those of an account, or all."""
        return [each for each in self._connections if uid is None or (each.key and each.key.uid == uid)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.refuses:
            return web.Response(status=503)
        if not self._admits(request.remote or ""):
            return web.Response(status=403)
        socket = web.WebSocketResponse(autoping=False, max_msg_size=MAX_ARGS_LENGTH * 2, receive_timeout=IDLE_S)
        await socket.prepare(request)
        connection = Connection(socket, request)
        self._connections.append(connection)
        writer = asyncio.create_task(connection.write())
        try:
            with suppress(TimeoutError):  # idle
                async for message in socket:
                    await self._take(connection, message)
        finally:
            writer.cancel()
            connection.is_open = False
            self._connections.remove(connection)
        return socket

    async def close(self, uid: str | None = None) -> None:
        """Close all connections, or those of an account."""
        for connection in self.connections(uid):
            await connection.socket.close()

    async def _take(self, connection: Connection, message: WSMessage) -> None:
        if connection.is_half_open:
            return
        if message.type is WSMsgType.PING:
            await connection.socket.pong(message.data)
        elif message.type is WSMsgType.TEXT:
            await self._answer(connection, str(message.data))

    async def _answer(self, connection: Connection, text: str) -> None:
        try:
            request = json.loads(text)
            operation, request_id = str(request["op"]), str(request.get("req_id", ""))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._acknowledge(connection, "", "", "Params Error")
            return
        if operation == "ping":
            connection.send(self._pong(connection, request_id))
        elif operation in ("subscribe", "unsubscribe"):
            await self._subscribe(connection, operation, request_id, request.get("args"))
        else:
            await self._operate(connection, operation, request_id, request)

    async def _subscribe(self, connection: Connection, operation: str, request_id: str, topics: object) -> None:
        await asyncio.sleep(ACK_DELAY_S)
        fault = _malformed(topics) or self._refusal(connection, list(topics) if isinstance(topics, list) else [])
        if fault:
            self._acknowledge(connection, operation, request_id, fault)
            return
        assert isinstance(topics, list), "checked above"
        if operation == "subscribe":
            connection.topics.update(topics)
        else:
            connection.topics.difference_update(topics)
        self._acknowledge(connection, operation, request_id)
        if operation == "subscribe":
            self._greet(connection, topics)

    async def _operate(
        self, connection: Connection, operation: str, request_id: str, request: Mapping[str, object]
    ) -> None:
        """Carry out another operation: none, unless the stream has some."""
        self._acknowledge(connection, operation, request_id, "Invalid op")

    def _acknowledge(self, connection: Connection, operation: str, request_id: str, fault: str = "") -> None:
        connection.send(ack(operation, request_id, connection.id, ok=not fault, message=fault))

    @abstractmethod
    def _greet(self, connection: Connection, topics: Sequence[str]) -> None:
        """Send what a subscription begins with."""

    @abstractmethod
    def _pong(self, connection: Connection, request_id: str) -> Json: ...

    @abstractmethod
    def _refusal(self, connection: Connection, topics: Sequence[str]) -> str:
        """Return why the topics cannot be subscribed to, or an empty text."""


def _malformed(topics: object) -> str:
    if not isinstance(topics, list) or not topics or not all(isinstance(topic, str) for topic in topics):
        return "Params Error"
    return "args size too large" if sum(map(len, topics)) > MAX_ARGS_LENGTH else ""
