"""A TCP proxy in front of a server that simulates network conditions: calm, latency, resets, half-open, slices."""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from stack.kafka import ProxyRoute

WeatherKind = Literal["calm", "latency", "resets", "half_open", "slices"]
HOST = "127.0.0.1"
READ_BYTES = 65_536
FEW_BYTES = 7
MAX_SLICES = 200  # per read: large reads are passed on in larger slices
RESET_WITHIN_BYTES = 4_000
NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Weather:
    """The network condition. `delay_s` is the latency added in each direction."""

    kind: WeatherKind = "calm"
    delay_s: float = 0.0


class Proxy:
    """`async with Proxy(route, draw) as proxy: proxy.change(Weather("slices"))`."""

    def __init__(self, route: ProxyRoute, draw: random.Random) -> None:
        self._route = route
        self._draw = draw
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.weather = Weather()

    @property
    def port(self) -> int:
        return self._route.port

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._on_client, HOST, self._route.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for link in list(self._links):
            link.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def change(self, weather: Weather) -> None:
        """Set the weather from now on.

        Links whose bytes were swallowed stay dead. Those whose client has closed its side are aborted.
        """
        previous, self.weather = self.weather, weather
        for link in list(self._links):
            if weather.kind == "resets" or (previous.kind == "half_open" and link.left):
                link.abort()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "called by the server"
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self._route.upstream_port)
        except OSError:
            writer.transport.abort()  # as if the server were down
            return
        link = _Link(writer, up_writer, self._draw.randrange(RESET_WITHIN_BYTES))
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(link, reader, up_writer))
                both.create_task(self._pump(link, up_reader, writer))
        finally:
            link.abort()
            self._links.discard(link)

    async def _pump(self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._pass_on(link, data, writer)
        if link.dead and self.weather.kind == "half_open":
            link.left = True  # the FIN is swallowed too
            return
        link.close()

    async def _pass_on(self, link: "_Link", data: bytes, writer: asyncio.StreamWriter) -> None:
        kind = self.weather.kind
        if link.dead or kind == "half_open":
            link.dead = True
            return
        if kind == "resets":
            link.bytes_left -= len(data)
            if link.bytes_left < 0:
                link.abort()
                return
        elif kind == "latency":
            await asyncio.sleep(self.weather.delay_s)
        elif kind == "slices":
            await self._write_slices(data, writer)
            return
        writer.write(data)
        await writer.drain()

    async def _write_slices(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        size = max(self._draw.randint(1, FEW_BYTES), len(data) // MAX_SLICES)
        for begin in range(0, len(data), size):
            writer.write(data[begin : begin + size])
            await writer.drain()
            await asyncio.sleep(0)


class _Link:
    """One proxied connection: the client's side and the server's."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, bytes_left: int) -> None:
        self._sides = (client, server)
        self.bytes_left = bytes_left  # until the reset, in the weather `resets`
        self.dead = False  # bytes were swallowed, so the stream cannot continue
        self.left = False  # one side has closed, and the close was not passed on

    def close(self) -> None:
        for side in self._sides:
            side.close()

    def abort(self) -> None:
        """Close both sides with RST instead of FIN."""
        for side in self._sides:
            with suppress(OSError):  # closed already
                side.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            side.transport.abort()
