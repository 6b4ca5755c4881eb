"""Reconcile an exchange account: its entries pass once the exchange has nothing that the database does not know.

Until then they wait at the gate. If something stays unknown, entries are refused, and the tenant is notified.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.trading.domain import REFUSALS
from services.trading.operations.alarms import alarm_cause
from services.trading.operations.block_entries import block_entries, unblock_entries
from services.trading.orders.reconciliation import AccountLook, Known, KnownSession, find_unknown
from services.trading.queries import account_risk, intents, reconciliations, sessions
from shared.chassis.postgres import Connection

OVERLAP = timedelta(hours=1)  # executions are listed again, because they may be listed late


async def find_since(connection: Connection, user_id: int, account_id: UUID) -> datetime | None:
    """Return the time from which to read executions; None if there is nothing to reconcile."""
    if await reconciliations.find_reconciled(connection, user_id, account_id) is not None:
        return None
    horizon = await reconciliations.find_horizon(connection, user_id, account_id)
    return horizon - OVERLAP if horizon is not None else None


async def record_look(
    connection: Connection, user_id: int, account_id: UUID, look: AccountLook, now: datetime, *, is_final: bool
) -> list[str]:
    """Compare the account with the database; reconciled, its entries are allowed. Returns what is not known.

    `is_final`: what is not known has had its time to be booked; entries are refused, until another look finds
    nothing.
    """
    await sessions.get_entries(connection, user_id)  # locks the leases
    unknown = find_unknown(look, await _known(connection, user_id, account_id, look))
    if not unknown:
        await reconciliations.set_reconciled(connection, user_id, account_id)
        of_account = await account_risk.list_sessions_of_account(connection, user_id, account_id)
        await unblock_entries(connection, user_id, of_account, "NOT_RECONCILED")
    elif is_final:
        await refuse_entries(connection, user_id, account_id, unknown, now)
    return unknown


async def refuse_entries(
    connection: Connection, user_id: int, account_id: UUID, reasons: Sequence[str], now: datetime
) -> None:
    """Refuse the account's entries until it is reconciled, and notify the tenant once."""
    await sessions.get_entries(connection, user_id)  # locks the leases
    of_account = await account_risk.list_sessions_of_account(connection, user_id, account_id)
    blocked = await block_entries(connection, user_id, of_account, "NOT_RECONCILED")
    detail = {f"unknown {number}": reason for number, reason in enumerate(reasons, 1)}
    await alarm_cause(connection, [user_id], blocked, REFUSALS["NOT_RECONCILED"], now, detail)


async def _known(connection: Connection, user_id: int, account_id: UUID, look: AccountLook) -> Known:
    trading = await reconciliations.list_trading(connection, user_id, account_id)
    links = [(user_id, link_id) for link_id in sorted(look.link_ids)]
    ids = [execution.execution_id for execution in look.executions]
    return Known(
        {each.symbol: KnownSession(each.start_time, each.position) for each in trading},
        frozenset(order_id for each in trading for order_id in each.ignored_orders),
        frozenset(await intents.find_ids(connection, links) if links else ()),
        await reconciliations.list_known_executions(connection, user_id, ids),
    )
