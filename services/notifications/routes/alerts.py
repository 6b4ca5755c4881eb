"""HTTP routes of alerts."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, field_validator
from pydantic.config import JsonDict

from services.notifications.domain.conditions import AlertType
from services.notifications.domain.firing import Repeat
from services.notifications.errors import AlertsFull
from services.notifications.operations.alerts import (
    DELIVERING_CHANNELS,
    change_alert,
    channels_of,
    create_alert,
    delete_alert,
)
from services.notifications.queries import alerts, firings
from services.notifications.queries.alerts import AlertFilter, AlertRow
from services.notifications.queries.firings import PastFiring
from shared.chassis.errors import InvalidInput, NameTaken, NotFound, PlanLimitReached, Unavailable
from shared.chassis.http.app import Call, Endpoint, Reply, created, tagged
from shared.chassis.http.json_body import as_stored
from shared.chassis.http.paging import Page, PageQuery, decode_sorted, encode_sorted, page_of
from shared.chassis.postgres import Database
from shared.contracts.examples import NOW, example
from shared.contracts.notifications import Channel
from shared.contracts.texts import Name
from shared.contracts.types import EPOCH, SYMBOL_PATTERN, Amount, BodyModel, Instant, ViewModel
from shared.market.history_client import CandleHistory
from shared.strategy.bars import INTERVAL_MS
from shared.strategy.document.parse import MAX_DOCUMENT_BYTES

MICROSECOND = timedelta(microseconds=1)

Symbol = Annotated[str, StringConstraints(pattern=SYMBOL_PATTERN)]
Cooldown = Annotated[int, Field(ge=0, le=31_536_000)]


def _check_interval(interval: str) -> str:
    if interval not in INTERVAL_MS:
        raise ValueError(f"must be one of {' '.join(INTERVAL_MS)}")
    return interval


Interval = Annotated[
    str, AfterValidator(_check_interval), WithJsonSchema({"type": "string", "enum": [*INTERVAL_MS]})
]

# The same bounds as in the table: the extremes of the calendar cannot be read back from Postgres as times.
EARLIEST_EXPIRY = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_EXPIRY = datetime(2200, 1, 1, tzinfo=UTC)


def _check_expiry(moment: datetime) -> datetime:
    if not EARLIEST_EXPIRY <= moment < LATEST_EXPIRY:
        raise ValueError(f"must be in {EARLIEST_EXPIRY.year} or later and before {LATEST_EXPIRY.year}")
    return moment


Expiry = Annotated[Instant, AfterValidator(_check_expiry)]


def _require_delivering(channel: Channel) -> AfterValidator:
    """Refuse a channel that does not deliver yet, so that no user relies on it."""

    def check(requested: bool | None) -> bool | None:
        if requested and channel not in DELIVERING_CHANNELS:
            raise ValueError(f"alerts are not delivered by {channel} yet, only by {', '.join(DELIVERING_CHANNELS)}")
        return requested

    return AfterValidator(check)


ALERT: JsonDict = {
    "alert_name": "above ninety thousand",
    "symbol": "BTCUSDT",
    "interval": "15",
    "alert_type": "PRICE",
    "condition_data": {"op": "above", "value": "90000"},
    "notify_dashboard": True,
    "notify_email": False,
    "cooldown_seconds": 900,
}


def _check_size(condition: dict[str, object]) -> dict[str, object]:
    """Return the condition without floats. Raises ValueError if it is too large."""
    stored = as_stored(condition)
    if len(json.dumps(stored).encode()) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"must be at most {MAX_DOCUMENT_BYTES} bytes")
    return stored


class AlertBody(BodyModel):
    """The form of `condition_data` depends on the type: see the service's README. With `repeat` ONCE the alert
    deactivates itself when it fires.
    """

    model_config = example(**ALERT)

    alert_name: Name
    symbol: Symbol
    interval: Interval
    alert_type: AlertType
    condition_data: dict[str, object]
    notify_dashboard: bool = True
    notify_telegram: Annotated[bool, _require_delivering("telegram")] = False
    notify_email: Annotated[bool, _require_delivering("email")] = False
    notify_webhook: Annotated[bool, _require_delivering("webhook")] = False
    cooldown_seconds: Cooldown = 0
    expires_at: Expiry | None = None
    repeat: Repeat = "ALWAYS"
    is_active: bool = True

    @field_validator("condition_data")
    @classmethod
    def _without_floats(cls, value: dict[str, object]) -> dict[str, object]:
        return _check_size(value)


class AlertChanges(BodyModel):
    """Fields that are left out keep their values."""

    model_config = example(condition_data={"op": "above", "value": "90500"}, cooldown_seconds=3600)

    alert_name: Name | None = None
    condition_data: dict[str, object] | None = None
    notify_dashboard: bool | None = None
    notify_telegram: Annotated[bool | None, _require_delivering("telegram")] = None
    notify_email: Annotated[bool | None, _require_delivering("email")] = None
    notify_webhook: Annotated[bool | None, _require_delivering("webhook")] = None
    cooldown_seconds: Cooldown | None = None
    expires_at: Expiry | None = None
    repeat: Repeat | None = None
    is_active: bool | None = None

    @field_validator("condition_data")
    @classmethod
    def _without_floats(cls, value: dict[str, object] | None) -> dict[str, object] | None:
        return None if value is None else _check_size(value)

    def given(self) -> dict[str, object]:
        """Return the changes. Null means no change, except for `expires_at`, which it removes."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: value for name, value in values.items() if value is not None or name == "expires_at"}


