"""The cases of the contract, with their exact fills. The cases and their candles are in a folder beside the
checkout."""

from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from cli.candles.file import read_candles
from shared.contracts.types import decimal_text
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Instrument, Terms
from shared.strategy.document.parse import Strategy, parse_json, parse_strategy
from shared.strategy.series import Series
from tests.unit.strategy.outside import CASES, DATA

Case = dict[str, object]


def members(case: Case, name: str) -> Case:
    return cast(Case, case[name])


def read_case(case: Case) -> tuple[Strategy, Series, Terms]:
    strategy = parse_strategy(case["strategy"])
    instrument = Instrument(**{name: Decimal(str(text)) for name, text in members(case, "instrument").items()})
    terms = Terms(instrument, *(Decimal(str(case[name])) for name in ("fee", "slippage", "initial_balance")))
    candles = read_candles(DATA / "candles" / str(case["candles"]), strategy.interval_ms)
    return strategy, Series(candles), terms


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_of_the_contract_has_its_exact_results(path: Path) -> None:
    case = cast(Case, parse_json(path.read_bytes()))
    report, expected = run_backtest(*read_case(case)), members(case, "expected")
    fills = [
        {
            "time_ms": fill.time_ms,
            "action": fill.action,
            "side": fill.side,
            "qty": decimal_text(fill.qty),
            "price": decimal_text(fill.price),
            "fee": decimal_text(fill.fee),
            "reason": fill.reason,
        }
        for fill in report.fills
    ]
    first_fills, last_fills = (cast(list[Case], expected[name]) for name in ("first_fills", "last_fills"))
    assert fills[: len(first_fills)] == first_fills
    assert fills[len(fills) - len(last_fills) :] == last_fills
    first_trades = cast(list[Case], expected["first_trades"])
    for trade, wanted in zip(report.trades, first_trades, strict=False):
        found = {name: getattr(trade, name) for name in wanted}
        assert {
            name: decimal_text(each) if isinstance(each, Decimal) else each for name, each in found.items()
        } == wanted
    reasons = {
        reason: sum(fill.reason == reason for fill in report.fills) for reason in members(expected, "reasons")
    }
    assert reasons == expected["reasons"]
    assert (len(report.fills), len(report.trades)) == (expected["fills"], expected["trades"])
    assert decimal_text(report.final_equity) == expected["final_equity"]
    assert (report.fingerprint, report.arithmetic) == (expected["fingerprint"], "integer")
