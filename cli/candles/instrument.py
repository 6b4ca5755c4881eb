"""The instrument stored with a candle file: `FILE.instrument.json`, written by `candles fetch`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from pathlib import Path

from cli.candles.file import CandlesError
from cli.options import instrument_option
from shared.contracts.types import decimal_text
from shared.market.instruments import has_finer_prices, instrument_of
from shared.strategy.bars import Bar, Instrument
from shared.strategy.document.reader import is_decimal_text

_STEPS = tuple(each.name for each in fields(Instrument))


@dataclass(frozen=True, slots=True)
class InstrumentFile:
    """Symbol, interval and instrument of the candles in one file."""

    symbol: str
    interval: str
    instrument: Instrument


@dataclass(frozen=True, slots=True)
class ResolvedInstrument:
    """`source` describes its origin; `has_finer_prices`: candles are finer than the tick, so fills are rounded."""

    instrument: Instrument
    source: str
    has_finer_prices: bool


def instrument_path(candles: Path) -> Path:
    return candles.with_name(candles.name + ".instrument.json")


def write_instrument_file(candles: Path, content: InstrumentFile) -> None:
    steps = {name: decimal_text(value) for name, value in asdict(content.instrument).items()}
    text = json.dumps({"symbol": content.symbol, "interval": content.interval, **steps}, indent=2)
    instrument_path(candles).write_text(text + "\n")


def find_instrument_file(candles: Path) -> InstrumentFile | None:
    """Read the instrument file of a candle file; None if there is none. Raises CandlesError if it is invalid."""
    path = instrument_path(candles)
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CandlesError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise CandlesError(f"{path}: is not JSON") from None
    names = ("symbol", "interval", *_STEPS)
    if not isinstance(raw, dict) or not all(isinstance(raw.get(name), str) for name in names):
        raise CandlesError(f"{path}: must be an object with the strings {', '.join(names)}")
    if fault := next((name for name in _STEPS if not is_decimal_text(raw[name])), None):
        raise CandlesError(f"{path}: {fault} is not a decimal")
    try:
        instrument = Instrument(*(Decimal(raw[name]) for name in _STEPS))
    except ValueError as error:
        raise CandlesError(f"{path}: {error}") from None
    return InstrumentFile(raw["symbol"], raw["interval"], instrument)


def check_interval(candles: Path, stored: InstrumentFile | None, interval: str) -> None:
    """Raises CandlesError if the candles are known to have another interval than the strategy."""
    if stored is not None and stored.interval != interval:
        raise CandlesError(
            f"{candles}: its candles have interval {stored.interval}, but the strategy has {interval}"
        )


def resolve_instrument(
    bars: Sequence[Bar], stored: InstrumentFile | None, options: Sequence[str]
) -> ResolvedInstrument:
    """Combine the options' values, the stored instrument and, without one, values derived from the candles.

    Raises BadOption.
    """
    instrument = instrument_of(bars) if stored is None else stored.instrument
    source = "derived from the candles" if stored is None else f"of {stored.symbol}, stored with the candles"
    for option in options:
        instrument = instrument_option(option, instrument)
    if options:
        source = f"as given, the rest {source}"
    return ResolvedInstrument(instrument, source, has_finer_prices(bars, instrument.tick_size))
