"""Reconciles an account: is there anything of this platform on the exchange that its database does not know?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.trading.exchange.venue import Venue, VenueExecution, VenueOrder, VenuePosition, VenueWallet
from services.trading.orders.book import OF_POSITION, signed
from services.trading.orders.link_ids import is_ours
from shared.contracts.types import decimal_text

MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class AccountLook:
    """The whole account, of all symbols, as the exchange shows it; `executions` from a time on."""

    orders: Sequence[VenueOrder]
    positions: Sequence[VenuePosition]
    executions: Sequence[VenueExecution]
    wallet: VenueWallet

    @property
    def link_ids(self) -> set[str]:
        """The link ids of this platform that the exchange has orders, stops, targets or executions of."""
        rows: Sequence[VenueOrder | VenueExecution] = [*self.orders, *self.executions]
        found = {link for row in rows for link in (row.link_id, row.parent_link_id)}
        return {link for link in found if link is not None and is_ours(link)}


@dataclass(frozen=True, slots=True)
class KnownSession:
    """A running session, and the position that the exchange should show for it; negative if short."""

    since: datetime
    position: Decimal


@dataclass(frozen=True, slots=True)
class Known:
    """The account as the database has it: its running sessions by symbol, the ids of foreign orders that a person
    lets stand, and those of the link ids and executions that were looked up."""

    sessions: Mapping[str, KnownSession]
    ignored_orders: frozenset[str]
    link_ids: frozenset[str]
    executions: frozenset[str]


async def look_at(venue: Venue, since: datetime) -> AccountLook:
    """Raises VenueUnavailable, KeyRejected."""
    return AccountLook(
        await venue.list_open_orders(),
        await venue.list_positions(),
        await venue.list_executions(since),
        await venue.get_wallet(),
    )


def find_unknown(look: AccountLook, known: Known) -> list[str]:
    """Describe what the database does not know; empty if the account is reconciled."""
    return [*_orders(look, known), *_executions(look, known), *_positions(look, known)][:MOST_NAMED]


def _orders(look: AccountLook, known: Known) -> Iterator[str]:
    """Stops and targets of a running session's position are judged by the position."""
    for order in look.orders:
        is_known = order.origin in OF_POSITION and order.symbol in known.sessions
        if _is_lost(order, known) and not is_known and order.order_id not in known.ignored_orders:
            yield f"order {order.order_id} ({order.side} {decimal_text(order.quantity)} {order.symbol})"


def _executions(look: AccountLook, known: Known) -> Iterator[str]:
    """Executions of running sessions; others count only while they leave a position."""
    for execution in look.executions:
        session = known.sessions.get(execution.symbol)
        if session is None or execution.time < session.since or execution.execution_id in known.executions:
            continue
        quantity = decimal_text(execution.quantity)
        yield f"execution {execution.execution_id} ({execution.side} {quantity} {execution.symbol})"


def _positions(look: AccountLook, known: Known) -> Iterator[str]:
    shown = {position.symbol: signed(position.quantity, position.side) for position in look.positions}
    lost = {execution.symbol for execution in look.executions if _is_lost(execution, known)}
    for symbol in sorted(shown.keys() | known.sessions.keys()):
        found, session = shown.get(symbol, Decimal(0)), known.sessions.get(symbol)
        if session is not None and found != session.position:
            yield f"position {decimal_text(found)} {symbol} (known: {decimal_text(session.position)})"
        elif session is None and symbol in lost:
            yield f"position {decimal_text(found)} {symbol} of a session that is not known"


def _is_lost(row: VenueOrder | VenueExecution, known: Known) -> bool:
    links = {link for link in (row.link_id, row.parent_link_id) if link is not None and is_ours(link)}
    return bool(links - known.link_ids)
