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
    """Serve a market until the process is stopped."""
    parser = argparse.ArgumentParser(
        description="Serve Bybit's public market data, replayed from candle files or made up"
    )
    parser.add_argument("--port", type=int, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--candles", action="append", metavar="SYMBOL=FILE")
    source.add_argument("--made-up", action="store_true", help="an endless market of one-minute bars")
    parser.add_argument("--instruments", type=Path, help='JSON: {"BTCUSDT": {"tick_size": "0.1", …}}')
    parser.add_argument("--bar-ms", type=int, help="milliseconds per step once started; without it, step by hand")
    parser.add_argument("--bars", type=int, help="only the first BARS bars of each file")
    parser.add_argument(
        "--interval", choices=("auto", *INTERVAL_MS), default="auto", help="auto: the smallest step of each file"
    )
    options = parser.parse_args()
    try:
        market = MadeUpMarket() if options.made_up else _replay(options)
        raw = json.loads(options.instruments.read_text()) if options.instruments else {}
        instruments = {symbol: Instrument(**values) for symbol, values in raw.items()}
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:
        print(f"sandbox: {error}", file=sys.stderr)  # noqa: T201 - a command reports errors on stderr
        raise SystemExit(2) from None
    app = make_app(market, instruments, options.bar_ms)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, shutdown_timeout=2)


def _replay(options: argparse.Namespace) -> Market:
    """Raises ValueError, OSError."""
    files = dict(argument.split("=", 1) for argument in options.candles)
    candles = {symbol: read_candles(Path(file), options.bars) for symbol, file in files.items()}
    return Market(candles, options.interval)


if __name__ == "__main__":
    main()
