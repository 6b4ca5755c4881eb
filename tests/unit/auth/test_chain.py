"""The check of a hash chain finds which row was tampered with, and how."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.auth.domain.chain import ChainCheck, Entry, Head, Link, append, canonical_bytes

NOW = datetime(2026, 1, 31, 9, 30, 0, 123_456, tzinfo=UTC)
ENTRY = Entry(
    user_id=42,
    activity_id=UUID("0190a6f2-7b5e-7c1f-8a52-000000000005"),
    timestamp=NOW,
    activity_type="CREATE_STRATEGY",
    actor="USER",
    service="trading",
    ip_address="2001:db8::1",
    user_agent="cürl/8.5",
    endpoint="POST /v1/strategies",
    data={"object": "/v1/strategies/1"},
    created_at=NOW + timedelta(seconds=1),
)
OTHERS = {
    "user_id": 43,
    "activity_id": UUID(int=1),
    "timestamp": NOW + timedelta(microseconds=1),
    "activity_type": "LOG_IN",
    "actor": "SYSTEM",
    "service": "auth",
    "ip_address": None,
    "user_agent": None,
    "endpoint": "",
    "data": {},
    "created_at": NOW,
}


def _chain(length: int) -> tuple[list[Link], Head]:
    links, head = [], Head()
    for number in range(length):
        link, head = append(head, replace(ENTRY, activity_id=UUID(int=number)))
        links.append(link)
    return links, head


def _faults(links: list[Link], head: Head | None) -> list[tuple[int, str]]:
    check = ChainCheck(42, head)
    found = [fault for link in links for fault in check.add(link)] + [*check.end()]
    return [(fault.seq, fault.kind) for fault in found]


def test_the_hashed_bytes_never_change() -> None:
    assert canonical_bytes(ENTRY, 7, bytes(32)).decode() == (
        '["tradefleet activity 1",42,7,"0190a6f2-7b5e-7c1f-8a52-000000000005",1769851800123456,"CREATE_STRATEGY",'
        '"USER","trading","20010db8000000000000000000000001","c\\u00fcrl/8.5","POST /v1/strategies",'
        '{"object":"/v1/strategies/1"},1769851801123456,"' + "00" * 32 + '"]'
    )


@pytest.mark.parametrize("column", OTHERS)
def test_every_column_is_in_the_bytes(column: str) -> None:
    other = replace(ENTRY, **{column: OTHERS[column]})  # type: ignore[arg-type]  # each column has a type of its own
    assert set(OTHERS) == set(vars(ENTRY))
    assert canonical_bytes(other, 1, bytes(32)) != canonical_bytes(ENTRY, 1, bytes(32))


def test_an_untouched_chain_has_no_faults() -> None:
    assert _faults(*_chain(5)) == []
    assert _faults([], Head()) == []


def _changed(links: list[Link]) -> list[Link]:
    return [*links[:2], replace(links[2], entry=replace(links[2].entry, actor="SYSTEM")), *links[3:]]


def _swapped(links: list[Link]) -> list[Link]:
    return [links[0], replace(links[2], seq=2), replace(links[1], seq=3), *links[3:]]


def _with_contents_swapped(links: list[Link]) -> list[Link]:
    one, other = links[1], links[2]
    return [links[0], replace(one, entry=other.entry), replace(other, entry=one.entry), *links[3:]]


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (_changed, [(3, "CHANGED")]),
        (lambda links: [*links[:2], *links[3:]], [(3, "MISSING")]),
        (lambda links: links[1:], [(1, "MISSING")]),
        (lambda links: links[:3], [(4, "MISSING"), (5, "MISSING")]),
        (lambda links: [], [(number, "MISSING") for number in range(1, 6)]),
        (_swapped, [(2, "MOVED"), (3, "MOVED")]),
        (_with_contents_swapped, [(2, "CHANGED"), (3, "CHANGED")]),
        (lambda links: [*links, append(Head(5, links[-1].hash), ENTRY)[0]], [(6, "ADDED")]),
    ],
    ids=["changed", "removed", "first removed", "last removed", "all removed", "swapped", "contents", "added"],
)
def test_tampering_is_found_at_its_row(
    tamper: Callable[[list[Link]], list[Link]], expected: list[tuple[int, str]]
) -> None:
    links, head = _chain(5)
    assert _faults(tamper(links), head) == expected


def test_a_row_changed_together_with_its_hash_is_found_at_the_next() -> None:
    links, head = _chain(3)
    links[1], _ = append(Head(1, links[0].hash), replace(links[1].entry, actor="SYSTEM"))
    assert _faults(links, head) == [(3, "MOVED")]
    assert _faults(links[:2], replace(head, entries=2)) == [(2, "HEAD_CHANGED")]


def test_a_missing_head_is_found() -> None:
    links, _ = _chain(3)
    assert _faults(links, None) == [(3, "HEAD_MISSING")]
