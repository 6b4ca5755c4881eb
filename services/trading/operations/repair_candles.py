"""Compare stored candles with the exchange's and fill in lost ones. Stored candles never change."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from services.trading.bybit_api import KLINE_LIMIT, MarketApi
from services.trading.queries import candle_chain, candles
from services.trading.queries.candle_chain import StoredSpan
from shared.chassis.postgres import Database
from shared.contracts.types import to_ms
from shared.strategy.bars import INTERVAL_MS, Bar

Kind = Literal["missing", "unlinked", "changed", "unknown", "hole"]


@dataclass(frozen=True)
class CandleFinding:
    """A difference between stored candles and the exchange's: a run of consecutive bars, by their open times.

    missing   the exchange has them, we do not: they were lost
    unlinked  stored, but the predecessor they name is not the bar stored before them
    changed   stored with other values than the exchange has now; the stored values count
    unknown   stored, but the exchange no longer has them
    hole      neither has them: there was no market. Not a fault.
    """

    kind: Kind
    first: datetime
    last: datetime
    bars: int


@dataclass(frozen=True)
class ExaminedWindow:
    """The comparison of one window of time."""

    findings: list[CandleFinding]
    missing: list[Bar]
    last: datetime


async def examine(
    database: Database, api: MarketApi, symbol: str, interval: str, span: StoredSpan
) -> AsyncIterator[ExaminedWindow]:
    """Compare window by window, from the span's first bar to its last. Raises VenueUnavailable, UnknownSymbol."""
    step = timedelta(milliseconds=INTERVAL_MS[interval])
    begin, before = span.first, span.first
    while begin <= span.last:
        end = min(begin + (KLINE_LIMIT - 1) * step, span.last)
        fetched = await api.bars(symbol, interval, start=to_ms(begin), end=to_ms(end))
        async with database.tenants(()) as connection:
            stored = await candles.list_bars_between(connection, span.series_id, begin, end)
            unlinked = await candle_chain.list_unlinked(connection, span.series_id, begin, end)
        yield _compare(stored, unlinked, fetched, step, before, end)
        before = max([before, *(bar.open_time for bar in (*fetched, *stored))])
        begin = end + step


def _compare(
    stored: Sequence[Bar],
    unlinked: list[datetime],
    fetched: Sequence[Bar],
    step: timedelta,
    before: datetime,
    end: datetime,
) -> ExaminedWindow:
    ours = {bar.open_time: bar for bar in stored}
    theirs = {bar.open_time: bar for bar in fetched}
    missing = [bar for moment, bar in theirs.items() if moment not in ours]
    kinds: dict[Kind, list[datetime]] = {
        "missing": [bar.open_time for bar in missing],
        "unlinked": unlinked,
        "changed": [moment for moment, bar in ours.items() if moment in theirs and not _agree(bar, theirs[moment])],
        "unknown": [moment for moment in ours if moment not in theirs],
    }
    findings = [finding for kind, moments in kinds.items() for finding in _runs(kind, moments, step)]
    existing = sorted({before, *ours, *theirs})
    holes = [(earlier, later) for earlier, later in pairwise(existing) if later - earlier > step]
    findings += [
        CandleFinding("hole", earlier + step, later - step, (later - earlier) // step - 1)
        for earlier, later in holes
    ]
    return ExaminedWindow(findings, missing, end)


def _agree(stored: Bar, fetched: Bar) -> bool:
    """Compare the bars, allowing for an older release that stored bars without widening them."""
    prices = (stored.open, stored.high, stored.low, stored.close)
    return fetched in (stored, stored._replace(high=max(prices), low=min(prices)))


def _runs(kind: Kind, moments: Sequence[datetime], step: timedelta) -> list[CandleFinding]:
    """Combine consecutive bars into one finding."""
    found: list[CandleFinding] = []
    for moment in moments:
        if found and moment - found[-1].last == step:
            found[-1] = CandleFinding(kind, found[-1].first, moment, found[-1].bars + 1)
        else:
            found.append(CandleFinding(kind, moment, moment, 1))
    return found


async def repair_bars(database: Database, span: StoredSpan, examined: ExaminedWindow) -> int:
    """Store missing bars and relink the chain. Returns the number of bars stored."""
    wrong = [finding for finding in examined.findings if finding.kind in ("missing", "unlinked")]
    if not wrong:
        return 0
    async with database.tenants(()) as connection:
        inserted = await candle_chain.insert_missing(connection, span.series_id, examined.missing)
        first = min(finding.first for finding in wrong)
        await candle_chain.relink(connection, span.series_id, first, max(finding.last for finding in wrong))
    return inserted


async def repair_break(database: Database, api: MarketApi, symbol: str, interval: str, span: StoredSpan) -> int:
    """Fill a break in a chain from the exchange. Returns the number of bars stored; if 0, the named predecessor no
    longer exists and the break stays. Raises as `examine` does."""
    count = 0
    async for examined in examine(database, api, symbol, interval, span):
        if examined.missing:
            count += await repair_bars(database, span, examined)
    return count


def span_around(series_id: int, generation: int, broken: tuple[datetime, datetime]) -> StoredSpan:
    """Return the span from one bar of a break to the other."""
    return StoredSpan(series_id, generation, *broken, bars=2)
