"""`python -m cli.demo.fetch INTERVAL FOLDER`: fetch recent Bybit candles, in a process that can be killed."""

import asyncio
import sys
from pathlib import Path

from cli.candles.instrument import InstrumentFile, write_instrument_file
from services.trading.bybit_api import MarketApi
from shared.contracts.types import decimal_text, to_ms
from shared.strategy.bars import INTERVAL_MS

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def file_of(folder: Path, symbol: str) -> Path:
    return folder / f"bybit_{symbol}.csv"


async def fetch(interval: str, folder: Path) -> None:
    """Write the last thousand closed bars of each symbol."""
    api = MarketApi("")
    now_ms = to_ms(await api.server_time())
    for symbol in SYMBOLS:
        lines = ["open_time_ms,open,high,low,close,volume"]
        for bar in await api.bars(symbol, interval):
            if bar.open_time_ms + INTERVAL_MS[interval] <= now_ms:
                lines.append(f"{bar.open_time_ms}," + ",".join(map(decimal_text, bar[1:])))
        file_of(folder, symbol).write_text("\n".join(lines) + "\n")
        instrument = await api.instrument(symbol)
        write_instrument_file(file_of(folder, symbol), InstrumentFile(symbol, interval, instrument))


if __name__ == "__main__":
    asyncio.run(fetch(sys.argv[1], Path(sys.argv[2])))
