"""The live sessions of a worker: an actor for each; for each account, a stream and a regular look at all of it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from prometheus_client import Gauge

from services.trading.connected_accounts import ConnectedAccounts, OpenedAccount
from services.trading.custody.queries import list_key_versions
from services.trading.exchange.bybit_venue import BybitVenue
from services.trading.exchange.exchange import Exchange
from services.trading.exchange.private_stream import StreamGap, StreamItem
from services.trading.exchange.venue import VenueWallet
from services.trading.orders.account_readings import AccountReadings
from services.trading.orders.actor import SessionActor
from services.trading.venue_clock import VenueClock
from services.trading.worker.account_watch import AccountWatch
from services.trading.worker.live_session import LiveSession
from services.trading.worker.postgres_store import OrderWriter, PostgresStore
from services.trading.worker.session_bars import SessionBars, facts_of
from shared.chassis.postgres import Database
from shared.market.contiguous_series import ContiguousSeries

RUNNING = Gauge("trading_live_sessions_running", "Live sessions that this worker runs")
UNPROTECTED = Gauge("trading_positions_unprotected", "Positions that the exchange shows without a stop")
UNRECONCILED = Gauge(
    "trading_accounts_unreconciled",
    "Accounts of live sessions of this worker whose entries wait for reconciliation",
)
BUSY = Gauge("trading_live_sessions_busy", "Live sessions with something to do at the exchange or to write")

AccountName = tuple[int, UUID]
OnEnd = Callable[[LiveSession, Exception | None], None]


@dataclass(eq=False)
class _Trading:
    """A live session with its actor."""

    session: LiveSession
    actor: SessionActor
    task: asyncio.Task[None]


@dataclass(eq=False)
class _Account:
    """An account that live sessions of this worker trade on."""

    opened: OpenedAccount
    venue: BybitVenue
    readings: AccountReadings
    watch: AccountWatch
    sessions: dict[UUID, _Trading] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class ExchangeSessions:
    """Every method is called by the worker's loop only."""

    def __init__(
        self, database: Database, accounts: ConnectedAccounts, exchange: Exchange, clock: VenueClock
    ) -> None:
        self._database = database
        self._connected = accounts
        self._exchange = exchange
        self._clock = clock
        self._writer = OrderWriter(database)
        self._stop = asyncio.Event()
        self._accounts: dict[AccountName, _Account] = {}
        RUNNING.set_function(lambda: sum(1 for _ in self._running()))
        BUSY.set_function(lambda: self.busy)
        UNPROTECTED.set_function(lambda: sum(each.actor.is_unprotected for each in self._running()))
        UNRECONCILED.set_function(lambda: sum(not each.watch.is_reconciled for each in self._accounts.values()))

    async def start(
        self,
        session: LiveSession,
        series: ContiguousSeries,
        on_end: Callable[[LiveSession, Exception | None], None],
    ) -> None:
        """Run the session's orders until it ends, its lease is lost, or `stop`.

        `on_end` is called when the actor ends by itself, with the fault if it failed. Raises as
        `ConnectedAccounts.open`.
        """
        await self.stop(session.row.session_id)
        account = await self._account_of(session)
        watch = account.watch
        store = PostgresStore(self._writer, session.lease, lambda: self._clock.estimated, watch.look_again)
        bars = SessionBars(session, series)
        clock = self._clock
        actor = SessionActor(
            facts_of(session),
            store,
            account.venue,
            account.readings,
            bars,
            lambda: clock.steady,
            lambda: clock.estimated,
        )
        trading = _Trading(session, actor, asyncio.create_task(actor.run()))
        account.sessions[session.row.session_id] = trading
        trading.task.add_done_callback(lambda task: self._ended(trading, task, on_end))

    def wake(self, session_ids: Iterable[UUID] | None = None) -> None:
        """Let these sessions, or all, look at their bars and at what is demanded of them."""
        wanted = None if session_ids is None else set(session_ids)
        for account in self._accounts.values():
            for session_id, trading in account.sessions.items():
                if wanted is None or session_id in wanted:
                    trading.actor.wake(account_changed=False)

    @property
    def busy(self) -> int:
        """How many sessions have something to do."""
        return sum(trading.actor.is_busy for trading in self._running())

    def _running(self) -> Iterator[_Trading]:
        return (trading for account in self._accounts.values() for trading in account.sessions.values())

    async def stop(self, session_id: UUID) -> None:
        """Stop the session's actor, if there is one; its lease may go to another worker after that."""
        for name, account in list(self._accounts.items()):
            if (trading := account.sessions.pop(session_id, None)) is not None:
                await _cancel([trading.task])
                if not account.sessions:
                    del self._accounts[name]
                    await _cancel(account.tasks)

    async def replace_keys(self) -> list[LiveSession]:
        """Stop the sessions of accounts whose keys were replaced; returns them, to be started again."""
        if not self._accounts:
            return []
        async with self._database.tenants({user_id for user_id, _ in self._accounts}) as connection:
            versions = await list_key_versions(connection, list(self._accounts))
        replaced = [
            trading.session
            for name, account in self._accounts.items()
            if versions.get(name, account.opened.key_version) != account.opened.key_version
            for trading in account.sessions.values()
        ]
        for session in replaced:
            await self.stop(session.row.session_id)
        return replaced

    async def close(self) -> None:
        """Stop all actors and streams; then the leases may be released."""
        self._stop.set()
        accounts, self._accounts = list(self._accounts.values()), {}
        await _cancel(trading.task for account in accounts for trading in account.sessions.values())
        await _cancel(task for account in accounts for task in account.tasks)
        await self._writer.close()

    async def _account_of(self, session: LiveSession) -> _Account:
        account_id = session.row.exchange_account_id
        assert account_id is not None, "a live session has an account"
        name = (session.row.user_id, account_id)
        if (known := self._accounts.get(name)) is not None:
            return known
        opened = await self._connected.open(*name)
        venue = self._exchange.venue(opened.account)
        watch = AccountWatch(self._database, name, venue, self._clock, lambda: self.wake(account.sessions))
        readings = AccountReadings(venue, lambda: self._clock.steady, lambda: self._clock.estimated)
        account = _Account(opened, venue, readings, watch)
        stream = self._exchange.stream(opened.account, lambda item: self._on_item(account, item))
        account.tasks = [
            asyncio.create_task(stream.run(self._stop)),
            asyncio.create_task(watch.run()),
        ]
        self._accounts[name] = account
        return account

    def _on_item(self, account: _Account, item: StreamItem) -> None:
        """Wake the sessions that the item may be about; a gap may be about any."""
        if isinstance(item, VenueWallet):
            return
        for trading in account.sessions.values():
            if isinstance(item, StreamGap) or item.symbol == trading.session.row.symbol:
                trading.actor.wake()

    def _ended(
        self,
        trading: _Trading,
        task: asyncio.Task[None],
        on_end: OnEnd,
    ) -> None:
        if task.cancelled():
            return
        fault = task.exception()
        on_end(trading.session, fault if isinstance(fault, Exception) else None)


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
