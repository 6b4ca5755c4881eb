"""Strategies described in plain words."""

import pytest

from cli.report.strategy_text import describe_strategy
from tests.unit.strategy.scenes import strategy

FAST = {"fast": {"type": "EMA", "period": 12}}


def sentences(entry: object, **risk: object) -> list[str]:
    return describe_strategy(strategy(entry, indicators=FAST, risk=risk))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"left": "fast", "op": "crosses_above", "right": "close"}, "fast crosses above close"),
        ({"left": "close", "op": ">=", "right": "1.50", "for_bars": 3}, "close is at or above 1.5 for 3 bars"),
        (
            {"left": {"ref": "fast", "shift": 1, "mul": "1.01", "add": -2}, "op": "<", "right": 3},
            "fast 1 bar ago × 1.01 − 2 is below 3",
        ),
        (
            {
                "all": [
                    {"left": "close", "op": ">", "right": 1},
                    {"any": [{"left": "close", "op": "==", "right": 2}]},
                ]
            },
            "close is above 1 and (close equals 2)",
        ),
        ({"not": {"left": "close", "op": "<=", "right": 1}}, "not (close is at or below 1)"),
    ],
)
def test_a_condition_is_a_sentence(entry: object, words: str) -> None:
    assert f"Enters long at the next open when {words}." in sentences(entry)


def test_indicators_stops_and_limits_are_described() -> None:
    described = sentences(
        {"left": "close", "op": ">", "right": 1},
        stop_loss={"type": "atr", "value": "2", "indicator": "fast"},
        take_profits=[{"type": "percent", "value": "4", "close_percent": "50"}],
        trailing_stop={"type": "percent", "value": "3", "activation": "1"},
        max_bars=9,
        cooldown_bars=2,
        max_daily_loss_percentage="5",
    )
    assert described[0] == "fast is EMA(12) of close."
    assert described[2:] == [
        "Trades 1 of the base currency.",
        "Stop loss 2 × fast from the entry.",
        "Takes profit on 50 % at 4 %.",
        "Trails a stop by 3 %, once 1 % in profit.",
        "Leaves after 9 bars.",
        "Waits 2 bars after a trade.",
        "Stops entering on a day once it has lost 5 %.",
    ]
