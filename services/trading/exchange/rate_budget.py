"""The requests of one process that wait for their turn: by lane, fair between tenants, within every limit. Pure.

A request needs room in its account's window (request_window.py) and credit for its address (address_budget.py).
Waiting requests of a lane are admitted tenant by tenant, so one tenant's thousand requests delay another's first by
at most one.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.trading.exchange.request_window import DEFAULT_LIMIT, LIMITS, Lane, RequestWindow

KEPT_WINDOWS = 20_000


@dataclass(eq=False, frozen=True, slots=True)
class Ticket:
    """A request that waits or was admitted. `account`: the exchange's UID; `address`: a limit per address."""

    tenant: int
    account: str
    address: str
    path: str
    lane: Lane


@dataclass(slots=True)
class _Block:
    amount: int
    expires_at: float
    lanes: Lane  # this lane and the ones above it


class RateBudget:
    """Takes the time (s) as an argument, never backwards."""

    def __init__(self) -> None:
        self._waiting: dict[Lane, dict[int, deque[Ticket]]] = {lane: {} for lane in Lane}  # tenants in turn
        self._waiting_at: Counter[str] = Counter()  # by address
        self._windows: dict[tuple[str, str], RequestWindow] = {}
        self._credit: dict[str, list[_Block]] = {}

    def queue(self, ticket: Ticket) -> None:
        self._waiting[ticket.lane].setdefault(ticket.tenant, deque()).append(ticket)
        self._waiting_at[ticket.address] += 1

    def drop(self, ticket: Ticket) -> None:
        """Take back a ticket that still waits."""
        tenants = self._waiting[ticket.lane]
        tenants[ticket.tenant].remove(ticket)
        self._waiting_at[ticket.address] -= 1
        if not tenants[ticket.tenant]:
            del tenants[ticket.tenant]

    def add_credit(self, address: str, amount: int, expires_at: float, lanes: Lane = Lane.POLL) -> None:
        """Allow this many requests from an address until then, for these lanes."""
        if amount > 0:
            self._credit.setdefault(address, []).append(_Block(amount, expires_at, lanes))

    def admit(self, now: float) -> list[Ticket]:
        """Return the tickets whose requests may be sent now, in this order. Each must be given to `end` later."""
        return [ticket for lane in Lane if self._has_credit(now) for ticket in self._admit(lane, now)]

    def end(self, ticket: Ticket, now: float, headers: Mapping[str, str] | None = None) -> None:
        """The request of an admitted ticket has ended, with these headers if there was an answer."""
        window = self._window(ticket)
        window.end(now)
        if headers is not None:
            window.learn(headers, now)
        self._drop_idle(now)

    def block(self, ticket: Ticket, until: float) -> None:
        """The exchange refused the request because of the account's limit, which holds until then."""
        self._window(ticket).block(until)

    def wanted(self, address: str, now: float) -> tuple[int, ...]:
        """Return for each lane how many more requests could be sent if there were credit for the address."""
        counts: Counter[Lane] = Counter()
        beside: Counter[RequestWindow] = Counter()
        for ticket in self._each_waiting():
            window = self._window(ticket)
            if ticket.address == address and window.has_room(ticket.lane, now, beside[window]):
                beside[window] += 1
                counts[ticket.lane] += 1
        return tuple(counts[lane] for lane in Lane)

    def addresses(self) -> list[str]:
        """Return the addresses for which requests wait."""
        return [address for address, waiting in self._waiting_at.items() if waiting]

    def next_change(self, now: float) -> float | None:
        """Return when a waiting request may be admitted because time passes; None if none waits for that."""
        times = [
            window.room_at(now)
            for ticket in self._each_waiting()
            if not (window := self._window(ticket)).has_room(ticket.lane, now)
        ]
        return min(times, default=None)

    def _admit(self, lane: Lane, now: float) -> Iterator[Ticket]:
        """Go around the tenants until a whole round admits nothing."""
        tenants = self._waiting[lane]
        progress = bool(tenants)
        while progress:
            progress = False
            for tenant in list(tenants):
                ticket = next((each for each in tenants[tenant] if self._may_send(each, now)), None)
                if ticket is None:
                    continue
                self.drop(ticket)
                if tenant in tenants:
                    tenants[tenant] = tenants.pop(tenant)  # to the end of the line
                self._use_credit(ticket, now)
                self._window(ticket).begin()
                progress = True
                yield ticket

    def _may_send(self, ticket: Ticket, now: float) -> bool:
        return self._find_credit(ticket, now) is not None and self._window(ticket).has_room(ticket.lane, now)

    def _has_credit(self, now: float) -> bool:
        for address, blocks in list(self._credit.items()):
            blocks[:] = [block for block in blocks if block.amount and block.expires_at > now]
            if not blocks:
                del self._credit[address]
        return bool(self._credit)

    def _find_credit(self, ticket: Ticket, now: float) -> _Block | None:
        for block in self._credit.get(ticket.address, ()):
            if block.amount and block.expires_at > now and ticket.lane <= block.lanes:
                return block
        return None

    def _use_credit(self, ticket: Ticket, now: float) -> None:
        block = self._find_credit(ticket, now)
        assert block is not None, "admitted without credit"
        block.amount -= 1

    def _window(self, ticket: Ticket) -> RequestWindow:
        key = ticket.account, ticket.path
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = RequestWindow(LIMITS.get(ticket.path, DEFAULT_LIMIT))
        return window

    def _drop_idle(self, now: float) -> None:
        if len(self._windows) > KEPT_WINDOWS:
            self._windows = {key: window for key, window in self._windows.items() if not window.is_idle(now)}

    def _each_waiting(self) -> Iterator[Ticket]:
        for tenants in self._waiting.values():
            for tickets in tenants.values():
                yield from tickets
