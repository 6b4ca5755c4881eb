"""The checker's knowledge of the platform is up to date; how it compares and reports."""

from importlib import import_module

import pytest

from faults.checker.database import CONSUMERS, statements_of
from faults.checker.i6_tenants import Canaries
from faults.checker.things import agrees
from faults.checker.violation import MAX_DETAILS, limit_details
from shared.contracts.catalog import EVENTS
from stack.migrate import SERVICES


def test_it_knows_the_consumers_of_every_topic() -> None:
    consumers: dict[str, set[str]] = {}
    for service in SERVICES:
        for subscription in import_module(f"services.{service}.consumers").EVENT_HANDLERS:
            consumers.setdefault(subscription.event.topic, set()).add(service)
    assert {topic: set(services) for topic, services in CONSUMERS.items()} == consumers


def test_it_knows_the_topics_that_have_no_inbox() -> None:
    unknown = next(each for each in statements_of("I1") if "is not known to the checker" in each)
    without = {event.topic for event in EVENTS} - set(CONSUMERS)
    assert {topic for topic in without if f"'{topic}'" not in unknown} == set()


@pytest.mark.parametrize("invariant", ["I1", "I2", "I3", "I4", "I5", "I6", "I7"])
def test_every_statement_selects_a_formatted_text(invariant: str) -> None:
    statements = list(statements_of(invariant))
    assert statements
    assert all("SELECT" in statement and "format(" in statement for statement in statements)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1.50", 1.5),
        ("10000", "1E4"),
        ("2026-01-31T10:30:00+01:00", "2026-01-31T09:30:00Z"),
        (" a name ", "a name"),
        ({"a": ["1.0", None, True]}, {"a": [1, None, True]}),
    ],
)
def test_equal_values_in_another_form_agree(sent: object, stored: object) -> None:
    assert agrees(sent, stored)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1.00000001", 1),
        ("a name", "A name"),
        (True, 1),
        (None, "None"),
        ([1, 2], [1]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, "a"),
    ],
)
def test_different_values_do_not_agree(sent: object, stored: object) -> None:
    assert not agrees(sent, stored)


def test_canaries_are_found_anywhere_in_a_text() -> None:
    canaries = Canaries({"canary1": "ann", "canary2": "bob", "cat": "eve"})
    assert list(canaries.found_in("xcanary2x, a cat and no canary")) == [("canary2", "bob"), ("cat", "eve")]
    assert list(Canaries({"alone": "ann"}).found_in("all alone")) == [("alone", "ann")]
    assert list(Canaries({}).found_in("anything")) == []


def test_many_violations_of_a_kind_are_shortened() -> None:
    reported = list(limit_details("I1", (f"thing {number:03}" for number in range(100))))
    assert len(reported) == MAX_DETAILS + 1
    assert reported[0].detail == "thing 000"
    assert reported[-1].detail == "thing 020 (and 79 more of this kind)"
    assert [violation.detail for violation in limit_details("I1", ["b", "a", "b"])] == ["a", "b"]
