"""Options of the demo, validated before anything is started."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Literal

from cli.backtest import read_strategy
from cli.candles.file import CandlesError, read_file
from cli.candles.instrument import check_interval, find_instrument_file, resolve_instrument
from cli.demo.fetch import SYMBOLS, file_of
from cli.options import BadOption, decimal_option
from sandbox import synthetic_candles
from shared.contracts.types import SYMBOL_PATTERN
from shared.strategy.bars import Bar, Instrument, TickTooCoarse, check_tick
from shared.strategy.document.parse import Strategy, parse_json, parse_strategy
from shared.testing.api_client import Json

EXCHANGE_TIMEOUT_S = 3.5  # including half a second to start the process
_SYMBOL = re.compile(SYMBOL_PATTERN)
Mode = Literal["paper", "exchange", "both"]
CANDLES_HINT = "use recorded candles with --candles SYMBOL=FILE, or omit --candles for synthetic ones"


@dataclass(frozen=True)
class SymbolCandles:
    """Candles of one symbol to replay, and the instrument to trade."""

    symbol: str
    file: Path
    bars: Sequence[Bar]
    instrument: Instrument


@dataclass(frozen=True)
class Document:
    """A strategy document as the client sends it, and parsed."""

    raw: Json
    strategy: Strategy


@dataclass(frozen=True)
class DemoOptions:
    source: str  # shown in the first line
    real: bool
    candles: Sequence[SymbolCandles]
    documents: Sequence[Document]
    fee: Decimal
    balance: Decimal
    tenants: int
    bars: int | None
    bar_ms: int | None
    busy: bool  # with alerts, watchlists and a configuration in addition to sessions
    mode: Mode

    @property
    def live_documents(self) -> list[Document]:
        """The strategies that can trade on the exchange: those with a stop."""
        return [document for document in self.documents if document.strategy.risk.has_stop]

    @property
    def without_stop(self) -> list[str]:
        return [document.strategy.name for document in self.documents if not document.strategy.risk.has_stop]

    @property
    def modes(self) -> list[Literal["PAPER", "LIVE"]]:
        """The mode of each tenant's sessions."""
        paper = 0 if self.mode == "exchange" else self.tenants
        live = {"paper": 0, "exchange": self.tenants, "both": 1}[self.mode]
        modes: list[Literal["PAPER", "LIVE"]] = ["PAPER"] * paper
        modes += ["LIVE"] * live
        return modes

    @property
    def is_on_exchange(self) -> bool:
        return self.mode != "paper"

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
class RawOptions:
    """Unvalidated values of the command line."""

    candles: Sequence[str]
    strategies: Sequence[str]
    instruments: Sequence[str]
    fee: str
    balance: str
    tenants: int
    bars: int | None
    bar_ms: int | None
    mode: Mode | None = None


def read_options(raw: RawOptions, folder: Path) -> DemoOptions:
    """Validate the options. Writes synthetic or fetched candles to `folder`. Raises BadOption."""
    fee = decimal_option("--fee", raw.fee, below=1)
    balance = decimal_option("--balance", raw.balance, zero=False)
    documents = _documents(raw.strategies)
    interval = documents[0].strategy.interval
    folder.mkdir(parents=True, exist_ok=True)
    source, real, paths = _candle_files(raw.candles, interval, folder)
    steps = _steps_of(raw.instruments, list(paths))
    candles = [_read(symbol, path, documents, raw.bars, steps[symbol]) for symbol, path in paths.items()]
    mode = _mode(raw, documents)
    return DemoOptions(
        source=source,
        real=real,
        candles=candles,
        documents=documents,
        fee=fee,
        balance=balance,
        tenants=raw.tenants,
        bars=raw.bars,
        bar_ms=raw.bar_ms,
        busy=not (raw.candles and raw.strategies),
        mode=mode,
    )


