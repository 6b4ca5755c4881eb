"""The replayed market: each bar opens and closes once, in order of time."""

import pytest

from sandbox.bybit.replay import Candle, Market, Push

MINUTE = 60_000


def candles(*starts: int) -> list[Candle]:
    return [Candle(start * MINUTE, "10", "12", "9", "11", "3") for start in starts]


def summarise(pushes: list[Push], interval: str = "1") -> list[tuple[str, int, bool]]:
    of_interval = [push for push in pushes if push.interval == interval]
    return [(push.symbol, push.candle.start // MINUTE, push.confirm) for push in of_interval]


def test_before_the_first_step_no_bar_is_visible() -> None:
    market = Market({"A": candles(100, 101)})
    assert market.clock_ms == 100 * MINUTE - 1
    assert market.series["A"].visible() == []


def test_a_step_closes_a_bar_and_opens_the_next_at_the_same_time() -> None:
    market = Market({"A": candles(100, 101)})
    assert summarise(market.step()) == [("A", 100, False)]
    assert summarise(market.step()) == [("A", 100, True), ("A", 101, False)]
    assert summarise(market.step()) == [("A", 101, True)]
    assert market.done
    assert market.step() == []


def test_an_open_bar_shows_its_first_trade_only() -> None:
    market = Market({"A": candles(100, 101)})
    (push,) = market.step()
    assert (push.candle.high, push.candle.low, push.candle.close, push.candle.volume) == ("10", "10", "10", "0")


def test_symbols_share_one_clock_and_confirmations_come_first() -> None:
    market = Market({"A": candles(100, 101), "B": candles(101, 102)})
    market.step()
    assert summarise(market.step()) == [("A", 100, True), ("A", 101, False), ("B", 101, False)]
    assert summarise(market.step()) == [("A", 101, True), ("B", 101, True), ("B", 102, False)]


def test_a_gap_in_the_market_has_no_bars() -> None:
    market = Market({"A": candles(100, 101, 105)})
    seen = [summarise(market.step()) for _ in range(market.steps_total)]
    assert seen == [
        [("A", 100, False)],
        [("A", 100, True), ("A", 101, False)],
        [("A", 101, True)],
        [("A", 105, False)],
        [("A", 105, True)],
    ]


@pytest.mark.parametrize("apart", [7, 61])
def test_bars_of_an_interval_unknown_to_the_exchange_are_refused(apart: int) -> None:
    with pytest.raises(ValueError, match="no interval"):
        Market({"A": candles(100, 100 + apart)})


def test_a_window_shows_its_past_bars() -> None:
    series = Market({"A": candles(100, 101, 102, 103)}).series["A"]
    series.move_to(102 * MINUTE)
    assert [bar.start // MINUTE for bar in series.visible(101 * MINUTE, 103 * MINUTE)] == [101, 102]
    assert [bar.start // MINUTE for bar in series.visible(0, 101 * MINUTE)] == [100, 101]


def test_bars_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="does not come after"):
        Market({"A": candles(100, 101)}, interval="5")


def test_a_single_bar_may_be_of_any_interval() -> None:
    assert Market({"A": candles(100)}, interval="60").series["A"].interval_ms == 60 * MINUTE


def test_bars_of_longer_intervals_are_aggregated_from_shorter_ones() -> None:
    bars = [
        Candle(start * MINUTE, str(start), str(start + 0.5), str(start - 0.25), str(start + 0.1), "1.5")
        for start in (9, 10, 11, 13, 14, 15, 16)
    ]
    market = Market({"A": bars})
    pushes = [push for _ in range(market.steps_total) for push in market.step()]
    (five,) = [push.candle for push in pushes if push.interval == "5" and push.confirm]
    assert five == Candle(10 * MINUTE, "10", "14.5", "9.75", "14.1", "6.0")
    assert summarise(pushes, "5") == [("A", 10, False), ("A", 10, True)]
    assert market.intervals("A") == ["1", "3", "5"]  # no interval whose bars the file does not cover completely
    assert market.find("A", "60") is None


def test_a_jump_leads_to_the_same_state_as_single_steps() -> None:
    files = {"A": candles(*range(100, 140)), "B": candles(*range(105, 120), *range(125, 130))}
    for steps in range(Market(files).steps_total + 1):
        stepped, jumped = Market(files), Market(files)
        for _ in range(steps):
            stepped.step()
        jumped.jump_to(steps)
        assert (jumped.steps_done, jumped.clock_ms) == (stepped.steps_done, stepped.clock_ms)
        for interval in stepped.intervals("A"):
            for symbol in ("A", "B"):
                one, other = stepped.find(symbol, interval), jumped.find(symbol, interval)
                assert (one and (one.closed, one.opened)) == (other and (other.closed, other.opened))
    jumped.jump_to(3)
    assert jumped.done


def test_a_page_is_the_first_or_the_newest_of_its_window() -> None:
    series = Market({"A": candles(*range(100, 110))}).series["A"]
    series.move_to(105 * MINUTE)  # 100 to 104 are closed, 105 is open
    seen = {
        newest: [bar.start // MINUTE for bar in series.visible(101 * MINUTE, limit=3, newest=newest)]
        for newest in (False, True)
    }
    assert seen == {False: [101, 102, 103], True: [103, 104, 105]}
    assert [bar.start // MINUTE for bar in series.visible(104 * MINUTE, limit=3)] == [104, 105]


def test_in_two_phases_a_bar_ends_before_the_next_begins() -> None:
    market = Market({"A": candles(100, 101)}, two_phase=True)
    seen = []
    while not market.done:
        pushes = market.step()
        seen.append((market.clock_ms // MINUTE, market.stands_at_close, summarise(pushes)))
    assert seen == [
        (100, True, []),
        (100, False, [("A", 100, False)]),
        (101, True, [("A", 100, True)]),
        (101, False, [("A", 101, False)]),
        (102, True, [("A", 101, True)]),
        (102, False, []),
    ]


def test_two_phases_lead_to_the_same_bars_as_one() -> None:
    files = {"A": candles(*range(100, 140)), "B": candles(*range(105, 120), *range(125, 130))}
    one, two = Market(files), Market(files, two_phase=True)
    assert two.steps_total == 2 * one.steps_total
    while not one.done:
        pushes = one.step()
        assert [*two.step(), *two.step()] == pushes
        assert one.clock_ms == two.clock_ms


def test_a_jump_in_two_phases_leads_to_the_same_state_as_single_steps() -> None:
    files = {"A": candles(*range(100, 140)), "B": candles(*range(105, 120), *range(125, 130))}
    for steps in range(0, 84, 5):
        stepped, jumped = Market(files, two_phase=True), Market(files, two_phase=True)
        for _ in range(steps):
            stepped.step()
        jumped.jump_to(steps)
        for interval in stepped.intervals("A"):
            one, other = stepped.find("A", interval), jumped.find("A", interval)
            assert (one and (one.closed, one.opened)) == (other and (other.closed, other.opened))
