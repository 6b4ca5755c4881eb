"""Stop entries of running sessions for a cause besides a pause and the plan, and lift it; exits always continue."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.trading.domain import REFUSALS, Block
from services.trading.operations.alarms import alarm_cause
from services.trading.queries import account_risk, alarms, controls, sessions
from shared.chassis.postgres import Connection


async def block_entries(
    connection: Connection, user_id: int, session_ids: Sequence[UUID], cause: Block
) -> list[UUID]:
    """Stop entries from each session's last bar on; returns the sessions that this cause did not stop before.

    The caller has locked the leases.
    """
    blocked = await controls.block(connection, user_id, session_ids, cause)
    await alarms.insert_restrictions(connection, [user_id], blocked, cause)
    await sessions.touch_sessions(connection, [user_id], blocked)
    return blocked


async def unblock_entries(
    connection: Connection, user_id: int, session_ids: Sequence[UUID], cause: Block
) -> list[UUID]:
    """Lift one cause; returns the sessions that had it. The caller has locked the leases."""
    lifted = await controls.unblock(connection, user_id, session_ids, cause)
    await alarms.insert_restrictions(connection, [user_id], lifted, f"{cause}_LIFTED")
    await sessions.touch_sessions(connection, [user_id], lifted)
    return lifted


async def block_account(connection: Connection, user_id: int, account_id: UUID, now: datetime) -> None:
    """Stop the entries of all sessions of an account whose limit is breached, and notify the tenant once."""
    await sessions.get_entries(connection, user_id)  # locks the leases
    row = await account_risk.find_risk(connection, user_id, account_id, lock=True)
    if row is None or row.breached_at is None:
        return
    of_account = await account_risk.list_sessions_of_account(connection, user_id, account_id)
    blocked = await block_entries(connection, user_id, of_account, "ACCOUNT_RISK")
    detail = {
        "limit": str(row.breached_limit),
        "allowed": str(row.breached_allowed),
        "value": str(row.breached_value),
    }
    await alarm_cause(connection, [user_id], blocked, REFUSALS["ACCOUNT_RISK"], now, detail)


async def unblock_account(connection: Connection, user_id: int, account_id: UUID) -> None:
    """Allow the entries of an account again. The caller has locked the leases."""
    of_account = await account_risk.list_sessions_of_account(connection, user_id, account_id)
    await unblock_entries(connection, user_id, of_account, "ACCOUNT_RISK")
