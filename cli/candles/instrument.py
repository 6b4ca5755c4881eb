"""The exchange's instrument beside a candle file: `FILE.instrument.json`, written by `candles fetch`."""

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
class Beside:
    """What the exchange said of the candles of one file."""

    symbol: str
    interval: str
    instrument: Instrument


@dataclass(frozen=True, slots=True)
class InstrumentUsed:
    """`source` says where it is from; `has_finer_prices` that fills are rounded, the tick being coarser."""

    instrument: Instrument
    source: str
    has_finer_prices: bool


def path_beside(candles: Path) -> Path:
    return candles.with_name(candles.name + ".instrument.json")


def write_beside(candles: Path, beside: Beside) -> None:
    steps = {name: decimal_text(value) for name, value in asdict(beside.instrument).items()}
    text = json.dumps({"symbol": beside.symbol, "interval": beside.interval, **steps}, indent=2)
    path_beside(candles).write_text(text + "\n")


def find_beside(candles: Path) -> Beside | None:
    """None where nothing is kept. Raises CandlesError for what is there and cannot be used."""
    path = path_beside(candles)
    try:
        kept = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CandlesError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise CandlesError(f"{path}: is not JSON") from None
    names = ("symbol", "interval", *_STEPS)
    if not isinstance(kept, dict) or not all(isinstance(kept.get(name), str) for name in names):
        raise CandlesError(f"{path}: must be an object with the texts {', '.join(names)}")
    if fault := next((name for name in _STEPS if not is_decimal_text(kept[name])), None):
        raise CandlesError(f"{path}: {fault} is not a decimal")
    try:
        instrument = Instrument(*(Decimal(kept[name]) for name in _STEPS))
    except ValueError as error:
        raise CandlesError(f"{path}: {error}") from None
    return Beside(kept["symbol"], kept["interval"], instrument)


def check_interval(candles: Path, beside: Beside | None, interval: str) -> None:
    """Raises CandlesError where the candles are known to be of another interval than the strategy's."""
    if beside is not None and beside.interval != interval:
        raise CandlesError(
            f"{candles}: its candles are of interval {beside.interval}, the strategy's is {interval}"
        )


def instrument_used(bars: Sequence[Bar], beside: Beside | None, options: Sequence[str]) -> InstrumentUsed:
    """The options' values; what they do not give is the exchange's, else it follows from the candles.

    Raises BadOption.
    """
    instrument = instrument_of(bars) if beside is None else beside.instrument
    source = "from the candles" if beside is None else f"of {beside.symbol}, kept beside the candles"
    for option in options:
        instrument = instrument_option(option, instrument)
    if options:
        source = f"as given, the rest {source}"
    return InstrumentUsed(instrument, source, has_finer_prices(bars, instrument.tick_size))
