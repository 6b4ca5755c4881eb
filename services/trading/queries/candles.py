"""Candles, series and instruments: market data, which belongs to no tenant."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from decimal import Decimal

import asyncpg

from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.contracts.types import to_ms
from shared.strategy.bars import Bar, Instrument

ORDERS = {"open_time": Order(open_time=datetime)}


@dataclass(frozen=True)
class SeriesRow:
    series_id: int
    symbol: str
    interval: str
    generation: int
    anchor: datetime | None
    opened_time: datetime | None
    opened_price: Decimal | None
    reach: int  # demands up to this many bars are met, as far as the exchange has bars


SERIES_COLUMNS = ", ".join(SeriesRow.__dataclass_fields__)


async def find_series(
    connection: Connection, venue: str, symbol: str, interval: str, generation: int | None = None
) -> SeriesRow | None:
    """Return this generation of the series, or the newest one."""
    row = await connection.fetchrow(
        f"""
        SELECT {SERIES_COLUMNS} FROM series
        WHERE venue = $1 AND symbol = $2 AND interval = $3 AND ($4::integer IS NULL OR generation = $4)
        ORDER BY generation DESC LIMIT 1
        """,
        venue,
        symbol,
        interval,
        generation,
    )
    return SeriesRow(**row) if row else None


async def find_instrument(connection: Connection, venue: str, symbol: str) -> Instrument | None:
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
    """List instruments by symbol; unknown symbols are left out."""
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
    """Store an instrument, as trading_worker; an unchanged one is not written."""
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
        *astuple(instrument),
    )


async def list_bars(connection: Connection, series_id: int, after: datetime | None = None) -> list[Bar]:
    """List the confirmed bars of the series, all or those after a time, ascending."""
    rows = await connection.fetch(
        """
        SELECT open_time, open, high, low, close, volume FROM candles
        WHERE series_id = $1 AND ($2::timestamptz IS NULL OR open_time > $2) ORDER BY open_time
        """,
        series_id,
        after,
    )
    return [to_bar(row) for row in rows]


async def list_bars_until(connection: Connection, series_id: int, until: datetime, limit: int) -> list[Bar]:
    """List the last bars up to `until`, included, ascending."""
    rows: Sequence[asyncpg.Record] = await connection.fetch(
        """
        SELECT open_time, open, high, low, close, volume FROM candles
        WHERE series_id = $1 AND open_time <= $2 ORDER BY open_time DESC LIMIT $3
        """,
        series_id,
        until,
        limit,
    )
    return [to_bar(row) for row in reversed(rows)]


async def list_bars_between(
    connection: Connection, series_id: int, first: datetime | None, last: datetime | None, limit: int | None = None
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
    return [to_bar(row) for row in rows]


async def list_page(
    connection: Connection,
    series_id: int,
    first: datetime | None,
    before: datetime | None,
    wanted: Slice,
) -> list[Bar]:
    """List bars that open from `first` on and before `before`."""
    rows = await connection.fetch(
        f"""
        SELECT open_time, open, high, low, close, volume FROM candles
        WHERE series_id = $1 AND ($2::timestamptz IS NULL OR open_time >= $2)
              AND ($3::timestamptz IS NULL OR open_time < $3)
              {wanted.sql(4)}
        """,
        series_id,
        first,
        before,
        *wanted.arguments,
    )
    return [to_bar(row) for row in rows]


async def find_last_bar(connection: Connection, series_id: int) -> Bar | None:
    row = await connection.fetchrow(
        """
        SELECT open_time, open, high, low, close, volume FROM candles
        WHERE series_id = $1 ORDER BY open_time DESC LIMIT 1
        """,
        series_id,
    )
    return to_bar(row) if row else None


async def copy_bars(
    connection: Connection,
    series_id: int,
    first: datetime,
    before: datetime,
    write: Callable[[bytes], Awaitable[None]],
) -> None:
    """Write the bars that open from `first` on and before `before`, ascending, as tab-separated lines: open time in
    ms, then the stored decimals. Nothing is decoded on the way, so that a million bars do not block the event loop.
    """
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


async def find_bar(connection: Connection, series_id: int, open_time: datetime) -> Bar | None:
    row = await connection.fetchrow(
        """
        SELECT open_time, open, high, low, close, volume FROM candles WHERE series_id = $1 AND open_time = $2
        """,
        series_id,
        open_time,
    )
    return to_bar(row) if row else None


def to_bar(row: asyncpg.Record) -> Bar:
    return Bar(to_ms(row["open_time"]), row["open"], row["high"], row["low"], row["close"], row["volume"])
