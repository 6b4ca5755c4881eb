"""Other engines on the same case, in their environment: `python peers.py NAME FILE.npy RUNS BARS`.

NAME is `vectorbt`, `backtesting`, `numba`, which is a bare loop, or `numba_sweep`, the loop with 1,000 settings.

Imports nothing of ours. Prints one JSON object: seconds of each warm run, and its number of trades.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

FEE, STOP, TARGET = 0.00055, 0.02, 0.04


def vectorbt(prices: dict[str, np.ndarray]) -> Callable[[], int]:
    """Orders at the next open, stops within the bar, half of the cash; EMAs by pandas' recursion."""
    import pandas as pd
    import vectorbt as vbt

    frame = {name: pd.Series(column) for name, column in prices.items()}

    def run() -> int:
        fast, slow = (vbt.MA.run(frame["close"], span, ewm=True, short_name=f"ma{span}") for span in (12, 26))
        entries = fast.ma_crossed_above(slow).vbt.fshift(1)
        exits = fast.ma_crossed_below(slow).vbt.fshift(1)
        folio = vbt.Portfolio.from_signals(
            frame["close"], entries, exits, price=frame["open"], open=frame["open"], high=frame["high"],
            low=frame["low"], sl_stop=STOP, tp_stop=TARGET, fees=FEE, init_cash=10_000, size=0.5,
            size_type="percent", freq="1min",
        )  # fmt: skip
        folio.total_return()
        return int(folio.trades.count())

    return run


def backtesting(prices: dict[str, np.ndarray]) -> Callable[[], int]:
    """Orders at the next open with stop and target attached, half of the cash."""
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    index = pd.date_range("2026-01-01", periods=len(prices["close"]), freq="1min")
    frame = pd.DataFrame({name.capitalize(): column for name, column in prices.items()}, index=index)

    class Cross(Strategy):  # type: ignore[misc]  # not typed in this environment
        def init(self) -> None:
            self.fast, self.slow = (
                self.I(lambda span=span: pd.Series(self.data.Close).ewm(span=span).mean()) for span in (12, 26)
            )

        def next(self) -> None:
            close = self.data.Close[-1]
            if crossover(self.fast, self.slow) and not self.position:
                self.buy(size=0.5, sl=close * (1 - STOP), tp=close * (1 + TARGET))
            elif crossover(self.slow, self.fast):
                self.position.close()

    engine = Backtest(frame, Cross, cash=10_000_000, commission=FEE, finalize_trades=True)
    return lambda: int(engine.run()["# Trades"])


def bare_loop(prices: dict[str, np.ndarray]) -> Callable[[], int]:
    """The same logic over floats, compiled: two EMAs, the cross, the next open, stop, target."""
    import numba

    compiled = numba.njit(_loop)
    return lambda: int(compiled(*prices.values(), 12, 26)[0])


def bare_loops(prices: dict[str, np.ndarray]) -> Callable[[], int]:
    """The bare loop for each pair of periods."""
    import numba

    compiled = numba.njit(_loop)
    pairs = [(fast, slow) for fast in range(5, 30) for slow in range(30, 70)]
    return lambda: sum(int(compiled(*prices.values(), *pair)[0]) for pair in pairs)


def _loop(opens, highs, lows, closes, fast, slow):  # type: ignore[no-untyped-def]  # compiled by numba
    """Return the number of trades and the sum of their returns."""
    quick, late = closes[:fast].mean(), closes[:slow].mean()
    for index in range(fast, slow):
        quick += (closes[index] - quick) * 2.0 / (fast + 1)
    above, entry, returns, trades, pending = quick > late, 0.0, 0.0, 0, 0
    for index in range(slow, len(closes)):
        if pending == 1:
            entry, trades = opens[index], trades + 1
        elif pending == -1 and entry > 0.0:
            returns, entry = returns + opens[index] / entry - 1.0, 0.0
        pending = 0
        if entry > 0.0:
            if lows[index] <= entry * (1.0 - STOP):
                returns, entry = returns - STOP, 0.0
            elif highs[index] >= entry * (1.0 + TARGET):
                returns, entry = returns + TARGET, 0.0
        quick += (closes[index] - quick) * 2.0 / (fast + 1)
        late += (closes[index] - late) * 2.0 / (slow + 1)
        was, above = above, quick > late
        if above and not was and entry == 0.0:
            pending = 1
        elif was and not above and entry > 0.0:
            pending = -1
    return trades, returns


def main() -> None:
    name, file, runs, bars = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    prices = dict(zip(("open", "high", "low", "close"), np.load(file)[:, :bars], strict=True))
    engines = {
        "vectorbt": vectorbt, "backtesting": backtesting, "numba": bare_loop, "numba_sweep": bare_loops,
    }  # fmt: skip
    run = engines[name](prices)
    trades = run() if runs > 1 else 0
    seconds = []
    for _ in range(runs):
        began = time.process_time()
        trades = run()
        seconds.append(time.process_time() - began)
    print(json.dumps({"version": version(name.partition("_")[0]), "seconds": seconds, "trades": trades}))


if __name__ == "__main__":
    main()
