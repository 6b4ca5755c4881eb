"""The common structure of all events, and the guarantees of their topics."""

from datetime import datetime, timedelta
from typing import ClassVar, Literal, NamedTuple, Self, get_args
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

MARKET_NAMESPACE = UUID("5b0b9a34-8c1d-5a0e-9f43-6b0f6d1f7c55")


RECEIPT = "_received"


class Receipt(NamedTuple):
    """The time, id and kind of delivery of a message that was read from a topic: they are not in the value."""

    published_at: datetime
    message_id: UUID | None
    is_replayed: bool


class Message(BaseModel):
    """The value of a Kafka message. Consumers ignore fields that they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: ClassVar[str]
    source: ClassVar[str]
    source_field: ClassVar[str | None] = None  # the field that names the publisher, if several services publish it
    version: ClassVar[int] = 1
    partitions: ClassVar[int] = 12
    retention: ClassVar[timedelta] = timedelta(days=7)
    compacted: ClassVar[bool] = False

    @classmethod
    def sources(cls) -> tuple[str, ...]:
        """Return the services that may publish this."""
        if cls.source_field is None:
            return (cls.source,)
        return get_args(cls.model_fields[cls.source_field].annotation)

    def may_come_from(self, source: str) -> bool:
        """Return whether this service may publish this message."""
        publisher = getattr(self, self.source_field) if self.source_field else self.source
        return bool(publisher == source)

    @property
    def published_at(self) -> datetime | None:
        """The wall time at which it was published (`ce_time`); None unless it was read from a topic."""
        return receipt.published_at if (receipt := self._receipt()) else None

    @property
    def is_replayed(self) -> bool:
        """True if an operator replayed it: the plausibility of its version is not checked then."""
        return receipt.is_replayed if (receipt := self._receipt()) else False

    @property
    def message_id(self) -> UUID | None:
        """The event id on its topic (`ce_id`); None unless it was read from one."""
        return receipt.message_id if (receipt := self._receipt()) else None

    def received(
        self, published_at: datetime, message_id: UUID | None = None, *, is_replayed: bool = False
    ) -> Self:
        """Note that this message was read from a topic, and return it."""
        # A private attribute would be initialised, set and read by pydantic's Python code for every message.
        vars(self)[RECEIPT] = Receipt(published_at, message_id, is_replayed)
        return self

    def _receipt(self) -> Receipt | None:
        return vars(self).get(RECEIPT)

    def key(self) -> str:
        """Return the Kafka key."""
        raise NotImplementedError

    def order_key(self) -> str:
        """Return the key that orders messages: those that share it wait behind one that cannot be handled."""
        return self.key()


NOBODY = 0
"""The user of events that belong to no tenant."""


class Event(Message):
    """A change of one user's aggregate, delivered by outbox and inbox."""

    on_poison: ClassVar[Literal["halt", "skip"]] = "skip"

    user_id: int = Field(ge=0, le=2**63 - 1)
    public_id: UUID
    aggregate: str
    aggregate_seq: int = Field(ge=1)

    def key(self) -> str:
        return str(self.user_id)


class MarketEvent(Message):
    """A fact of the exchange, sent without an outbox; its id is derived from its content."""

    retention: ClassVar[timedelta] = timedelta(days=2)

    def event_id(self) -> UUID:
        """Return the id of the fact: the same for every publisher and every repetition."""
        raise NotImplementedError


def market_id(*parts: object) -> UUID:
    """Return the UUIDv5 of the parts that identify a market event."""
    return uuid5(MARKET_NAMESPACE, "|".join(str(part) for part in parts))
