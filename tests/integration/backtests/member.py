"""A backtest worker process that calculates with the given command; tests kill or stop it."""

import asyncio
import signal
import sys

from services.trading.backtests.worker import BacktestWorker
from services.trading.settings import TradingSettings
from shared.chassis.postgres import Database


async def main(command: list[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = await Database.connect(TradingSettings())
    await BacktestWorker(database, 1, command).run(stop)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
