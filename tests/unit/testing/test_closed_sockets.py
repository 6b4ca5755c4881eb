"""A test of this suite reaches no other machine."""

import asyncio
import socket

import aiohttp
import pytest
import requests

from services.trading.bybit_api import MarketApi
from tests.closed_sockets import SocketClosed, is_allowed

ELSEWHERE = ("192.0.2.1", 443)  # an address for documentation: nobody has it


def test_connections_and_names_beyond_this_machine_are_refused() -> None:
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for reach in (
            lambda: stream.connect(ELSEWHERE),
            lambda: stream.connect_ex(ELSEWHERE),
            lambda: datagrams.sendto(b"x", ELSEWHERE),
            lambda: socket.create_connection(ELSEWHERE),
            lambda: socket.getaddrinfo("api.bybit.com", 443),
            lambda: requests.get("https://api.bybit.com/v5/market/time", timeout=5),
        ):
            with pytest.raises(SocketClosed):
                reach()


async def test_clients_with_an_event_loop_are_refused_too() -> None:
    with pytest.raises(SocketClosed):
        await asyncio.open_connection(*ELSEWHERE)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SocketClosed):
            await session.get("http://192.0.2.1/")


async def test_the_exchange_itself_is_out_of_reach() -> None:
    api = MarketApi("")
    with pytest.raises(SocketClosed):
        await api.server_time()
    api.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_is_reached(host: str) -> None:
    assert is_allowed(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.1", "10.0.0.1", "::ffff:8.8.8.8", "localhost.example.org", "127.0.0.1.nip.io"]
)
def test_nothing_else_is(host: str) -> None:
    assert not is_allowed(host)
