"""End logins. Only this module does, so that `login.ended` is published for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.domain.accounts import MAX_LOGINS
from services.auth.queries import logins as queries
from shared.chassis.events.outbox import emit
from shared.chassis.identity import OfUser
from shared.chassis.postgres import Connection
from shared.contracts.auth import EndReason, LoginEnded


@dataclass(frozen=True)
class Owner:
    """The user whose logins they are."""

    user_id: int
    public_id: UUID


async def end_login(
    connection: Connection, owner: OfUser, login_id: UUID, reason: EndReason, now: datetime
) -> bool:
    """Return False if this user has no such login, or it has already ended."""
    ended = await queries.update_login_ended(connection, owner.user_id, login_id, reason, now)
    await _publish(connection, owner, ended, reason, now)
    return bool(ended)


async def end_logins(
    connection: Connection, owner: OfUser, reason: EndReason, now: datetime, *, keep: UUID | None = None
) -> int:
    """End all logins of a user except `keep`. Returns the count."""
    ended = await queries.update_other_logins_ended(connection, owner.user_id, keep, reason, now)
    await _publish(connection, owner, ended, reason, now)
    return len(ended)


async def end_surplus_logins(connection: Connection, owner: OfUser, now: datetime) -> None:
    """End the oldest logins of a user who has more than MAX_LOGINS."""
    ended = await queries.update_surplus_logins_ended(connection, owner.user_id, MAX_LOGINS, now)
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
