"""Stored days of performance."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from services.analytics.domain.calendar import TradedDay
from services.analytics.domain.days import TRAILING_DAYS, Day, EarlierDays
from services.analytics.queries.columns import column, joined
from services.analytics.queries.stale_days import Subject
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.contracts.types import decimal_text


@dataclass(frozen=True)
class DayRow:
    """A stored day. Days computed by an earlier version have no capital at work."""

    date: date
    timezone: str
    starting_balance: Decimal
    ending_balance: Decimal
    capital_at_work: Decimal | None
    daily_pnl: Decimal
    daily_pnl_percentage: Decimal | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal | None
    max_drawdown: Decimal | None
    sharpe_ratio: Decimal | None
    volatility: Decimal | None
    data: dict[str, object]
    created_at: datetime


FLOWS = ("capital_added", "capital_taken")
DAY_COLUMNS = ", ".join(DayRow.__dataclass_fields__)


ORDERS = {"date": Order(date=date)}


# The LATERAL joins make Postgres use the index for each subject, also with stale statistics of fast-growing tables.
EARLIER_DAYS = """
    SELECT s.user_id, s.mode, first.capital_at_work IS NULL AS outdated, first.date, last.date,
           last.ending_balance, recent.dates, recent.pnls, recent.capitals
    FROM unnest($1::bigint[], $2::text[], $3::date[], $4::date[]) AS s(user_id, mode, since, oldest)
    CROSS JOIN LATERAL (
        SELECT date, ending_balance FROM user_daily_performance d
        WHERE d.user_id = s.user_id AND d.mode = s.mode AND d.date < s.since ORDER BY date DESC LIMIT 1
    ) AS last
    CROSS JOIN LATERAL (
        SELECT date, capital_at_work FROM user_daily_performance d
        WHERE d.user_id = s.user_id AND d.mode = s.mode AND d.date < s.since ORDER BY date LIMIT 1
    ) AS first
    CROSS JOIN LATERAL (
        SELECT array_agg(date) AS dates, array_agg(daily_pnl) AS pnls, array_agg(capital_at_work) AS capitals
        FROM user_daily_performance d
        WHERE d.user_id = s.user_id AND d.mode = s.mode AND d.date < s.since AND d.date >= s.oldest
    ) AS recent
"""

UPSERT_DAYS = f"""
    INSERT INTO user_daily_performance AS d (user_id, mode, timezone, data, date, starting_balance, ending_balance,
        capital_at_work, daily_pnl, daily_pnl_percentage, total_trades, winning_trades, losing_trades, win_rate,
        max_drawdown, sharpe_ratio, volatility)
    SELECT * FROM unnest($1::bigint[], {column(2, "text")}, $3::text[], $4::text[]::jsonb[], {column(5, "date")},
        {column(6)}, {column(7)}, {column(8)}, {column(9)}, {column(10)}, {column(11, "integer")},
        {column(12, "integer")}, {column(13, "integer")}, {column(14)}, {column(15)}, {column(16)}, {column(17)})
    ON CONFLICT (user_id, mode, date) DO UPDATE SET
        timezone = excluded.timezone, data = excluded.data, starting_balance = excluded.starting_balance,
        ending_balance = excluded.ending_balance, capital_at_work = excluded.capital_at_work,
        daily_pnl = excluded.daily_pnl,
        daily_pnl_percentage = excluded.daily_pnl_percentage, total_trades = excluded.total_trades,
        winning_trades = excluded.winning_trades, losing_trades = excluded.losing_trades,
        win_rate = excluded.win_rate, max_drawdown = excluded.max_drawdown,
        sharpe_ratio = excluded.sharpe_ratio, volatility = excluded.volatility
    WHERE row(d.timezone, d.data, d.starting_balance::text, d.ending_balance::text, d.capital_at_work::text,
              d.daily_pnl::text, d.daily_pnl_percentage::text, d.total_trades, d.winning_trades,
              d.losing_trades, d.win_rate::text, d.max_drawdown::text, d.sharpe_ratio::text, d.volatility::text)
          IS DISTINCT FROM
          row(excluded.timezone, excluded.data, excluded.starting_balance::text, excluded.ending_balance::text,
              excluded.capital_at_work::text, excluded.daily_pnl::text, excluded.daily_pnl_percentage::text,
              excluded.total_trades, excluded.winning_trades, excluded.losing_trades, excluded.win_rate::text,
              excluded.max_drawdown::text, excluded.sharpe_ratio::text, excluded.volatility::text)
