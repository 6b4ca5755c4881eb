"""A series that takes candles in order notices what is missing and what it has already."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from shared.market.bars import bar_of
from shared.market.contiguous_series import ContiguousSeries

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def closed(minute: int, after: int | None) -> CandleClosed:
    """Return a candle that names the one of minute `after` as its predecessor."""
    at = NOON + timedelta(minutes=minute)
    return CandleClosed(
        venue="bybit",
        symbol="BTCUSDT",
        interval="1",
        generation=1,
        open_time=at,
        previous_open_time=None if after is None else NOON + timedelta(minutes=after),
        open=Decimal(1),
        high=Decimal(4),
        low=Decimal("0.5"),
        close=Decimal(2),
        volume=Decimal(minute),
        venue_time=at,
    )


def test_candles_are_appended_as_bars_in_order() -> None:
    series = ContiguousSeries()
    candles = [closed(0, None), closed(1, 0), closed(4, 1)]  # no market in minutes 2 and 3
    assert [series.take(candle) for candle in candles] == [0, 1, 2]
    assert list(series.bars) == [bar_of(candle) for candle in candles]
    assert series.bars[2] == (to_ms(NOON) + 240_000, *map(Decimal, ("1", "4", "0.5", "2", "4")))
    assert series.last_open_time == candles[2].open_time


def test_a_candle_after_a_gap_is_not_appended() -> None:
    series = ContiguousSeries()
    assert series.take(closed(1, 0)) is None
    series.take(closed(0, None))
    assert series.take(closed(2, 1)) is None
    assert len(series) == 1


def test_a_known_candle_keeps_its_index() -> None:
    series = ContiguousSeries(bar_of(closed(minute, None)) for minute in (0, 1, 3))
    assert [series.take(closed(minute, None)) for minute in (0, 1, 2, 3)] == [0, 1, None, 2]
    assert len(series) == 3
