"""Deactivate and reactivate accounts, by an operator."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.operations.end_logins import Owner, end_logins
from services.auth.operations.profile import user_updated
from services.auth.queries import accounts
from shared.chassis.activity import Activity, record
from shared.chassis.events.outbox import emit
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Database
from shared.contracts.emails import email_sha256


@dataclass(frozen=True)
class ActivationChange:
    """The result of activating or deactivating an account; `ended` is the number of logins that ended."""

    public_id: UUID
    changed: bool
    ended: int = 0


async def set_account_active(
    database: Database, email: str, now: datetime, *, active: bool
) -> ActivationChange | None:
    """Activate an account, or deactivate it and end its logins. Returns None if no account has this e-mail."""
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
            return ActivationChange(account.public_id, changed=False)
        owner = Owner(user_id, account.public_id)
        ended = 0 if active else await end_logins(connection, owner, "DEACTIVATED", now)
        await emit(connection, user_updated(user_id, number, account))
        activity_type = "REACTIVATE_ACCOUNT" if active else "DEACTIVATE_ACCOUNT"
        operator = Client(None, None, "tradefleet accounts")
        activity = Activity(user_id, account.public_id, activity_type, operator, now, "/v1/me", "ADMINISTRATOR")
        await record(connection, "auth", activity)
        return ActivationChange(account.public_id, changed=True, ended=ended)
