"""Notifies users of events: each event once, in the inboxes of users whose preferences ask for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.notifications.domain.digests import Minute, MinuteKey, minute_of, split_notices
from services.notifications.domain.kinds import KIND_RULES, preference_of
from services.notifications.domain.notices import Notice
from services.notifications.queries import deliveries, inbox
from services.notifications.queries.contacts import Recipient, list_recipients
from services.notifications.queries.deliveries import Delivery
from services.notifications.queries.inbox import NotificationRow
from services.notifications.templates import writer_for
from shared.chassis.postgres import Connection
from shared.contracts.types import instant_text, new_id


@dataclass(frozen=True)
class _Digest:
    """The digest of a minute. `first` is the first notice that this batch adds; `is_new` if it has no row yet."""

    key: MinuteKey
    minute: Minute
    first: Notice
    is_new: bool


async def notify_users(connection: Connection, notices: Sequence[Notice]) -> None:
    """Write notifications, in the transaction that consumes the events.

    The number of statements does not depend on the number of notices.
    """
    if not notices:
        return
    readers = await list_recipients(connection, {notice.user_id for notice in notices})
    wanted = [notice for notice in notices if _is_wanted(readers[notice.user_id], notice)]
    if not wanted:
        return
    positions = await deliveries.lock_inboxes(connection, {notice.user_id for notice in wanted})
    delivered = await deliveries.find_delivered(connection, wanted)
    fresh = [notice for notice in wanted if (notice.user_id, notice.event_id) not in delivered]
    if fresh:
        await _deliver(connection, fresh, readers, positions)


async def _deliver(
    connection: Connection, fresh: Sequence[Notice], readers: Mapping[int, Recipient], positions: dict[int, int]
) -> None:
    """Write notices that were not delivered before. `positions` are the last ones of the locked inboxes."""
    known = await deliveries.get_minutes(connection, {minute_of(notice) for notice in fresh})
    split = split_notices(fresh, known)
    single = [
        _message_row(notice, readers[notice.user_id], _next_position(positions, notice)) for notice in split.single
    ]
    first = {minute_of(notice): notice for notice in reversed(split.digested)}
    digests = [
        _Digest(key, split.minutes[key], notice, key not in known or known[key].digest_id is None)
        for key, notice in first.items()
    ]
    created: list[NotificationRow] = []
    grown: list[NotificationRow] = []
    for digest in digests:
        message = _digest_row(digest, readers[digest.first.user_id], _next_position(positions, digest.first))
        (created if digest.is_new else grown).append(message)
    new = [*single, *created]
    if new:
        await inbox.prepare_months(connection, {message.timestamp for message in new})
        await inbox.insert_messages(connection, new)
    if grown:
        await inbox.update_messages(connection, grown)
    await deliveries.upsert_minutes(connection, split.minutes)
    entries = [
        Delivery(notice, row.event_id, "DELIVERED") for notice, row in zip(split.single, single, strict=True)
    ]
    entries += _digested_deliveries(split.digested, split.minutes)
    await deliveries.insert_deliveries(connection, entries)
    await deliveries.update_positions(connection, positions)


def _digested_deliveries(notices: Sequence[Notice], minutes: Mapping[MinuteKey, Minute]) -> Iterator[Delivery]:
    for notice in notices:
        digest_id = minutes[minute_of(notice)].digest_id
        assert digest_id is not None, "a digested notice has a digest"
        yield Delivery(notice, digest_id, "DIGESTED")


def _is_wanted(reader: Recipient, notice: Notice) -> bool:
    return preference_of(notice.kind, reader.preferences).accepts(notice.severity, "dashboard")


def _next_position(positions: dict[int, int], notice: Notice) -> int:
    positions[notice.user_id] += 1
    return positions[notice.user_id]


def _message_row(notice: Notice, reader: Recipient, position: int) -> NotificationRow:
    return NotificationRow(
        user_id=notice.user_id,
        event_id=new_id(),
        position=position,
        timestamp=notice.published_at,
        event_type=notice.kind,
        event_category=KIND_RULES[notice.kind].category,
        message=writer_for(reader.language, reader.timezone).message(notice.kind, notice.values),
        data=notice.data,
        severity=notice.severity,
        session_id=notice.session_id,
        trade_id=notice.trade_id,
    )


def _digest_row(digest: _Digest, reader: Recipient, position: int) -> NotificationRow:
    (user_id, kind, at), minute = digest.key, digest.minute
    assert minute.digest_id is not None, "a digested notice has a digest"
    writer = writer_for(reader.language, reader.timezone)
    return NotificationRow(
        user_id=user_id,
        event_id=minute.digest_id,
        position=position,
        timestamp=digest.first.published_at,
        event_type="DIGEST",
        event_category=KIND_RULES[kind].category,
        message=writer.digest(kind, at, minute.digested),
        data={
            "event_type": kind,
            "minute": instant_text(at),
            "count": sum(minute.digested.values()),
            "counts": dict(minute.digested),
        },
        severity=minute.severity,
        session_id=None,
        trade_id=None,
    )
