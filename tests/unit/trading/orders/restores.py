"""Schedules in which the database is restored from an older state, while the exchange has gone on."""

import asyncio
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal

from services.trading.exchange.venue import NewOrder, OrderStatus, VenueWallet
from services.trading.orders.book import signed
from services.trading.orders.reconciliation import AccountLook, Known, KnownSession, find_unknown
from services.trading.worker.account_watch import FIRST_RETRY_S, LOOKS_BEFORE_ALARM
from shared.contracts.types import EPOCH
from tests.unit.trading.orders.memory_exchange import SYMBOL
from tests.unit.trading.orders.memory_store import Process
from tests.unit.trading.orders.schedules import BAR_S, World

WALLET = VenueWallet(Decimal(1), Decimal(1), Decimal(1))
KEPT = ("epoch", "passes", "answers", "stepped")  # what the proof needs, and no row of a session


@dataclass
class RestoredWorld(World):
    """Workers are stopped before the restore, as the runbook demands; the account is reconciled after it."""

    unsent_may_be: tuple[OrderStatus, ...] = (OrderStatus.REJECTED, OrderStatus.CANCELLED)  # of a lost order
    was_unclear = False  # entries had to be refused

    def _events(self) -> list[tuple[float, str]]:
        last = self.bars * BAR_S
        dumped = self.draw.uniform(BAR_S, last - 2 * BAR_S)
        restored = self.draw.uniform(dumped, last)
        return sorted([*super()._events(), (dumped, "dump"), (restored, "restore")])

    def _happen(self, kind: str) -> None:
        match kind:
            case "dump":
                self._dump = deepcopy({name: each for name, each in vars(self.db).items() if name not in KEPT})
            case "restore":
                self._restore()
            case _:
                super()._happen(kind)

    def _restore(self) -> None:
        if self.db.ended:
            return
        for process, task in zip(self.processes, self.tasks, strict=True):
            process.killed = True
            task.cancel()
        vars(self.db).update(self._dump)
        self.db.stepped = [bar for bar in self.db.stepped if self.db.last_bar and bar <= self.db.last_bar]
        self.exchange.accepted.clear()  # some of them are not decided again
        self.restored_at = self.loop.time()
        self.db.demand(waits=True)
        self._reconciling = asyncio.create_task(self._reconcile())

    async def _reconcile(self) -> None:
        """Do as `AccountWatch`, at once."""
        wait_s, looks = FIRST_RETRY_S, 0
        while unknown := self._unknown():
            looks += 1
            if looks > LOOKS_BEFORE_ALARM:
                self.was_unclear = True
                self.db.demand(waits=False, refusal=self.db.control.refusal or "not_reconciled")
                self._wake()
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, 60)
        assert not unknown
        control = self.db.control
        self.db.demand(waits=False, refusal=None if control.refusal == "not_reconciled" else control.refusal)
        self._wake()

    @property
    def may_find_foreign(self) -> bool:
        """What a restored session does not decide again is foreign: it was paused, or lost a second attempt."""
        was_paused = self._dump["control"].refusal is not None
        return super().may_find_foreign or self.was_unclear or was_paused

    def _unknown(self) -> list[str]:
        db, exchange = self.db, self.exchange
        opened = [signed(fill.qty, fill.side) * (1 if fill.action == "open" else -1) for fill in db.fills]
        foreign = [
            each.part if each.execution.side == "BUY" else -each.part
            for booked in db.bookings.values()
            for each in booked
            if each.effect == "foreign"
        ]
        position = sum([*opened, *foreign], db.ignored)
        known = Known(
            {SYMBOL: KnownSession(EPOCH, position)},
            frozenset(db.ignored_orders),
            frozenset(db.intents),
            frozenset(db.bookings),
        )
        orders = [order for order in exchange.orders.values() if order.status.is_open]
        executions = [execution for _, execution in exchange.executions]
        shown = exchange.shown_position
        return find_unknown(AccountLook(orders, [shown] if shown.quantity else [], executions, WALLET), known)

    def check_stop(self) -> None:
        """It must not be that of an earlier position, of a book that has not caught up."""
        executed = [each for listed, each in self.exchange.executions if listed < self.restored_at]
        if self.db.control.waits and any(each.execution_id not in self.db.bookings for each in executed):
            self._violate("a stop was set by a book that is behind")

    def check_sending(self, order: NewOrder, process: Process) -> None:
        super().check_sending(order, process)
        if self.db.control.waits and not order.reduce_only:
            self._violate("an entry was sent before the account was reconciled")
