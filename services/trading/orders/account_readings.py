"""Readings of an account, shared by its sessions: one set of requests answers all that ask at the same time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from services.trading.exchange.venue import (
    KeyRejected,
    Venue,
    VenueExecution,
    VenueOrder,
    VenuePosition,
    VenueUnavailable,
)
from shared.contracts.types import to_ms


@dataclass(frozen=True, slots=True)
class Reading:
    """The account as the exchange shows it for one symbol; `at`: when the reading began, by the clock of the actors
    that never goes back, and by the exchange's."""

    at: datetime
    exchange_at: datetime
    position: VenuePosition
    orders: tuple[VenueOrder, ...]
    executions: tuple[VenueExecution, ...]


_Outcome: TypeAlias = Reading | VenueUnavailable | KeyRejected


@dataclass(eq=False, slots=True)
class _Demand:
    symbol: str
    since: datetime  # of the executions
    outcome: _Outcome | None = None


class AccountReadings:
    """A reading that began before a demand does not answer it; the next one answers all that came meanwhile.

    It is taken by the first of those that wait for it; if that one is cancelled, by the next.
    """

    def __init__(
        self, venue: Venue, now: Callable[[], datetime], exchange_now: Callable[[], datetime] | None = None
    ) -> None:
        """`now` and `exchange_now`: as of the actors."""
        self._venue = venue
        self._now = now
        self._exchange_now = exchange_now or now
        self._turn = asyncio.Lock()
        self._unanswered: set[_Demand] = set()

    async def take(self, symbol: str, since: datetime) -> Reading:
        """Return a reading that began after this call. Raises VenueUnavailable, KeyRejected."""
        demand = _Demand(symbol, since)
        self._unanswered.add(demand)
        try:
            async with self._turn:
                if demand.outcome is None:
                    await asyncio.sleep(0)  # those that were woken together ask together
                    await self._answer(list(self._unanswered))
        finally:
            self._unanswered.discard(demand)
        assert demand.outcome is not None, "answered"
        if isinstance(demand.outcome, Exception):
            raise demand.outcome
        return demand.outcome

    async def _answer(self, demands: list[_Demand]) -> None:
        """Answer these demands by one reading. If it fails, each is read alone: one symbol may be unreadable."""
        outcomes: Sequence[_Outcome] = await self._try(demands)
        if len(demands) > 1 and all(isinstance(each, VenueUnavailable) for each in outcomes):
            outcomes = [outcome for (outcome,) in await asyncio.gather(*(self._try([each]) for each in demands))]
        for demand, outcome in zip(demands, outcomes, strict=True):
            demand.outcome = outcome
        self._unanswered.difference_update(demands)

    async def _try(self, demands: list[_Demand]) -> Sequence[_Outcome]:
        try:
            return await self._read(demands)
        except (VenueUnavailable, KeyRejected) as error:
            return [error] * len(demands)

    async def _read(self, demands: list[_Demand]) -> list[Reading]:
        at, exchange_at, since = self._now(), self._exchange_now(), min(demand.since for demand in demands)
        symbols = {demand.symbol for demand in demands}
        positions, orders = await asyncio.gather(
            self._venue.list_positions(symbols), self._venue.list_open_orders(symbols)
        )
        executions = await self._venue.list_executions(since, symbols)  # last: they have what the position shows
        by_symbol = {position.symbol: position for position in positions}
        return [
            Reading(
                at,
                exchange_at,
                by_symbol[demand.symbol],
                tuple(order for order in orders if order.symbol == demand.symbol),
                tuple(each for each in executions if _concerns(each, demand)),
            )
            for demand in demands
        ]


def _concerns(execution: VenueExecution, demand: _Demand) -> bool:
    """Return whether the exchange would list the execution for this demand alone."""
    return execution.symbol == demand.symbol and to_ms(execution.time) >= to_ms(demand.since)
