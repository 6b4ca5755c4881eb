"""The made-up market: bars of all intervals are built from the same minutes, and are the same on every run."""

from decimal import Decimal
from itertools import pairwise

import pytest

from sandbox.bybit.made_up import MadeUpMarket
from sandbox.bybit.replay import INTERVAL_MS, Candle, Series

DAY = 1_440


def series_of(interval: str, market: MadeUpMarket | None = None) -> Series:
    series = (market or MadeUpMarket()).find("BTCUSDT", interval)
    assert series is not None
    return series


def test_the_market_has_every_interval_of_the_exchange() -> None:
    market = MadeUpMarket()
    assert {symbol: set(market.intervals(symbol)) for symbol in market.series} == {
        "BTCUSDT": set(INTERVAL_MS),
        "ETHUSDT": set(INTERVAL_MS),
    }


@pytest.mark.parametrize("interval", list(INTERVAL_MS))
def test_a_bar_is_aggregated_from_its_minutes(interval: str) -> None:
    minutes = INTERVAL_MS[interval] // INTERVAL_MS["1"]
    bars, parts = series_of(interval).candles[3:6], series_of("1").candles[3 * minutes : 6 * minutes]
    for number, bar in enumerate(bars):
        of_bar = parts[number * minutes : (number + 1) * minutes]
        assert bar == Candle(
            of_bar[0].start,
            of_bar[0].open,
            max((part.high for part in of_bar), key=Decimal),
            min((part.low for part in of_bar), key=Decimal),
            of_bar[-1].close,
            format(sum((Decimal(part.volume) for part in of_bar), Decimal(0)), "f"),
        )


def test_a_day_is_plausible() -> None:
    bars = series_of("1").candles[500 * DAY : 501 * DAY]
    for bar in bars:
        low, high = Decimal(bar.low), Decimal(bar.high)
        assert 0 < low <= min(Decimal(bar.open), Decimal(bar.close))
        assert high >= max(Decimal(bar.open), Decimal(bar.close))
        assert Decimal(bar.volume) > 0
    assert all(one.close == other.open for one, other in pairwise(bars))
    assert sum(one.close != other.close for one, other in pairwise(bars)) > 0.9 * DAY
    lowest, highest = min(Decimal(bar.low) for bar in bars), max(Decimal(bar.high) for bar in bars)
    assert Decimal("1.005") < highest / lowest < Decimal("1.2")


def test_the_market_is_the_same_after_a_restart() -> None:
    first, again = MadeUpMarket(), MadeUpMarket()
    for market in (first, again):
        market.jump_to(400 * DAY)
    assert [first.step() for _ in range(20)] == [again.step() for _ in range(20)]
    assert series_of("D", first).visible(limit=5, newest=True) == series_of("D", again).visible(
        limit=5, newest=True
    )


def test_symbols_do_not_move_together() -> None:
    market = MadeUpMarket()
    one, other = (market.find(symbol, "D") for symbol in ("BTCUSDT", "ETHUSDT"))
    assert one is not None
    assert other is not None
    rose = [[bar.close > bar.open for bar in each.candles[100:200]] for each in (one, other)]
    assert 20 < sum(a == b for a, b in zip(*rose, strict=True)) < 80
