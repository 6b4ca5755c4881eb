"""The market of `up` moves, and after a restart continues from its position."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from sandbox.bybit import made_up as sandbox_market
from sandbox.bybit.server import Options, make_app
from stack.failure import BadInput
from stack.market import HISTORY_STEPS, MadeUpMarket
from tests.pace import patient


@asynccontextmanager
async def sandbox() -> AsyncIterator[tuple[sandbox_market.MadeUpMarket, str]]:
    market = sandbox_market.MadeUpMarket()
    async with TestServer(make_app(market, {}, Options(bar_ms=2))) as server:
        yield market, str(server.make_url("/")).rstrip("/")


async def test_it_moves_and_continues_from_its_position(tmp_path: Path) -> None:
    market_of_up = MadeUpMarket(tmp_path, bar_ms=2)
    (tmp_path / "market").mkdir()
    position = tmp_path / "market" / "position"
    async with sandbox() as (market, address):
        running = asyncio.create_task(market_of_up.run(address))
        async with asyncio.timeout(patient(20)):
            while not position.exists() or int(position.read_text()) <= HISTORY_STEPS:
                await asyncio.sleep(0.02)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert market.steps_done > HISTORY_STEPS
    async with sandbox() as (market, address):
        await market_of_up.restore_position(address)
        assert market.steps_done == int(position.read_text())


async def test_a_new_market_starts_with_its_history(tmp_path: Path) -> None:
    async with sandbox() as (market, address):
        await MadeUpMarket(tmp_path, bar_ms=2).restore_position(address)
        assert market.steps_done == HISTORY_STEPS
        days = f"{address}/v5/market/kline?category=linear&symbol=BTCUSDT&interval=D&limit=1000"
        answer = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(days).read()))
        assert len(answer["result"]["list"]) == 400


def test_a_folder_with_the_market_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "market").mkdir()
    (tmp_path / "market" / "synthetic_BTCUSDT_15m.csv").touch()
    with pytest.raises(BadInput, match="earlier version"):
        MadeUpMarket(tmp_path, bar_ms=2).arguments()
