"""The market of `up` moves, and after a restart goes on from where it stood."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp.test_utils import TestServer

from cli.stack.market import MadeUpMarket
from sandbox.bybit.replay import Candle, Market
from sandbox.bybit.server import make_app


@asynccontextmanager
async def sandbox() -> AsyncIterator[tuple[Market, str]]:
    candles = [Candle(minute * 60_000, "1", "2", "1", "2", "5") for minute in range(10_000)]
    market = Market({"BTCUSDT": candles})
    async with TestServer(make_app(market, {}, bar_ms=2)) as server:
        yield market, str(server.make_url("/")).rstrip("/")


async def test_it_moves_and_goes_on_from_where_it_stood(tmp_path: Path) -> None:
    made_up = MadeUpMarket(tmp_path, bar_ms=2)
    (tmp_path / "market").mkdir()
    position = tmp_path / "market" / "position"
    async with sandbox() as (market, address):
        running = asyncio.create_task(made_up.run(address))
        async with asyncio.timeout(20):
            while not position.exists() or int(position.read_text()) == 0:
                await asyncio.sleep(0.02)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert market.steps_done > 0
    async with sandbox() as (market, address):
        await made_up.go_to_position(address)
        assert market.steps_done == int(position.read_text())


async def test_a_new_one_begins_at_the_beginning(tmp_path: Path) -> None:
    async with sandbox() as (market, address):
        await MadeUpMarket(tmp_path, bar_ms=2).go_to_position(address)
        assert market.steps_done == 0
