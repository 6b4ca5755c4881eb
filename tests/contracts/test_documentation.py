"""The table in docs/events.md equals the contracts."""

import pytest

from shared.contracts.catalog import EVENTS, HALTING
from shared.contracts.envelope import Event, Message
from shared.contracts.market import MarketInterest
from stack.migrate import ROOT
from stack.topic_clients import receivers, senders

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "events.md").read_text().splitlines()
    if line.startswith("| `") and line.count("|") == 8
]


def test_the_table_lists_the_topics_of_the_catalogue_in_order() -> None:
    assert [row[0] for row in ROWS] == [f"`{event.topic}`" for event in EVENTS]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.topic)
def test_a_row_equals_the_contract(event: type[Message]) -> None:
    about_a_user = issubclass(event, Event) and event is not MarketInterest
    assert ROWS[EVENTS.index(event)][1:] == [
        ", ".join(senders(event)),
        ", ".join(receivers(event)),
        "user" if about_a_user else "service and series" if event is MarketInterest else "venue and symbol",
        str(event.partitions),
        "last of each key" if event.compacted else f"{event.retention.days} days",
        _poison(event),
    ]


def _poison(event: type[Message]) -> str:
    if not issubclass(event, Event):
        return "its series continues"
    return "its key halts" if event.topic in HALTING else "its key continues"
