"""After a restore, entries wait until their account is reconciled with an exchange that has gone on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from io import BytesIO

import asyncpg
import pytest

from services.trading.exchange.venue import (
    VenueExecution,
    VenueOrder,
    VenuePosition,
    VenueUnavailable,
    VenueWallet,
)
from services.trading.operations.reconcile_account import record_look
from services.trading.orders.reconciliation import AccountLook
from services.trading.queries.reconciliations import find_reconciled, set_reconciled
from services.trading.worker.account_watch import AccountWatch
from services.trading.worker.postgres_store import OrderWriter
from shared.contracts.trading import SessionAlarmed
from stack.migrate import DatabaseAccess
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.trading.conftest import Trading
from tests.integration.trading.exchange_market import AWAITED, exchange_market
from tests.integration.trading.live import Live, add_account, foreign_order, open_live, start_live, store_bars
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import wavy_bars

BARS = wavy_bars(30)
# Tables of tenants and orders; the market is the exchange's, and comes from there again.
TENANTS = """
    SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id'
    WHERE c.relnamespace = 'trading'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
"""
WALLET = VenueWallet(Decimal(1), Decimal(1), Decimal(1))


class Backup:
    """Dumps and restores the rows of all tenants, as the superuser."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._rows: dict[str, bytes] = {}

    async def dump(self) -> None:
        for row in await self._connection.fetch(TENANTS):
            output = BytesIO()
            await self._connection.copy_from_table(row["relname"], schema_name="trading", output=output)
            self._rows[row["relname"]] = output.getvalue()

    async def restore(self) -> None:
        async with self._connection.transaction():
            await self._connection.execute("SET LOCAL session_replication_role = replica")
            await self._connection.execute(
                f"TRUNCATE {', '.join(f'trading.{name}' for name in self._rows)} CASCADE"
            )
            for name, rows in self._rows.items():
                await self._connection.copy_to_table(name, schema_name="trading", source=BytesIO(rows))


@pytest.fixture
async def backup(postgres: str, database_access: DatabaseAccess) -> AsyncIterator[Backup]:
    connection = await asyncpg.connect(postgres, database=database_access.name)
    yield Backup(connection)
    await connection.close()


@pytest.fixture
async def live(trading: Trading) -> AsyncIterator[Live]:
    """A session whose entry is recorded and not sent."""
    writer = OrderWriter(trading.database)
    await store_bars(trading)
    session = await start_live(trading, await trading.subscribe(1), await add_account(trading, 1, "u1"))
    live = await open_live(trading, session, writer)
    await live.step()
    yield live
    await writer.close()


async def reconciled(live: Live) -> bool:
    account_id = live.session.exchange_account_id
    return await as_tenant(live.trading.database, find_reconciled, 1, account_id) is not None


async def test_a_reconciliation_that_was_read_back_from_a_backup_does_not_count(live: Live, backup: Backup) -> None:
    await backup.dump()
    assert await reconciled(live)
    await backup.restore()
    assert not await reconciled(live)
    await as_tenant(live.trading.database, set_reconciled, 1, live.session.exchange_account_id)
    assert await reconciled(live)


async def test_a_reconciliation_ends_with_the_server_that_it_was_written_by(trading: Trading, live: Live) -> None:
    await trading.fetch(
        """
        UPDATE account_reconciliations
        SET server_started = server_started - interval '1 day', written_by = pg_current_xact_id()::xid
        """
    )
    assert not await reconciled(live)


async def test_entries_wait_at_the_gate_and_exits_pass(live: Live, backup: Backup) -> None:
    await backup.dump()
    await backup.restore()
    control = await live.store.control()
    assert control is not None
    assert (control.waits, control.refuses_entries) == (True, None)
    entry = live.entry()
    assert await live.store.pass_gate([entry.link_id], live.now) == frozenset()
    exit_ = live.book.new_intent("exit", entry.bar, "LONG", entry.quantity, "signal", live.now)
    live.book.put(exit_)
    assert await live.commit() is not None
    assert await live.store.pass_gate([exit_.link_id], live.now) == frozenset({exit_.link_id})
    await as_tenant(live.trading.database, set_reconciled, 1, live.session.exchange_account_id)
    assert await live.store.pass_gate([entry.link_id], live.now) == frozenset({entry.link_id})


