"""The activity event, published by the service in which a user acts."""

from typing import ClassVar, Literal
from uuid import UUID

from shared.contracts.envelope import Event
from shared.contracts.types import Instant

Actor = Literal["USER", "API_KEY", "ADMINISTRATOR", "SYSTEM", "UNKNOWN"]
RecordingService = Literal["auth", "billing", "trading", "analytics", "notifications"]


class ActivityRecorded(Event):
    """One action on a user's data. Its aggregate is the user's activity in one service."""

    topic: ClassVar[str] = "activity.recorded"
    source: ClassVar[str] = "auth"
    source_field: ClassVar[str | None] = "service"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"

    activity_id: UUID
    service: RecordingService
    actor: Actor  # UNKNOWN: a caller who was not authenticated, such as with a wrong password
    activity_type: str  # the operation: CREATE_STRATEGY, LOG_IN
    object: str | None  # the path of the object: /v1/strategies/<id>
    address: str | None
    user_agent: str | None
    endpoint: str  # POST /v1/strategies
    at: Instant
