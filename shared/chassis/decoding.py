"""From a Kafka record to an event, or to the reason why it is none."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from aiokafka import ConsumerRecord
from pydantic import TypeAdapter, ValidationError

from shared.chassis.errors import NewerVersionError, PoisonError
from shared.chassis.kafka_headers import Headers, from_wire
from shared.contracts.catalog import BY_TOPIC
from shared.contracts.envelope import Message
from shared.contracts.types import Instant

NOBODY = 0
LARGEST_USER_ID = 2**63 - 1
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


@dataclass(frozen=True)
class Received:
    """A record as it came; `event` is None where `fault` says why it can never be worked."""

    topic: str
    partition: int
    offset: int
    key: str
    event_id: UUID | None
    headers: Headers
    payload: bytes
    event: Message | None
    fault: str

    @property
    def user_id(self) -> int:
        """The tenant named by the key, which is what the database is told; 0 where it names none."""
        if self.key.isascii() and self.key.isdigit() and len(self.key) <= 19:
            value = int(self.key)
            return value if value <= LARGEST_USER_ID else NOBODY
        return NOBODY

    def body_sha256(self) -> bytes:
        return hashlib.sha256(self.payload).digest()


def decode_record(topic: str, record: ConsumerRecord) -> Received:
    """Raises NewerVersionError; everything else that is wrong is a fault on the result."""
    headers = from_wire(record.headers)
    key = (record.key or b"").decode("utf-8", "replace")
    payload = record.value or b""
    event: Message | None = None
    fault = ""
    try:
        event = decode(topic, key, payload, headers)
    except PoisonError as error:
        fault = str(error)
    return Received(
        topic, record.partition, record.offset, key, event_id_of(headers), headers, payload, event, fault
    )


def decode(topic: str, key: str, payload: bytes, headers: Headers) -> Message:
    """The event in a message. Raises PoisonError, NewerVersionError."""
    model = BY_TOPIC.get(topic)
    if model is None:
        raise PoisonError(f"{topic} is no topic of ours")
    version = headers.get("ce_dataschema", "").rpartition(":")[2]
    if version.isascii() and version.isdigit() and int(version) > model.version:
        raise NewerVersionError(f"{topic} version {version}, this program knows {model.version}")
    try:
        event = model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise PoisonError(f"{where}: {first['msg']}") from error
    if event.key() != key:
        raise PoisonError("the key does not belong to what the body says")
    event_id = event_id_of(headers)
    if event_id is None:
        raise PoisonError("ce_id is missing or no UUID")
    event.note_said_at(_said_at(headers))
    event.note_heard_id(event_id)
    return event


def _said_at(headers: Headers) -> datetime:
    try:
        return _INSTANT.validate_python(headers.get("ce_time", ""))
    except ValidationError as error:
        raise PoisonError("ce_time is missing or no time") from error


def event_id_of(headers: Headers) -> UUID | None:
    """The id that a message carries, if it is one."""
    try:
        return UUID(headers["ce_id"])
    except (KeyError, ValueError):
        return None