def _mode(raw: RawOptions, documents: Sequence[Document]) -> Mode:
    """Return the mode; by default `both`, where that is possible. Raises BadOption."""
    wanted = raw.mode or "both"
    if wanted == "paper":
        return "paper"
    reason = ""
    if raw.bar_ms is not None:
        reason = "the exchange's fills equal the backtest's only if the market waits for the bots: omit --bar-ms"
    elif not any(document.strategy.risk.has_stop for document in documents):
        reason = "no strategy has a stop, and the exchange is not traded on without one"
    if reason and raw.mode is not None:
        raise BadOption(f"--mode {raw.mode}: {reason}")
    return "paper" if reason else wanted


def _documents(paths: Sequence[str]) -> list[Document]:
    if paths:
        documents = [Document(_raw(Path(path)), read_strategy(Path(path))) for path in paths]
    else:
        built_in = sorted((files("cli.demo") / "strategies").iterdir(), key=lambda file: file.name)
        raws = [json.loads(file.read_text()) for file in built_in if file.name.endswith(".json")]
        documents = [Document(raw, parse_strategy(parse_json(json.dumps(raw)))) for raw in raws]
    names = [document.strategy.name for document in documents]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise BadOption(f"--strategy: two strategies are named {duplicate!r}")
    if len({document.strategy.interval for document in documents}) > 1:
        raise BadOption("--strategy: all strategies of a demo must have the same interval")
    return documents


def _raw(path: Path) -> Json:
    """Read the document with numbers as strings, so that they are sent as written."""
    try:
        raw = json.loads(path.read_bytes(), parse_float=str)
    except (OSError, ValueError):
        raw = read_strategy(path)  # raises BadOption with the fault
    assert isinstance(raw, dict), "checked by read_strategy"
    return raw


def _candle_files(given: Sequence[str], interval: str, folder: Path) -> tuple[str, bool, dict[str, Path]]:
    if not given:
        if interval != synthetic_candles.INTERVAL:
            raise BadOption(
                f"--strategy: synthetic candles have interval {synthetic_candles.INTERVAL}, not {interval}"
            )
        return f"synthetic, seed {synthetic_candles.SEED}", False, synthetic_candles.write_candles(folder)
    if "bybit" in given:
        if len(given) > 1:
            raise BadOption("--candles: bybit cannot be combined with files")
        return "real, recent candles of Bybit", True, _fetch(interval, folder)
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
    """Fetch recent candles in a subprocess. Raises BadOption after EXCHANGE_TIMEOUT_S."""
    command = [sys.executable, "-m", "cli.demo.fetch", interval, str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=EXCHANGE_TIMEOUT_S)
    except (subprocess.SubprocessError, OSError):
        raise BadOption(f"--candles bybit: the exchange does not answer; {CANDLES_HINT}") from None
    return {symbol: file_of(folder, symbol) for symbol in SYMBOLS}


def _read(
    symbol: str, path: Path, documents: Sequence[Document], max_bars: int | None, steps: Sequence[str]
) -> SymbolCandles:
    strategy = documents[0].strategy
    try:
        stored = find_instrument_file(path)
        check_interval(path, stored, strategy.interval)
        bars = read_file(path, strategy.interval_ms, sparse=stored is not None).bars
    except CandlesError as error:
        raise BadOption(f"--candles: {error}") from error
    resolved = resolve_instrument(bars, stored, steps)
    try:
        check_tick(resolved.instrument.tick_size, (bar.low for bar in bars))
    except TickTooCoarse as error:
        raise BadOption(f"--instrument {symbol}: {error}") from error
    return SymbolCandles(symbol, path.absolute(), bars[:max_bars], resolved.instrument)


def _steps_of(given: Sequence[str], symbols: Sequence[str]) -> dict[str, list[str]]:
    """Return the --instrument values by symbol; those for all symbols come first."""
    steps: dict[str, list[str]] = {symbol: [] for symbol in symbols}
    for each in sorted(given, key=lambda text: ":" in text):
        symbol, colon, text = each.rpartition(":")
        if colon and symbol not in symbols:
            raise BadOption(f"--instrument: {symbol!r} is not one of {', '.join(symbols)}")
        for name in [symbol] if colon else symbols:
            steps[name].append(text)
    return steps
