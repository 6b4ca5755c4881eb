"""The shape every event has, and what its topic promises."""

from datetime import datetime, timedelta
from typing import ClassVar, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

MARKET_NAMESPACE = UUID("5b0b9a34-8c1d-5a0e-9f43-6b0f6d1f7c55")


class Message(BaseModel):
    """What stands in a Kafka message's value. Readers ignore fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1
    partitions: ClassVar[int] = 12
    retention: ClassVar[timedelta] = timedelta(days=7)
    compacted: ClassVar[bool] = False

    _said_at: datetime | None = PrivateAttr(default=None)
    _heard_id: UUID | None = PrivateAttr(default=None)

    @property
    def said_at(self) -> datetime | None:
        """Wall time at which the publisher wrote it (`ce_time`); None unless it was read from a topic."""
        return self._said_at

    def note_said_at(self, moment: datetime) -> None:
        """For whoever reads it from a topic: the time stands in the headers, not in the data."""
        self._said_at = moment

    @property
    def heard_id(self) -> UUID | None:
        """The id under which it stood on its topic (`ce_id`); None unless it was read from one."""
        return self._heard_id

    def note_heard_id(self, event_id: UUID) -> None:
        self._heard_id = event_id

    def key(self) -> str:
        """The Kafka key: what this message is ordered with."""
        raise NotImplementedError


class Event(Message):
    """Something that happened to one user's aggregate; travels by outbox and inbox."""

    on_poison: ClassVar[Literal["halt", "skip"]] = "skip"

    user_id: int = Field(ge=0, le=2**63 - 1)
    public_id: UUID
    aggregate: str
    aggregate_seq: int = Field(ge=1)

    def key(self) -> str:
        return str(self.user_id)


class MarketEvent(Message):
    """A fact of the exchange: produced directly, its id follows from what it says."""

    retention: ClassVar[timedelta] = timedelta(days=2)

    def event_id(self) -> UUID:
        """The same fact has the same id, whoever says it and however often."""
        raise NotImplementedError


def market_id(*parts: object) -> UUID:
    """UUIDv5 of the parts of a market event's key."""
    return uuid5(MARKET_NAMESPACE, "|".join(str(part) for part in parts))
