"""Steps 1 and 3: fills at the open, decisions at the close. Step 2, stops and targets, has a file of its own."""

from decimal import Decimal

import pytest

from shared.strategy.execution.outcome import EntryProposal
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from tests.unit.strategy.scenes import (
    ALWAYS,
    FREE,
    HOUR,
    NEVER,
    START,
    at_close,
    bars,
    fill_lines,
    run,
    strategy,
    terms,
)

ON_ONE = at_close("1")
ON_TWO = at_close("2")
BOTH_WAYS = {"long": ON_ONE, "short": ON_TWO}


def test_a_decision_at_a_close_fills_at_the_next_open() -> None:
    report = run(strategy(ON_ONE, ON_TWO), bars("1", "3 4 2 2", "5 6 5 5"))
    assert fill_lines(report) == ["1 open 3 1 entry", "2 close 5 1 signal"]


def test_slippage_worsens_the_price_which_is_rounded_half_up_to_the_tick() -> None:
    on = terms(tick_size=Decimal("0.5"), slippage=Decimal("0.05"))
    report = run(strategy(ON_ONE, ON_TWO), bars("1", "5 5 2 2", "5"), on)
    assert fill_lines(report) == ["1 open 5.5 1 entry", "2 close 5 1 signal"]
    short = run(strategy(ON_ONE, ON_TWO, side="SHORT"), bars("1", "5 5 2 2", "5"), on)
    assert fill_lines(short) == ["1 open 5 1 entry", "2 close 5.5 1 signal"]


def test_an_open_position_is_closed_at_the_last_close_without_slippage_and_a_pending_order_dropped() -> None:
    on = terms(slippage=Decimal("0.1"))
    assert fill_lines(run(strategy(ON_ONE), bars("1", "10", "20"), on))[-1] == "2 close 20 1 end_of_data"
    assert fill_lines(run(strategy(ON_ONE), bars("2", "1"), on)) == []


def test_the_time_exit_counts_the_close_of_the_entry_bar_as_the_first() -> None:
    report = run(strategy(ON_ONE, risk={"max_bars": 2}), bars("1", "5", "6", "7", "8"))
    assert fill_lines(report) == ["1 open 5 1 entry", "3 close 7 1 time"]
    assert report.trades[0].bars == 2


def test_a_signal_comes_before_the_time_exit_and_the_trailing_stop_before_both() -> None:
    rows = bars("1", "100", "100 100 99.5 99.5", "99")
    both = strategy(ON_ONE, at_close("99.5"), risk={"max_bars": 2})
    assert fill_lines(run(both, rows))[-1].endswith("signal")
    trailing = strategy(
        ON_ONE,
        at_close("120"),
        risk={"max_bars": 1, "trailing_stop": {"type": "percent", "value": "50", "activation": 100}},
    )
    report = run(trailing, bars("1", "100 240 100 120", "130"))
    assert fill_lines(report)[-1] == "2 close 130 1 trailing_stop"


def test_a_reversal_fills_the_exit_first() -> None:
    plan = strategy(BOTH_WAYS, {"long": ON_TWO, "short": ON_ONE}, side="BOTH")
    report = run(plan, bars("1", "3 3 2 2", "4", "5"))
    assert fill_lines(report) == [
        "1 open 3 1 entry",
        "2 close 4 1 signal",
        "2 open 4 1 entry",
        "3 close 5 1 end_of_data",
    ]
    assert [fill.side for fill in report.fills] == ["LONG", "LONG", "SHORT", "SHORT"]


def test_a_reversal_needs_only_the_entry_of_the_other_side_to_be_true() -> None:
    plan = strategy({"long": ALWAYS, "short": ON_TWO}, {"long": ON_TWO}, side="BOTH")
    assert fill_lines(run(plan, bars("1", "3 3 2 2", "4", "4")))[2] == "3 open 4 1 entry"


def test_with_a_cooldown_there_is_no_reversal() -> None:
    plan = strategy(BOTH_WAYS, {"long": ON_TWO}, side="BOTH", risk={"cooldown_bars": 1})
    assert len(fill_lines(run(plan, bars("1", "3 3 2 2", "4", "4")))) == 2


def test_no_entry_when_the_conditions_of_both_sides_are_true() -> None:
    assert fill_lines(run(strategy({"long": ALWAYS, "short": ALWAYS}, side="BOTH"), bars("1", "1", "1"))) == []


def test_the_cooldown_begins_with_the_close_of_the_bar_in_which_the_trade_ended() -> None:
    plan = strategy(ALWAYS, at_close("2"), risk={"cooldown_bars": 2})
    report = run(plan, bars("1", "2", "3", "4", "5", "6"))  # in at 1, out at 2: closes 2 and 3 do not count
    assert [line.split()[0:2] for line in fill_lines(report)] == [
        ["1", "open"],
        ["2", "close"],
        ["5", "open"],
        ["5", "close"],
    ]


