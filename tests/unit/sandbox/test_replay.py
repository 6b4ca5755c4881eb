"""The replayed market: each bar opens, closes once, in the order of time."""

import pytest

from sandbox.bybit.replay import Candle, Market, Push

MINUTE = 60_000


def candles(*starts: int) -> list[Candle]:
    return [Candle(start * MINUTE, "10", "12", "9", "11", "3") for start in starts]


def told(pushes: list[Push]) -> list[tuple[str, int, bool]]:
    return [(push.symbol, push.candle.start // MINUTE, push.confirm) for push in pushes]


def test_before_the_first_step_nothing_has_happened() -> None:
    market = Market({"A": candles(100, 101)})
    assert market.clock_ms == 100 * MINUTE - 1
    assert market.series["A"].visible() == []


def test_a_step_closes_a_bar_and_opens_the_next_at_the_same_moment() -> None:
    market = Market({"A": candles(100, 101)})
    assert told(market.step()) == [("A", 100, False)]
    assert told(market.step()) == [("A", 100, True), ("A", 101, False)]
    assert told(market.step()) == [("A", 101, True)]
    assert market.done
    assert market.step() == []


def test_an_open_bar_shows_its_first_trade_only() -> None:
    market = Market({"A": candles(100, 101)})
    (push,) = market.step()
    assert (push.candle.high, push.candle.low, push.candle.close, push.candle.volume) == ("10", "10", "10", "0")


def test_symbols_share_one_clock_and_confirmations_come_first() -> None:
    market = Market({"A": candles(100, 101), "B": candles(101, 102)})
    market.step()
    assert told(market.step()) == [("A", 100, True), ("A", 101, False), ("B", 101, False)]
    assert told(market.step()) == [("A", 101, True), ("B", 101, True), ("B", 102, False)]


def test_a_hole_in_the_market_is_no_bar() -> None:
    market = Market({"A": candles(100, 101, 105)})
    seen = [told(market.step()) for _ in range(market.steps_total)]
    assert seen == [
        [("A", 100, False)],
        [("A", 100, True), ("A", 101, False)],
        [("A", 101, True)],
        [("A", 105, False)],
        [("A", 105, True)],
    ]


@pytest.mark.parametrize("apart", [7, 61])
def test_bars_that_are_no_interval_of_the_exchange_are_refused(apart: int) -> None:
    with pytest.raises(ValueError, match="no interval"):
        Market({"A": candles(100, 100 + apart)})


def test_a_window_shows_what_is_in_it_and_has_happened() -> None:
    series = Market({"A": candles(100, 101, 102, 103)}).series["A"]
    series.move_to(102 * MINUTE)
    assert [bar.start // MINUTE for bar in series.visible(101 * MINUTE, 103 * MINUTE)] == [101, 102]
    assert [bar.start // MINUTE for bar in series.visible(0, 101 * MINUTE)] == [100, 101]


def test_bars_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="does not come after"):
        Market({"A": candles(100, 101)}, interval="5")


def test_a_single_bar_may_be_of_any_interval() -> None:
    assert Market({"A": candles(100)}, interval="60").series["A"].interval_ms == 60 * MINUTE
