"""Step 2: stops and targets inside a bar."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from shared.strategy.bars import Terms
from tests.unit.strategy.scenes import FREE, at_close, bars, fill_lines, run, strategy, terms

ON_ONE = at_close("1")
TEN_PERCENT = {"type": "percent", "value": "10"}
ATR = {"range": {"type": "ATR", "period": 2}}
QUIET_RANGE = ("2 3 1 2", "2 3 1 2", "2 3 1 1")  # ATR is 2 at the third close


def target(value: object, close_percent: object) -> dict[str, object]:
    return {"type": "percent", "value": value, "close_percent": close_percent}


def long_fills(
    *rows: str, size: str = "1", on: Terms = FREE, risk: Mapping[str, object] | None = None
) -> list[str]:
    """The fills after the entry of a long position that was opened at bar 1."""
    plan = strategy(ON_ONE, risk={"position_size": {"type": "fixed_base", "value": size}, **(risk or {})})
    return fill_lines(run(plan, bars("1", *rows), on))[1:]


def short_fills(*rows: str, on: Terms = FREE, risk: Mapping[str, object] | None = None) -> list[str]:
    return fill_lines(run(strategy(ON_ONE, side="SHORT", risk=risk), bars("1", *rows), on))[1:]


def test_a_stop_reached_inside_the_bar_fills_at_the_stop_also_in_the_entry_bar() -> None:
    assert long_fills("100 100 90 95", risk={"stop_loss": TEN_PERCENT}) == ["1 close 90 1 stop_loss"]
    assert short_fills("100 110 100 105", risk={"stop_loss": TEN_PERCENT}) == ["1 close 110 1 stop_loss"]


def test_a_stop_passed_at_the_open_fills_at_the_open_with_slippage() -> None:
    on = terms(slippage=Decimal("0.1"))
    fills = long_fills("100", "80 80 70 75", risk={"stop_loss": {"type": "percent", "value": "20"}}, on=on)
    assert fills == ["2 close 72 1 stop_loss"]  # entered at 110, stop 88


def test_a_stop_inside_the_bar_has_slippage_too() -> None:
    on = terms(slippage=Decimal("0.01"))
    fills = long_fills("100 101 90 95", risk={"stop_loss": TEN_PERCENT}, on=on)
    assert fills == ["1 close 89.99 1 stop_loss"]  # 101 × 0.9 = 90.9, × 0.99 = 89.991


def test_the_stop_comes_before_the_targets_of_the_same_bar() -> None:
    fills = long_fills("100", "100 120 90 100", risk={"stop_loss": TEN_PERCENT, "take_profits": [target(10, 100)]})
    assert fills == ["2 close 90 1 stop_loss"]


def test_targets_passed_at_the_open_come_before_the_stop() -> None:
    fills = long_fills(
        "100", "112 130 90 100", risk={"stop_loss": TEN_PERCENT, "take_profits": [target(10, 40), target(20, 40)]}
    )
    assert fills == ["2 close 112 0.4 take_profit", "2 close 90 0.6 stop_loss"]


def test_targets_fill_at_their_price_in_their_order_without_slippage() -> None:
    on = terms(slippage=Decimal("0.01"))
    fills = long_fills("100", "100 150 100 100", risk={"take_profits": [target(10, 40), target(20, 60)]}, on=on)
    assert fills == ["2 close 111.1 0.4 take_profit", "2 close 121.2 0.6 take_profit"]


def test_a_shorts_targets_lie_below_and_do_not_exist_at_zero() -> None:
    fills = short_fills("100", "100 100 1 50", "50", risk={"take_profits": [target(50, 50), target(100, 50)]})
    assert fills == ["2 close 50 0.5 take_profit", "3 close 50 0.5 end_of_data"]


def test_a_longs_stop_below_zero_does_not_exist() -> None:
    plan = strategy(
        at_close("1"), indicators=ATR, risk={"stop_loss": {"type": "atr", "value": 5, "indicator": "range"}}
    )
    report = run(plan, bars(*QUIET_RANGE, "2 2 0.01 2", "2"))
    assert fill_lines(report)[-1].endswith("end_of_data")


def test_atr_distances_are_taken_at_the_decision_bar_from_the_fill_price() -> None:
    plan = strategy(
        at_close("1"),
        indicators=ATR,
        risk={
            "stop_loss": {"type": "atr", "value": "1.5", "indicator": "range"},
            "take_profits": [{"type": "atr", "value": "2", "indicator": "range", "close_percent": 50}],
        },
    )
    report = run(plan, bars(*QUIET_RANGE, "100 104 98 100", "100 100 90 95"))
    assert fill_lines(report)[1:] == ["3 close 104 0.5 take_profit", "4 close 97 0.5 stop_loss"]


def test_the_level_that_completes_100_percent_closes_the_rest() -> None:
    fills = long_fills(
        "100", "100 150 100 150", size="0.005", risk={"take_profits": [target(10, 50), target(20, 50)]}
    )
    assert fills == ["2 close 110 0.002 take_profit", "2 close 120 0.003 take_profit"]


def test_a_part_below_the_minimum_quantity_is_skipped() -> None:
    on = terms(min_order_qty=Decimal("0.3"))
    levels = [target(10, 20), target(20, 50), target(30, 30)]
    fills = long_fills("100", "100 125 100 100", "100 140 100 100", risk={"take_profits": levels}, on=on)
    assert fills == ["2 close 120 0.5 take_profit", "3 close 130 0.5 take_profit"]


def test_a_remainder_below_the_minimum_quantity_is_skipped() -> None:
    on = terms(min_order_qty=Decimal("0.3"))
    levels = [target(10, 80), target(20, 20)]
    fills = long_fills("100", "100 140 100 100", "100", risk={"take_profits": levels}, on=on)
    assert fills == ["2 close 110 0.8 take_profit", "3 close 100 0.2 end_of_data"]


def test_the_trailing_stop_follows_the_extreme_of_the_bars_before() -> None:
    trailing = {"type": "percent", "value": "10"}
    fills = long_fills("100 120 105 115", "115 150 110 140", "140 140 130 130", risk={"trailing_stop": trailing})
    assert fills == ["3 close 135 1 trailing_stop"]


def test_without_activation_the_stop_trails_from_the_entry() -> None:
    fills = long_fills("100 200 90 95", risk={"trailing_stop": {"type": "percent", "value": "10"}})
    assert fills == ["1 close 90 1 trailing_stop"]


def test_the_trailing_stop_is_active_once_the_extreme_reaches_the_unrounded_activation() -> None:
    trailing = {"type": "percent", "value": "1", "activation": "10"}
    almost = long_fills("100 109.99 100 109", "109 109 100 100", "100", risk={"trailing_stop": trailing})
    assert almost == ["3 close 100 1 end_of_data"]
    just = long_fills("100 110 100 109", "109 109 100 100", "100", risk={"trailing_stop": trailing})
    assert just == ["2 close 108.9 1 trailing_stop"]


def test_the_tighter_of_stop_loss_and_trailing_stop_applies() -> None:
    both = {"stop_loss": TEN_PERCENT, "trailing_stop": {"type": "percent", "value": "5"}}
    assert long_fills("100 100 95 97", risk=both) == ["1 close 95 1 trailing_stop"]
    assert short_fills("100 105 100 103", risk=both) == ["1 close 105 1 trailing_stop"]


def test_at_equal_levels_the_stop_loss_applies() -> None:
    fills = long_fills(
        "100 100 90 95", risk={"stop_loss": TEN_PERCENT, "trailing_stop": {"type": "percent", "value": "10"}}
    )
    assert fills == ["1 close 90 1 stop_loss"]


def test_a_close_beyond_the_new_trailing_stop_exits_at_the_next_open() -> None:
    fills = long_fills("100 120 100 105", "107", risk={"trailing_stop": {"type": "percent", "value": "10"}})
    assert fills == ["2 close 107 1 trailing_stop"]


@pytest.mark.parametrize("close", ["108", "107.99"])
def test_a_close_at_or_beyond_the_trailing_stop_exits(close: str) -> None:
    fills = long_fills(f"100 120 100 {close}", "200", risk={"trailing_stop": {"type": "percent", "value": "10"}})
    assert fills == ["2 close 200 1 trailing_stop"]


def test_stops_are_rounded_half_up_to_the_tick() -> None:
    on = terms(tick_size=Decimal("0.5"))
    fills = long_fills("97.5 97.5 1 1", risk={"stop_loss": TEN_PERCENT}, on=on)  # 87.75
    assert fills == ["1 close 88 1 stop_loss"]
