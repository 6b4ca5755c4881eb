"""HTTP routes of alerts."""

from dataclasses import asdict
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, field_validator
from pydantic.config import JsonDict

from services.notifications.domain.conditions import AlertType
from services.notifications.domain.firing import Repeat
from services.notifications.errors import AlertsFull
from services.notifications.operations.alerts import (
    change_alert,
    channels_of,
    create_alert,
    delete_alert,
)
from services.notifications.queries import alerts, firings
from services.notifications.queries.alerts import AlertFilter, AlertRow, AlertValues
from services.notifications.routes.fields import Cooldown, Expiry, require_delivering, without_floats
from shared.chassis.errors import ExchangeUnreachable, NameTaken, PlanLimitReached
from shared.chassis.http.app import Call, Reply, created, tagged
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.examples import NOW, example
from shared.contracts.notifications import Channel
from shared.contracts.texts import Name
from shared.contracts.types import Amount, BodyModel, Flag, Instant, ViewModel
from shared.market.fields import Interval, Symbol
from shared.market.history_client import CandleHistory

ALERTS, ONE_ALERT = "/v1/alerts", "/v1/alerts/{id}"

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
    notify_telegram: Annotated[bool, require_delivering("telegram")] = False
    notify_email: Annotated[bool, require_delivering("email")] = False
    notify_webhook: Annotated[bool, require_delivering("webhook")] = False
    cooldown_seconds: Cooldown = 0
    expires_at: Expiry | None = None
    repeat: Repeat = "ALWAYS"
    is_active: bool = True

    @field_validator("condition_data")
    @classmethod
    def _without_floats(cls, value: dict[str, object]) -> dict[str, object]:
        return without_floats(value)


class AlertChanges(BodyModel):
    """Fields that are left out keep their values."""

    model_config = example(condition_data={"op": "above", "value": "90500"}, cooldown_seconds=3600)

    alert_name: Name | None = None
    condition_data: dict[str, object] | None = None
    notify_dashboard: bool | None = None
    notify_telegram: Annotated[bool | None, require_delivering("telegram")] = None
    notify_email: Annotated[bool | None, require_delivering("email")] = None
    notify_webhook: Annotated[bool | None, require_delivering("webhook")] = None
    cooldown_seconds: Cooldown | None = None
    expires_at: Expiry | None = None
    repeat: Repeat | None = None
    is_active: bool | None = None

    @field_validator("condition_data")
    @classmethod
    def _without_floats(cls, value: dict[str, object] | None) -> dict[str, object] | None:
        return None if value is None else without_floats(value)

    def changed_fields(self) -> dict[str, object]:
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
        last_triggered_at=NOW,
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
    last_triggered_at: Instant | None = Field(validation_alias="last_triggered")
    created_at: Instant
    updated_at: Instant


class AlertsQuery(ListQuery):
    orders = alerts.ORDERS

    symbol: Symbol | None = None
    alert_type: AlertType | None = None
    is_active: Flag | None = None
    sort: Literal["created_at", "-created_at", "alert_name", "-alert_name"] = "-created_at"


class FiringsQuery(ListQuery):
    orders = firings.ORDERS

    sort: Literal["open_time", "-open_time"] = "-open_time"


class FiringView(ViewModel):
    """`open_time` and `close_time` are the bar's, `price` is its close. Old firings have only `open_time`."""

    model_config = example(value_seen="91350")

    open_time: Instant
    close_time: Instant | None = Field(validation_alias="closed_at")
    price: Amount | None
    value_seen: str | None
    created_at: Instant


class AlertRoutes(Routes):
    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history

    @endpoint(
        "POST",
        ALERTS,
        "Create an alert",
        status=201,
        errors=(NameTaken, AlertsFull, PlanLimitReached, ExchangeUnreachable),
        scope="trade",
    )
    async def create_alert(self, call: Call, body: AlertBody) -> Reply[AlertView]:
        await call.replay_if_answered()
        await self._history.check_series(body.symbol, body.interval)
        async with call.transaction() as connection:
            alert = await create_alert(connection, call.principal, AlertValues(**body.model_dump()))
        return created(_view(alert), f"{ALERTS}/{alert.alert_id}")

    @endpoint("GET", ALERTS, "List your alerts, newest first")
    async def list_alerts(self, call: Call, query: AlertsQuery) -> Page[AlertView]:
        user_id, wanted = call.principal.user_id, query.slice()
        criteria = AlertFilter(query.symbol, query.alert_type, query.is_active)
        async with self._database.tenant(user_id) as connection:
            rows = await alerts.list_alerts(connection, user_id, criteria, wanted)
        return query.page_of(rows, _view)

    @endpoint("GET", ONE_ALERT, "Get an alert", tagged=True)
    async def get_alert(self, call: Call) -> Reply[AlertView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await alerts.get_alert(connection, user_id, call.uuid())
        return _tagged(row)

    @endpoint(
        "PATCH",
        ONE_ALERT,
        "Change an alert",
        errors=(NameTaken, PlanLimitReached),
        tagged=True,
        scope="trade",
    )
    async def change_alert(self, call: Call, body: AlertChanges) -> Reply[AlertView]:
        return await _change(call, body.changed_fields())

    @endpoint("DELETE", ONE_ALERT, "Delete an alert", status=204, tagged=True, scope="trade")
    async def delete_alert(self, call: Call) -> None:
        async with call.transaction() as connection:
            await delete_alert(connection, call.principal.user_id, call.uuid(), call.if_match)

    @endpoint("POST", ONE_ALERT + "/pause", "Pause an alert", scope="trade")
    async def pause_alert(self, call: Call) -> Reply[AlertView]:
        return await _change(call, {"is_active": False})

    @endpoint("POST", ONE_ALERT + "/resume", "Resume an alert: it fires on candles from now on", scope="trade")
    async def resume_alert(self, call: Call) -> Reply[AlertView]:
        return await _change(call, {"is_active": True})

    @endpoint("GET", ONE_ALERT + "/firings", "List an alert's firings, newest first")
    async def list_firings(self, call: Call, query: FiringsQuery) -> Page[FiringView]:
        user_id, alert_id, wanted = call.principal.user_id, call.uuid(), query.slice()
        async with self._database.tenant(user_id) as connection:
            await alerts.get_alert(connection, user_id, alert_id)
            rows = await firings.list_firings(connection, user_id, alert_id, wanted)
        return query.page_of(rows, FiringView.model_validate)


async def _change(call: Call, changes: dict[str, object]) -> Reply[AlertView]:
    async with call.transaction() as connection:
        alert = await change_alert(connection, call.principal.user_id, call.uuid(), changes, call.if_match)
    return _tagged(alert)


def _tagged(row: AlertRow) -> Reply[AlertView]:
    return tagged(_view(row), row.updated_at)


def _view(row: AlertRow) -> AlertView:
    return AlertView.model_validate({**asdict(row), "channels": channels_of(row)})
