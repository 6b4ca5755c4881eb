"""What the demo was asked to do, checked before anything is started."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.strategy.bars import Bar, Instrument


@dataclass(frozen=True)
class SymbolCandles:
    """One symbol's candles, of which the first `bars` are played."""

    symbol: str
    file: Path
    bars: Sequence[Bar]


@dataclass(frozen=True)
class DemoOptions:
    source: str  # said in the first line
    real: bool
    candles: Sequence[SymbolCandles]
    interval: str
    documents: Sequence[Mapping[str, Any]]
    instruments: Mapping[str, Instrument]
    fee: Decimal
    balance: Decimal
    tenants: int
    bar_ms: int | None
    keep: bool
    as_json: bool
    busy: bool  # alerts, watchlists and a configuration beside the sessions
    symbols: Sequence[str] = field(default_factory=tuple)

    @property
    def longest(self) -> int:
        return max(len(candles.bars) for candles in self.candles)
