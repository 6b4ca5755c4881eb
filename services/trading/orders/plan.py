"""A plan: the view of the account that it is made from, its records and its commands."""

from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from services.trading.exchange.venue import VenueOrder, VenuePosition
from services.trading.orders.book import Book, signed
from services.trading.orders.intents import Intent
from services.trading.orders.store import Incident
from shared.contracts.types import decimal_text


@dataclass(frozen=True, slots=True)
class View:
    """The account as the exchange shows it for one symbol; `at`: when the reading began."""

    at: datetime
    position: VenuePosition
    orders: tuple[VenueOrder, ...]
    is_assumed: bool = False  # an accepted setting is entered that the exchange has not shown yet

    def order(self, link_id: str) -> VenueOrder | None:
        return next((order for order in self.orders if order.link_id == link_id and order.status.is_open), None)

    @property
    def signed_position(self) -> Decimal:
        return signed(self.position.quantity, self.position.side)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the exchange to a question for an order, asked at this time; None: it does not have it."""

    at: datetime
    order: VenueOrder | None


@dataclass(frozen=True, slots=True)
class RefusedStop:
    """A stop that the exchange refused to set; `is_passed`: the price was beyond it."""

    price: Decimal
    at: datetime
    is_passed: bool

    def closes(self, view: View) -> bool:
        """Return whether the position is to be closed instead. An earlier stop that stands stays until there is
        another level to try, unless the price has passed this one."""
        return view.at > self.at and (self.is_passed or view.position.stop_loss is None)


@dataclass(slots=True)
class Observations:
    """Facts seen since the book was loaded. A restart loses them, which only delays what follows from them.

    Times are those by which waits are measured; the exchange's clock may stand meanwhile.
    """

    view: View | None = None
    is_outdated: bool = True  # something may have happened since the reading of the view began
    awaited: frozenset[str] = frozenset()  # link ids of executions that wait for the step of their bar
    differs_since: datetime | None = None  # the position on the exchange is not the expected one
    unprotected_since: datetime | None = None
    stop_refused: RefusedStop | None = None
    sent: dict[str, datetime] = field(default_factory=dict)  # by link id
    answers: dict[str, Answer] = field(default_factory=dict)
    not_before: dict[str, datetime] = field(default_factory=dict)  # by kind of command, after a failure

    def forget(self, intents: Container[str], now: datetime) -> None:
        """Drop what is about other orders than these, and waits that are over."""
        self.sent = {link: at for link, at in self.sent.items() if link in intents}
        self.answers = {link: answer for link, answer in self.answers.items() if link in intents}
        self.not_before = {kind: at for kind, at in self.not_before.items() if at > now}


@dataclass(frozen=True, slots=True)
class Record:
    """Write the intent as it is here. Records are committed before any command."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class Note:
    incident: Incident


@dataclass(frozen=True, slots=True)
class Freeze:
    incident: Incident


@dataclass(frozen=True, slots=True)
class AnswerForeign:
    """Carry out a person's answer; the position's rest and these orders are left alone from now on."""

    unexplained: Decimal
    order_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class End:
    """The session's stop is done."""


@dataclass(frozen=True, slots=True)
class Send:
    intent: Intent


@dataclass(frozen=True, slots=True)
class Ask:
    intent: Intent


@dataclass(frozen=True, slots=True)
class Cancel:
    link_id: str


@dataclass(frozen=True, slots=True)
class SetStop:
    price: Decimal


@dataclass(frozen=True, slots=True)
class SetLeverage:
    leverage: Decimal


@dataclass(frozen=True, slots=True)
class Read:
    """Read the account: its position, its open orders, its executions."""


Recorded = Record | Note | Freeze | AnswerForeign | End
Command = Send | Ask | Cancel | SetStop | SetLeverage | Read


@dataclass(slots=True)
class Plan:
    """Commit `records` and plan again; without records, carry out the first command and plan again; without
    either, wait until `wake_at`. `is_deferred`: something is to be done then, besides the regular reading."""

    wake_at: datetime
    is_deferred: bool = False
    records: list[Recorded] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


def stop_kind(price: Decimal) -> str:
    """Return the kind of command that sets this stop: another price need not wait for its back-off."""
    return f"stop:{decimal_text(price)}"


def refusal_of(intent: Intent, message: str, code: int | None = None) -> Incident:
    detail = {"leg": intent.leg, "message": message} | ({"code": str(code)} if code is not None else {})
    return Incident("order_refused", f"refused:{intent.link_id}", detail)


def observe(seen: Observations, book: Book, view: View) -> None:
    """Compare a view with the book, after its executions were booked."""
    differs = view.signed_position != book.expected_position
    seen.differs_since = (seen.differs_since or view.at) if differs else None
    if book.execution.position is None:
        seen.stop_refused = None
    if book.execution.position is None or view.position.side is None:
        seen.unprotected_since = None
    elif view.position.stop_loss is None:
        seen.unprotected_since = seen.unprotected_since or view.at
    elif not view.is_assumed:
        seen.unprotected_since = None
