"""However aiokafka stops, whoever stops it goes on."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.chassis import kafka
from shared.chassis.kafka import stop_consumer


class Client:
    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Consumer:
    """Stops as it is told to."""

    def __init__(self, stop: Callable[[], Awaitable[None]]) -> None:
        self.stop = stop
        self._client = Client()


async def in_order() -> None:
    return


async def cancelled_from_within() -> None:
    fetching = asyncio.create_task(asyncio.Event().wait())
    fetching.cancel()
    await fetching


async def fails() -> None:
    raise ConnectionError


async def never_ends() -> None:
    await asyncio.Event().wait()


async def test_a_consumer_that_stops_is_left_alone() -> None:
    consumer = Consumer(in_order)
    await stop_consumer(consumer)
    assert not consumer._client.closed


@pytest.mark.parametrize("stop", [cancelled_from_within, fails, never_ends])
async def test_of_one_that_does_not_stop_the_connections_are_closed(
    stop: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "STOP_TIMEOUT_S", 0.05)
    consumer = Consumer(stop)
    await stop_consumer(consumer)
    assert consumer._client.closed
