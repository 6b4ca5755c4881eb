"""Two backtests are the same question only if everything that determines the result is the same."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from services.trading.backtest_question import BacktestQuestion, Range
from services.trading.evaluator_version import evaluator_version
from shared.contracts.types import from_ms
from shared.strategy.bars import Terms
from tests.unit.trading.scenes import INSTRUMENT, START_MS

FIRST = from_ms(START_MS)
BARS = Range(FIRST, FIRST + timedelta(days=1), 96)
TERMS = Terms(INSTRUMENT, Decimal("0.00055"), Decimal(0), Decimal(10_000))
QUESTION = BacktestQuestion("hash", "bybit", "BTCUSDT", "15", 1, BARS, TERMS, "evaluator")


def test_changing_any_part_gives_another_question() -> None:
    amount, moment = Decimal("0.5"), BARS.last + timedelta(hours=1)
    steps = (
        replace(INSTRUMENT, tick_size=amount),
        replace(INSTRUMENT, qty_step=amount),
        replace(INSTRUMENT, min_order_qty=amount),
        replace(INSTRUMENT, min_notional=amount),
    )
    terms = (
        replace(TERMS, fee=amount),
        replace(TERMS, slippage=amount),
        replace(TERMS, initial_balance=amount),
        *(replace(TERMS, instrument=each) for each in steps),
    )
    ranges = (replace(BARS, first=moment), replace(BARS, last=moment), replace(BARS, bars=95))
    others = [
        replace(QUESTION, strategy_hash="other"),
        replace(QUESTION, venue="other"),
        replace(QUESTION, symbol="other"),
        replace(QUESTION, interval="other"),
        replace(QUESTION, evaluator="other"),
        replace(QUESTION, generation=2),
        *(replace(QUESTION, range=each) for each in ranges),
        *(replace(QUESTION, terms=each) for each in terms),
    ]
    digests = {question.sha256() for question in (QUESTION, *others)}
    assert len(digests) == 1 + len(others)


def test_the_notation_of_a_number_does_not_change_the_question() -> None:
    written = replace(TERMS, fee=Decimal("0.000550"), initial_balance=Decimal("1E+4"))
    assert replace(QUESTION, terms=written).sha256() == QUESTION.sha256()


def test_the_version_of_the_evaluator_is_a_hash_of_its_source() -> None:
    assert len(evaluator_version()) == 16
