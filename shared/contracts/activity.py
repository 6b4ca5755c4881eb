"""What people do, said by the service in which they do it."""

from typing import ClassVar, Literal
from uuid import UUID

from shared.contracts.envelope import Event
from shared.contracts.types import Instant

Actor = Literal["USER", "API_KEY", "ADMINISTRATOR", "SYSTEM", "UNKNOWN"]
Recording = Literal["auth", "billing", "trading", "analytics", "notifications"]


class ActivityRecorded(Event):
    """One thing that was done to what is a user's. Its aggregate is his activity in one service."""

    topic: ClassVar[str] = "activity.recorded"
    source: ClassVar[str] = "auth"
    source_field: ClassVar[str | None] = "service"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"

    activity_id: UUID
    service: Recording
    actor: Actor  # UNKNOWN: somebody who did not show who he is, such as with a wrong password
    activity_type: str  # the operation: CREATE_STRATEGY, LOG_IN
    object: str | None  # what it was done to, as its path: /v1/strategies/<id>
    address: str | None
    user_agent: str | None
    endpoint: str  # POST /v1/strategies
    at: Instant
