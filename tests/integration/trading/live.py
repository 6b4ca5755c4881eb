"""Live sessions for tests: an account, a session on it, and its book, stepped and booked by the test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from services.trading.domain import entry_deadline
from services.trading.exchange.symbol_state import Contract, SymbolState
from services.trading.exchange.venue import (
    ExecutionKind,
    OrderOrigin,
    OrderSide,
    OrderStatus,
    VenueExecution,
    VenueOrder,
    VenuePosition,
)
from services.trading.operations.execution_settings import first_bar_ms_of, strategy_of, terms_of
from services.trading.operations.start_live_session import LiveStart
from services.trading.operations.start_session import StartRequest, start_session
from services.trading.orders.book import Book, SessionFacts
from services.trading.orders.intents import Intent, IntentState
from services.trading.orders.store import Committed
from services.trading.queries import leases, sessions
from services.trading.queries.sessions import SessionLease, SessionRow, get_session
from services.trading.worker.postgres_store import OrderWriter, PostgresStore
from shared.chassis.auth import Principal
from shared.contracts.types import from_ms, new_id
from shared.strategy.bars import INTERVAL_MS
from shared.strategy.execution.exchange_steps import ExchangeExecution
from shared.strategy.series import Series
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import PAPER, Trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import INSTRUMENT, wavy_bars

BARS = wavy_bars(60)
FLAT = VenuePosition("BTCUSDT", None, Decimal(0), None, Decimal(1), None, BEFORE)
CONTRACT = Contract("LinearPerpetual", "USDT", "Trading", "", Decimal(100), Decimal(500))
NOTHING_THERE = SymbolState(FLAT, (), CONTRACT)
ACCOUNT = """
    INSERT INTO exchange_accounts (user_id, exchange_account_id, public_id, account_name, environment, region,
        product, exchange_uid, status, refusals, key_hash, masked_api_key, permissions, addresses, is_third_party,
        margin_mode, kyc_region, checked_at)
    VALUES ($1, $2, $2, $3, $4, 'GLOBAL', 'LINEAR', $3, $5, '[{"field": "margin_mode", "reason": "too clever"}]',
        sha256(convert_to($3, 'UTF8')), 'x', '[]', '[]', false, 'REGULAR_MARGIN', 'X', now())
"""


async def add_account(
    trading: Trading, user_id: int, uid: str, environment: str = "SANDBOX", status: str = "READY"
) -> UUID:
    account_id = new_id()
    await trading.fetch(ACCOUNT, user_id, account_id, uid, environment, status)
    return account_id


async def reconcile(trading: Trading, user_id: int, account_id: UUID | None) -> None:
    """Let the account count as reconciled."""
    await trading.fetch(
        "INSERT INTO account_reconciliations (user_id, exchange_account_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        user_id,
        account_id,
    )


async def start_live(
    trading: Trading,
    caller: Principal,
    account_id: UUID,
    symbol: str = "BTCUSDT",
    state: SymbolState = NOTHING_THERE,
    strategy_id: UUID | None = None,
    tolerance_ticks: int | None = None,
) -> SessionRow:
    strategy = strategy_id or await trading.strategy(caller.user_id, strategy_name=str(new_id()))
    request = StartRequest(strategy, None, None, symbol, "LIVE", Decimal(10_000), None, account_id, tolerance_ticks)
    start = LiveStart(account_id, state)
    return await as_tenant(trading.database, start_session, caller, request, PAPER, BEFORE, INSTRUMENT, start)


async def claim(trading: Trading, session: SessionRow, worker: str = "worker") -> SessionLease:
    """Claim the session's lease, from whichever worker has it."""
    await trading.fetch("UPDATE session_leases SET worker = NULL WHERE session_id = $1", session.session_id)
    async with trading.database.queue() as connection:
        await leases.claim(connection, worker, 1_000)
        held = {each.session_id: each for each in await leases.list_held(connection, worker)}
    # A test may take longer than a lease, and claims all that have ended.
    await trading.fetch(
        "UPDATE session_leases SET expires_at = now() + interval '1 hour' WHERE worker = $1", worker
    )
    return held[session.session_id]


