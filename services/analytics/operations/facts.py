"""Stores facts and recomputes the days that depend on them, in one transaction."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from services.analytics.domain.days import Day, EarlierDays, compute_days
from services.analytics.domain.facts import local_date
from services.analytics.domain.local_days import day_start
from services.analytics.queries import days, facts
from services.analytics.queries.facts import Change, Subject
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered, UserUpdated
from shared.contracts.time_zones import zone_or_default
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed

MODES = ("LIVE", "PAPER")
MAX_TRADES_IN_LOOP = 20_000  # days of more trades are computed in a thread
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


async def record_zones(connection: Connection, events: Sequence[UserRegistered] | Sequence[UserUpdated]) -> None:
    """Store time zones. A zone may arrive after the first trades, or change: then all days are recomputed."""
    in_order: list[UserRegistered | UserUpdated] = sorted(events, key=lambda event: event.aggregate_seq)
    zones = {event.user_id: (event.timezone, event.aggregate_seq) for event in in_order}
    await facts.lock_zones(connection, zones)
    if changed := await facts.update_zones(connection, zones):
        await rebuild_days(connection, changed)


async def record_sessions_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    """Store started sessions. Their capital counts from their first day on."""
    zones = await facts.lock_zones(connection, {event.user_id for event in events})
    await _recompute_since(connection, zones, await facts.upsert_started(connection, events))


async def record_sessions_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    """Store stopped sessions. Their final balance leaves the capital at work."""
    zones = await facts.lock_zones(connection, {event.user_id for event in events})
    await _recompute_since(connection, zones, await facts.upsert_stopped(connection, events))


async def record_trades(connection: Connection, events: Sequence[TradeClosed]) -> None:
    """Store each trade once. A late trade changes its day and all later ones."""
    zones = await facts.lock_zones(connection, {event.user_id for event in events})
    await _recompute_since(connection, zones, await facts.insert_trades(connection, events))


@dataclass(frozen=True)
class RebuildCounts:
    """`changed` counts the stored days that differed from the facts and were written or deleted."""

    trades: int
    days: int
    changed: int


async def rebuild_days(connection: Connection, users: Iterable[int]) -> RebuildCounts:
    """Recompute all days from the facts alone. Gives the same days as the incremental updates."""
    subjects = [(user_id, mode) for user_id in sorted(set(users)) for mode in MODES]
    zones = await facts.lock_zones(connection, {user_id for user_id, _ in subjects})
    trades, computed = await _days_since(connection, zones, dict.fromkeys(subjects, BEGINNING), {})
    deleted = await days.delete_other_days(connection, subjects, [(subject, day.date) for subject, day in computed])
    changed = await days.upsert_days(connection, zones, computed)
    return RebuildCounts(trades, len(computed), deleted + changed)


async def _recompute_since(connection: Connection, zones: Mapping[int, str], changes: Iterable[Change]) -> None:
    """Recompute each subject's days from the earliest local day with a change on."""
    dates: dict[Subject, date] = {}
    for subject, moment in changes:
        day = local_date(moment, zone_or_default(zones[subject[0]]))
        dates[subject] = min(day, dates.get(subject, day))
    if not dates:
        return
    earlier, outdated = await days.get_earlier_days(connection, dates)
    since = {
        subject: BEGINNING if subject in outdated else day_start(day, zone_or_default(zones[subject[0]])).moment
        for subject, day in dates.items()
    }
    _, computed = await _days_since(connection, zones, since, earlier)
    await days.upsert_days(connection, zones, computed)


async def _days_since(
    connection: Connection,
    zones: Mapping[int, str],
    since: Mapping[Subject, datetime],
    earlier: Mapping[Subject, EarlierDays],
) -> tuple[int, list[tuple[Subject, Day]]]:
    """Return the number of trades read, and the days computed from them. `earlier` days are not recomputed."""
    trades = await facts.list_trades_since(connection, since)
    sessions = await facts.list_sessions_of(connection, since)
    count = sum(map(len, trades.values()))

    def compute() -> list[tuple[Subject, Day]]:
        return [
            (subject, day)
            for subject in since
            for day in compute_days(
                trades[subject],
                sessions[subject],
                zone_or_default(zones[subject[0]]),
                earlier.get(subject),
            )
        ]

    # Many trades take a while; a thread keeps the event loop free.
    return count, await asyncio.to_thread(compute) if count > MAX_TRADES_IN_LOOP else compute()
