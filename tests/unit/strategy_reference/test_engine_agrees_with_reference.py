"""The engine and the plain reference give the same fills, trades and metrics for every drawn strategy.

REFERENCE_SEED draws other strategies, REFERENCE_STRATEGIES more of them. A failure names the seed of its case:
`REFERENCE_SEED=<that> REFERENCE_STRATEGIES=1` replays it alone."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.reference.execution import Bar, Terms
from tests.reference.random_cases import Case, draw_case
from tests.reference.table import CHUNK, FIRST_SEED, STRATEGIES, record
from tests.unit.strategy_reference.agreement import compare

HOUR_MS = 3_600_000


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + STRATEGIES, CHUNK))
def test_engine_and_reference_agree_on_random_strategies(
    first: int, record_property: Callable[[str, object], None]
) -> None:
    for seed in range(first, min(first + CHUNK, FIRST_SEED + STRATEGIES)):
        outcome = compare(draw_case(seed))
        record(record_property, outcome.hits, outcome.set_aside)
        assert not outcome.differences, f"REFERENCE_SEED={seed}:\n" + "\n".join(outcome.differences[:20])


def _reversing_case(opens: str, closes: str, **risk: object) -> Case:
    """Hourly bars of one day; long after a rise and short after a fall, reversing at each."""
    prices = zip(map(Decimal, opens.split()), map(Decimal, closes.split()), strict=True)
    bars = tuple(Bar(i * HOUR_MS, o, max(o, c), min(o, c), c, Decimal(1)) for i, (o, c) in enumerate(prices))
    up: dict[str, object] = {"left": "close", "op": ">", "right": "open"}
    down: dict[str, object] = {"left": "close", "op": "<", "right": "open"}
    document: dict[str, object] = {
        "strategy_name": "turns round",
        "strategy_config": {"interval": "60", "side": "BOTH", "indicators": {}},
        "entry_conditions": {"long": up, "short": down},
        "exit_conditions": {"long": down, "short": up},
        "risk_management": {"position_size": {"type": "percent_of_equity", "value": 100}, **risk},
    }
    terms = Terms(
        tick_size=Decimal("0.01"),
        qty_step=Decimal("0.001"),
        min_order_qty=Decimal("0.001"),
        min_notional=Decimal(5),
        fee=Decimal("0.00055"),
        slippage=Decimal(0),
        initial_balance=Decimal(10000),
    )
    return Case(0, document, bars, terms, None, False)


def test_a_reversal_that_leaves_no_equity_drops_its_entry(
    record_property: Callable[[str, object], None],
) -> None:
    """Too rare at random: a long position with leverage 20 is to be reversed at a bar that opens a tenth lower."""
    outcome = compare(_reversing_case("100 100 101 102 90 90", "100 101 102 101 90 91", leverage=20))

    dropped = outcome.hits["rule: dropped: no equity"]
    record(record_property, Counter({"rule: dropped: no equity": dropped}), False)
    assert not outcome.differences
    assert (dropped, outcome.hits["reason: entry"]) == (1, 1)


def test_a_gain_after_the_daily_loss_does_not_lift_the_limit() -> None:
    """The long loses 3 % at the reversal; the short filled there wins more, and still no entry follows."""
    case = _reversing_case("100 101 98 90 91 92", "101 98 90 91 92 93", max_daily_loss_percentage=1)
    outcome = compare(case)

    assert not outcome.differences
    assert outcome.hits["reason: entry"] == 2
    assert outcome.hits["rule: refused: daily loss"] == 3
