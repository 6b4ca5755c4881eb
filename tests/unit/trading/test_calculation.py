"""The program that calculates backtests, tested by its input and output."""

import json
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal

import pytest

from shared.market.bars import enclose_body
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Terms
from shared.strategy.document.parse import parse_strategy
from tests.unit.trading.scenes import CROSS, wavy_bars

BARS = wavy_bars(200)
TERMS = {
    "tick_size": "0.01",
    "qty_step": "0.001",
    "min_order_qty": "0.001",
    "min_notional": "5",
    "fee": "0.00055",
    "slippage": "0",
    "initial_balance": "10000",
}


def question(bars: Sequence[Bar] = BARS, **terms: str) -> str:
    asked = json.dumps({"document": CROSS, "terms": {**TERMS, **terms}})
    return "\n".join([asked, *("\t".join(map(str, bar)) for bar in bars), "", ""])


def answers(*questions: str) -> list[tuple[str, str]]:
    command = [sys.executable, "-m", "services.trading.backtests.calculation"]
    done = subprocess.run(
        command, input="".join(questions), capture_output=True, text=True, check=True, timeout=200
    )
    return [line.partition(" ")[::2] for line in done.stdout.splitlines()]


def test_one_process_answers_several_questions_and_refuses_results_that_cannot_be_stored() -> None:
    """A fee amount with 23 decimals cannot be stored; the next question is still answered."""
    answered = answers(question(fee="0.000000000000000001"), question())
    expected = run_backtest(parse_strategy(CROSS), BARS, Terms())
    assert [word for word, _ in answered] == ["refused", "head", "fills", "trades", "end"]
    assert "18 decimals can be stored" in answered[0][1]
    head, fills, trades = (json.loads(what) for _, what in answered[1:4])
    assert (head["bars"], head["fingerprint"]) == (len(BARS), expected.fingerprint)
    assert [fill["price"] for fill in fills] == [f"{fill.price.normalize():f}" for fill in expected.fills]
    assert [trade["n"] for trade in trades] == [*range(1, len(expected.trades) + 1)]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("low", "0", "a price is not above 0"),
        ("volume", "-1", "volume -1 is negative"),
        ("close", "Infinity", "finite"),
    ],
)
def test_a_stored_bar_that_breaks_the_rules_is_refused(field: str, value: str, reason: str) -> None:
    wrong = [*BARS[:9], Bar(**{**BARS[9]._asdict(), field: Decimal(value)}), *BARS[10:]]
    ((word, why),) = answers(question(wrong))
    assert word == "refused"
    assert why.startswith("a stored candle is invalid: ")
    assert reason in why


def test_a_stored_bar_that_does_not_enclose_its_body_is_widened() -> None:
    """Its stop would be hit at another price, or not at all, if it were calculated as it is stored."""
    narrow = [bar._replace(high=bar.low, low=bar.high) for bar in BARS]
    expected = run_backtest(parse_strategy(CROSS), [enclose_body(bar) for bar in narrow], Terms())
    head = json.loads(answers(question(narrow))[0][1])
    assert head["fingerprint"] == expected.fingerprint


def test_truncated_bars_give_no_answer() -> None:
    command = [sys.executable, "-m", "services.trading.backtests.calculation"]
    cut = question()[:2_000]
    done = subprocess.run(command, input=cut, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode != 0
    assert done.stdout == ""
