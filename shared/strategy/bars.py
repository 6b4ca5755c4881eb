"""Bars, instruments, and the terms a strategy trades on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from shared.contracts.types import from_ms

Side = Literal["LONG", "SHORT"]
DAY_MS = 86_400_000
INTERVAL_MS = {
    "1": 60_000,
    "3": 180_000,
    "5": 300_000,
    "15": 900_000,
    "30": 1_800_000,
    "60": 3_600_000,
    "120": 7_200_000,
    "240": 14_400_000,
    "360": 21_600_000,
    "720": 43_200_000,
    "D": DAY_MS,
}
"""Bybit's kline interval codes and their lengths."""


class Bar(NamedTuple):
    """One candle; decimals exactly as the venue sent them."""

    open_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def open_time(self) -> datetime:
        return from_ms(self.open_time_ms)


@dataclass(frozen=True, slots=True)
class Instrument:
    """The venue's price tick, quantity step and minimum order."""

    tick_size: Decimal = Decimal("0.01")
    qty_step: Decimal = Decimal("0.001")
    min_order_qty: Decimal = Decimal("0.001")
    min_notional: Decimal = Decimal("5")

    def __post_init__(self) -> None:
        if not (self.tick_size > 0 and self.qty_step > 0):
            raise ValueError("tick_size and qty_step must be above 0")
        if not (self.min_order_qty >= 0 and self.min_notional >= 0):
            raise ValueError("min_order_qty and min_notional must be at least 0")


class TickTooCoarse(ValueError):
    """A candle price is below one tick; the message has both."""


def check_tick(tick: Decimal, prices: Iterable[Decimal]) -> None:
    """Raise TickTooCoarse if a price is below one tick: it would be rounded to 0 or to a multiple of itself."""
    lowest = min(prices, default=tick)
    if lowest < tick:
        raise TickTooCoarse(f"the candles have a price of {lowest:f}, below the tick size of {tick:f}")


@dataclass(frozen=True, slots=True)
class Terms:
    """Fee and slippage as fractions (the fee of each fill's notional), and the initial balance."""

    instrument: Instrument = Instrument()
    fee: Decimal = Decimal("0.00055")
    slippage: Decimal = Decimal("0")
    initial_balance: Decimal = Decimal("10000")

    def __post_init__(self) -> None:
        if not (0 <= self.fee < 1 and 0 <= self.slippage < 1):
            raise ValueError("fee and slippage must be at least 0 and below 1")
        if not self.initial_balance > 0:
            raise ValueError("initial_balance must be above 0")
