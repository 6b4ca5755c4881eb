"""A WebSocket of the exchange through pybit, one thread per socket, and the supervisor that keeps one open.

Defaults of pybit that we override: it sends a subscription before registering it and crashes if the
acknowledgement arrives first, gives up a socket for good when the exchange briefly refuses connections, closes it
when a callback raises, never waits for the answer to its authentication, and signs with this machine's clock. Here
pybit never reconnects by itself; a supervisor does, with an increasing pause.
"""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
import websocket
from pybit._http_manager import generate_signature
from pybit.unified_trading import WebSocket

from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.signing_clock import SigningClock
from shared.chassis.pause import pause, pause_until

CONNECT_TIMEOUT_S = 10
PING_EVERY_S = 20
PONG_WITHIN_S = 10  # a socket without a peer is closed after both
AUTH_EXPIRES_S = 10
RECONNECT_FIRST_S = 0.2
RECONNECT_LONGEST_S = 5.0
REFUSED_AGAIN_S = 30.0
STEADY_S = 10  # a socket that lasted this long resets the reconnect pause
LOOK_EVERY_S = 1.0  # also when something changes or the socket breaks

# websocket-client has no other way to limit the connect time; this applies to the whole process.
websocket.setdefaulttimeout(CONNECT_TIMEOUT_S)

log = structlog.get_logger()
Json = Any  # what the exchange sends: its readers check it


class StreamBroken(Exception):
    """The socket is closed, or does not acknowledge or deliver."""


class StreamRefused(StreamBroken):
    """The exchange refused the key or the subscription; an immediate retry would be refused too."""


@dataclass(frozen=True)
class SocketEvents:
    """Callbacks on the socket's thread. `on_answered`: topics, whether accepted, and the exchange's words."""

    on_answered: Callable[[Sequence[str], bool, str], None]
    on_broken: Callable[[], None]
    on_authenticated: Callable[[bool, str], None] = lambda accepted, words: None


class StreamSocket(WebSocket):  # type: ignore[misc]  # pybit has no types
    """pybit's socket at a URL of ours; registers before it subscribes, and never reconnects by itself."""

    def __init__(
        self,
        channel: str,
        url: str,
        events: SocketEvents,
        credentials: Credentials | None = None,
        clock: SigningClock | None = None,
        ping_every_s: int = PING_EVERY_S,
    ) -> None:
        """Connect and send the key, if there is one. `ping_every_s` 0: the caller pings, which saves a thread."""
        self._url = url
        self._events = events
        self._signing_clock = clock or SigningClock()
        self.heard_at = time.monotonic()
        connected = False
        try:
            # With retries=1 pybit raises even after it has connected; with 2, the second attempt never connects.
            super().__init__(
                channel,
                testnet=False,
                api_key=credentials.api_key if credentials else None,
                api_secret=credentials.api_secret if credentials else None,
                private_auth_expire=AUTH_EXPIRES_S,
                retries=2,
                restart_on_error=False,
                ping_interval=ping_every_s,
                ping_timeout=PONG_WITHIN_S,
            )
            connected = True
        finally:
            if not connected:
                self.exit()

    def check_open(self) -> None:
        """Raises StreamBroken."""
        if self.exited or not self.is_connected():
            raise StreamBroken("the socket is closed")

    def ask(self, operation: str, topics: Sequence[str], callback: Callable[[Json], None] | None = None) -> None:
        """Subscribe (with a callback) or unsubscribe."""
        request_id = str(uuid4())
        message = json.dumps({"op": operation, "req_id": request_id, "args": list(topics)})
        if callback is not None:
            self.subscriptions[request_id] = message
            for topic in topics:
                self._set_callback(topic, callback)
        self.ws.send(message)

    def ping(self) -> None:
        self.ws.send(self.custom_ping_message)

    def exit(self) -> None:
        """Close the connection, which pybit's own `exit` may leave open."""
        raw = self._raw()
        super().exit()
        if raw is not None:
            raw.shutdown()

    def _connect(self, url: str) -> None:
        super()._connect(self._url or url)

    def _auth(self) -> None:
        expires = self._signing_clock.now_ms() + self.private_auth_expire * 1000
        signature = generate_signature(False, self.api_secret, f"GET/realtime{expires}")
        self.ws.send(json.dumps({"op": "auth", "args": [self.api_key, expires, signature]}))

    def _raw(self) -> Json:  # websocket-client has no types
        return getattr(getattr(self, "ws", None), "sock", None)

    def _on_message(self, message: str) -> None:
        self.heard_at = time.monotonic()
        super()._on_message(message)

    def _process_auth_message(self, message: Json) -> None:
        """Report the answer; pybit's own method crashes on a refusal."""
        self._events.on_authenticated(message.get("success") is True, str(message.get("ret_msg")))

    def _process_subscription_message(self, message: Json) -> None:
        """Report the answer; pybit's own method crashes on a refusal."""
        sent = self.subscriptions.get(message.get("req_id"))
        if sent:
            topics = json.loads(sent)["args"]
            if not message.get("success"):
                log.error("subscription_refused", topics=topics, reason=message.get("ret_msg"))
            self._events.on_answered(topics, bool(message.get("success")), str(message.get("ret_msg")))

    def _process_unsubscription_message(self, message: Json) -> None:
        """Do nothing: the receiver ignores updates that still arrive."""

    def _process_normal_message(self, message: Json) -> None:
        callback = self.callback_directory.get(message.get("topic"))
        if callback is not None:
            callback(message)

    def _on_error(self, error: object) -> None:
        """Mark the socket for the supervisor. Runs on the socket's thread, where pybit's own method raises.

        Closes the connection too: websocket-client leaves it open after the server has closed it.
        """
        log.warning("stream_error", error=repr(error))
        self.exited = True
        if (raw := self._raw()) is not None:
            raw.shutdown()
        self._events.on_broken()

    def _on_close(self) -> None:
        super()._on_close()
        self._events.on_broken()


