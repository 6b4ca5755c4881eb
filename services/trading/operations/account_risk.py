"""The risk limits of an exchange account: settings, breaches by losses, and resuming after a breach."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.custody.queries import get_account
from services.trading.operations.block_entries import unblock_account
from services.trading.queries import account_risk, sessions
from services.trading.queries.account_risk import RiskRow
from services.trading.risk import RiskSettings, find_loss_breach
from shared.chassis.http.etags import IfMatch
from shared.chassis.postgres import Connection


async def get_risk(connection: Connection, user_id: int, account_id: UUID) -> RiskRow:
    """Return the limits; those of an account that was never given any limit nothing. Raises NotFound."""
    await get_account(connection, user_id, account_id)
    return await account_risk.find_risk(connection, user_id, account_id) or RiskRow()


async def set_risk(
    connection: Connection, user_id: int, account_id: UUID, settings: RiskSettings, if_match: IfMatch
) -> RiskRow:
    """Replace the limits; they apply to the next entry. A breach stays until a person resumes. Raises NotFound,
    PreconditionFailed."""
    await get_account(connection, user_id, account_id, lock=True)
    current = await account_risk.find_risk(connection, user_id, account_id, lock=True)
    if_match.check(current.revision if current else 0)
    if current is not None and current.settings == settings:
        return current
    return await account_risk.upsert_settings(connection, user_id, account_id, settings)


async def resume(connection: Connection, user_id: int, account_id: UUID, now: datetime) -> RiskRow:
    """Allow entries again after a breach. Idempotent. Raises NotFound.

    The drawdown counts from the equity as it is now; a daily loss that still exceeds its limit is a new breach at
    the next entry.
    """
    await sessions.get_entries(connection, user_id)  # locks the leases, which come before the account's limits
    await get_account(connection, user_id, account_id)
    row = await account_risk.find_risk(connection, user_id, account_id, lock=True)
    if row is None or row.breached_at is None:
        return row or RiskRow()
    cleared = await account_risk.clear_breach(connection, user_id, account_id, now)
    await unblock_account(connection, user_id, account_id)
    return cleared


async def note_equity(
    connection: Connection, user_id: int, account_id: UUID, equity: Decimal, now: datetime
) -> bool:
    """Note the wallet's equity. Returns whether a limit on losses is reached: then call `block_account` in another
    transaction. `now` is the exchange's time."""
    row = await account_risk.set_equity(connection, user_id, account_id, equity)
    if row is None or row.breached_at is not None:
        return False
    facts = await account_risk.read_facts(connection, user_id, account_id, row, now)
    if (breach := find_loss_breach(row.settings, facts)) is None:
        return False
    await account_risk.set_breach(connection, user_id, account_id, breach, now)
    return True
