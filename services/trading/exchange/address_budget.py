"""How many requests all processes together may send from one address: blocks granted from one stored window.

The exchange counts requests per address over five seconds and shuts an exceeded address out for ten minutes, so
this limit is never tried out. A process asks for a block when it has requests to send; a grant must be used at
once, and counts until the exchange has certainly stopped counting the requests that were sent under it. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.trading.exchange.request_window import Lane, part_of


@dataclass(frozen=True, slots=True)
class AddressLimit:
    """`most` grants within `counted_slots` slots of `slot_s` seconds; a grant is valid for one slot.

    `counted_slots` is the exchange's window, the slot in which the grant is valid, one for rounding, and some for
    the way of a request.
    """

    most: int
    slot_s: float
    counted_slots: int


@dataclass(frozen=True, slots=True)
class AddressState:
    """The stored state of an address: `granted` per slot, of which `newest` is the last. Times in seconds."""

    granted: tuple[int, ...] = ()
    newest: int = 0
    blocked_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """`amount` requests may be sent within the next `valid_s` seconds. If that is too few, ask again after
    `retry_s`."""

    amount: int
    valid_s: float
    retry_s: float


def grant(
    state: AddressState, now: float, wanted: Sequence[int], limit: AddressLimit
) -> tuple[AddressState, Grant]:
    """Grant what is wanted, by lane and most urgent first, as far as each lane's part of the limit allows."""
    slots = _slots_at(state, int(now / limit.slot_s), limit.counted_slots)
    if state.blocked_until > now:
        return state, Grant(0, 0, state.blocked_until - now)
    used = sum(slots.granted)
    amount = 0
    for lane in Lane:
        amount += min(wanted[lane], max(0, part_of(limit.most, lane) - used - amount))
    granted = (*slots.granted[:-1], slots.granted[-1] + amount)
    return AddressState(granted, slots.newest, state.blocked_until), Grant(amount, limit.slot_s, limit.slot_s)


def block(state: AddressState, until: float) -> AddressState:
    """The exchange shuts the address out."""
    return AddressState(state.granted, state.newest, max(state.blocked_until, until))


def _slots_at(state: AddressState, slot: int, count: int) -> AddressState:
    """Move the window to a slot. A clock that went back does not free anything."""
    slot = max(slot, state.newest)
    known = dict(zip(range(state.newest, -1, -1), reversed(state.granted), strict=False))
    granted = tuple(known.get(number, 0) for number in range(slot - count + 1, slot + 1))
    return AddressState(granted, slot, state.blocked_until)
