"""HTTP routes of the inbox: notifications as a list and as a stream, and the preferences for them."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from pydantic import Field
from pydantic.config import JsonDict

from services.notifications.domain.kinds import (
    KINDS,
    Category,
    EventType,
    InboxChannel,
    Kind,
    Preference,
    Severity,
    preference_of,
)
from services.notifications.operations.read_notifications import (
    LastPositions,
    change_preferences,
    mark_all_read,
    mark_read,
)
from services.notifications.queries import inbox
from services.notifications.queries.inbox import InboxFilter, InboxRow
from services.notifications.queries.preferences import Preferences, get_preferences
from shared.chassis.http.app import Call, Reply, tagged
from shared.chassis.http.paging import ListQuery, Page, decode_cursor, encode_cursor
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.http.streaming import HEADER, ServerSentEvent, Stream, StreamQuery, follow
from shared.chassis.postgres import Database
from shared.contracts.examples import EXIT, example, example_id
from shared.contracts.types import BodyModel, Flag, Id, Instant, ViewModel

INBOX, PREFERENCES = "/v1/inbox", "/v1/inbox/preferences"
MAX_CHANGES = 100

MESSAGE: JsonDict = {
    "position": 17,
    "event_type": "ALERT_TRIGGERED",
    "event_category": "ALERT",
    "message": "above ninety thousand: BTCUSDT at 91,350, 31 January 2026 13:00 CET",
    "data": {
        "alert_id": example_id("alert_id"),
        "alert_name": "above ninety thousand",
        "alert_type": "PRICE",
        "symbol": "BTCUSDT",
        "interval": "15",
        "open_time": EXIT,
        "price": "91350",
        "value_seen": "91350",
    },
    "severity": "INFO",
    "is_read": False,
    "session_id": None,
    "trade_id": None,
}


class InboxQuery(ListQuery):
    orders = inbox.ORDERS

    is_read: Flag | None = None
    event_category: Category | None = None
    event_type: EventType | None = None
    severity: Severity | None = None
    session_id: Id | None = None
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class MessageView(ViewModel):
    """`position` numbers the last change of the message within your inbox: a digest that grows gets a new one."""

    model_config = example(**MESSAGE)

    event_id: UUID
    position: int
    occurred_at: Instant = Field(validation_alias="timestamp")
    event_type: str
    event_category: str
    message: str
    data: dict[str, object]
    severity: str
    is_read: bool
    session_id: UUID | None
    trade_id: UUID | None
    created_at: Instant


class CountView(ViewModel):
    """`position` is that of the inbox's last change, which `unread` includes."""

    model_config = example(unread=3, position=17)

    unread: int
    position: int


class ReadBody(BodyModel):
    """`position` marks the messages up to this position, as in a message or in the count; `to` marks those created
    before this time. Without either, all messages are marked as read.
    """

    model_config = example(position=17)

    position: int | None = Field(default=None, ge=0, le=2**31 - 1)
    to: Instant | None = None


class ReadView(ViewModel):
    model_config = example(marked_read=3)

    marked_read: int


class PreferenceBody(BodyModel):
    """You are not notified of a kind without channels, nor of events below `severity_floor`."""

    channels: list[InboxChannel] = Field(default=["dashboard"], max_length=4)
    severity_floor: Severity = "INFO"


class PreferencesBody(BodyModel):
    """Preferences by kind. Kinds that are left out get their defaults."""

    model_config = example(kinds={"TRADE_CLOSED": {"channels": ["dashboard"], "severity_floor": "INFO"}})

    kinds: dict[Kind, PreferenceBody]


class PreferenceView(ViewModel):
    channels: tuple[InboxChannel, ...]
    severity_floor: Severity


class PreferencesView(ViewModel):
    """Preferences for all kinds."""

    model_config = example(kinds={"TRADE_CLOSED": {"channels": ["dashboard"], "severity_floor": "INFO"}})

    kinds: dict[Kind, PreferenceView]


class InboxRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database
        self._last = LastPositions(database)

    @endpoint("GET", INBOX, "List your inbox, newest first")
    async def list_inbox(self, call: Call, query: InboxQuery) -> Page[MessageView]:
        user_id, wanted = call.principal.user_id, query.slice()
        criteria = InboxFilter(
            query.is_read,
            query.event_category,
            query.event_type,
            query.severity,
            query.session_id,
            query.from_,
            query.to,
        )
        async with self._database.tenant(user_id) as connection:
            rows = await inbox.list_inbox(connection, user_id, criteria, wanted)
        return query.page_of(rows, _view)

    @endpoint("GET", INBOX + "/count", "Count your unread messages")
    async def count_unread(self, call: Call) -> CountView:
        _, count = await self._changes(call.principal.user_id, None)
        assert count is not None, "without a position no changes are read, so the count is final"
        return count

    @endpoint(
        "GET",
        INBOX + "/stream",
        "Stream your inbox: new messages, digests that grow, and the number of unread messages",
        events={"message": MessageView, "digest": MessageView, "unread": CountView},
    )
    async def stream_inbox(self, call: Call, query: StreamQuery) -> Stream:
        """Stream changes. Without Last-Event-ID the stream begins with the current count."""
        user_id = call.principal.user_id
        found = decode_cursor(call.last_event_id, int, path=HEADER)
        after = None if found is None else int(found[0])

        async def look(position: int | None) -> Sequence[tuple[int | None, ServerSentEvent]]:
            if position is not None and await self._last.get(user_id) <= position:
                return []
            rows, count = await self._changes(user_id, position)
            return [*map(_message_event, rows), *([_count_event(count)] if count is not None else [])]

        return Stream(follow(look, after, query.seconds))

    async def _changes(self, user_id: int, after: int | None) -> tuple[list[InboxRow], CountView | None]:
        """Return up to `MAX_CHANGES` messages beyond a position, and the unread count if there are no more.

        A delivery holds the lock of the inbox's row until it commits, so all messages up to the last position are
        visible.
        """
        async with self._database.tenant(user_id) as connection:
            last = await inbox.get_last_position(connection, user_id)
            rows = [] if after is None else await inbox.list_changes(connection, user_id, after, last, MAX_CHANGES)
            if len(rows) == MAX_CHANGES:
                return rows, None
            return rows, CountView(unread=await inbox.count_unread(connection, user_id), position=last)

    @endpoint("POST", INBOX + "/{id}/read", "Mark a message as read", scope="trade")
    async def mark_read(self, call: Call) -> MessageView:
        async with call.transaction() as connection:
            return _view(await mark_read(connection, call.principal.user_id, call.uuid()))

    @endpoint(
        "POST",
        INBOX + "/read",
        "Mark all messages as read, or all up to a position or time",
        scope="trade",
    )
    async def mark_all_read(self, call: Call, body: ReadBody) -> ReadView:
        async with call.transaction() as connection:
            marked = await mark_all_read(connection, call.principal.user_id, body.position, body.to)
        return ReadView(marked_read=marked)

    @endpoint("GET", PREFERENCES, "Get your notification preferences", tagged=True)
    async def get_preferences(self, call: Call) -> Reply[PreferencesView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            return _preferences(await get_preferences(connection, user_id))

    @endpoint("PUT", PREFERENCES, "Set your notification preferences", tagged=True, scope="trade")
    async def put_preferences(self, call: Call, body: PreferencesBody) -> Reply[PreferencesView]:
        kinds = {
            kind: Preference(channels=tuple(sorted(set(given.channels))), severity_floor=given.severity_floor)
            for kind, given in body.kinds.items()
        }
        async with call.transaction() as connection:
            changed = await change_preferences(connection, call.principal.user_id, kinds, call.if_match)
        return _preferences(changed)


def _message_event(row: InboxRow) -> tuple[int, ServerSentEvent]:
    name = "digest" if row.event_type == "DIGEST" else "message"
    return row.position, ServerSentEvent(name, _view(row), encode_cursor(row.position))


def _count_event(count: CountView) -> tuple[int, ServerSentEvent]:
    return count.position, ServerSentEvent("unread", count, encode_cursor(count.position))


def _view(row: InboxRow) -> MessageView:
    return MessageView.model_validate(row)


def _preferences(stored: Preferences) -> Reply[PreferencesView]:
    kinds = {kind: preference_of(kind, stored.kinds).model_dump() for kind in KINDS}
    return tagged(PreferencesView.model_validate({"kinds": kinds}), stored.version)
