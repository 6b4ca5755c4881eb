"""Runs many settings of a strategy over the same bars, for a search of parameters."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain

from shared.strategy.backtest.integers.compiled import load
from shared.strategy.backtest.report import BacktestReport, FillsAndTrades
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Terms
from shared.strategy.document.parse import Strategy
from shared.strategy.series import Series


def run_sweep(
    strategies: Sequence[Strategy],
    bars: Iterable[Bar] | Series,
    terms: Terms,
    first_bar_ms: int | None = None,
    threads: int | None = None,
) -> list[BacktestReport]:
    """Return the report of each strategy, as `run_backtest` has it, in their order. Raises TickTooCoarse.

    Each of the `threads` (by default one per processor) takes consecutive strategies and computes an indicator that
    they share once. Fills and trades are not kept: a report that is asked for them runs its strategy again.
    """
    load()
    series = bars if isinstance(bars, Series) else Series(bars)
    series.ticks(terms.instrument.tick_size)  # once, for all threads
    workers = max(1, min(threads or os.cpu_count() or 1, len(strategies)))
    part = -(-len(strategies) // workers)
    parts = [strategies[begin : begin + part] for begin in range(0, len(strategies), part or 1)]
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda each: _run(each, series.share(), terms, first_bar_ms), parts)
        return list(chain.from_iterable(found))


def _run(
    strategies: Sequence[Strategy], series: Series, terms: Terms, first_bar_ms: int | None
) -> list[BacktestReport]:
    reports = []
    for strategy in strategies:
        run = partial(run_backtest, strategy, series, terms, first_bar_ms)
        reports.append(replace(run(), build=partial(_fills_and_trades, run)))
        series.forget_truths()
    return reports


def _fills_and_trades(run: partial[BacktestReport]) -> FillsAndTrades:
    report = run()
    return report.fills, report.trades
