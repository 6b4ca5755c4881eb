"""`python -m cli.demo.fetch INTERVAL FOLDER`: fetch recent Bybit candles, in a process that can be killed."""

import asyncio
import sys
from pathlib import Path

from cli.candles.instrument import InstrumentFile, write_instrument_file
from services.trading.bybit_api import MarketApi
from shared.contracts.types import decimal_text, to_ms
from shared.strategy.bars import INTERVAL_MS, Instrument

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def file_of(folder: Path, symbol: str) -> Path:
    return folder / f"bybit_{symbol}.csv"


async def fetch(interval: str, folder: Path) -> None:
    """Write the last thousand closed bars of each symbol."""
    api = MarketApi("")
    now_ms = to_ms(await api.server_time())
    for symbol in SYMBOLS:
        lines = ["open_time_ms,open,high,low,close,volume"]
        for kline in await api.klines(symbol, interval):
            if to_ms(kline.open_time) + INTERVAL_MS[interval] <= now_ms:
                amounts = (kline.open, kline.high, kline.low, kline.close, kline.volume)
                lines.append(f"{to_ms(kline.open_time)}," + ",".join(map(decimal_text, amounts)))
        file_of(folder, symbol).write_text("\n".join(lines) + "\n")
        contract = await api.contract(symbol)
        steps = (contract.tick_size, contract.qty_step, contract.min_order_qty, contract.min_notional)
        write_instrument_file(file_of(folder, symbol), InstrumentFile(symbol, interval, Instrument(*steps)))


if __name__ == "__main__":
    asyncio.run(fetch(sys.argv[1], Path(sys.argv[2])))