def test_after_a_stop_inside_a_bar_the_cooldown_begins_at_the_close() -> None:
    stop = {"type": "percent", "value": "10"}
    plan = strategy(ALWAYS, risk={"cooldown_bars": 1, "stop_loss": stop})
    report = run(plan, bars("100", "100 100 80 100", "100", "100", "100"))
    assert fill_lines(report)[:3] == [
        "1 open 100 1 entry",
        "1 close 90 1 stop_loss",
        "3 open 100 1 entry",
    ]


def test_no_decision_before_every_declared_indicator_is_defined() -> None:
    plan = strategy(ALWAYS, indicators={"unused": {"type": "SMA", "period": 3}})
    report = run(plan, bars("1", "1", "1", "1"))
    assert report.first_decision == 2
    assert fill_lines(report)[0].startswith("3 open")


def test_no_decision_before_the_first_bar() -> None:
    report = run(strategy(ALWAYS), bars("1", "1", "1", "1"), first_bar_ms=START + HOUR + 1)
    assert report.first_decision == 2
    assert fill_lines(report)[0].startswith("3 open")


class TestDailyLoss:
    TERMS = terms(initial_balance=Decimal(100))

    def test_there_are_no_more_entries_on_that_day(self) -> None:
        plan = strategy(ALWAYS, at_close("99"), risk={"max_daily_loss_percentage": "1", "leverage": 2})
        rows = bars("100", "100 100 99 99", *["99"] * 23, "100", "100")
        report = run(plan, rows, self.TERMS)
        assert fill_lines(report)[:3] == [
            "1 open 100 1 entry",
            "2 close 99 1 signal",
            "25 open 100 1 entry",
        ]

    def test_a_loss_below_the_limit_refuses_no_entry(self) -> None:
        plan = strategy(ALWAYS, at_close("99.5"), risk={"max_daily_loss_percentage": "1", "leverage": 2})
        report = run(plan, bars("100", "100 100 99 99.5", "99.5", "99"), self.TERMS)
        assert fill_lines(report)[2] == "3 open 99 1 entry"

    def test_a_gain_in_the_same_bar_does_not_lift_the_limit(self) -> None:
        plan = strategy(
            {"long": at_close("100"), "short": at_close("99")},
            {"long": at_close("99")},
            side="BOTH",
            risk={
                "leverage": 2,
                "max_daily_loss_percentage": "1",
                "take_profits": [{"type": "percent", "value": 5, "close_percent": 100}],
            },
        )
        rows = bars("100", "100 100 99 99", "99 99 90 100", "100", "100")
        assert [line.split()[4] for line in fill_lines(run(plan, rows, self.TERMS))] == [
            "entry",
            "signal",
            "entry",
            "take_profit",
        ]


@pytest.mark.parametrize(
    ("risk", "qty"),
    [
        ({"position_size": {"type": "percent_of_equity", "value": 50}}, "500"),
        ({"position_size": {"type": "percent_of_equity", "value": 50}, "leverage": 3}, "1500"),
        ({"position_size": {"type": "percent_of_equity", "value": 100}}, "990.099"),
        ({"position_size": {"type": "fixed_quote", "value": "12345.678"}}, "123.456"),
        ({"position_size": {"type": "fixed_base", "value": "1.23456"}}, "1.234"),
        ({"position_size": {"type": "fixed_base", "value": "1000000"}, "leverage": 2}, "1980.198"),
        (
            {
                "position_size": {"type": "risk_percent", "value": 1},
                "stop_loss": {"type": "percent", "value": "2.5"},
            },
            "400",
        ),
        (
            {
                "position_size": {"type": "risk_percent", "value": 1},
                "stop_loss": {"type": "atr", "value": "2", "indicator": "range"},
            },
            "125",
        ),
    ],
)
def test_the_size_is_fixed_at_the_close_and_floored(risk: dict[str, object], qty: str) -> None:
    rows = bars(*["100 102 98 100"] * 4)
    report = run(strategy(ALWAYS, indicators={"range": {"type": "ATR", "period": 2}}, risk=risk), rows)
    assert report.fills[0].qty == Decimal(qty)


def test_the_largest_size_leaves_a_reserve_for_the_fees() -> None:
    plan = strategy(ALWAYS, risk={"position_size": {"type": "percent_of_equity", "value": 100}, "leverage": 10})
    report = run(plan, bars("100", "100"), terms(fee=Decimal("0.001"), initial_balance=Decimal(10_000)))
    assert report.fills[0].qty == Decimal("970.873")  # 10000 × 10 ÷ (100 × (1 + 0.01 + 2 × 0.001 × 10))


