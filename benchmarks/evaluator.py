"""The evaluator: a backtest, and one step."""

import random
from decimal import Decimal

import numpy as np
import talib

from benchmarks.measuring import Figure, rate
from shared.strategy.backtest import run_backtest
from shared.strategy.bars import Bar, Terms
from shared.strategy.document import parse_strategy
from shared.strategy.execution import Execution
from shared.strategy.series import Series

BARS = 50_000
STEPS = 200
DOCUMENT = {
    "strategy_name": "cross",
    "strategy_config": {
        "interval": "1",
        "side": "LONG",
        "indicators": {"fast": {"type": "EMA", "period": 12}, "slow": {"type": "EMA", "period": 26}},
    },
    "entry_conditions": {"left": "fast", "op": "crosses_above", "right": "slow"},
    "exit_conditions": {"left": "fast", "op": "crosses_below", "right": "slow"},
    "risk_management": {
        "position_size": {"type": "percent_of_equity", "value": "50"},
        "stop_loss": {"type": "percent", "value": "2"},
    },
}


def made_up_bars(count: int) -> list[Bar]:
    draw = random.Random(1)
    price, bars = Decimal("50000.0"), []
    for number in range(count):
        close = max(price + Decimal(draw.randint(-500, 500)) / 10, Decimal(1))
        high, low = max(price, close) + Decimal("3.5"), min(price, close) - Decimal("3.5")
        bars.append(Bar(number * 60_000, price, high, max(low, Decimal("0.1")), close, Decimal(5)))
        price = close
    return bars


def measure() -> list[Figure]:
    bars = made_up_bars(BARS)
    strategy = parse_strategy(DOCUMENT)
    ours = rate(BARS, lambda: run_backtest(strategy, bars, Terms()))
    theirs = rate(BARS, lambda: _bare_loop(bars))
    return [Figure("backtest", "bars/s", ours, "a bare float loop", theirs), _step(bars[:5_000])]


def _bare_loop(bars: list[Bar]) -> float:
    closes = np.array([float(bar.close) for bar in bars])
    fast, slow = talib.EMA(closes, 12), talib.EMA(closes, 26)
    pnl, entry = 0.0, 0.0
    for t in range(1, len(closes)):
        above, was = fast[t] > slow[t], fast[t - 1] > slow[t - 1]
        if above and not was:
            entry = closes[t]
        elif was and not above and entry:
            pnl, entry = pnl + closes[t] - entry, 0.0
    return pnl


def _step(bars: list[Bar]) -> Figure:
    strategy = parse_strategy(DOCUMENT)

    def ours() -> None:
        series, execution = Series(bars[:-STEPS]), Execution(strategy, Terms())
        for bar in bars[-STEPS:]:
            series.append(bar)
            execution.on_close(series)

    def theirs() -> None:
        closes = np.array([float(bar.close) for bar in bars])
        for _ in range(STEPS):
            talib.EMA(closes, 12)
            talib.EMA(closes, 26)

    return Figure("step", "closes/s", rate(STEPS, ours), "TA-Lib's two EMAs alone", rate(STEPS, theirs))