"""


async def get_earlier_days(
    connection: Connection, since: Mapping[Subject, date]
) -> tuple[dict[Subject, EarlierDays], set[Subject]]:
    """Return what is needed of each subject's days before its date, if it has any; reads a bounded number of rows.

    The second result has the subjects whose days were computed by an earlier version, without capital at work: they
    are missing in the first, and all their days must be recomputed.
    """
    rows = await connection.fetch(
        EARLIER_DAYS,
        [user_id for user_id, _ in since],
        [mode for _, mode in since],
        list(since.values()),
        [_oldest(day) for day in since.values()],
    )
    earlier = {
        (user_id, mode): EarlierDays(first, last, ending, _results(dates, pnls, capitals))
        for user_id, mode, outdated, first, last, ending, dates, pnls, capitals in rows
        if not outdated
    }
    return earlier, {(row["user_id"], row["mode"]) for row in rows if row["outdated"]}


def _results(
    dates: Sequence[date] | None, pnls: Sequence[Decimal], capitals: Sequence[Decimal]
) -> dict[date, tuple[Decimal, Decimal]]:
    return dict(zip(dates, zip(pnls, capitals, strict=True), strict=True)) if dates else {}


def _oldest(day: date) -> date:
    return day - timedelta(days=TRAILING_DAYS) if day - date.min > timedelta(days=TRAILING_DAYS) else date.min


async def delete_other_days(
    connection: Connection, subjects: Collection[Subject], kept: Collection[tuple[Subject, date]]
) -> int:
    """Delete all days of the subjects except those in `kept`. Returns the count."""
    done: str = await connection.execute(
        """
        DELETE FROM user_daily_performance d USING unnest($1::bigint[], $2::text[]) AS s(user_id, mode)
        WHERE d.user_id = s.user_id AND d.mode = s.mode AND NOT EXISTS (
            SELECT FROM unnest($3::bigint[], $4::text[], $5::date[]) AS k(user_id, mode, date)
            WHERE k.user_id = d.user_id AND k.mode = d.mode AND k.date = d.date
        )
        """,
        [user_id for user_id, _ in subjects],
        [mode for _, mode in subjects],
        [user_id for (user_id, _), _ in kept],
        [mode for (_, mode), _ in kept],
        [day for _, day in kept],
    )
    return int(done.rpartition(" ")[2])


async def upsert_days(connection: Connection, zones: Mapping[int, str], days: Sequence[tuple[Subject, Day]]) -> int:
    """Store days and return how many differed from the stored ones. Digits count: 1.50 differs from 1.5."""
    if not days:
        return 0
    done: str = await connection.execute(
        UPSERT_DAYS,
        [user_id for (user_id, _), _ in days],
        joined([mode for (_, mode), _ in days]),
        [zones[user_id] for (user_id, _), _ in days],
        [_data_of(day) for _, day in days],
        *(joined([getattr(day, name) for _, day in days]) for name in Day._fields if name not in FLOWS),
    )
    return int(done.rpartition(" ")[2])


def _data_of(day: Day) -> str:
    """Return the column `data`: the flows since the previous day with trades. Version 1 had no `capital_taken`."""
    added, taken = decimal_text(day.capital_added), decimal_text(day.capital_taken)
    return f'{{"version": 2, "capital_added": "{added}", "capital_taken": "{taken}"}}'


async def list_days(
    connection: Connection,
    user_id: int,
    mode: str,
    *,
    first: date | None,
    last: date | None,
    wanted: Slice,
) -> list[DayRow]:
    rows = await connection.fetch(
        f"""
        SELECT {DAY_COLUMNS} FROM user_daily_performance
        WHERE user_id = $1 AND mode = $2 AND ($3::date IS NULL OR date >= $3) AND ($4::date IS NULL OR date <= $4)
              {wanted.sql(5)}
        """,
        user_id,
        mode,
        first,
        last,
        *wanted.arguments,
    )
    return [DayRow(**row) for row in rows]


async def list_traded_days(
    connection: Connection, user_id: int, mode: str, first: date, last: date
) -> list[TradedDay]:
    """List days with trades, both ends inclusive. Unpaged: callers ask for one year at most."""
    rows = await connection.fetch(
        """
        SELECT date, daily_pnl, daily_pnl_percentage, total_trades, capital_at_work FROM user_daily_performance
        WHERE user_id = $1 AND mode = $2 AND date BETWEEN $3 AND $4 ORDER BY date
        """,
        user_id,
        mode,
        first,
        last,
    )
    return [TradedDay(*row) for row in rows]
