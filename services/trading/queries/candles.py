"""Candles, series and instruments: the market's rows, which are nobody's."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import asyncpg

from shared.chassis.postgres import Connection
from shared.contracts.types import to_ms
from shared.strategy.bars import Bar, Instrument


@dataclass(frozen=True)
class SeriesRow:
    series_id: int
    generation: int
    anchor: datetime | None
    opened_time: datetime | None
    opened_price: Decimal | None
    reach: int  # needs of up to so many bars are met, as far as the exchange has bars


async def get_series(
    connection: Connection, venue: str, symbol: str, interval: str, generation: int | None = None
) -> SeriesRow | None:
    """This generation, or the newest one."""
    row = await connection.fetchrow(
        """
        SELECT series_id, generation, anchor, opened_time, opened_price, reach FROM series
        WHERE venue = $1 AND symbol = $2 AND interval = $3 AND ($4::integer IS NULL OR generation = $4)
        ORDER BY generation DESC LIMIT 1
        """,
        venue,
        symbol,
        interval,
        generation,
    )
    return SeriesRow(**row) if row else None


async def get_instrument(connection: Connection, venue: str, symbol: str) -> Instrument | None:
    row = await connection.fetchrow(
        """
        SELECT tick_size, qty_step, min_order_qty, min_notional FROM instruments
        WHERE venue = $1 AND symbol = $2
        """,
        venue,
        symbol,
    )
    return Instrument(**row) if row else None


async def list_instruments(connection: Connection, venue: str, symbols: Sequence[str]) -> dict[str, Instrument]:
    """By symbol; one that is not known is not among them."""
    rows = await connection.fetch(
        """
        SELECT symbol, tick_size, qty_step, min_order_qty, min_notional FROM instruments
        WHERE venue = $1 AND symbol = ANY ($2::text[])
        """,
        venue,
        symbols,
    )
    return {row["symbol"]: Instrument(*tuple(row)[1:]) for row in rows}


async def upsert_instrument(connection: Connection, venue: str, symbol: str, instrument: Instrument) -> None:
    """As trading_worker. What is the same is not written."""
    await connection.execute(
        """
        INSERT INTO instruments AS i (venue, symbol, tick_size, qty_step, min_order_qty, min_notional)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (venue, symbol) DO UPDATE SET tick_size = $3, qty_step = $4, min_order_qty = $5,
               min_notional = $6, updated_at = now()
        WHERE (i.tick_size, i.qty_step, i.min_order_qty, i.min_notional) IS DISTINCT FROM ($3, $4, $5, $6)
        """,
        venue,
        symbol,
        instrument.tick_size,
        instrument.qty_step,
        instrument.min_order_qty,
        instrument.min_notional,
    )


async def list_bars(connection: Connection, series_id: int, after: datetime | None = None) -> list[Bar]:
    """All confirmed bars of the series, or those after a time, ascending."""
    rows = await connection.fetch(
        """
        SELECT open_time, open, high, low, close, volume FROM candles
        WHERE series_id = $1 AND ($2::timestamptz IS NULL OR open_time > $2) ORDER BY open_time
        """,
        series_id,
        after,
    )
    return [_bar(row) for row in rows]


async def list_bars_until(connection: Connection, series_id: int, until: datetime, limit: int) -> list[Bar]:
    """The last bars up to and with a time, ascending."""
    rows: Sequence[asyncpg.Record] = await connection.fetch(
        """
        SELECT open_time, open, high, low, close, volume FROM candles
        WHERE series_id = $1 AND open_time <= $2 ORDER BY open_time DESC LIMIT $3
        """,
        series_id,
        until,
        limit,
    )
    return [_bar(row) for row in reversed(rows)]


async def list_bars_between(
    connection: Connection, series_id: int, first: datetime | None, last: datetime | None, limit: int
) -> list[Bar]:
    rows = await connection.fetch(
        """
        SELECT open_time, open, high, low, close, volume FROM candles
        WHERE series_id = $1 AND ($2::timestamptz IS NULL OR open_time >= $2)
              AND ($3::timestamptz IS NULL OR open_time <= $3)
        ORDER BY open_time LIMIT $4
        """,
        series_id,
        first,
        last,
        limit,
    )
    return [_bar(row) for row in rows]


async def list_page(
    connection: Connection,
    series_id: int,
    first: datetime | None,
    before: datetime | None,
    beyond: datetime | None,
    *,
    newest_first: bool,
    limit: int,
) -> list[Bar]:
    """Bars from `first` on and `before` a time, in the order asked for, those beyond the last page's end."""
    order, side = ("DESC", "<") if newest_first else ("ASC", ">")
    rows = await connection.fetch(
        f"""
        SELECT open_time, open, high, low, close, volume FROM candles
        WHERE series_id = $1 AND ($2::timestamptz IS NULL OR open_time >= $2)
              AND ($3::timestamptz IS NULL OR open_time < $3)
              AND ($4::timestamptz IS NULL OR open_time {side} $4)
        ORDER BY open_time {order} LIMIT $5
        """,
        series_id,
        first,
        before,
        beyond,
        limit,
    )
    return [_bar(row) for row in rows]


async def get_last_open_time(connection: Connection, series_id: int) -> datetime | None:
    last: datetime | None = await connection.fetchval(
        "SELECT open_time FROM candles WHERE series_id = $1 ORDER BY open_time DESC LIMIT 1", series_id
    )
    return last


async def copy_bars(
    connection: Connection,
    series_id: int,
    first: datetime,
    before: datetime,
    write: Callable[[bytes], Awaitable[None]],
) -> None:
    """Bars from `first` on and before `before`, ascending, as lines of text: open time in ms and decimals as they
    are stored, with tabs between. Nothing is decoded on the way: an event loop can hand on a million."""
    await connection.copy_from_query(
        """
        SELECT (extract(epoch FROM open_time) * 1000)::bigint, open, high, low, close, volume FROM candles
        WHERE series_id = $1 AND open_time >= $2 AND open_time < $3 ORDER BY open_time
        """,
        series_id,
        first,
        before,
        output=write,
    )


async def get_bar(connection: Connection, series_id: int, open_time: datetime) -> Bar | None:
    row = await connection.fetchrow(
        """
        SELECT open_time, open, high, low, close, volume FROM candles WHERE series_id = $1 AND open_time = $2
        """,
        series_id,
        open_time,
    )
    return _bar(row) if row else None


def _bar(row: asyncpg.Record) -> Bar:
    return Bar(to_ms(row["open_time"]), row["open"], row["high"], row["low"], row["close"], row["volume"])
