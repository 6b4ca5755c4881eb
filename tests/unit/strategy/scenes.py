"""Builders for the strategy tests: bars drawn by hand, and documents with one part changed."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from shared.contracts.types import decimal_text
from shared.strategy.backtest.report import BacktestReport
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Instrument, Terms
from shared.strategy.document.parse import Strategy, parse_strategy

HOUR = 3_600_000
START = 1_700_006_400_000  # 2023-11-15T00:00:00Z
ALWAYS = {"left": "close", "op": ">", "right": 0}
NEVER = {"left": "close", "op": "<", "right": 0}
ONE_COIN = {"position_size": {"type": "fixed_base", "value": "1"}}


def terms(
    fee: Decimal = Decimal(0),
    slippage: Decimal = Decimal(0),
    initial_balance: Decimal = Decimal(100_000),
    **instrument: Decimal,
) -> Terms:
    """Without fees and minimum notional, so that hand-made prices stay round."""
    return Terms(Instrument(**{"min_notional": Decimal(0), **instrument}), fee, slippage, initial_balance)


FREE = terms()


def bars(*rows: str, start: int = START, step: int = HOUR) -> list[Bar]:
    """Rows `open high low close`, or one price for all four; volume 1."""
    result = []
    for index, row in enumerate(rows):
        prices = row.split()
        prices = prices * 4 if len(prices) == 1 else prices
        opened, high, low, close = map(Decimal, prices)
        result.append(Bar(start + index * step, opened, high, low, close, Decimal(1)))
    return result


def document(
    entry: object = ALWAYS,
    leave: object = None,
    side: str = "LONG",
    indicators: Mapping[str, object] | None = None,
    risk: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """A document with hourly bars that buys one coin whenever it can."""
    return {
        "strategy_name": "scene",
        "strategy_config": {"interval": "60", "side": side, "indicators": dict(indicators or {})},
        "entry_conditions": entry,
        "exit_conditions": leave,
        "risk_management": {**ONE_COIN, **(risk or {})},
    }


def strategy(
    entry: object = ALWAYS,
    leave: object = None,
    side: str = "LONG",
    indicators: Mapping[str, object] | None = None,
    risk: Mapping[str, object] | None = None,
) -> Strategy:
    return parse_strategy(document(entry, leave, side, indicators, risk))


def at_close(*prices: str) -> dict[str, object]:
    """A condition that is true at bars that close at one of these prices."""
    return {"any": [{"left": "close", "op": "==", "right": price} for price in prices]}


def run(plan: Strategy, rows: Sequence[Bar], on: Terms = FREE, first_bar_ms: int | None = None) -> BacktestReport:
    return run_backtest(plan, rows, on, first_bar_ms)


def fill_lines(report: BacktestReport) -> list[str]:
    """Fills as `bar action price qty reason`, with bars counted from 0."""
    return [
        f"{(fill.time_ms - START) // HOUR} {fill.action} {decimal_text(fill.price)} {decimal_text(fill.qty)} "
        f"{fill.reason}"
        for fill in report.fills
    ]
