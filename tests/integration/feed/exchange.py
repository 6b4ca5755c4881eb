"""The sandbox on one fixed port, so that it can stop and start again there, as an exchange does."""

from collections.abc import Mapping, Sequence

import aiohttp
from aiohttp import web

from sandbox.bybit.instruments import Instrument
from sandbox.bybit.replay import Candle, Market
from sandbox.bybit.server import make_app

MINUTE_MS = 60_000
FIRST_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def candles(minutes: Sequence[int]) -> list[Candle]:
    """Return one-minute bars, all of them different."""
    bars = []
    for minute in minutes:
        opened = 1_000 + minute
        bars.append(
            Candle(
                FIRST_MS + minute * MINUTE_MS,
                f"{opened}.5",
                f"{opened + 3}",
                f"{opened - 2}",
                f"{opened + 1}.25",
                f"{minute}.125",
            )
        )
    return bars


class Exchange:
    """The sandbox, stepped over HTTP as the demo does it."""

    def __init__(self, files: Mapping[str, Sequence[Candle]]) -> None:
        self._market = Market(files)
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/v5/public/linear"

    async def start(self) -> None:
        app = make_app(self._market, {symbol: Instrument(tick_size="0.25") for symbol in self._market.series})
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def step(self, count: int = 1) -> None:
        await self._post("step", {"count": count})

    async def fault(self, fault: str) -> None:
        await self._post("stream", {"fault": fault})

    async def subscriptions(self) -> list[str]:
        async with aiohttp.ClientSession() as http, http.get(f"{self.rest_url}/control/state") as answer:
            topics: list[str] = (await answer.json())["subscriptions"]
            return topics

    async def count_requests(self, path: str) -> int:
        """Return the number of REST requests below `path`."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.rest_url}/control/ledger") as answer:
            return sum(entry["path"].startswith(path) for entry in await answer.json())

    async def _post(self, action: str, body: Mapping[str, object]) -> None:
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{self.rest_url}/control/{action}", json=body) as answer:
                assert answer.status == 200, await answer.text()
