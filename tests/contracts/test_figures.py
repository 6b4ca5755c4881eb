"""The OpenAPI document says beside each figure what it leaves out, as docs/statistics.md promises."""

from collections.abc import Mapping
from typing import Any  # JSON

import pytest

from shared.statistics import REALISED, WIN_RATE
from stack.reference.document import platform_document

Descriptions = dict[str, str]  # by view


def descriptions_of(field: str) -> Descriptions:
    """Return the description of a field in each view that has it."""
    document: Mapping[str, Any] = platform_document()
    views = document["components"]["schemas"]
    return {
        name: view["properties"][field].get("description", "")
        for name, view in views.items()
        if field in view.get("properties", {})
    }


@pytest.mark.parametrize(
    ("field", "left_out", "views"),
    [
        ("win_rate_percentage", WIN_RATE, {"MetricsView", "StrategyView", "SummaryView", "DayView"}),
        ("max_drawdown_percentage", REALISED, {"MetricsView", "SessionView", "SummaryView", "DayView"}),
    ],
)
def test_every_view_says_what_a_figure_leaves_out(field: str, left_out: str, views: set[str]) -> None:
    described = descriptions_of(field)
    assert described.keys() >= views
    assert [name for name, text in described.items() if left_out not in text] == []


def test_the_sentences_are_about_breaking_even_and_open_positions() -> None:
    assert "a trade that breaks even counts as a trade but not as won" in WIN_RATE
    assert "the loss of an open position is included once the trade is closed" in REALISED
