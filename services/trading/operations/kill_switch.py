"""Kill switches: entries stop at once, in every worker, and everything is closed if asked for."""

from datetime import datetime
from uuid import UUID

from services.trading.operations.alarms import KILL_SWITCH_ON, alarm_cause
from services.trading.queries import alarms, entitlements, kill_switches, sessions
from services.trading.queries.kill_switches import SwitchRow
from shared.chassis.errors import InvalidInput, require_found
from shared.chassis.postgres import Connection
from shared.contracts.types import new_id


async def switch_on(
    connection: Connection,
    user_id: int,
    session_id: UUID | None,
    now: datetime,
    *,
    flatten: bool,
    reason: str | None,
    is_operators: bool = False,
) -> SwitchRow:
    """Stop the entries of a session, or of all sessions of the tenant. Idempotent. Raises InvalidInput.

    Once this commits, no entry passes the gate.
    """
    await entitlements.find_plan_limits(connection, user_id, lock=True)  # so that no session starts meanwhile
    if session_id is not None and await sessions.find_session(connection, user_id, session_id) is None:
        raise InvalidInput(errors=[{"path": "$.session_id", "reason": "there is no such session"}])
    row = await kill_switches.upsert_switch(
        connection, user_id, new_id(), session_id, flatten=flatten, reason=reason, is_operators=is_operators
    )
    await apply_switches(connection, now, user_id)
    return row


async def lift(connection: Connection, user_id: int, switch_id: UUID, now: datetime) -> SwitchRow:
    """Lift a switch; entries that nothing else stops are allowed again. Idempotent. Raises NotFound, also for an
    operator's switch."""
    await entitlements.find_plan_limits(connection, user_id, lock=True)
    row = require_found(await kill_switches.lift_switch(connection, user_id, switch_id))
    await apply_switches(connection, now, user_id)
    return row


async def apply_switches(
    connection: Connection, now: datetime, user_id: int | None = None, symbol: str | None = None
) -> int:
    """Bring the sessions of a tenant in line with the switches, or as the owner those of all, or of a symbol.

    Records the restriction with each session that changes, and notifies its tenant. Returns how many changed.
    """
    switched = await kill_switches.apply_switches(connection, user_id, symbol)
    users = {each.user_id for each in switched}
    on = [each.session_id for each in switched if each.is_on]
    off = [each.session_id for each in switched if not each.is_on]
    await alarms.insert_restrictions(connection, users, on, "KILL_SWITCH")
    await alarms.insert_restrictions(connection, users, off, "KILL_SWITCH_LIFTED")
    await sessions.touch_sessions(connection, users, [*on, *off])
    await alarm_cause(connection, users, on, KILL_SWITCH_ON, now, {})
    return len(switched)