@dataclass
class Live:
    """A live session in the hands of a worker."""

    trading: Trading
    session: SessionRow
    lease: SessionLease
    store: PostgresStore
    book: Book
    series: Series

    async def row(self) -> SessionRow:
        user_id, session_id = self.session.user_id, self.session.session_id
        return await as_tenant(self.trading.database, get_session, user_id, session_id)

    async def commit(self) -> Committed | None:
        change = self.book.take_change(self.book.execution.snapshot)
        assert change is not None, "there is nothing to commit"
        return await self.store.commit(change)

    async def step(self, *, until_entry: bool = True) -> Committed | None:
        """Step bars until one decides an entry; returns what became of its commit."""
        for index in range(self._next, len(BARS)):
            bar = self.series.bar(index)
            outcome = self.book.execution.on_close(self.series, index)
            self.book.step(from_ms(bar.open_time_ms), bar.close, outcome, self._now(index))
            committed = await self.commit()
            if committed is None or not until_entry or any(each.kind == "entry" for each in outcome.decisions):
                return committed
        raise AssertionError("no bar decides an entry")

    @property
    def _next(self) -> int:
        done = self.book.last_bar
        return sum(from_ms(bar.open_time_ms) <= done for bar in BARS) if done else 0

    def _now(self, index: int) -> datetime:
        return from_ms(BARS[index].open_time_ms + INTERVAL_MS["15"]) + timedelta(milliseconds=5)

    @property
    def now(self) -> datetime:
        return self._now(self._next - 1)

    def entry(self) -> Intent:
        entry = self.book.entry()
        assert entry is not None
        return entry

    async def send(self, intent: Intent) -> Intent:
        """Pass the gate, and be acknowledged by the exchange."""
        assert await self.store.pass_gate([intent.link_id], self.now) == frozenset({intent.link_id})
        sent = intent.to(IntentState.SENDING, sent_at=self.now).to(IntentState.ACKED, order_id=f"o-{intent.leg}")
        self.book.put(sent)
        await self.commit()
        return sent

    def execute(
        self,
        execution_id: str,
        quantity: Decimal,
        price: Decimal,
        *,
        link_id: str | None = None,
        side: OrderSide = "BUY",
        kind: ExecutionKind = ExecutionKind.TRADE,
        origin: OrderOrigin = OrderOrigin.REQUEST,
        fee: Decimal = Decimal("0.01"),
    ) -> None:
        """Book an execution a second after the last close."""
        self.book.book(
            VenueExecution(
                execution_id,
                "order",
                link_id,
                None,
                self.session.symbol,
                side,
                kind,
                origin,
                quantity,
                price,
                fee,
                "USDT",
                Decimal(0),
                self.now + timedelta(seconds=1),
            )
        )


async def open_live(trading: Trading, session: SessionRow, writer: OrderWriter) -> Live:
    """Take the session: prepare it as a worker does, and load its book."""
    user_id, session_id = session.user_id, session.session_id
    await trading.fetch("UPDATE user_trading_sessions SET generation = 1 WHERE session_id = $1", session_id)
    await reconcile(trading, user_id, session.exchange_account_id)
    lease = await claim(trading, session)
    store = PostgresStore(writer, lease, lambda: BEFORE)
    loaded = await store.load()
    assert loaded is not None
    row = await as_tenant(trading.database, sessions.get_session, user_id, session_id)
    strategy = strategy_of(row.strategy_config)
    terms, first = terms_of(row), first_bar_ms_of(row)
    execution = (
        ExchangeExecution.restore(strategy, terms, first, loaded.snapshot)
        if loaded.snapshot is not None
        else ExchangeExecution(strategy, terms, first)
    )
    assert isinstance(execution, ExchangeExecution)
    assert row.exchange_account_id is not None
    facts = SessionFacts(
        session_id=session_id,
        account_id=row.exchange_account_id,
        symbol=row.symbol,
        strategy_hash=row.strategy_hash,
        leverage=strategy.risk.leverage,
        interval_ms=INTERVAL_MS[row.interval],
        entry_deadline=entry_deadline(row.interval),
        min_order_qty=INSTRUMENT.min_order_qty,
    )
    return Live(trading, row, lease, store, Book(facts, lease.epoch, execution, loaded), Series(BARS))


async def store_bars(trading: Trading, symbol: str = "BTCUSDT") -> None:
    """Store the bars that sessions step through."""
    await (await trading.market(BARS, symbol)).close_bars(len(BARS) - 1, announce=False)


def foreign_order() -> VenueOrder:
    return VenueOrder(
        "f-1",
        None,
        None,
        "BTCUSDT",
        "BUY",
        OrderStatus.NEW,
        OrderOrigin.REQUEST,
        Decimal(1),
        Decimal(0),
        None,
        None,
        False,
        None,
        BEFORE,
        BEFORE,
    )


def with_position(quantity: str, orders: Sequence[VenueOrder] = ()) -> SymbolState:
    position = replace(FLAT, side="LONG", quantity=Decimal(quantity))
    return SymbolState(position, orders, CONTRACT)
