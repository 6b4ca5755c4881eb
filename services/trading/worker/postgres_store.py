"""The store of live sessions on Postgres. Sessions of a worker share its transactions, as steps do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from services.trading.operations.block_entries import block_account
from services.trading.operations.end_live_session import write_alone
from services.trading.operations.execution_settings import strategy_of
from services.trading.operations.write_orders import OrderRecord, OrderResult, OrderState, write_orders
from services.trading.orders.store import Change, Committed, Control, Loaded
from services.trading.queries import executions, intents, sessions, steps, trades
from services.trading.queries.controls import read_controls
from services.trading.queries.intents import Gate
from services.trading.queries.sessions import SessionLease, SessionRow
from services.trading.queries.steps import QuietMove
from services.trading.worker.batches import Batches, T
from shared.chassis.postgres import Database
from shared.strategy.decimals import ZERO

OVERLAP = timedelta(hours=1)  # executions are listed again, because they may be listed late


@dataclass(eq=False, slots=True)
class _Asked:
    """A read of a session's control. None: the lease is lost."""

    lease: SessionLease
    control: Control | None = None


@dataclass(eq=False, slots=True)
class _Passing:
    """Intents before the gate. `passed` None: the lease is lost."""

    gate: Gate
    passed: frozenset[str] | None = None


@dataclass(eq=False, slots=True)
class _Quiet:
    move: QuietMove
    moved: bool = False


@dataclass(eq=False, slots=True)
class _Writing:
    """A change before its transaction. `result` None: nothing was written."""

    record: OrderRecord
    result: OrderResult | None = None


