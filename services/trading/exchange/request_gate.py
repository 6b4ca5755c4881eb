"""Lets requests to the exchange pass when every limit has room for them.

The limits per account are watched here and read from the exchange's answers; those per address are shared by all
processes through a store (`egress_budgets.py`).
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

import structlog
from prometheus_client import Counter

from services.trading.exchange.address_budget import AddressLimit, Grant
from services.trading.exchange.rate_budget import RateBudget, Ticket
from services.trading.exchange.request_window import Lane
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS

# Five seconds of the exchange and one of ours: see AddressLimit.
SLOT_S = 0.25
COUNTED_SLOTS = 24
# How long a request waits for room; an entry for its thread, too. It passes the database's gate again instead,
# which a kill switch may have closed meanwhile, and which it must not pass late.
LONGEST_WAIT_S = {Lane.CLOSE: 20.0, Lane.STOP: 20.0, Lane.ENTRY: 2.0, Lane.POLL: 20.0}
ASK_EVERY_S = 0.01
SHORTEST_PAUSE_S = 0.001
ASK_WITHIN_S = 1.0
RETRY_S = 0.5  # after the store failed
# Requests that a process may send to close and to protect while the store does not answer, from the part kept back.
EMERGENCY_CREDIT = 4
EMERGENCY_S = 5.0

WAITED_TOO_LONG = Counter("exchange_requests_not_admitted_total", "Requests that no limit had room for", ["lane"])

log = structlog.get_logger()


class NoRoom(Exception):
    """No limit had room for the request in time. It was not sent."""


class BudgetStore(Protocol):
    """The budgets of addresses, shared by all processes. May raise one of INFRASTRUCTURE_FAULTS."""

    async def take(self, address: str, wanted: tuple[int, ...], limit: AddressLimit) -> Grant: ...

    async def block(self, address: str, for_s: float) -> None: ...


class RequestGate:
    """`most` requests in about five seconds from each address, by all processes together."""

    def __init__(self, store: BudgetStore, most: int) -> None:
        self._store = store
        self._limit = AddressLimit(most, SLOT_S, COUNTED_SLOTS)
        self._budget = RateBudget()
        self._admitted: dict[Ticket, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._looks = False
        self._timer: asyncio.TimerHandle | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._ask_at: dict[str, float] = {}
        self._emergency_at: dict[str, float] = {}

    async def admit(self, ticket: Ticket, deadline: float) -> None:
        """Wait until the request may be sent, by the loop's clock until `deadline`. Raises NoRoom.

        After it returns, `end` must be called.
        """
        admitted = self._loop.create_future()
        self._admitted[ticket] = admitted
        self._budget.queue(ticket)
        self._look_soon()
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(admitted)
        except TimeoutError:
            if not admitted.done():
                WAITED_TOO_LONG.labels(ticket.lane.name).inc()
                self._budget.drop(ticket)
                raise NoRoom from None
        except asyncio.CancelledError:
            if admitted.done():
                self.end(ticket)
            else:
                self._budget.drop(ticket)
            raise
        finally:
            del self._admitted[ticket]

    def end(self, ticket: Ticket, headers: Mapping[str, str] | None = None) -> None:
        """The request of an admitted ticket has ended, whatever came of it."""
        self._budget.end(ticket, self._loop.time(), headers)
        self._look_soon()

    def block_account(self, ticket: Ticket, for_s: float) -> None:
        """The exchange refused the request because of the account's limit."""
        self._budget.block(ticket, self._loop.time() + for_s)

    async def block_address(self, ticket: Ticket, for_s: float) -> None:
        """The exchange shuts the address out: no process sends anything from it."""
        log.error("exchange_address_banned", address=ticket.address, for_s=for_s)
        with suppress(*INFRASTRUCTURE_FAULTS):
            await self._store.block(ticket.address, for_s)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _look_soon(self) -> None:
        """Look once for everything that happens in this turn of the loop."""
        if not self._looks:
            self._looks = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Admit what may be sent, ask for credit for the rest, and set the timer for the next change."""
        self._looks = False
        now = self._loop.time()
        for ticket in self._budget.admit(now):
            if not self._admitted[ticket].done():
                self._admitted[ticket].set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [self._ask(address, now) for address in self._budget.addresses()]
        if known := [time for time in times if time is not None]:
            self._timer = self._loop.call_at(max(min(known), now + SHORTEST_PAUSE_S), self._look)

    def _ask(self, address: str, now: float) -> float | None:
        """Ask the store for credit if requests wait for it. Returns when to look again, if not after its answer."""
        if address in self._asking:
            return None
        if now < self._ask_at.get(address, 0):
            return self._ask_at[address]
        wanted = self._budget.wanted(address, now)
        if not any(wanted):
            return self._budget.next_change(now)
        self._asking[address] = self._loop.create_task(self._take(address, wanted))
        return None

    async def _take(self, address: str, wanted: tuple[int, ...]) -> None:
        began = self._loop.time()
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                given = await self._store.take(address, wanted, self._limit)
            self._budget.add_credit(address, given.amount, began + given.valid_s)
            retry_s = ASK_EVERY_S if given.amount else given.retry_s
        except INFRASTRUCTURE_FAULTS as error:
            log.warning("exchange_budget_unavailable", address=address, error=repr(error))
            self._add_emergency_credit(address)
            retry_s = RETRY_S
        finally:
            del self._asking[address]
        self._ask_at[address] = self._loop.time() + retry_s
        self._look()

    def _add_emergency_credit(self, address: str) -> None:
        now = self._loop.time()
        if now >= self._emergency_at.get(address, 0):
            self._emergency_at[address] = now + EMERGENCY_S
            self._budget.add_credit(address, EMERGENCY_CREDIT, now + EMERGENCY_S, Lane.STOP)
