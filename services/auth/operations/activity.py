"""Append the activity of all services to the hash-chained log."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from services.auth.domain.chain import Entry, Link, append
from services.auth.queries import activity
from shared.chassis.postgres import Connection
from shared.contracts.activity import ActivityRecorded

log = structlog.get_logger()


async def log_activity(connection: Connection, events: Sequence[ActivityRecorded], now: datetime) -> None:
    """Append each event once, even if it is delivered again after the inbox no longer knows it."""
    heads = await activity.lock_heads(connection, {event.user_id for event in events})
    known = await activity.find_logged(connection, [(event.user_id, event.activity_id) for event in events])
    links: list[Link] = []
    for event in events:
        if event.activity_id in known:
            log.warning("activity_duplicate", activity_id=str(event.activity_id))
            continue
        known.add(event.activity_id)
        link, heads[event.user_id] = append(heads[event.user_id], _entry(event, now))
        links.append(link)
    if links:
        await activity.insert_links(connection, links)
        await activity.update_heads(connection, heads)


def _entry(event: ActivityRecorded, now: datetime) -> Entry:
    return Entry(
        user_id=event.user_id,
        activity_id=event.activity_id,
        timestamp=event.at,
        activity_type=event.activity_type,
        actor=event.actor,
        service=event.service,
        ip_address=event.address,
        user_agent=event.user_agent,
        endpoint=event.endpoint,
        data={} if event.object is None else {"object": event.object},
        created_at=now,
    )
