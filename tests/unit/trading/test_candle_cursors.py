"""Cursors of the list of candles, which hold the generation that the list began with."""

from datetime import UTC, datetime

import pytest

from services.trading.routes.candles import CandlesQuery
from shared.chassis.errors import InvalidInput
from shared.chassis.http.paging import encode_sorted

BAR = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def query_after(generation: int) -> CandlesQuery:
    return CandlesQuery(symbol="BTCUSDT", interval="15", cursor=encode_sorted("-open_time", generation, BAR))


@pytest.mark.parametrize("generation", [1, 2**31 - 1])
def test_a_cursor_names_the_generation_and_the_bar_before_the_page(generation: int) -> None:
    found, wanted = query_after(generation).parse_cursor()
    assert (found, wanted.after) == (generation, (BAR,))


@pytest.mark.parametrize("generation", [-1, 0, 2**31])
def test_a_forged_generation_is_refused(generation: int) -> None:
    with pytest.raises(InvalidInput):
        query_after(generation).parse_cursor()
