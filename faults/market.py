"""The synthetic market of a run. The runner advances it bar by bar and stops it before the platform settles."""

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp

from sandbox.synthetic_candles import write_candles

BARS = 20_000
BAR_S = 0.35
BAR_OF_ORDERS_S = 2.0  # an entry has to reach the exchange before the next bar, else it is stale
ANSWER_TIMEOUT_S = 30


class Market:
    """Candles generated from the seed."""

    def __init__(self, folder: Path, seed: int, bar_s: float) -> None:
        self._folder = folder
        self._bar_s = bar_s
        self._seed = seed

    def arguments(self) -> list[str]:
        """Write the candle files and return the sandbox's arguments for them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        candles = write_candles(self._folder, seed=self._seed, bars=BARS)
        return [f"--candles={symbol}={file}" for symbol, file in candles.items()]

    async def run(self, sandbox: str, stop: asyncio.Event) -> None:
        """Advance the market by a bar at a time until `stop` is set."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        async with aiohttp.ClientSession(sandbox, timeout=timeout) as http:
            while not stop.is_set():
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with http.post("/control/step", json={"count": 1}) as answer:
                        answer.raise_for_status()
                await asyncio.sleep(self._bar_s)
