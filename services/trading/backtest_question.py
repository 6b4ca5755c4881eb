"""The inputs of a backtest, hashed so that equal requests share a result; pure."""

import hashlib
import json
from dataclasses import astuple, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from shared.contracts.types import decimal_text, to_ms
from shared.strategy.bars import Terms

BacktestStatus = Literal["QUEUED", "RUNNING", "DONE", "FAILED", "CANCELLED"]
MAX_WAITING = 1_000  # of one tenant
MAX_FAILURES = 3  # of one job, after which it is FAILED
MAX_FILLS = 500_000  # in one result


@dataclass(frozen=True)
class BacktestLimits:
    """The plan's limits on backtests; None: unlimited."""

    plan: str
    has_backtesting: bool
    max_backtests_per_day: int | None


@dataclass(frozen=True)
class Range:
    """Stored bars of a series: first and last open time, and count. Bars in it never change; filling in a missing
    bar later gives a different range."""

    first: datetime
    last: datetime
    bars: int


@dataclass(frozen=True)
class BacktestQuestion:
    """Everything that determines a result."""

    strategy_hash: str
    venue: str
    symbol: str
    interval: str
    generation: int
    range: Range
    terms: Terms
    evaluator: str

    def sha256(self) -> bytes:
        terms = self.terms
        amounts: tuple[Decimal, ...] = (
            terms.fee,
            terms.slippage,
            terms.initial_balance,
            *astuple(terms.instrument),
        )
        parts = [
            *(self.strategy_hash, self.venue, self.symbol, self.interval, self.generation),
            *(to_ms(self.range.first), to_ms(self.range.last), self.range.bars),
            *map(decimal_text, amounts),
            self.evaluator,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).digest()
