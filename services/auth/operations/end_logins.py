"""Ending logins: the one place that does, so that each is published to the services that take its access tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.domain.accounts import MOST_SESSIONS
from services.auth.queries import logins as queries
from shared.chassis.events.outbox import emit
from shared.chassis.identity import OfUser
from shared.chassis.postgres import Connection
from shared.contracts.auth import EndReason, LoginEnded


@dataclass(frozen=True)
class Owner:
    """Whose logins they are."""

    user_id: int
    public_id: UUID


async def end_login(
    connection: Connection, owner: OfUser, login_id: UUID, reason: EndReason, now: datetime
) -> bool:
    """False if this user has no such login, or it had ended before."""
    ended = await queries.update_session_ended(connection, owner.user_id, login_id, reason, now)
    await _publish(connection, owner, ended, reason, now)
    return bool(ended)


async def end_logins(
    connection: Connection, owner: OfUser, reason: EndReason, now: datetime, *, keep: UUID | None = None
) -> int:
    """All of a user, but `keep`; how many there were."""
    ended = await queries.update_other_sessions_ended(connection, owner.user_id, keep, reason, now)
    await _publish(connection, owner, ended, reason, now)
    return len(ended)


async def end_surplus_logins(connection: Connection, owner: OfUser, now: datetime) -> None:
    """The oldest, where a user has more than they may."""
    ended = await queries.update_surplus_sessions_ended(connection, owner.user_id, MOST_SESSIONS, now)
    await _publish(connection, owner, ended, "TOO_MANY", now)


async def _publish(
    connection: Connection, owner: OfUser, ended: Sequence[UUID], reason: EndReason, now: datetime
) -> None:
    if not ended:
        return
    await emit(
        connection,
        *(
            LoginEnded(
                user_id=owner.user_id,
                public_id=owner.public_id,
                aggregate=f"login:{login_id}",
                aggregate_seq=1,
                login_id=login_id,
                reason=reason,
                at=now,
            )
            for login_id in ended
        ),
    )
