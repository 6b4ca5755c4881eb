"""`python -m sandbox.bybit --port 9001 --candles BTCUSDT=file.csv.gz`"""

import argparse
import json
import sys
import zlib
from pathlib import Path

from aiohttp import web

from sandbox.bybit.candles import read_candles
from sandbox.bybit.messages import Instrument
from sandbox.bybit.replay import INTERVAL_MS, Market
from sandbox.bybit.server import make_app


def main() -> None:
    """Replay candle files until ended."""
    parser = argparse.ArgumentParser(description="Bybit's public market data, replayed from candle files")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--candles", action="append", required=True, metavar="SYMBOL=FILE")
    parser.add_argument("--instruments", type=Path, help='JSON: {"BTCUSDT": {"tick_size": "0.1", …}}')
    parser.add_argument("--bar-ms", type=int, help="pace of the replay once started; without it, it is stepped")
    parser.add_argument("--bars", type=int, help="only the first so many of each file")
    parser.add_argument(
        "--interval", choices=("auto", *INTERVAL_MS), default="auto", help="auto: the smallest step"
    )
    options = parser.parse_args()
    try:
        files = dict(given.split("=", 1) for given in options.candles)
        candles = {symbol: read_candles(Path(file), options.bars) for symbol, file in files.items()}
        market = Market(candles, options.interval)
        given = json.loads(options.instruments.read_text()) if options.instruments else {}
        instruments = {symbol: Instrument(**values) for symbol, values in given.items()}
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:
        print(f"sandbox: {error}", file=sys.stderr)  # noqa: T201 - a command's one line
        raise SystemExit(2) from None
    app = make_app(market, instruments, options.bar_ms)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, shutdown_timeout=2)


if __name__ == "__main__":
    main()
