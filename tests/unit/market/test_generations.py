"""A bar published in several generations is handled once, in the newest."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.contracts.market import CandleClosed
from shared.market.generations import NewestGeneration

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = Decimal(1)


def closed(minute: int, generation: int, symbol: str = "BTCUSDT") -> CandleClosed:
    at = NOON + timedelta(minutes=minute)
    return CandleClosed(
        venue="bybit",
        symbol=symbol,
        interval="1",
        generation=generation,
        open_time=at,
        previous_open_time=None,
        open=ONE,
        high=ONE,
        low=ONE,
        close=ONE,
        volume=ONE,
        venue_time=at,
    )


def test_the_newest_generation_received_so_far_is_selected() -> None:
    newest = NewestGeneration()
    assert newest.select([closed(0, 1)]) == [closed(0, 1)]
    assert newest.select([closed(1, 1), closed(1, 2)]) == [closed(1, 2)]
    assert newest.select([closed(2, 1)]) == []
    assert newest.select([closed(2, 2)]) == [closed(2, 2)]


def test_each_series_has_its_own_generations() -> None:
    newest = NewestGeneration()
    newest.select([closed(0, 2)])
    assert newest.select([closed(0, 1, "ETHUSDT")]) == [closed(0, 1, "ETHUSDT")]
