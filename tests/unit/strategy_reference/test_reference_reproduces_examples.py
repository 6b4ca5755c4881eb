"""The reference gives the exact results of every shared example; skipped when the folder beside the checkout is
missing."""

import json
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from tests.reference.document import content_hash, plain
from tests.reference.execution import Fill, Run, Terms, Trade
from tests.reference.random_candles import RECORDED, recorded

EXAMPLES = RECORDED.parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*.json"))


def _as_text(record: Fill | Trade) -> dict[str, object]:
    return {k: plain(v) if isinstance(v, Fraction) else v for k, v in vars(record).items()}


@pytest.mark.beside_checkout
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_reference_reproduces_the_example(path: Path) -> None:
    case = json.loads(path.read_text(), parse_float=Decimal)
    expected = case["expected"]
    amounts = {key: Decimal(case[key]) for key in ("fee", "slippage", "initial_balance")}
    terms = Terms(**{key: Decimal(value) for key, value in case["instrument"].items()}, **amounts)
    result = Run(case["strategy"], recorded(case["candles"]), terms).run()

    fills = [_as_text(fill) for fill in result.fills]
    assert fills[: len(expected["first_fills"])] == expected["first_fills"]
    assert fills[-len(expected["last_fills"]) :] == expected["last_fills"]
    for trade, wanted in zip(result.trades, expected["first_trades"], strict=False):
        assert {key: _as_text(trade)[key] for key in wanted} == wanted
    assert (len(fills), len(result.trades)) == (expected["fills"], expected["trades"])
    assert Counter(fill.reason for fill in result.fills) == expected["reasons"]
    assert plain(result.final_equity) == expected["final_equity"]
    assert result.fingerprint == expected["fingerprint"]


def test_reference_gives_the_hash_in_the_specification() -> None:
    cross = {"left": "fast", "op": "crosses_above", "right": "slow"}
    document: dict[str, object] = {
        "strategy_name": "ema-cross",
        "strategy_config": {
            "interval": "60",
            "side": "LONG",
            "indicators": {
                "fast": {"type": "EMA", "period": 12},
                "slow": {"type": "EMA", "period": 26, "source": "close"},
            },
        },
        "entry_conditions": cross,
        "exit_conditions": cross | {"op": "crosses_below"},
        "risk_management": {
            "position_size": {"type": "percent_of_equity", "value": "100"},
            "stop_loss": {"type": "percent", "value": "2"},
            "take_profits": [{"type": "percent", "value": "4", "close_percent": "100"}],
        },
    }
    assert content_hash(document) == "4cbf6d1c3c9310a006eb74aedd6e00a7843ac66bc3f2614bfa1840fbb7cca13b"
