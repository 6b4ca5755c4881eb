"""When the instrument changes during an execution, entries decided from then on use it and open trades do not."""

import random
from decimal import Decimal

from shared.strategy.bars import Instrument, Terms
from shared.strategy.document.parse import parse_strategy
from shared.strategy.execution.outcome import Fill
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from tests.unit.trading.scenes import CROSS, wavy_bars

FINE = Instrument(Decimal("0.01"), Decimal("0.001"))
COARSE = Instrument(Decimal("0.5"), Decimal("0.1"))
ODD = Instrument(Decimal("0.03"), Decimal("0.007"))


def run(seed: int, *, restarts: bool, opens_apart: bool) -> tuple[list[Fill], list[tuple[int, Instrument]]]:
    """A reversing strategy; the instrument is redrawn at one bar in ten."""
    strategy, draw, coin = parse_strategy(CROSS), random.Random(seed), random.Random(0)
    bars = wavy_bars(200, seed)
    series = Series(bars)
    execution = Execution(strategy, Terms(FINE))
    fills: list[Fill] = []
    now, taken = FINE, []
    for index, bar in enumerate(bars):
        if draw.random() < 0.1:
            now = draw.choice([FINE, COARSE, ODD])
        taken.append((bar.open_time_ms, now))
        if opens_apart and coin.random() < 0.5:
            fills += execution.on_open(bar.open_time_ms, bar.open).fills
        fills += execution.on_close(series, index, None, now).fills
        if restarts:
            execution = Execution.restore(strategy, Terms(FINE), None, execution.snapshot())
    return fills, taken


def test_a_trade_uses_the_instrument_of_its_entry_decision() -> None:
    mixed = 0
    for seed in range(8):
        fills, taken = run(seed, restarts=False, opens_apart=False)
        decided_by = Instrument()
        for fill in fills:
            if fill.action == "open":
                decided_by = [each for time_ms, each in taken if time_ms < fill.time_ms][-1]
                assert fill.qty % decided_by.qty_step == 0
            assert fill.price % decided_by.tick_size == 0, fill
            mixed += dict(taken)[fill.time_ms] != decided_by
    assert mixed > 20


def test_restarts_and_separate_opens_do_not_change_the_fills() -> None:
    for seed in range(4):
        whole = run(seed, restarts=False, opens_apart=False)[0]
        assert len(whole) > 20
        for opens_apart in (False, True):
            assert run(seed, restarts=True, opens_apart=opens_apart)[0] == whole


def test_without_a_change_a_snapshot_has_no_instruments() -> None:
    execution = Execution(parse_strategy(CROSS), Terms(FINE))
    series = Series(wavy_bars(60))
    for index in range(60):
        execution.on_close(series, index, None, FINE)
    assert "instruments" not in execution.snapshot()