@pytest.mark.parametrize(
    ("size", "price"), [("0.0009", "100000"), ("0.01", "499")], ids=["min_order_qty", "min_notional"]
)
def test_an_entry_that_is_too_small_is_not_made(size: str, price: str) -> None:
    plan = strategy(ALWAYS, risk={"position_size": {"type": "fixed_base", "value": size}})
    on = terms(min_notional=Decimal(5))
    assert fill_lines(run(plan, bars(price, price, price), on)) == []


def test_an_undefined_or_zero_distance_refuses_the_entry() -> None:
    stop = {"type": "atr", "value": 1, "indicator": "range"}
    plan = strategy(ALWAYS, indicators={"range": {"type": "ATR", "period": 2}}, risk={"stop_loss": stop})
    assert fill_lines(run(plan, bars(*["100"] * 5))) == []
    target = [{"type": "atr", "value": 1, "indicator": "range", "close_percent": 50}]
    plan = strategy(ALWAYS, indicators={"range": {"type": "ATR", "period": 2}}, risk={"take_profits": target})
    assert fill_lines(run(plan, bars(*["100"] * 5))) == []


def test_a_pending_entry_is_dropped_when_the_reversed_trade_leaves_no_equity() -> None:
    plan = strategy(
        {"long": at_close("100"), "short": at_close("99")},
        {"long": at_close("99")},
        side="BOTH",
        risk={"leverage": 100},
    )
    on = terms(initial_balance=Decimal(10))
    report = run(plan, bars("100", "100 100 99 99", "50", "100", "100"), on)
    assert [line.split()[1] for line in fill_lines(report)] == ["open", "close"]
    assert report.final_equity < 0


def test_a_guard_refuses_an_entry_and_the_decision_says_so() -> None:
    seen: list[EntryProposal] = []

    def guard(proposal: EntryProposal) -> str | None:
        seen.append(proposal)
        return "paused"

    plan = strategy(
        ALWAYS,
        indicators={"range": {"type": "ATR", "period": 2}},
        risk={
            "stop_loss": {"type": "atr", "value": 2, "indicator": "range"},
            "take_profits": [{"type": "percent", "value": 3, "close_percent": 100}],
        },
    )
    series, execution = Series(bars(*["100 102 98 100"] * 3)), Execution(plan, FREE)
    outcomes = [execution.on_close(series, index, guard) for index in range(3)]
    assert outcomes[2].must_be_stored
    decision = outcomes[2].decision
    assert decision is not None
    assert (decision.outcome, decision.refusal) == ("refused", "paused")
    assert decision.qty == 1
    assert decision.values == {"close": 100.0, "range": 4.0}
    assert decision.checks == {"entry.long": True, "distance": True, "size": True, "guard": False}
    assert seen == [EntryProposal("LONG", Decimal(1), Decimal(100), Decimal(100), Decimal(8), (Decimal(3),))]
    assert not execution.pending


def test_a_reversal_is_two_decisions() -> None:
    plan = strategy(BOTH_WAYS, {"long": ON_TWO}, side="BOTH")
    series, execution = Series(bars("1", "3 3 2 2")), Execution(plan, FREE)
    execution.on_close(series, 0)
    outcome = execution.on_close(series, 1)
    assert [(each.kind, each.side) for each in outcome.decisions] == [("exit", "LONG"), ("entry", "SHORT")]


def test_stop_closes_an_open_position_and_drops_a_pending_order() -> None:
    series, execution = Series(bars("1", "2")), Execution(strategy(ALWAYS), FREE)
    execution.on_close(series, 0)
    assert execution.stop(START, Decimal(1), "manual").dropped
    assert not execution.pending
    execution = Execution(strategy(ALWAYS), FREE)
    execution.on_close(series, 0)
    execution.on_open(START + HOUR, Decimal(2))
    assert execution.position is not None
    stopped = execution.stop(START + HOUR, Decimal("2.5"), "manual")
    assert stopped.trades[0].pnl == Decimal("0.5")
    assert execution.position is None


def test_each_step_can_be_taken_once() -> None:
    series, execution = Series(bars("1", "2")), Execution(strategy(NEVER), FREE)
    execution.on_open(START, Decimal(1))
    assert not execution.on_open(START, Decimal(1)).must_be_stored
    execution.on_close(series, 0)
    with pytest.raises(ValueError, match="stepped through already"):
        execution.on_close(series, 0)
    with pytest.raises(ValueError, match="stepped through already"):
        execution.on_open(START, Decimal(1))
