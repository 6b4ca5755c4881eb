"""The parts of a session: its fills, decisions and restrictions, and the stream of its changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from services.trading.domain import SessionStatus
from services.trading.orders.intents import IntentState, Leg
from services.trading.queries import decisions, fills, intents, restrictions, sessions
from services.trading.queries.decisions import DecisionFilter
from services.trading.queries.fills import FillRow
from services.trading.queries.restrictions import Kind, RestrictionRow
from services.trading.routes.views import (
    DecisionOutcome,
    DecisionView,
    FillView,
    RefusalCode,
    decision_view,
    fill_view,
)
from shared.chassis.http import streaming
from shared.chassis.http.app import Call
from shared.chassis.http.paging import ListQuery, Page, decode_cursor, encode_cursor
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.http.streaming import ServerSentEvent, Stream, StreamQuery, follow
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection, Database
from shared.contracts.examples import BAR, example
from shared.contracts.types import Amount, Instant, ViewModel

PATH = "/v1/sessions/{id}"
BATCH = 100  # most rows of each kind per poll


class SessionFillsQuery(ListQuery):
    orders = fills.ORDERS

    sort: Literal["fill_number", "-fill_number"] = "-fill_number"


class SessionDecisionsQuery(ListQuery):
    orders = decisions.ORDERS

    outcome: DecisionOutcome | None = None
    refusal: RefusalCode | None = None
    sort: Literal["bar_time", "-bar_time"] = "-bar_time"


class SessionOrdersQuery(ListQuery):
    orders = intents.ORDERS

    state: IntentState | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class OrderView(ViewModel):
    """An order of a live session: an intent, recorded before the exchange is called, and what became of it.

    `UNKNOWN`: it was sent and the answer was lost; the exchange is asked, and nothing is sent again meanwhile.
    `STALE`: an entry past `send_before_time`. `DROPPED`: it was not sent; `refusal` names the limit, if one was the
    reason. `venue_code` and `venue_message` are the exchange's refusal. `filled_quantity` is final once the state
    is. `bar_time` is that of the decision.
    """

    model_config = example(
        leg="entry",
        attempt=1,
        side="BUY",
        price=None,
        stop_price="88046.1",
        reduce_only=False,
        reason="entry",
        state="FILLED",
        bar_time=BAR,
        order_link_id="tfk3wz7yq2m5b4x6nd8c9vjh1gfr0ase",
        order_id="fd4300ae-7847-404e-b947-b46980a4d140",
        filled_quantity="0.055",
        average_price="89905",
        send_before_time="2026-01-31T09:30:20.000Z",
        sent_time="2026-01-31T09:30:00.019Z",
        refusal=None,
        venue_code=None,
        venue_message=None,
    )

    intent_id: UUID
    session_id: UUID
    decision_id: UUID | None
    order_link_id: str = Field(validation_alias="link_id")
    order_id: str | None
    bar_time: Instant = Field(validation_alias="bar")
    leg: Leg
    attempt: int
    side: Literal["BUY", "SELL"]
    quantity: Amount
    price: Amount | None
    stop_price: Amount | None = Field(validation_alias="stop_loss")
    reduce_only: bool
    reason: str
    state: IntentState
    filled_quantity: Amount = Field(validation_alias="filled")
    average_price: Amount | None
    fee: Amount
    refusal: str | None
    venue_code: int | None
    venue_message: str | None
    send_before_time: Instant | None = Field(validation_alias="send_before")
    sent_time: Instant | None = Field(validation_alias="sent_at")
    created_at: Instant = Field(validation_alias="recorded_at")
    updated_at: Instant


class RestrictionsQuery(ListQuery):
    orders = restrictions.ORDERS

    sort: Literal["restriction_number", "-restriction_number"] = "-restriction_number"


class RestrictionView(ViewModel):
    """Applies from the bar after `after_bar_time` on; null: from the first bar. `price` is the price a stop closed
    at; the steps and minimums are those of a changed instrument, used from the next entry on."""

    model_config = example(
        restriction_number=1,
        kind="PAUSED",
        reason=None,
        limit_name=None,
        limit_value=None,
        opened_bar_time=None,
        price_bar_time=None,
        price=None,
        tick_size=None,
        quantity_step=None,
        min_quantity=None,
        min_notional=None,
    )

    restriction_number: int
    kind: Kind
    reason: str | None
    after_bar_time: Instant | None = Field(validation_alias="after_bar")
    limit_name: str | None
    limit_value: int | None
    opened_bar_time: Instant | None = Field(validation_alias="opened_bar")
    price_bar_time: Instant | None = Field(validation_alias="price_bar")
    price: Amount | None
    tick_size: Amount | None
    quantity_step: Amount | None = Field(validation_alias="qty_step")
    min_quantity: Amount | None = Field(validation_alias="min_order_qty")
    min_notional: Amount | None
    created_at: Instant


class StateView(ViewModel):
    """A change of a session's state, with its reason; the first is always `STARTED`."""

    model_config = example(kind="STARTED", status="ACTIVE", reason=None, after_bar_time=None)

    session_id: UUID
    status: SessionStatus
    kind: Literal["STARTED"] | Kind
    reason: str | None
    after_bar_time: Instant | None
    created_at: Instant


