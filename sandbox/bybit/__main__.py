"""`python -m sandbox.bybit --port 9001 --candles BTCUSDT=file.csv.gz`, or `--made-up`"""

import argparse
import json
import sys
import zlib
from pathlib import Path

from aiohttp import web

from sandbox.bybit.candles import read_candles
from sandbox.bybit.made_up import MadeUpMarket
from sandbox.bybit.messages import Instrument
from sandbox.bybit.replay import INTERVAL_MS, Market
from sandbox.bybit.server import make_app


def main() -> None:
    """Serve a market until ended."""
    parser = argparse.ArgumentParser(
        description="Bybit's public market data, replayed from candle files or made up"
    )
    parser.add_argument("--port", type=int, required=True)
    market_of = parser.add_mutually_exclusive_group(required=True)
    market_of.add_argument("--candles", action="append", metavar="SYMBOL=FILE")
    market_of.add_argument("--made-up", action="store_true", help="a market of one-minute bars without end")
    parser.add_argument("--instruments", type=Path, help='JSON: {"BTCUSDT": {"tick_size": "0.1", …}}')
    parser.add_argument("--bar-ms", type=int, help="pace of the replay once started; without it, it is stepped")
    parser.add_argument("--bars", type=int, help="only the first so many of each file")
    parser.add_argument(
        "--interval", choices=("auto", *INTERVAL_MS), default="auto", help="auto: the smallest step"
    )
    options = parser.parse_args()
    try:
        market = MadeUpMarket() if options.made_up else _replay(options)
        given = json.loads(options.instruments.read_text()) if options.instruments else {}
        instruments = {symbol: Instrument(**values) for symbol, values in given.items()}
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:
        print(f"sandbox: {error}", file=sys.stderr)  # noqa: T201 - a command's one line
        raise SystemExit(2) from None
    app = make_app(market, instruments, options.bar_ms)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, shutdown_timeout=2)


def _replay(options: argparse.Namespace) -> Market:
    """Raises ValueError, OSError."""
    files = dict(given.split("=", 1) for given in options.candles)
    candles = {symbol: read_candles(Path(file), options.bars) for symbol, file in files.items()}
    return Market(candles, options.interval)


if __name__ == "__main__":
    main()
