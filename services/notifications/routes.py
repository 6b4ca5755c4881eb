"""HTTP in."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, field_validator

from services.notifications.domain.conditions import AlertType
from services.notifications.errors import AlertsFull
from services.notifications.operations.alerts import change_alert, channels_of, create_alert, delete_alert
from services.notifications.queries import alerts, inbox
from services.notifications.queries.alerts import AlertRow
from services.notifications.queries.inbox import Category, InboxRow
from shared.chassis.errors import InvalidInput, NameTaken, NotFound, PlanLimitReached
from shared.chassis.http import Call, Endpoint, Reply, created
from shared.chassis.json_body import as_stored
from shared.chassis.paging import Page, PageQuery, decode_cursor, encode_cursor, page_of
from shared.chassis.postgres import Database
from shared.contracts.notifications import Channel
from shared.contracts.types import BodyModel, Instant, ViewModel
from shared.strategy.bars import INTERVAL_MS

Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,30}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Cooldown = Annotated[int, Field(ge=0, le=31_536_000)]


def _known(interval: str) -> str:
    if interval not in INTERVAL_MS:
        raise ValueError(f"must be one of {' '.join(INTERVAL_MS)}")
    return interval


Interval = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": [*INTERVAL_MS]})]

# The same as in the table: the ends of the calendar do not come back from Postgres as times.
EARLIEST_EXPIRY = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_EXPIRY = datetime(2200, 1, 1, tzinfo=UTC)


def _reachable(moment: datetime) -> datetime:
    if not EARLIEST_EXPIRY <= moment < LATEST_EXPIRY:
        raise ValueError(f"must be from {EARLIEST_EXPIRY.year} on and before {LATEST_EXPIRY.year}")
    return moment


Expiry = Annotated[Instant, AfterValidator(_reachable)]


class AlertBody(BodyModel):
    """`condition_data` by type: see the service's README."""

    alert_name: Name
    symbol: Symbol
    interval: Interval
    alert_type: AlertType
    condition_data: dict[str, object]
    notify_dashboard: bool = True
    notify_telegram: bool = False
    notify_email: bool = False
    notify_webhook: bool = False
    cooldown_seconds: Cooldown = 0
    expires_at: Expiry | None = None
    is_active: bool = True

    @field_validator("condition_data")
    @classmethod
    def _without_floats(cls, value: dict[str, object]) -> dict[str, object]:
        return as_stored(value)


