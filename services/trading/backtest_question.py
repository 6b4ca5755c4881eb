"""What a backtest asks, and what makes two of them the same question; pure."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from shared.contracts.types import decimal_text, to_ms
from shared.strategy.bars import Terms

BacktestStatus = Literal["QUEUED", "RUNNING", "DONE", "FAILED", "CANCELLED"]
MOST_WAITING = 1_000  # of one tenant
MOST_FAILURES = 3  # of one job: then it has failed
MOST_FILLS = 500_000  # of one result


@dataclass(frozen=True)
class BacktestLimits:
    """What a plan says of backtests; None: unlimited."""

    plan: str
    has_backtesting: bool
    max_backtests_per_day: int | None


@dataclass(frozen=True)
class Range:
    """Stored bars of a series: the first and the last open time, and how many. A bar in it never changes; one that
    is filled in later makes it another range."""

    first: datetime
    last: datetime
    bars: int


@dataclass(frozen=True)
class BacktestQuestion:
    """Everything that a result follows from."""

    strategy_hash: str
    venue: str
    symbol: str
    interval: str
    generation: int
    range: Range
    terms: Terms
    evaluator: str

    def sha256(self) -> bytes:
        terms, instrument = self.terms, self.terms.instrument
        amounts: tuple[Decimal, ...] = (
            terms.fee,
            terms.slippage,
            terms.initial_balance,
            instrument.tick_size,
            instrument.qty_step,
            instrument.min_order_qty,
            instrument.min_notional,
        )
        parts = [
            *(self.strategy_hash, self.venue, self.symbol, self.interval, self.generation),
            *(to_ms(self.range.first), to_ms(self.range.last), self.range.bars),
            *map(decimal_text, amounts),
            self.evaluator,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).digest()
