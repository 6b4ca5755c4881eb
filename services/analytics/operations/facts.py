"""Facts are noted and the days that follow from them are cut again, in one transaction."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from services.analytics.domain.days import Day, EarlierDays, cut_days
from services.analytics.domain.facts import local_date
from services.analytics.domain.local_days import day_start
from services.analytics.queries import days, facts
from services.analytics.queries.facts import Change, Subject
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered, UserUpdated
from shared.contracts.time_zones import zone_or_default
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed

MODES = ("LIVE", "PAPER")
LONG = 20_000  # trades
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


async def note_zones(connection: Connection, events: Sequence[UserRegistered] | Sequence[UserUpdated]) -> None:
    """The zone may come after the first trades, or change: all days are cut again from the facts."""
    in_order: list[UserRegistered | UserUpdated] = sorted(events, key=lambda event: event.aggregate_seq)
    wanted = {event.user_id: (event.timezone, event.aggregate_seq) for event in in_order}
    await facts.lock_zones(connection, wanted)
    if changed := await facts.update_zones(connection, wanted):
        await rebuild_days(connection, changed)


async def note_sessions_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    """What a session brings in is there from its first day on."""
    zones = await facts.lock_zones(connection, {event.user_id for event in events})
    await _cut_since(connection, zones, await facts.upsert_started(connection, events))


async def note_sessions_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    """What a session gives back is at work no longer."""
    zones = await facts.lock_zones(connection, {event.user_id for event in events})
    await _cut_since(connection, zones, await facts.upsert_stopped(connection, events))


async def note_trades(connection: Connection, events: Sequence[TradeClosed]) -> None:
    """Each trade once; a late one cuts its day and all that follow."""
    zones = await facts.lock_zones(connection, {event.user_id for event in events})
    await _cut_since(connection, zones, await facts.insert_trades(connection, events))


@dataclass(frozen=True)
class Rebuilt:
    """`changed` are the rows of days that were not as the facts give them: written, or removed."""

    trades: int
    days: int
    changed: int


async def rebuild_days(connection: Connection, users: Iterable[int]) -> Rebuilt:
    """All days from the facts alone: the same as came by cutting since."""
    wanted = [(user_id, mode) for user_id in sorted(set(users)) for mode in MODES]
    zones = await facts.lock_zones(connection, {user_id for user_id, _ in wanted})
    trades, cut = await _days_since(connection, zones, dict.fromkeys(wanted, BEGINNING), {})
    removed = await days.delete_other_days(connection, wanted, [(subject, day.date) for subject, day in cut])
    changed = await days.upsert_days(connection, zones, cut)
    return Rebuilt(trades, len(cut), removed + changed)


async def _cut_since(connection: Connection, zones: Mapping[int, str], changes: Iterable[Change]) -> None:
    """Cut the days of each subject again from the earliest local day on that has a change."""
    dates: dict[Subject, date] = {}
    for subject, moment in changes:
        day = local_date(moment, zone_or_default(zones[subject[0]]))
        dates[subject] = min(day, dates.get(subject, day))
    if not dates:
        return
    carried, outdated = await days.get_carried(connection, dates)
    since = {
        subject: BEGINNING if subject in outdated else day_start(day, zone_or_default(zones[subject[0]])).moment
        for subject, day in dates.items()
    }
    _, cut = await _days_since(connection, zones, since, carried)
    await days.upsert_days(connection, zones, cut)


async def _days_since(
    connection: Connection,
    zones: Mapping[int, str],
    since: Mapping[Subject, datetime],
    carried: Mapping[Subject, EarlierDays],
) -> tuple[int, list[tuple[Subject, Day]]]:
    """Of how many trades, and the days; those that are `carried` are taken as they stand."""
    trades = await facts.list_trades_since(connection, since)
    sessions = await facts.list_sessions_of(connection, since)
    count = sum(map(len, trades.values()))

    def cut() -> list[tuple[Subject, Day]]:
        return [
            (subject, day)
            for subject in since
            for day in cut_days(
                trades[subject],
                sessions[subject],
                zone_or_default(zones[subject[0]]),
                carried.get(subject),
            )
        ]

    # Many trades take a while: the loop goes on meanwhile.
    return count, await asyncio.to_thread(cut) if count > LONG else cut()