async def look(live: Live, *orders: VenueOrder, is_final: bool = True) -> list[str]:
    seen = AccountLook(orders, (), (), WALLET)
    account_id = live.session.exchange_account_id
    return await as_tenant(live.trading.database, record_look, 1, account_id, seen, BEFORE, is_final=is_final)


async def test_what_stays_unknown_refuses_entries_until_it_is_gone(trading: Trading, live: Live) -> None:
    await trading.fetch("DELETE FROM account_reconciliations")
    lost = replace(foreign_order(), link_id=f"tf{'a' * 30}")
    named = ["order f-1 (BUY 1 BTCUSDT)"]
    assert await look(live, lost, is_final=False) == named
    control = await live.store.control()
    assert control is not None
    assert (control.waits, control.refusal) == (True, None)
    for _ in range(2):
        assert await look(live, lost) == named
    control = await live.store.control()
    assert control is not None
    assert (control.waits, control.refusal) == (False, "not_reconciled")
    (alarm,) = await trading.fetch("SELECT payload FROM outbox WHERE topic = 'session.alarmed'")
    event = SessionAlarmed.model_validate_json(alarm["payload"])
    assert (event.reason, event.details) == ("not_reconciled", ("unknown 1: order f-1 (BUY 1 BTCUSDT)",))
    assert await look(live) == []
    control = await live.store.control()
    assert control is not None
    assert (control.waits, control.refusal) == (False, None)
    kinds = [row["kind"] for row in await trading.fetch("SELECT kind FROM session_restrictions ORDER BY kind")]
    assert kinds == ["NOT_RECONCILED", "NOT_RECONCILED_LIFTED"]


class Venue:
    """An account with nothing on it, which cannot be read at first."""

    is_away = True

    async def list_open_orders(self) -> list[VenueOrder]:
        if self.is_away:
            raise VenueUnavailable("HTTP 502")
        return []

    async def list_positions(self) -> list[VenuePosition]:
        return []

    async def list_executions(self, since: datetime) -> list[VenueExecution]:
        return []

    async def get_wallet(self) -> VenueWallet:
        return WALLET


async def test_an_account_that_cannot_be_read_refuses_entries_until_it_can(trading: Trading, live: Live) -> None:
    await trading.fetch("DELETE FROM account_reconciliations")
    account_id, venue = live.session.exchange_account_id, Venue()
    assert account_id is not None
    name, clock = (1, account_id), trading.clock
    clock.see(BEFORE)
    watch = AccountWatch(trading.database, name, venue, clock, lambda: None, 0.001)  # type: ignore[arg-type]
    task = asyncio.create_task(watch.run())
    await trading.until("SELECT FROM session_leases WHERE allows = 'NOT_RECONCILED'")
    assert not watch.is_reconciled
    venue.is_away = False
    await trading.until("SELECT FROM session_leases WHERE allows = 'ALLOWED'")
    await eventually(lambda: asyncio.sleep(0, watch.is_reconciled), bool)
    task.cancel()


async def test_a_restored_session_catches_up_with_an_exchange_that_has_gone_on(
    trading: Trading, backup: Backup
) -> None:
    async with exchange_market(trading, BARS) as market:
        session = await market.start()
        async with market.worker():
            await market.play(10)
            await backup.dump()
            await market.play(10)
        sent = await market.sandbox.ledger("order", uid=market.account.uid)
        await backup.restore()
        recorded = await trading.fetch("SELECT FROM order_intents WHERE sent_at IS NOT NULL")
        assert len(recorded) < len(sent), "the database has lost orders"
        await trading.fetch("UPDATE session_leases SET worker = NULL")
        async with market.worker():
            await trading.until_stepped(market.feed.last_closed_ms, 60)
            await trading.until("SELECT FROM account_reconciliations WHERE xmin = written_by")
            await market.until_settled(AWAITED)
            assert await market.sandbox.ledger("order", uid=market.account.uid) == sent, "an order was sent again"
            await market.play(len(BARS) - 20)
            await market.finish(session.session_id, was_restored=True)
