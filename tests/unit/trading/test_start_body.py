"""The slippage tolerance of a live session is checked before anything is sent."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.trading.routes.sessions import StartBody

LIVE = {
    "strategy_id": str(UUID(int=1)),
    "symbol": "BTCUSDT",
    "mode": "LIVE",
    "initial_balance": "100",
    "exchange_account_id": str(UUID(int=2)),
}
TICKS, PERCENTAGE = "slippage_tolerance_ticks", "slippage_tolerance_percentage"


@pytest.mark.parametrize("given", [{}, {TICKS: 1}, {TICKS: 10_000}, {PERCENTAGE: "0.01"}, {PERCENTAGE: "10"}])
def test_a_tolerance_within_the_exchanges_range_is_taken(given: dict[str, Any]) -> None:
    assert StartBody.model_validate({**LIVE, **given})


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({TICKS: 0}, TICKS, "greater than or equal to 1"),
        ({TICKS: 10_001}, TICKS, "less than or equal to 10000"),
        ({PERCENTAGE: "0.001"}, PERCENTAGE, "0.01 to 10"),
        ({PERCENTAGE: "10.01"}, PERCENTAGE, "0.01 to 10"),
        ({PERCENTAGE: "0.015"}, PERCENTAGE, "0.01 to 10"),
        ({TICKS: 1, PERCENTAGE: "1"}, None, "not both"),
        (
            {"mode": "PAPER", "exchange_account_id": None, TICKS: 1},
            None,
            "a PAPER session has no slippage_tolerance",
        ),
    ],
)
def test_any_other_is_refused_with_its_field_and_what_is_allowed(
    given: dict[str, Any], field: str | None, words: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        StartBody.model_validate({**LIVE, **given})
    (fault,) = refused.value.errors()
    assert fault["loc"] == ((field,) if field else ())
    assert words in fault["msg"]
