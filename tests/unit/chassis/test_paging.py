"""Pages: every cursor given out is accepted, and no page exceeds the stated size."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chassis.errors import InvalidInput
from shared.chassis.http.paging import (
    LONGEST_CURSOR,
    MAX_PAGE_BYTES,
    PageQuery,
    decode_cursor,
    decode_sorted,
    encode_cursor,
    encode_sorted,
    page_of,
)
from shared.contracts.texts import NAME_LENGTH
from shared.contracts.types import ViewModel

NAMES = ["Ж", "漢", "🚀", "ع", '"', "\\", "\x1b", "\u200b", "a"]
ANY_NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=NAME_LENGTH)


@pytest.mark.parametrize("letter", NAMES)
def test_a_cursor_with_the_longest_name_is_accepted(letter: str) -> None:
    name, tie = letter * NAME_LENGTH, "0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21"
    cursor = encode_sorted("-strategy_name", name, tie)
    query = PageQuery.model_validate({"cursor": cursor})
    assert decode_sorted("-strategy_name", query.cursor, str, str) == (name, tie)


@given(ANY_NAME, st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_position_survives_a_round_trip(name: str, number: int) -> None:
    cursor = encode_cursor(name, number)
    assert len(cursor) <= LONGEST_CURSOR
    assert decode_cursor(cursor, str, int) == (name, number)


@pytest.mark.parametrize("part", ["\x00", "a\ud800", "\udfff"])
def test_a_forged_cursor_of_invalid_text_is_refused(part: str) -> None:
    text = json.dumps([part])
    with pytest.raises(InvalidInput):
        decode_cursor(base64.urlsafe_b64encode(text.encode()).decode(), str)


class Item(ViewModel):
    number: int
    text: str


def itself(item: Item) -> Item:
    return item


@pytest.mark.parametrize(("size", "expected"), [(10, 7), (400_000, 3), (2_000_000, 1)])
def test_a_page_ends_with_the_item_that_reaches_its_size(size: int, expected: int) -> None:
    rows = [Item(number=number, text="x" * size) for number in range(8)]
    page = page_of(rows, 7, itself, lambda last: encode_cursor(last.number))
    assert len(page.items) == expected
    assert decode_cursor(page.next_cursor, int) == (expected - 1,)
    assert len(page.model_dump_json()) < MAX_PAGE_BYTES + size + 1_000


def test_pages_cut_by_size_are_complete_together() -> None:
    rows = [Item(number=number, text="🚀" * 60_000 * (number % 5)) for number in range(40)]
    found: list[int] = []
    after = -1
    while True:
        left = [row for row in rows if row.number > after]
        page = page_of(left[: 20 + 1], 20, itself, lambda last: encode_cursor(last.number))
        found += [item.number for item in page.items]
        position = decode_cursor(page.next_cursor, int)
        if position is None:
            break
        after = int(position[0])
    assert found == list(range(40))