class EquityView(ViewModel):
    """Realised equity, after the fill that ended a trade."""

    session_id: UUID
    trade_id: UUID
    fill_number: int
    equity: Amount
    fill_time: Instant


@dataclass(frozen=True)
class Position:
    """How far a client has read. `state`: 0 is the start, else the number of the last restriction. `fill`: 2 n - 1
    is fill n, and 2 n is fill n with its equity. Both numbers are assigned under locks, so that nothing is ever
    inserted before what was already sent."""

    state: int = -1
    fill: int = 0

    def event(self, name: str, view: ViewModel) -> tuple["Position", ServerSentEvent]:
        return self, ServerSentEvent(name, view, encode_cursor(self.state, self.fill))


PositionedEvent = tuple[Position, ServerSentEvent]


class SessionPartRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint("GET", PATH + "/fills", "List a session's fills, newest first")
    async def list_fills(self, call: Call, query: SessionFillsQuery) -> Page[FillView]:
        user_id, session_id, wanted = call.principal.user_id, call.uuid(), query.slice()
        async with self._database.tenant(user_id) as connection:
            await _require_session(connection, user_id, session_id)
            rows = await fills.list_fills(connection, user_id, session_id, wanted)
        return query.page_of(rows, fill_view)

    @endpoint(
        "GET", PATH + "/decisions", "List a session's decisions with their reasons and outcomes, newest first"
    )
    async def list_decisions(self, call: Call, query: SessionDecisionsQuery) -> Page[DecisionView]:
        user_id, session_id, wanted = call.principal.user_id, call.uuid(), query.slice()
        async with self._database.tenant(user_id) as connection:
            await _require_session(connection, user_id, session_id)
            filters = DecisionFilter(session_id, outcome=query.outcome, refusal=query.refusal)
            rows = await decisions.list_decisions(connection, user_id, filters, wanted)
        return query.page_of(rows, decision_view)

    @endpoint("GET", PATH + "/orders", "List a live session's orders, with their states and refusals, newest first")
    async def list_orders(self, call: Call, query: SessionOrdersQuery) -> Page[OrderView]:
        user_id, session_id, wanted = call.principal.user_id, call.uuid(), query.slice()
        async with self._database.tenant(user_id) as connection:
            await _require_session(connection, user_id, session_id)
            rows = await intents.list_orders(connection, user_id, session_id, query.state, wanted)
        return query.page_of(rows, OrderView.model_validate)

    @endpoint("GET", PATH + "/restrictions", "List what restricted a session, and from which bar on, newest first")
    async def list_restrictions(self, call: Call, query: RestrictionsQuery) -> Page[RestrictionView]:
        user_id, session_id, wanted = call.principal.user_id, call.uuid(), query.slice()
        async with self._database.tenant(user_id) as connection:
            await _require_session(connection, user_id, session_id)
            rows = await restrictions.list_restrictions(connection, user_id, session_id, wanted)
        return query.page_of(rows, RestrictionView.model_validate)

    @endpoint(
        "GET",
        PATH + "/stream",
        "Stream a session from its start: states, fills, and the equity after each trade",
        events={"state": StateView, "fill": FillView, "equity": EquityView},
    )
    async def stream_session(self, call: Call, query: StreamQuery) -> Stream:
        user_id, session_id = call.principal.user_id, call.uuid()
        seen = decode_cursor(call.last_event_id, int, int, path=streaming.HEADER)
        after = Position(int(seen[0]), int(seen[1])) if seen else Position()
        async with self._database.tenant(user_id) as connection:
            started_at = await _require_session(connection, user_id, session_id)

        async def poll(position: Position) -> Sequence[PositionedEvent]:
            async with self._database.tenant(user_id) as connection:
                # States first, so that the second query finds every fill written before any of these states.
                later = Slice(restrictions.BY_NUMBER, BATCH, (position.state,))
                states = await restrictions.list_restrictions(connection, user_id, session_id, later)
                later = Slice(fills.BY_NUMBER, BATCH, (position.fill // 2,))
                filled = await fills.list_fills(connection, user_id, session_id, later)
            return _merge_events(session_id, started_at, position, states, filled)

        return Stream(follow(poll, after, query.seconds))


async def _require_session(connection: Connection, user_id: int, session_id: UUID) -> datetime:
    """Return when the session was started. Raises NotFound."""
    return (await sessions.get_session(connection, user_id, session_id)).created_at


def _merge_events(
    session_id: UUID,
    started_at: datetime,
    seen: Position,
    states: Sequence[RestrictionRow],
    filled: Sequence[FillRow],
) -> list[PositionedEvent]:
    """Merge states and fills by the time they were written.

    When a full batch of one kind was read, events of the other kind after its end are held back, as more of the
    first may precede them.
    """
    events: list[PositionedEvent] = []
    if seen.state < 0:
        seen = Position(0, seen.fill)
        started = StateView(
            session_id=session_id,
            status="ACTIVE",
            kind="STARTED",
            reason=None,
            after_bar_time=None,
            created_at=started_at,
        )
        events.append(seen.event("state", started))
    left = list(states)
    for fill in filled:
        if len(states) == BATCH and fill.created_at > _at(states[-1]):
            break
        while left and _at(left[0]) <= fill.created_at:
            seen = _append_state(events, session_id, seen, left.pop(0))
        seen = _append_fill(events, seen, fill)
    if len(filled) < BATCH:
        for state in left:
            seen = _append_state(events, session_id, seen, state)
    return events


def _at(state: RestrictionRow) -> datetime:
    assert state.created_at is not None, "stored with it"
    return state.created_at


def _append_state(
    events: list[PositionedEvent], session_id: UUID, seen: Position, state: RestrictionRow
) -> Position:
    seen = Position(state.restriction_number, seen.fill)
    view = StateView(
        session_id=session_id,
        status=state.status,
        kind=state.kind,
        reason=state.reason,
        after_bar_time=state.after_bar,
        created_at=_at(state),
    )
    events.append(seen.event("state", view))
    return seen


def _append_fill(events: list[PositionedEvent], seen: Position, fill: FillRow) -> Position:
    """Append the fill and its equity, except what the client has already read."""
    complete = 2 * fill.fill_number
    equity: Decimal | None = fill.equity
    if seen.fill < complete - 1:
        seen = Position(seen.state, complete if equity is None else complete - 1)
        events.append(seen.event("fill", fill_view(fill)))
    if equity is not None and seen.fill < complete:
        seen = Position(seen.state, complete)
        view = EquityView(
            session_id=fill.session_id,
            trade_id=fill.trade_id,
            fill_number=fill.fill_number,
            equity=equity,
            fill_time=fill.time,
        )
        events.append(seen.event("equity", view))
    return seen