class AlertView(ViewModel):
    """`channels` lists the requested channels that deliver today."""

    model_config = example(
        **ALERT,
        notify_telegram=False,
        notify_webhook=False,
        channels=["dashboard"],
        expires_at=None,
        repeat="ALWAYS",
        triggered_count=1,
        last_triggered=NOW,
    )

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
    repeat: Repeat
    is_active: bool
    triggered_count: int
    last_triggered: Instant | None
    created_at: Instant
    updated_at: Instant


class AlertsQuery(PageQuery):
    symbol: Symbol | None = None
    alert_type: AlertType | None = None
    is_active: bool | None = None
    sort: Literal["created_at", "-created_at", "alert_name", "-alert_name"] = "created_at"


class FiringsQuery(PageQuery):
    sort: Literal["open_time", "-open_time"] = "-open_time"


class FiringView(ViewModel):
    """`open_time` and `closed_at` are the bar's times, `price` is its close. Old firings have only `open_time`."""

    model_config = example(value_seen="91350")

    open_time: Instant
    closed_at: Instant | None
    price: Amount | None
    value_seen: str | None
    created_at: Instant


class AlertRoutes:
    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history

    async def create_alert(self, call: Call) -> Reply:
        body = call.body(AlertBody)
        await self._history.check_series(body.symbol, body.interval)
        alert = await create_alert(self._database, call.principal, body.model_dump())
        return created(_view(alert), f"/v1/alerts/{alert.alert_id}")

    async def list_alerts(self, call: Call) -> Page[AlertView]:
        query, user_id = call.query(AlertsQuery), call.principal.user_id
        by_name = query.sort.endswith("alert_name")
        found = decode_sorted(query.sort, query.cursor, str)
        beyond = None if found is None else str(found[0]) if by_name else _id_in(found)
        wanted = AlertFilter(query.symbol, query.alert_type, query.is_active)
        async with self._database.tenant(user_id) as connection:
            rows = await alerts.list_alerts(connection, user_id, wanted, query.sort, beyond, query.limit + 1)
        return page_of(
            [_view(row) for row in rows],
            query.limit,
            lambda last: encode_sorted(query.sort, last.alert_name if by_name else str(last.alert_id)),
        )

    async def get_alert(self, call: Call) -> Reply:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await alerts.get_alert(connection, user_id, call.uuid())
        if row is None:
            raise NotFound
        return _tagged(row)

    async def change_alert(self, call: Call) -> Reply:
        return await self._change(call, call.body(AlertChanges).given())

    async def pause_alert(self, call: Call) -> Reply:
        return await self._change(call, {"is_active": False})

    async def resume_alert(self, call: Call) -> Reply:
        return await self._change(call, {"is_active": True})

    async def _change(self, call: Call, changes: dict[str, object]) -> Reply:
        user_id = call.principal.user_id
        return _tagged(await change_alert(self._database, user_id, call.uuid(), changes, call.if_match))

    async def delete_alert(self, call: Call) -> None:
        await delete_alert(self._database, call.principal.user_id, call.uuid(), call.if_match)

    async def list_firings(self, call: Call) -> Page[FiringView]:
        query, user_id, alert_id = call.query(FiringsQuery), call.principal.user_id, call.uuid()
        beyond = _moment_in(decode_sorted(query.sort, query.cursor, int))
        async with self._database.tenant(user_id) as connection:
            if await alerts.get_alert(connection, user_id, alert_id) is None:
                raise NotFound
            rows = await firings.list_firings(connection, user_id, alert_id, query.sort, beyond, query.limit + 1)
        return page_of(
            [_firing(row) for row in rows],
            query.limit,
            lambda last: encode_sorted(query.sort, (last.open_time - EPOCH) // MICROSECOND),
        )

    def endpoints(self) -> list[Endpoint]:
        everything, one = "/v1/alerts", "/v1/alerts/{id}"
        return [
            Endpoint(
                "POST",
                everything,
                self.create_alert,
                "Create an alert",
                response=AlertView,
                status=201,
                body=AlertBody,
                errors=(NameTaken, AlertsFull, PlanLimitReached, Unavailable),
                scope="trade",
            ),
            Endpoint(
                "GET",
                everything,
                self.list_alerts,
                "List your alerts",
                response=Page[AlertView],
                query=AlertsQuery,
            ),
            Endpoint("GET", one, self.get_alert, "Get an alert", response=AlertView, tagged=True),
            Endpoint(
                "PATCH",
                one,
                self.change_alert,
                "Change an alert",
                response=AlertView,
                body=AlertChanges,
                errors=(NameTaken, PlanLimitReached),
                tagged=True,
                scope="trade",
            ),
            Endpoint("DELETE", one, self.delete_alert, "Delete an alert", status=204, tagged=True, scope="trade"),
            Endpoint("POST", one + "/pause", self.pause_alert, "Pause an alert", response=AlertView, scope="trade"),
            Endpoint(
                "POST",
                one + "/resume",
                self.resume_alert,
                "Resume an alert: it fires on candles from now on",
                response=AlertView,
                scope="trade",
            ),
            Endpoint(
                "GET",
                one + "/firings",
                self.list_firings,
                "List an alert's firings, newest first",
                response=Page[FiringView],
                query=FiringsQuery,
            ),
        ]


def _id_in(found: tuple[str | int, ...]) -> UUID:
    try:
        return UUID(str(found[0]))
    except ValueError as error:
        raise _invalid_cursor() from error


def _moment_in(found: tuple[str | int, ...] | None) -> datetime | None:
    if found is None:
        return None
    try:
        return EPOCH + int(found[0]) * MICROSECOND
    except OverflowError as error:
        raise _invalid_cursor() from error


def _invalid_cursor() -> InvalidInput:
    return InvalidInput(errors=[{"path": "$.cursor", "reason": "is not a cursor of this list"}])


def _tagged(row: AlertRow) -> Reply:
    return tagged(_view(row), row.updated_at)


def _view(row: AlertRow) -> AlertView:
    return AlertView.model_validate({**asdict(row), "channels": channels_of(row)})


def _firing(row: PastFiring) -> FiringView:
    return FiringView.model_validate(asdict(row))
