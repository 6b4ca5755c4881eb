"""Facts are noted and the days that follow from them are cut again, in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from services.analytics.domain.days import cut_days, day_start
from services.analytics.queries import days, facts
from services.analytics.queries.facts import Subject
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed

BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


async def note_zones(connection: Connection, events: Sequence[UserRegistered]) -> None:
    """The zone may come after the first trades, or change: all days are cut again from the facts."""
    wanted = {event.user_id: event.timezone for event in events}
    for zone in set(wanted.values()):
        ZoneInfo(zone)  # an unknown one is refused before anything is written
    known = await facts.lock_zones(connection, wanted)
    changed = {user_id: zone for user_id, zone in wanted.items() if known[user_id] != zone}
    if changed:
        await facts.update_zones(connection, changed)
        await rebuild_days(connection, await facts.find_subjects(connection, changed))


async def note_sessions_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    """What a session brings in is there from its first day on."""
    zones = await facts.lock_zones(connection, {event.user_id for event in events})
    await facts.upsert_started(connection, events)
    touched: dict[Subject, datetime] = {}
    for event in events:
        subject = (event.user_id, event.mode)
        touched[subject] = min(event.started_at, touched.get(subject, event.started_at))
    await _cut_since(connection, zones, touched)


async def note_sessions_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    """No day follows from a stop: the capital's way out is a flow."""
    await facts.upsert_stopped(connection, events)


async def note_trades(connection: Connection, events: Sequence[TradeClosed]) -> None:
    """Each trade once; a late one cuts its day and all that follow."""
    zones = await facts.lock_zones(connection, {event.user_id for event in events})
    await _cut_since(connection, zones, await facts.insert_trades(connection, events))


async def rebuild_days(connection: Connection, subjects: Iterable[Subject]) -> None:
    """All days from the facts alone: the same as came by cutting since."""
    wanted = list(subjects)
    if not wanted:
        return
    zones = await facts.lock_zones(connection, {user_id for user_id, _ in wanted})
    await days.delete_days(connection, wanted)
    await _cut(connection, zones, dict.fromkeys(wanted, BEGINNING), {})


async def _cut_since(connection: Connection, zones: Mapping[int, str], touched: Mapping[Subject, datetime]) -> None:
    """Cut the days of each subject again from the local day of its earliest change on."""
    if not touched:
        return
    dates = {subject: moment.astimezone(ZoneInfo(zones[subject[0]])).date() for subject, moment in touched.items()}
    since = {subject: day_start(day, ZoneInfo(zones[subject[0]])) for subject, day in dates.items()}
    await _cut(connection, zones, since, dates)


async def _cut(
    connection: Connection,
    zones: Mapping[int, str],
    since: Mapping[Subject, datetime],
    dates: Mapping[Subject, date],
) -> None:
    carried = await days.get_carried(connection, dates) if dates else {}
    trades = await facts.list_trades_since(connection, since)
    sessions = await facts.list_sessions_of(connection, since)
    cut = [
        (subject, day)
        for subject in since
        for day in cut_days(
            trades[subject],
            sessions[subject],
            ZoneInfo(zones[subject[0]]),
            carried.get(subject),
        )
    ]
    if cut:
        await days.upsert_days(connection, zones, cut)
