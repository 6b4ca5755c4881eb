"""Rules that a random strategy meets too seldom, each on bars made for it."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from tests.reference.execution import Bar, Terms
from tests.reference.random_strategies import Case
from tests.reference.table import record
from tests.unit.strategy_reference.agreement import compare

HOUR_MS = 3_600_000


def test_a_reversal_that_leaves_no_equity_drops_its_entry(
    record_property: Callable[[str, object], None],
) -> None:
    """A long with leverage 20 is to be reversed at a bar that opens a tenth lower."""
    closes = ["100", "101", "102", "101", "90", "91"]
    opens = ["100", "100", "101", "102", "90", "90"]
    bars = tuple(
        Bar(i * HOUR_MS, o, max(o, c), min(o, c), c, Decimal(1))
        for i, (o, c) in enumerate(zip(map(Decimal, opens), map(Decimal, closes), strict=True))
    )
    up: dict[str, object] = {"left": "close", "op": ">", "right": "open"}
    down: dict[str, object] = {"left": "close", "op": "<", "right": "open"}
    document: dict[str, object] = {
        "strategy_name": "reverses",
        "strategy_config": {"interval": "60", "side": "BOTH", "indicators": {}},
        "entry_conditions": {"long": up, "short": down},
        "exit_conditions": {"long": down, "short": up},
        "risk_management": {"position_size": {"type": "percent_of_equity", "value": 100}, "leverage": 20},
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

    outcome = compare(Case(0, document, bars, terms, None, False))

    record(record_property, Counter({"rule: dropped: no equity": outcome.hits["rule: dropped: no equity"]}), False)
    assert not outcome.differences
    assert outcome.hits["rule: dropped: no equity"] == 1
    assert outcome.hits["reason: entry"] == 1