class AlertChanges(BodyModel):
    """What is left out stays as it is."""

    alert_name: Name | None = None
    condition_data: dict[str, object] | None = None
    notify_dashboard: bool | None = None
    notify_telegram: bool | None = None
    notify_email: bool | None = None
    notify_webhook: bool | None = None
    cooldown_seconds: Cooldown | None = None
    expires_at: Expiry | None = None
    is_active: bool | None = None

    @field_validator("condition_data")
    @classmethod
    def _without_floats(cls, value: dict[str, object] | None) -> dict[str, object] | None:
        return None if value is None else as_stored(value)

    def given(self) -> dict[str, object]:
        """Null says nothing but for `expires_at`, which it removes."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: value for name, value in values.items() if value is not None or name == "expires_at"}


class AlertView(ViewModel):
    """`channels` are those of the asked-for that deliver today."""

    alert_id: UUID
    alert_name: str
    symbol: str
    interval: str
    alert_type: AlertType
    condition_data: dict[str, object]
    notify_dashboard: bool
    notify_telegram: bool
    notify_email: bool
    notify_webhook: bool
    channels: tuple[Channel, ...]
    cooldown_seconds: int
    expires_at: Instant | None
    is_active: bool
    triggered_count: int
    last_triggered: Instant | None
    created_at: Instant
    updated_at: Instant


class AlertsQuery(PageQuery):
    symbol: Symbol | None = None


class InboxQuery(PageQuery):
    unread: bool = False
    category: Category | None = None


class InboxView(ViewModel):
    event_id: UUID
    timestamp: Instant
    event_type: str
    event_category: str
    message: str
    data: dict[str, object]
    severity: str
    is_read: bool
    session_id: UUID | None
    trade_id: UUID | None
    created_at: Instant


class ReadView(ViewModel):
    marked_read: int


class Routes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_alert(self, call: Call) -> Reply:
        alert = await create_alert(self._database, call.principal, call.body(AlertBody).model_dump())
        return created(_alert(alert), f"/v1/alerts/{alert.alert_id}")

    async def list_alerts(self, call: Call) -> Page[AlertView]:
        query, user_id = call.query(AlertsQuery), call.principal.user_id
        after = _position(query.cursor)
        async with self._database.tenant(user_id) as connection:
            rows = await alerts.list_alerts(connection, user_id, query.symbol, after, query.limit + 1)
        return page_of([_alert(row) for row in rows], query.limit, lambda last: encode_cursor(str(last.alert_id)))

    async def get_alert(self, call: Call) -> AlertView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await alerts.get_alert(connection, user_id, call.uuid())
        if row is None:
            raise NotFound
        return _alert(row)

    async def change_alert(self, call: Call) -> AlertView:
        changes = call.body(AlertChanges).given()
        return _alert(await change_alert(self._database, call.principal.user_id, call.uuid(), changes))

    async def delete_alert(self, call: Call) -> None:
        await delete_alert(self._database, call.principal.user_id, call.uuid())

    async def list_inbox(self, call: Call) -> Page[InboxView]:
        query, user_id = call.query(InboxQuery), call.principal.user_id
        before = _position(query.cursor)
        async with self._database.tenant(user_id) as connection:
            rows = await inbox.list_inbox(
                connection,
                user_id,
                unread=query.unread,
                category=query.category,
                before=before,
                limit=query.limit + 1,
            )
        return page_of([_inbox(row) for row in rows], query.limit, lambda last: encode_cursor(str(last.event_id)))

    async def mark_read(self, call: Call) -> InboxView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await inbox.mark_read(connection, user_id, call.uuid())
        if row is None:
            raise NotFound
        return _inbox(row)

    async def mark_all_read(self, call: Call) -> ReadView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            return ReadView(marked_read=await inbox.mark_all_read(connection, user_id))

    def endpoints(self) -> list[Endpoint]:
        all_alerts, one, all_messages = "/v1/alerts", "/v1/alerts/{id}", "/v1/inbox"
        return [
            Endpoint(
                "POST",
                all_alerts,
                self.create_alert,
                "Make an alert",
                response=AlertView,
                status=201,
                body=AlertBody,
                errors=(NameTaken, AlertsFull, PlanLimitReached),
            ),
            Endpoint(
                "GET",
                all_alerts,
                self.list_alerts,
                "Your alerts",
                response=Page[AlertView],
                query=AlertsQuery,
            ),
            Endpoint("GET", one, self.get_alert, "An alert", response=AlertView),
            Endpoint(
                "PATCH",
                one,
                self.change_alert,
                "Change an alert",
                response=AlertView,
                body=AlertChanges,
                errors=(NameTaken, PlanLimitReached),
            ),
            Endpoint("DELETE", one, self.delete_alert, "Remove an alert", status=204),
            Endpoint(
                "GET",
                all_messages,
                self.list_inbox,
                "Your inbox, newest first",
                response=Page[InboxView],
                query=InboxQuery,
            ),
            Endpoint("POST", all_messages + "/{id}/read", self.mark_read, "Mark one as read", response=InboxView),
            Endpoint("POST", all_messages + "/read", self.mark_all_read, "Mark all as read", response=ReadView),
        ]


def _position(cursor: str | None) -> UUID | None:
    position = decode_cursor(cursor, str)
    try:
        return UUID(str(position[0])) if position else None
    except ValueError as error:
        raise InvalidInput(errors=[{"path": "$.cursor", "reason": "is not a cursor of this list"}]) from error


def _alert(row: AlertRow) -> AlertView:
    return AlertView.model_validate({**asdict(row), "channels": channels_of(row)})


def _inbox(row: InboxRow) -> InboxView:
    return InboxView.model_validate(asdict(row))
