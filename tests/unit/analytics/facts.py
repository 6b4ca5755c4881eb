"""Trades, sessions and bars for the tests of analytics."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from services.analytics.domain.facts import SessionFact, TradeFact
from shared.strategy.bars import INTERVAL_MS, Bar

STRATEGY = UUID(int=7)
START_MS = 1_769_817_600_000  # 2026-01-31T00:00:00Z: the bars cross a month's end
INTERVAL = "15"
STEP_MS = INTERVAL_MS[INTERVAL]


def at(text: str) -> datetime:
    """A UTC time such as `2026-01-31 09:30`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def trade(exit_time: str | datetime, pnl: str | Decimal, fee: str = "0", symbol: str = "BTCUSDT") -> TradeFact:
    moment = at(exit_time) if isinstance(exit_time, str) else exit_time
    return TradeFact(uuid4(), symbol, STRATEGY, "cross", moment, Decimal(pnl), Decimal(fee))


def session(balance: str, started_at: str, final_balance: str | None = None, stopped_at: str = "") -> SessionFact:
    if final_balance is None:
        return SessionFact(Decimal(balance), at(started_at))
    return SessionFact(Decimal(balance), at(started_at), Decimal(final_balance), at(stopped_at))


def wavy_bars(count: int, seed: int = 7) -> list[Bar]:
    """A random walk around 100."""
    draw = random.Random(seed)
    bars, price = [], Decimal(100)
    for index in range(count):
        close = max(price + Decimal(draw.randint(-160, 160)) / 100, Decimal(20))
        high, low = max(price, close) + Decimal("0.3"), min(price, close) - Decimal("0.2")
        bars.append(Bar(START_MS + index * STEP_MS, price, high, low, close, Decimal(draw.randint(1, 50))))
        price = close
    return bars
