"""Tells people what happened: each event once, in the inbox of those who want to hear it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.notifications.domain.digests import Minute, MinuteKey, minute_of, share_out
from services.notifications.domain.kinds import OF_KIND, preference_of
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
    """A minute's, with the first notice that made it grow in this batch; `is_new` where there was none."""

    key: MinuteKey
    minute: Minute
    first: Notice
    is_new: bool


async def tell(connection: Connection, notices: Sequence[Notice]) -> None:
    """In the transaction that hears of it. Batches, not rows: so many statements, however many notices."""
    if not notices:
        return
    readers = await list_recipients(connection, {notice.user_id for notice in notices})
    wanted = [notice for notice in notices if _wants(readers[notice.user_id], notice)]
    if not wanted:
        return
    positions = await deliveries.lock_inboxes(connection, {notice.user_id for notice in wanted})
    delivered = await deliveries.find_delivered(connection, wanted)
    fresh = [notice for notice in wanted if (notice.user_id, notice.event_id) not in delivered]
    if fresh:
        await _tell(connection, fresh, readers, positions)


async def _tell(
    connection: Connection, fresh: Sequence[Notice], readers: Mapping[int, Recipient], positions: dict[int, int]
) -> None:
    """`positions` are the last ones of inboxes that are locked."""
    known = await deliveries.get_minutes(connection, {minute_of(notice) for notice in fresh})
    shares = share_out(fresh, known)
    singly = [_of_notice(notice, readers[notice.user_id], _next(positions, notice)) for notice in shares.singly]
    first = {minute_of(notice): notice for notice in reversed(shares.digested)}
    digests = [
        _Digest(key, shares.minutes[key], notice, key not in known or known[key].digest_id is None)
        for key, notice in first.items()
    ]
    made: list[NotificationRow] = []
    grown: list[NotificationRow] = []
    for digest in digests:
        message = _of_digest(digest, readers[digest.first.user_id], _next(positions, digest.first))
        (made if digest.is_new else grown).append(message)
    new = [*singly, *made]
    if new:
        await inbox.prepare_months(connection, {message.timestamp for message in new})
        await inbox.insert_messages(connection, new)
    if grown:
        await inbox.rewrite_messages(connection, grown)
    await deliveries.upsert_minutes(connection, shares.minutes)
    entries = [
        Delivery(notice, row.event_id, "DELIVERED") for notice, row in zip(shares.singly, singly, strict=True)
    ]
    entries += _digested(shares.digested, shares.minutes)
    await deliveries.insert_deliveries(connection, entries)
    await deliveries.update_positions(connection, positions)


def _digested(notices: Sequence[Notice], minutes: Mapping[MinuteKey, Minute]) -> Iterator[Delivery]:
    for notice in notices:
        digest_id = minutes[minute_of(notice)].digest_id
        assert digest_id is not None, "what is digested has a digest"
        yield Delivery(notice, digest_id, "DIGESTED")


def _wants(reader: Recipient, notice: Notice) -> bool:
    return preference_of(notice.kind, reader.preferences).wants(notice.severity, "dashboard")


def _next(positions: dict[int, int], notice: Notice) -> int:
    positions[notice.user_id] += 1
    return positions[notice.user_id]


def _of_notice(notice: Notice, reader: Recipient, position: int) -> NotificationRow:
    return NotificationRow(
        user_id=notice.user_id,
        event_id=new_id(),
        position=position,
        timestamp=notice.said_at,
        event_type=notice.kind,
        event_category=OF_KIND[notice.kind].category,
        message=writer_for(reader.language, reader.timezone).message(notice.kind, notice.values),
        data=notice.data,
        severity=notice.severity,
        session_id=notice.session_id,
        trade_id=notice.trade_id,
    )


def _of_digest(digest: _Digest, reader: Recipient, position: int) -> NotificationRow:
    (user_id, kind, at), minute = digest.key, digest.minute
    assert minute.digest_id is not None, "what is digested has a digest"
    writer = writer_for(reader.language, reader.timezone)
    return NotificationRow(
        user_id=user_id,
        event_id=minute.digest_id,
        position=position,
        timestamp=digest.first.said_at,
        event_type="DIGEST",
        event_category=OF_KIND[kind].category,
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
