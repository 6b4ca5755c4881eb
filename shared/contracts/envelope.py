"""The shape every event has, and what its topic promises."""

from datetime import datetime, timedelta
from typing import ClassVar, Literal, get_args
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

MARKET_NAMESPACE = UUID("5b0b9a34-8c1d-5a0e-9f43-6b0f6d1f7c55")


class Message(BaseModel):
    """What stands in a Kafka message's value. Readers ignore fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: ClassVar[str]
    source: ClassVar[str]
    source_field: ClassVar[str | None] = None  # the field that names the publisher, where several services publish
    version: ClassVar[int] = 1
    partitions: ClassVar[int] = 12
    retention: ClassVar[timedelta] = timedelta(days=7)
    compacted: ClassVar[bool] = False

    _said_at: datetime | None = PrivateAttr(default=None)
    _heard_id: UUID | None = PrivateAttr(default=None)
    _is_replayed: bool = PrivateAttr(default=False)

    @classmethod
    def sources(cls) -> tuple[str, ...]:
        """The services that may publish this."""
        if cls.source_field is None:
            return (cls.source,)
        return get_args(cls.model_fields[cls.source_field].annotation)

    def is_of(self, source: str) -> bool:
        """Whether this service may publish this very message."""
        said_by = getattr(self, self.source_field) if self.source_field else self.source
        return bool(said_by == source)

    @property
    def said_at(self) -> datetime | None:
        """Wall time at which the publisher wrote it (`ce_time`); None unless it was read from a topic."""
        return self._said_at

    def note_said_at(self, moment: datetime) -> None:
        """For whoever reads it from a topic: the time stands in the headers, not in the data."""
        self._said_at = moment

    @property
    def is_replayed(self) -> bool:
        """Whether a person had it worked again: its version numbers are not questioned then."""
        return self._is_replayed

    def note_replayed(self) -> None:
        self._is_replayed = True

    @property
    def heard_id(self) -> UUID | None:
        """The id under which it stood on its topic (`ce_id`); None unless it was read from one."""
        return self._heard_id

    def note_heard_id(self, event_id: UUID) -> None:
        self._heard_id = event_id

    def key(self) -> str:
        """The Kafka key."""
        raise NotImplementedError

    def order_key(self) -> str:
        """What this message is ordered with: those that share it wait behind one that cannot be handled."""
        return self.key()


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
