"""An operator closes an account, or opens it again."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.domain.accounts import email_sha256
from services.auth.operations.end_logins import Owner, end_logins
from services.auth.operations.profile import updated
from services.auth.queries import accounts
from shared.chassis.activity import Activity, record
from shared.chassis.events.outbox import emit
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Database


@dataclass(frozen=True)
class Switched:
    """Whether it changed anything, and how many logins ended."""

    public_id: UUID
    changed: bool
    ended: int = 0


async def switch_account(database: Database, email: str, now: datetime, *, active: bool) -> Switched | None:
    """None where nobody has this e-mail. The logins of an account that is closed end with it."""
    async with database.untenanted() as connection:
        user_id = await accounts.locate_email(connection, email_sha256(email))
    if user_id is None:
        return None
    async with database.tenant(user_id) as connection:
        await accounts.lock_user(connection, user_id)
        number = await accounts.update_active(connection, user_id, active=active)
        account = await accounts.find_account(connection, user_id)
        assert account is not None, "the locator names a user"
        if number is None:
            return Switched(account.public_id, changed=False)
        owner = Owner(user_id, account.public_id)
        ended = 0 if active else await end_logins(connection, owner, "DEACTIVATED", now)
        await emit(connection, updated(user_id, number, account))
        done = "REACTIVATE_ACCOUNT" if active else "DEACTIVATE_ACCOUNT"
        by_hand = Client(None, None, "tradefleet accounts")
        activity = Activity(user_id, account.public_id, done, by_hand, now, "/v1/me", "ADMINISTRATOR")
        await record(connection, "auth", activity)
        return Switched(account.public_id, changed=True, ended=ended)
