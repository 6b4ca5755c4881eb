"""The proxy that breaks connections, over real sockets."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest

from faults.proxy import HOST, MAX_SLICES, Proxy, Weather
from stack.kafka import ProxyRoute
from stack.ports import Ports

SOON_S = 5
SILENCE_S = 0.2


class Echo:
    """A server that echoes its input, and records the pieces it arrived in and how connections ended."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.pieces.append(data)
                writer.write(data)
            self.ended.append("farewell")
        except ConnectionResetError:
            self.ended.append("reset")
        finally:
            writer.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    ports = Ports()
    route = ProxyRoute("echo", ports.take(), ports.take())
    ports.release()
    server = await asyncio.start_server(echo.serve, HOST, route.upstream_port)
    async with server, Proxy(route, random.Random(1)) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(SOON_S):
            return await self.reader.readexactly(len(data))

    async def ask_often(self) -> None:
        for _ in range(100):
            await self.ask(b"x" * 100)

    async def receives_nothing(self) -> bool:
        try:
            async with asyncio.timeout(SILENCE_S):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    yield Client(reader, writer)
    writer.close()


async def connect(proxy: Proxy) -> Client:
    return Client(*await asyncio.open_connection(HOST, proxy.port))


async def until(holds: object, wanted: object) -> None:
    async with asyncio.timeout(SOON_S):
        while holds != wanted:
            await asyncio.sleep(0.01)


async def test_without_faults_everything_passes_both_ways(client: Client) -> None:
    message = random.Random(2).randbytes(1_000_000)
    client.writer.write(message)
    async with asyncio.timeout(SOON_S):
        assert await client.reader.readexactly(len(message)) == message


async def test_a_close_is_passed_on(client: Client, echo: Echo) -> None:
    await client.ask(b"hello")
    client.writer.close()
    await until(echo.ended, ["farewell"])


async def test_latency_delays_each_way_and_changes_nothing(proxy: Proxy, client: Client) -> None:
    await client.ask(b"warm")
    proxy.change(Weather("latency", 0.1))
    began = time.monotonic()
    assert await client.ask(b"slow") == b"slow"
    assert 0.2 <= time.monotonic() - began < 1


async def test_resets_end_open_connections_with_rst(proxy: Proxy, client: Client, echo: Echo) -> None:
    await client.ask(b"hello")
    proxy.change(Weather("resets"))
    with pytest.raises(ConnectionResetError):
        await client.reader.read(1)
    await until(echo.ended, ["reset"])


async def test_a_connection_made_during_resets_ends_in_the_middle_of_its_data(proxy: Proxy) -> None:
    proxy.change(Weather("resets"))
    client = await connect(proxy)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await client.ask_often()
    client.writer.close()


async def test_after_the_resets_connections_hold(proxy: Proxy) -> None:
    proxy.change(Weather("resets"))
    proxy.change(Weather())
    client = await connect(proxy)
    await client.ask_often()
    client.writer.close()


async def test_half_open_swallows_bytes_silently(proxy: Proxy, client: Client, echo: Echo) -> None:
    await client.ask(b"before")
    proxy.change(Weather("half_open"))
    client.writer.write(b"into the void")
    assert await client.receives_nothing()
    assert echo.pieces == [b"before"]
    assert echo.ended == []


async def test_swallowed_bytes_leave_that_connection_dead_and_others_alive(proxy: Proxy, client: Client) -> None:
    idle = await connect(proxy)
    proxy.change(Weather("half_open"))
    client.writer.write(b"into the void")
    assert await client.receives_nothing()
    proxy.change(Weather())
    client.writer.write(b"again")
    assert await client.receives_nothing()
    assert await idle.ask(b"nothing of mine was lost") == b"nothing of mine was lost"
    idle.writer.close()


async def test_a_server_learns_that_its_half_open_client_has_left_when_the_fault_ends(
    proxy: Proxy, client: Client, echo: Echo
) -> None:
    await client.ask(b"before")
    proxy.change(Weather("half_open"))
    client.writer.write(b"into the void")
    assert await client.receives_nothing()
    client.writer.close()
    await client.writer.wait_closed()
    await asyncio.sleep(SILENCE_S)
    assert echo.ended == []
    proxy.change(Weather())
    await until(echo.ended, ["reset"])


async def test_slices_are_a_few_bytes_at_a_time_and_complete(proxy: Proxy, client: Client, echo: Echo) -> None:
    proxy.change(Weather("slices"))
    message = random.Random(3).randbytes(400)
    assert await client.ask(message) == message
    assert len(echo.pieces) > 10
    assert b"".join(echo.pieces) == message


async def test_a_large_answer_has_a_limited_number_of_slices(proxy: Proxy, client: Client, echo: Echo) -> None:
    proxy.change(Weather("slices"))
    message = bytes(60_000)
    await client.ask(message)
    assert 10 < len(echo.pieces) <= 2 * MAX_SLICES


async def test_without_a_server_behind_it_a_connection_ends_at_once() -> None:
    ports = Ports()
    route = ProxyRoute("nobody", ports.take(), ports.take())
    ports.release()
    async with Proxy(route, random.Random(1)) as proxy:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        async with asyncio.timeout(SOON_S):
            assert await reader.read(1) == b""
        writer.close()
