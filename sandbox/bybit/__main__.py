"""`python -m sandbox.bybit --port 9001 --candles BTCUSDT=file.csv.gz`, or `--made-up`"""

import argparse
import json
import sys
import zlib
from collections.abc import Sequence
from decimal import InvalidOperation
from pathlib import Path
from typing import NoReturn

from aiohttp import web

from sandbox.bybit.candles import read_candles
from sandbox.bybit.instruments import Instrument
from sandbox.bybit.replay import INTERVAL_MS, Market
from sandbox.bybit.server import Options, make_app

MAX_PORT = 65_535


class _Parser(argparse.ArgumentParser):
    """Prints one line about a wrong option."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Serve a market until the process is stopped. `arguments` None: those of the process."""
    options = _parser(program).parse_args(arguments)
    try:
        app = make_app(_market(options), _instruments(options), _options(options))
    except (ValueError, TypeError, OSError, EOFError, InvalidOperation, zlib.error) as error:
        print(f"{program or 'sandbox'}: {error}", file=sys.stderr)  # noqa: T201 - a command reports errors on stderr
        raise SystemExit(2) from None
    web.run_app(app, host=options.host, port=options.port, print=None, access_log=None, shutdown_timeout=2)


def _parser(program: str | None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description="A local Bybit V5 over replayed or made-up candles; see docs/sandbox-bybit.md",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_integer(1, MAX_PORT), required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--candles", action="append", metavar="SYMBOL=FILE", help="repeatable")
    source.add_argument("--made-up", action="store_true", help="an endless market of one-minute bars")
    parser.add_argument(
        "--interval", choices=("auto", *INTERVAL_MS), default="auto", help="auto: the smallest step of each file"
    )
    parser.add_argument("--bars", type=_integer(1, 2**31), help="only the first BARS bars of each file")
    parser.add_argument("--instruments", type=Path, help='JSON: {"BTCUSDT": {"tick_size": "0.1", …}}')
    parser.add_argument("--accounts", type=Path, help='JSON: [{"balance": "10000", "key": {"api_key": …}}, …]')
    parser.add_argument(
        "--bar-ms", type=_integer(1, 2**31), help="milliseconds per step once started; without it, step by hand"
    )
    parser.add_argument("--two-phase", action="store_true", help="a step ends bars, the next begins bars")
    parser.add_argument(
        "--limits-factor", type=_integer(1, 1_000_000), default=1, help="multiplies the rate limits"
    )
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="append every request and order as a JSON line")
    return parser


def _options(options: argparse.Namespace) -> Options:
    """Raises ValueError, OSError."""
    accounts = json.loads(options.accounts.read_text()) if options.accounts else []
    if not isinstance(accounts, list) or not all(isinstance(each, dict) for each in accounts):
        raise ValueError(f"{options.accounts}: must be a JSON list of objects")
    if options.two_phase and options.bar_ms:
        raise ValueError("--two-phase is for stepping by hand: leave --bar-ms out")
    return Options(options.bar_ms, options.limits_factor, options.ledger, tuple(accounts))


def _market(options: argparse.Namespace) -> Market:
    """Raises ValueError, OSError."""
    if options.made_up:
        # numpy takes a fifth of the start, and candle files do not need it.
        from sandbox.bybit.made_up import MadeUpMarket

        return MadeUpMarket(two_phase=options.two_phase)
    if not all("=" in argument for argument in options.candles):
        raise ValueError("--candles needs SYMBOL=FILE")
    files = dict(argument.split("=", 1) for argument in options.candles)
    candles = {symbol: read_candles(Path(file), options.bars) for symbol, file in files.items()}
    return Market(candles, options.interval, two_phase=options.two_phase)


def _instruments(options: argparse.Namespace) -> dict[str, Instrument]:
    """Raises ValueError, TypeError, OSError."""
    raw = json.loads(options.instruments.read_text()) if options.instruments else {}
    return {symbol: Instrument(**values) for symbol, values in raw.items()}


class _integer:  # noqa: N801 - named as in argparse's messages
    """Parses an integer within bounds."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        value = int(text)
        if not self._least <= value <= self._most:
            raise argparse.ArgumentTypeError(f"must be from {self._least} to {self._most}")
        return value

    def __repr__(self) -> str:
        return "integer"


if __name__ == "__main__":
    main()
