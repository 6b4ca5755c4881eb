"""The synthetic market of a run. The runner advances it bar by bar and stops it before the platform settles."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp

from sandbox.synthetic_candles import write_candles

BARS = 20_000
BAR_S = 0.35
LONGEST_BAR_S = 6.0
POLL_INTERVAL_S = 0.3
ANSWER_TIMEOUT_S = 30


class Market:
    """Candles generated from the seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed

    def arguments(self) -> list[str]:
        """Write the candle files and return the sandbox's arguments for them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        candles = write_candles(self._folder, seed=self._seed, bars=BARS)
        return [f"--candles={symbol}={file}" for symbol, file in candles.items()]

    async def run(
        self, sandbox: str, stop: asyncio.Event, is_trading: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        """Advance the market by a bar at a time until `stop` is set.

        With `is_trading` a bar lasts until sessions have acted on the one before, but not for ever: an entry that
        does not reach the exchange within its bar is stale, so on a busy machine nothing would be traded.
        """
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        async with aiohttp.ClientSession(sandbox, timeout=timeout) as http:
            while not stop.is_set():
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with http.post("/control/step", json={"count": 1}) as answer:
                        answer.raise_for_status()
                await asyncio.sleep(BAR_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_BAR_S):
                        while is_trading is not None and not stop.is_set() and await is_trading():
                            await asyncio.sleep(POLL_INTERVAL_S)
