"""Two backtests are the same question only if everything that a result follows from is the same."""

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
ASKED = BacktestQuestion("hash", "bybit", "BTCUSDT", "15", 1, BARS, TERMS, "evaluator")


def test_each_part_makes_it_another_question() -> None:
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
        replace(ASKED, strategy_hash="other"),
        replace(ASKED, venue="other"),
        replace(ASKED, symbol="other"),
        replace(ASKED, interval="other"),
        replace(ASKED, evaluator="other"),
        replace(ASKED, generation=2),
        *(replace(ASKED, range=each) for each in ranges),
        *(replace(ASKED, terms=each) for each in terms),
    ]
    digests = {question.sha256() for question in (ASKED, *others)}
    assert len(digests) == 1 + len(others)


def test_how_a_number_is_written_does_not() -> None:
    written = replace(TERMS, fee=Decimal("0.000550"), initial_balance=Decimal("1E+4"))
    assert replace(ASKED, terms=written).sha256() == ASKED.sha256()


def test_an_evaluator_is_known_by_its_source() -> None:
    assert len(evaluator_version()) == 16
