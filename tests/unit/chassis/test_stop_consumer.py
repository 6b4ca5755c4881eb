"""Stopping a consumer always returns, however aiokafka behaves."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from shared.chassis.events import handlers
from shared.chassis.events.handlers import stop_consumer


class Client:
    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Consumer:
    """Stops in the way given to it."""

    def __init__(self, stop: Callable[[], Awaitable[None]]) -> None:
        self.stop = stop
        self._client = Client()
        self._fetcher: StubbornFetcher | None = None


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


class StubbornFetcher:
    """Ignores the first cancellation and obeys the second."""

    def __init__(self) -> None:
        self._fetch_task = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()


async def test_a_fetcher_that_swallows_its_cancellation_is_cancelled_again() -> None:
    fetcher = StubbornFetcher()

    async def stop() -> None:
        await asyncio.sleep(0)
        fetcher._fetch_task.cancel()
        with suppress(asyncio.CancelledError):
            await fetcher._fetch_task

    consumer = Consumer(stop)
    consumer._fetcher = fetcher
    async with asyncio.timeout(handlers.STOP_TIMEOUT_S - 1):
        await stop_consumer(consumer)
    assert fetcher._fetch_task.cancelled()
    assert not consumer._client.closed


@pytest.mark.parametrize("stop", [cancelled_from_within, fails, never_ends])
async def test_the_connections_of_a_consumer_that_does_not_stop_are_closed(
    stop: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "STOP_TIMEOUT_S", 0.05)
    consumer = Consumer(stop)
    await stop_consumer(consumer)
    assert consumer._client.closed
