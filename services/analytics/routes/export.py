"""`/v1/performance/export`: trades or days as a file, generated while it is read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime, timedelta
from functools import partial
from typing import Literal, TypeVar, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from services.analytics.domain.csv_text import Cell, csv_bytes
from services.analytics.operations.days import fresh_days
from services.analytics.queries import exports, facts
from services.analytics.routes.period import PeriodQuery, first_day, last_day, period_of
from shared.chassis.http.app import Call
from shared.chassis.http.downloads import Download
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Connection, Database
from shared.contracts.examples import BY_NAME, example_id
from shared.contracts.time_zones import zone_or_default
from shared.contracts.types import EARLIEST

ROWS_AT_ONCE = 1_000
EXAMPLE = csv_bytes(
    [exports.TRADE_COLUMNS, [str(BY_NAME.get(name) or example_id(name)) for name in exports.TRADE_COLUMNS]]
).decode()

P = TypeVar("P")
Rows = Sequence[Sequence[Cell]]
Read = Callable[[Connection, P], Awaitable[Rows]]


class ExportQuery(PeriodQuery):
    what: Literal["trades", "days"]
    format: Literal["csv"] = "csv"


class ExportRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint(
        "GET",
        "/v1/performance/export",
        "Download your trades or days as a CSV file, oldest first",
        media="text/csv",
        media_example=EXAMPLE,
    )
    async def export_performance(self, call: Call, query: ExportQuery) -> Download:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            zone = zone_or_default(await facts.get_zone(connection, user_id))
        day = call.now.astimezone(zone).date().isoformat()
        filename = f"{query.what}-{query.mode.lower()}-{day}.csv"
        pieces = pieces_of(self._database, user_id, query, zone)
        return Download(filename, await anext(pieces), pieces)


def pieces_of(database: Database, user_id: int, query: ExportQuery, zone: ZoneInfo) -> AsyncIterator[bytes]:
    if query.what == "days":
        return _pieces_of_days(database, user_id, query, zone)
    return _pieces_of_trades(database, user_id, query, zone)


def _pieces_of_trades(database: Database, user_id: int, query: ExportQuery, zone: ZoneInfo) -> AsyncIterator[bytes]:
    spans = period_of(query.from_, query.to, zone).spans
    names = exports.TRADE_COLUMNS
    place = names.index("exit_time"), names.index("trade_id")

    async def read(connection: Connection, after: tuple[datetime, UUID]) -> Rows:
        return await exports.list_trades_to_export(connection, user_id, query.mode, spans, after, ROWS_AT_ONCE)

    def position_of(row: Sequence[Cell]) -> tuple[datetime, UUID]:
        return cast("datetime", row[place[0]]), cast("UUID", row[place[1]])

    return _read_all(partial(database.tenant, user_id), names, read, (EARLIEST, UUID(int=0)), position_of)


def _pieces_of_days(database: Database, user_id: int, query: ExportQuery, zone: ZoneInfo) -> AsyncIterator[bytes]:
    first, last = first_day(query.from_, zone), last_day(query.to, zone)
    names = exports.DAY_COLUMNS

    async def read(connection: Connection, after: date) -> Rows:
        return await exports.list_days_to_export(
            connection, user_id, query.mode, last or date.max, after, ROWS_AT_ONCE
        )

    begin = first - timedelta(days=1) if first else date.min
    return _read_all(partial(fresh_days, database, user_id), names, read, begin, lambda row: cast("date", row[0]))


async def _read_all(
    transaction: Callable[[], AbstractAsyncContextManager[Connection]],
    names: Sequence[str],
    read: Read[P],
    after: P,
    position_of: Callable[[Sequence[Cell]], P],
) -> AsyncIterator[bytes]:
    """Yield chunks, each read in its own transaction, so that a slow reader holds no connection."""
    header: Rows = [names]
    while True:
        async with transaction() as connection:
            rows = await read(connection, after)
        yield csv_bytes([*header, *rows])
        if len(rows) < ROWS_AT_ONCE:
            return
        header, after = (), position_of(rows[-1])
