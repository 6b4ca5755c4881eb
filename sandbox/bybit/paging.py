"""Cursors, limits and windows of time in Bybit's lists."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TypeVar
from urllib.parse import quote, unquote

from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.messages import DAY_MS
from sandbox.bybit.views import Numbered

WINDOW_MS = 7 * DAY_MS

Query = Mapping[str, str]
Row = TypeVar("Row")


def integer(query: Query, name: str, default: int) -> int:
    """Raises Refusal."""
    given = query.get(name, "")
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise Refusal(10001, f"params error: {name} invalid")
    return int(given)


def limit(query: Query, default: int, most: int) -> int:
    """Raises Refusal."""
    chosen = integer(query, "limit", default)
    if not 1 <= chosen <= most:
        raise Refusal(10001, "params error: limit invalid")
    return chosen


def window(query: Query, now_ms: int) -> tuple[int, int]:
    """Return the first and last time of a list: seven days, where the client names less. Raises Refusal."""
    start, end = integer(query, "startTime", 0), integer(query, "endTime", 0)
    if start and end:
        if end < start:
            raise Refusal(10001, "params error: startTime is later than endTime")
        if end - start > WINDOW_MS:
            raise Refusal(10001, "The time range between startTime and endTime cannot exceed 7 days")
        return start, end
    if start:
        return start, start + WINDOW_MS
    end = end or now_ms
    return end - WINDOW_MS, end


def page(rows: Iterable[Numbered[Row]], query: Query, default: int, most: int) -> tuple[list[Row], str]:
    """Return the rows of the page after `cursor`, and the next cursor. `rows`: newest first. Raises Refusal."""
    size = limit(query, default, most)
    before = _before(query.get("cursor", ""))
    found = list(islice((each for each in rows if each.number < before), size + 1))
    more = len(found) > size
    shown = found[:size]
    return [each.row for each in shown], _cursor(shown[-1].number) if more else ""


def _cursor(number: int) -> str:
    """Cursors are percent-encoded, as Bybit's."""
    return quote(f"{number}:1,{number}:1", safe="")


def _before(cursor: str) -> int:
    """Clients send a cursor as it is, or encode it once more."""
    if not cursor:
        return 2**62
    first = unquote(unquote(cursor)).partition(":")[0]
    if not (first.isascii() and first.isdigit() and len(first) <= 18):
        raise Refusal(10001, "params error: cursor invalid")
    return int(first)
