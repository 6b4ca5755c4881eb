"""Events that notifications publishes."""

from typing import ClassVar, Literal
from uuid import UUID

from shared.contracts.envelope import Event
from shared.contracts.types import Amount, Instant

AlertType = Literal["PRICE", "EMA_CROSS", "VOLUME", "CUSTOM"]
Channel = Literal["dashboard", "telegram", "email", "webhook"]


class AlertTriggered(Event):
    topic: ClassVar[str] = "alert.triggered"
    source: ClassVar[str] = "notifications"

    alert_id: UUID
    alert_name: str
    alert_type: AlertType
    symbol: str
    interval: str
    open_time: Instant  # of the bar that triggered it
    price: Amount  # its close
    value_seen: str | None  # the value of the left operand, if the condition is a single comparison
    condition: dict[str, object]
    channels: tuple[Channel, ...]
