"""The file of a plan: every field has the same bounds as over HTTP."""

import json
from pathlib import Path

import pytest

from cli.plan_file import read_plan
from stack.failure import BadInput

LIMITS = {
    "max_trades_per_month": None,
    "max_active_strategies": 1,
    "max_symbols": 1,
    "daily_api_requests": 1000,
    "max_backtests_per_day": 0,
    "max_running_sessions": 3,
    "max_stored_strategies": 10,
}
FEATURES = dict.fromkeys(["advanced_ai", "api_access", "backtesting", "telegram_alerts", "priority_support"], False)
PLAN = {
    "name": "FREE",
    "display_name": " Free ",
    "description": "One strategy\non one symbol",
    "price_monthly": "0",
    "price_yearly": "29.99",
    "limits": LIMITS,
    "features": FEATURES,
}


def _file(folder: Path, **changes: object) -> Path:
    file = folder / "plan.json"
    file.write_text(json.dumps({**PLAN, **changes}))
    return file


def test_a_plan_is_read_with_its_limits(tmp_path: Path) -> None:
    terms = read_plan(_file(tmp_path))
    assert (terms.display_name, terms.limits.max_running_sessions) == ("Free", 3)
    assert terms.limits.max_stored_strategies == 10


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"display_name": "  "}, "display_name"),
        ({"display_name": "a\u202eb"}, "display_name"),
        ({"description": "a\u200bb"}, "description"),
        ({"description": "x" * 2_001}, "description"),
        ({"price_monthly": "-1"}, "price_monthly"),
        ({"price_monthly": "0.000000001"}, "price_monthly"),
        ({"price_yearly": "99999999999999999999"}, "price_yearly"),
        ({"limits": {**LIMITS, "max_running_sessions": -1}}, "limits.max_running_sessions"),
        ({"limits": {**LIMITS, "max_stored_strategies": 2**31}}, "limits.max_stored_strategies"),
        ({"limits": dict(list(LIMITS.items())[:-1])}, "limits.max_stored_strategies"),
    ],
)
def test_a_field_out_of_bounds_is_named_in_one_line(tmp_path: Path, changes: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_plan(_file(tmp_path, **changes))
    assert f"{field}: " in str(refused.value)
    assert "\n" not in str(refused.value)
