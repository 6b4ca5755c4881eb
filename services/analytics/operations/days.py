"""Computes the days that are stale: by the clock, before they are read, and when they are rebuilt."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import structlog

from services.analytics.domain.days import Day, EarlierDays, compute_days
from services.analytics.domain.local_days import day_start, first_date
from services.analytics.queries import days, facts, stale_days
from services.analytics.queries.stale_days import BEGINNING, MODES, Subject
from shared.chassis.infrastructure_faults import is_infrastructure
from shared.chassis.postgres import Connection, Database
from shared.contracts.time_zones import zone_or_default

MAX_TRADES_IN_LOOP = 500  # days of more trades are computed in a thread, which keeps the event loop free
# Raised by the facts of one user; they must not keep other users' days from being computed.
FAULTS_OF_FACTS = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError, asyncpg.PostgresError)

log = structlog.get_logger()


@dataclass(frozen=True)
class Computed:
    """`changed` counts the stored days that differed from the facts and were written or deleted."""

    trades: int = 0
    days: int = 0
    changed: int = 0


@asynccontextmanager
async def fresh_days(database: Database, user_id: int) -> AsyncIterator[Connection]:
    """Open a transaction of the tenant in which the days include every fact that was stored before it."""
    async with database.tenant(user_id) as connection:
        if not await stale_days.is_marked(connection, user_id):
            yield connection
            return
    async with database.tenants([user_id]) as connection:
        await compute_stale_days(connection, [user_id])
    async with database.tenant(user_id) as connection:
        yield connection


async def list_stale_users(database: Database, after: int, limit: int) -> list[int]:
    """List the next users after the user `after` who have stale days, ascending."""
    async with database.queue() as connection:
        return await stale_days.list_marked_users(connection, after, limit)


async def compute_days_of_users(database: Database, users: Sequence[int]) -> None:
    """Compute the users' stale days together; if that fails, in halves. If one user's fail, they stay marked."""
    if not users:
        return
    try:
        async with database.tenants(users) as connection:
            await compute_stale_days(connection, users)
    except FAULTS_OF_FACTS as fault:
        if is_infrastructure(fault):
            raise
        if len(users) == 1:
            log.error("days_not_computed", user_id=users[0], exc_info=fault)
            return
        middle = len(users) // 2
        await compute_days_of_users(database, users[:middle])
        await compute_days_of_users(database, users[middle:])


async def rebuild_days(connection: Connection, users: Collection[int]) -> Computed:
    """Compute all days of the users from the facts alone. Days that were only stale do not count as changed."""
    zones = await compute_stale_days(connection, users)
    return await _compute(connection, zones, {(user_id, mode): BEGINNING for user_id in zones for mode in MODES})


async def compute_stale_days(connection: Connection, users: Collection[int]) -> Mapping[int, str]:
    """Compute and store the days of the users from their marks on, and delete the marks. Returns their time zones,
    which are locked.

    The locked zones serialise transactions that compute a user's days. Those that store facts wait for the marks: a
    fact is either read here, or its mark is set again afterwards.
    """
    zones = await facts.lock_zones(connection, users)
    if marks := await stale_days.lock_marks(connection, users):
        await _compute(connection, zones, marks)
        await stale_days.delete_marks(connection, marks)
    return zones


async def _compute(
    connection: Connection, zones: Mapping[int, str], changed_at: Mapping[Subject, datetime]
) -> Computed:
    """Compute and store the days of each subject from the local date of its earliest change on."""
    dates = {
        (user_id, mode): first_date(moment, zone_or_default(zones[user_id]))
        for (user_id, mode), moment in changed_at.items()
        if moment > BEGINNING
    }
    earlier, outdated = await days.get_earlier_days(connection, dates) if dates else ({}, set())
    whole = {subject for subject in changed_at if subject not in dates or subject in outdated}
    since = {
        (user_id, mode): day_start(day, zone_or_default(zones[user_id])).moment
        for (user_id, mode), day in dates.items()
    }
    trades, computed = await _days_since(connection, zones, since | dict.fromkeys(whole, BEGINNING), earlier)
    kept = [(subject, day.date) for subject, day in computed if subject in whole]
    deleted = await days.delete_other_days(connection, whole, kept) if whole else 0
    changed = await days.upsert_days(connection, zones, computed)
    return Computed(trades, len(computed), deleted + changed)


async def _days_since(
    connection: Connection,
    zones: Mapping[int, str],
    since: Mapping[Subject, datetime],
    earlier: Mapping[Subject, EarlierDays],
) -> tuple[int, list[tuple[Subject, Day]]]:
    """Return the number of trades read, and the days computed from them. `earlier` days are not computed again."""
    exits = await facts.list_exits_since(connection, since)
    sessions = await facts.list_sessions_of(connection, exits)
    count = sum(map(len, exits.values()))

    def compute() -> list[tuple[Subject, Day]]:
        return [
            (subject, day)
            for subject in exits
            for day in compute_days(
                exits[subject],
                sessions[subject],
                zone_or_default(zones[subject[0]]),
                earlier.get(subject),
            )
        ]

    return count, await asyncio.to_thread(compute) if count > MAX_TRADES_IN_LOOP else compute()
