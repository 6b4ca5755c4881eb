"""What the demo was asked to do, checked before anything is started."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from cli.backtest import read_strategy
from cli.candles.file import CandlesError, read_file
from cli.candles.instrument import check_interval, find_beside, instrument_used
from cli.demo import synthetic
from cli.demo.fetch import SYMBOLS, file_of
from cli.options import BadOption, decimal_option
from shared.contracts.types import SYMBOL_PATTERN
from shared.strategy.bars import Bar, Instrument, TickTooCoarse, check_tick
from shared.strategy.document.parse import Strategy, parse_json, parse_strategy

EXCHANGE_TIMEOUT_S = 3.5  # of which half a second is the start of a process
_SYMBOL = re.compile(SYMBOL_PATTERN)
WAYS = "use recorded ones, --candles SYMBOL=FILE, or leave --candles out for made-up ones"


@dataclass(frozen=True)
class SymbolCandles:
    """One symbol's candles as they will be played, and the instrument they are traded with."""

    symbol: str
    file: Path
    bars: Sequence[Bar]
    instrument: Instrument


@dataclass(frozen=True)
class Document:
    """A strategy as the client sends it, and as it is understood."""

    raw: Mapping[str, Any]
    strategy: Strategy


@dataclass(frozen=True)
class DemoOptions:
    source: str  # said in the first line
    real: bool
    candles: Sequence[SymbolCandles]
    documents: Sequence[Document]
    fee: Decimal
    balance: Decimal
    tenants: int
    bars: int | None
    bar_ms: int | None
    busy: bool  # alerts, watchlists and a configuration beside the sessions

    @property
    def symbols(self) -> list[str]:
        return [candles.symbol for candles in self.candles]

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        return {candles.symbol: candles.instrument for candles in self.candles}

    @property
    def interval(self) -> str:
        return self.documents[0].strategy.interval


@dataclass(frozen=True)
class Given:
    """The command line's values as they came."""

    candles: Sequence[str]
    strategies: Sequence[str]
    instruments: Sequence[str]
    fee: str
    balance: str
    tenants: int
    bars: int | None
    bar_ms: int | None


def read_options(given: Given, folder: Path) -> DemoOptions:
    """Raises BadOption; what has to be written (made-up or fetched candles) goes to the folder."""
    fee = decimal_option("--fee", given.fee, below=1)
    balance = decimal_option("--balance", given.balance, zero=False)
    documents = _documents(given.strategies)
    interval = documents[0].strategy.interval
    folder.mkdir(parents=True, exist_ok=True)
    source, real, paths = _candle_files(given.candles, interval, folder)
    steps = _steps_of(given.instruments, list(paths))
    candles = [_read(symbol, path, documents, given.bars, steps[symbol]) for symbol, path in paths.items()]
    return DemoOptions(
        source=source,
        real=real,
        candles=candles,
        documents=documents,
        fee=fee,
        balance=balance,
        tenants=given.tenants,
        bars=given.bars,
        bar_ms=given.bar_ms,
        busy=not (given.candles and given.strategies),
    )


def _documents(paths: Sequence[str]) -> list[Document]:
    if paths:
        documents = [Document(_raw(Path(path)), read_strategy(Path(path))) for path in paths]
    else:
        shipped = sorted((files("cli.demo") / "strategies").iterdir(), key=lambda file: file.name)
        raws = [json.loads(file.read_text()) for file in shipped if file.name.endswith(".json")]
        documents = [Document(raw, parse_strategy(parse_json(json.dumps(raw)))) for raw in raws]
    names = [document.strategy.name for document in documents]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise BadOption(f"--strategy: two strategies are named {doubled!r}")
    if len({document.strategy.interval for document in documents}) > 1:
        raise BadOption("--strategy: all strategies of a demo have the same interval")
    return documents


def _raw(path: Path) -> Mapping[str, Any]:
    """As the file has it, numbers as text: sent as they were written."""
    try:
        raw = json.loads(path.read_bytes(), parse_float=str)
    except (OSError, ValueError):
        raw = read_strategy(path)  # says what is wrong with it
    assert isinstance(raw, dict), "checked by read_strategy"
    return raw


def _candle_files(given: Sequence[str], interval: str, folder: Path) -> tuple[str, bool, dict[str, Path]]:
    if not given:
        if interval != synthetic.INTERVAL:
            raise BadOption(f"--strategy: made-up candles have interval {synthetic.INTERVAL}, not {interval}")
        return f"synthetic, seed {synthetic.SEED}", False, synthetic.write_candles(folder)
    if "bybit" in given:
        if len(given) > 1:
            raise BadOption("--candles: bybit goes alone")
        return "real, recent ones of Bybit", True, _fetch(interval, folder)
    paths: dict[str, Path] = {}
    for each in given:
        symbol, equals, file = each.partition("=")
        if not (
            equals and file and symbol.isalnum() and symbol.isascii() and symbol.isupper() and len(symbol) <= 30
        ):
            raise BadOption(f"--candles: {each!r} is not SYMBOL=FILE with a symbol such as BTCUSDT")
        if symbol in paths:
            raise BadOption(f"--candles: {symbol} is given twice")
        paths[symbol] = Path(file)
    names = ", ".join(path.name for path in paths.values())
    return f"real, recorded: {names}", True, paths


def _fetch(interval: str, folder: Path) -> dict[str, Path]:
    """Raises BadOption when the exchange does not answer soon."""
    command = [sys.executable, "-m", "cli.demo.fetch", interval, str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=EXCHANGE_TIMEOUT_S)
    except (subprocess.SubprocessError, OSError):
        raise BadOption(f"--candles bybit: the exchange does not answer; {WAYS}") from None
    return {symbol: file_of(folder, symbol) for symbol in SYMBOLS}


def _read(
    symbol: str, path: Path, documents: Sequence[Document], most: int | None, steps: Sequence[str]
) -> SymbolCandles:
    strategy = documents[0].strategy
    try:
        beside = find_beside(path)
        check_interval(path, beside, strategy.interval)
        bars = read_file(path, strategy.interval_ms, sparse=beside is not None).bars
    except CandlesError as error:
        raise BadOption(f"--candles: {error}") from error
    used = instrument_used(bars, beside, steps)
    try:
        check_tick(used.instrument.tick_size, (bar.low for bar in bars))
    except TickTooCoarse as error:
        raise BadOption(f"--instrument {symbol}: {error}") from error
    return SymbolCandles(symbol, path.absolute(), bars[:most], used.instrument)


def _steps_of(given: Sequence[str], symbols: Sequence[str]) -> dict[str, list[str]]:
    """The options of each symbol: those without a symbol first, which are for all of them."""
    steps: dict[str, list[str]] = {symbol: [] for symbol in symbols}
    for each in sorted(given, key=lambda text: ":" in text):
        symbol, colon, text = each.rpartition(":")
        if colon and symbol not in symbols:
            raise BadOption(f"--instrument: {symbol!r} is not one of {', '.join(symbols)}")
        for name in [symbol] if colon else symbols:
            steps[name].append(text)
    return steps