class SupervisedSocket(ABC):
    """Keeps a socket open. A subclass connects and maintains it in `_maintain`, which runs in `threads` and may
    block; it raises StreamBroken to have the socket rebuilt. `admit` is awaited before each connection, and may
    raise StreamBroken too."""

    def __init__(self, threads: ThreadPoolExecutor, admit: Callable[[], Awaitable[None]] | None = None) -> None:
        self._threads = threads
        self._admit = admit
        self._socket: StreamSocket | None = None
        self._connected_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, subscribe and watch; reconnect with an increasing pause when the socket breaks."""
        pause_s = RECONNECT_FIRST_S
        try:
            while not stop.is_set():
                try:
                    if self._socket is None and self._admit is not None:
                        await self._admit()
                    await self._loop.run_in_executor(self._threads, self._maintain)
                    await pause_until(stop, self._changed, self._look_every_s())
                except (websocket.WebSocketException, OSError, StreamBroken) as error:
                    if self._socket is not None and time.monotonic() - self._connected_at > STEADY_S:
                        pause_s = RECONNECT_FIRST_S
                    if isinstance(error, StreamRefused):
                        pause_s = REFUSED_AGAIN_S
                    log.warning("stream_reconnects", error=repr(error), pause_s=pause_s)
                    await self._loop.run_in_executor(self._threads, self._close)
                    await pause(stop, pause_s)
                    pause_s = min(pause_s * 2, RECONNECT_LONGEST_S)
        finally:
            await asyncio.wait({self._loop.run_in_executor(self._threads, self._close)})

    @abstractmethod
    def _maintain(self) -> None:
        """Connect if there is no socket, and bring it up to date. Raises StreamBroken."""

    def _look_every_s(self) -> float:
        return LOOK_EVERY_S

    def _close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.exit()

    def _note_change(self) -> None:
        """May be called from any thread."""
        self._call_in_loop(self._changed.set)

    def _call_in_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: shutting down
            self._loop.call_soon_threadsafe(callback, *arguments)