class OrderWriter:
    """Reads and writes for all live sessions of a worker: what comes at the same time shares a transaction.

    A change that ends the session, or stops or allows its entries, changes the lease, which other changes lock: it
    has a transaction of its own.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._asked = Batches[_Asked](self._read, lambda each: each.lease.user_id)
        self._passing = Batches[_Passing](self._pass, lambda each: each.gate.user_id)
        self._quiet = Batches[_Quiet](self._move, lambda each: each.move.user_id)
        self._writing = Batches[_Writing](self._write, lambda each: each.record.lease.user_id)

    async def close(self) -> None:
        for batches in (self._asked, self._passing, self._quiet, self._writing):
            await batches.close()

    async def control(self, lease: SessionLease) -> Control | None:
        asked = _Asked(lease)
        await _write_one(self._asked, asked)
        return asked.control

    async def pass_gate(self, gate: Gate) -> frozenset[str] | None:
        passing = _Passing(gate)
        await _write_one(self._passing, passing)
        return passing.passed

    async def move(self, move: QuietMove) -> bool:
        quiet = _Quiet(move)
        await _write_one(self._quiet, quiet)
        return quiet.moved

    async def write(self, record: OrderRecord) -> OrderResult | None:
        change = record.change
        if change.alters_lease:
            async with self.database.tenant(record.lease.user_id) as connection:
                written = await write_alone(connection, record)
            await self._stop_breached(written.breached, record.now)
            return written.results.get(record.lease.session_id)
        writing = _Writing(record)
        await _write_one(self._writing, writing)
        return writing.result

    async def _read(self, batch: Sequence[_Asked]) -> None:
        async with self.database.tenants({each.lease.user_id for each in batch}) as connection:
            controls = await read_controls(connection, [each.lease for each in batch])
        for each in batch:
            each.control = controls.get(each.lease.session_id)

    async def _pass(self, batch: Sequence[_Passing]) -> None:
        async with self.database.tenants({each.gate.user_id for each in batch}) as connection:
            passed = await intents.pass_gate(connection, [each.gate for each in batch])
        for each in batch:
            each.passed = passed.get(each.gate.session_id)

    async def _move(self, batch: Sequence[_Quiet]) -> None:
        async with self.database.tenants({each.move.user_id for each in batch}) as connection:
            moved = await steps.move_cursors(connection, [each.move for each in batch])
        for each in batch:
            each.moved = each.move.session_id in moved

    async def _write(self, batch: Sequence[_Writing]) -> None:
        async with self.database.tenants({each.record.lease.user_id for each in batch}) as connection:
            written = await write_orders(connection, [each.record for each in batch])
        for each in batch:
            each.result = written.results.get(each.record.lease.session_id)
        await self._stop_breached(written.breached, batch[0].record.now)

    async def _stop_breached(self, breached: frozenset[tuple[int, UUID]], now: datetime) -> None:
        """Stop the entries of all sessions of these accounts. Until then, each of their entries is refused as it is
        recorded."""
        for user_id, account_id in sorted(breached):
            async with self.database.tenant(user_id) as connection:
                await block_account(connection, user_id, account_id, now)


async def _write_one(batches: Batches[T], item: T) -> None:
    """Let the item be written with others; raises what it fails with."""
    for _, fault in await batches.write([item]):
        raise fault


class PostgresStore:
    """The `Store` of one session under one lease. `now` is the exchange's time; `on_waits` is called when entries
    wait for the account to be reconciled."""

    def __init__(
        self,
        writer: OrderWriter,
        lease: SessionLease,
        now: Callable[[], datetime],
        on_waits: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_waits = on_waits
        self._writer = writer
        self._lease = lease
        self._now = now
        self._session: SessionRow | None = None
        self._strategy_name = ""
        self._state: OrderState | None = None

    @property
    def epoch(self) -> int:
        return self._lease.epoch

    async def load(self) -> Loaded | None:
        user_id, session_id = self._lease.user_id, self._lease.session_id
        async with self._writer.database.tenant(user_id) as connection:
            row = await sessions.find_session(connection, user_id, session_id)
            controls = await read_controls(connection, [self._lease])
            if row is None or row.status == "STOPPED" or session_id not in controls:
                return None
            latest = await executions.find_latest(connection, user_id, session_id)
            since = row.start_time if latest is None else max(row.start_time, latest - OVERLAP)
            foreign = await executions.list_foreign(connection, user_id, session_id)
            loaded = Loaded(
                snapshot=row.snapshot,
                last_bar=row.last_bar,
                control=controls[session_id],
                since=since,
                intents=tuple(await intents.list_relevant(connection, user_id, session_id)),
                booked=await executions.list_recorded(connection, user_id, session_id, since),
                foreign=tuple(foreign),
                ignored=row.ignored_quantity,
                ignored_orders=frozenset(row.ignored_orders),
            )
            open_trade = await trades.find_open(connection, user_id, session_id)
        self._session, self._strategy_name = row, strategy_of(row.strategy_config).name
        self._state = OrderState(
            row.last_bar,
            row.totals,
            open_trade.trade_id if open_trade else None,
            open_trade.quantity if open_trade else ZERO,
            frozenset(booking.execution.execution_id for booking in foreign),
            row.ignored_quantity,
            cast("str | None", (row.snapshot or {}).get("refusal")),
        )
        return loaded

    async def control(self) -> Control | None:
        control = await self._writer.control(self._lease)
        if control is not None and control.waits:
            self._on_waits()
        return control

    async def pass_gate(self, link_ids: Sequence[str], now: datetime) -> frozenset[str] | None:
        lease = self._lease
        return await self._writer.pass_gate(Gate(lease.user_id, lease.session_id, lease.epoch, link_ids, now))

    async def commit(self, change: Change) -> Committed | None:
        assert self._session is not None, "loaded before"
        assert self._state is not None, "loaded before"
        record = OrderRecord(self._lease, self._session, self._strategy_name, self._state, change, self._now())
        if record.is_quiet:
            return await self._move(record)
        result = await self._writer.write(record)
        if result is None:
            return None
        self._state = result.state
        return Committed(result.refused)

    async def _move(self, record: OrderRecord) -> Committed | None:
        lease, bar = record.lease, record.change.bar
        assert bar is not None, "a change without a bar is not quiet"
        move = QuietMove(lease.user_id, lease.session_id, lease.epoch, record.state.last_bar, bar)
        if not await self._writer.move(move):
            return None
        self._state = replace(record.state, last_bar=bar)
        return Committed()
