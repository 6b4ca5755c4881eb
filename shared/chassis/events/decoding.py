"""From a Kafka record to an event, or to the reason why it is none."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from aiokafka import ConsumerRecord
from pydantic import TypeAdapter, ValidationError

from shared.chassis.errors import ForgedError, NewerVersionError, PoisonError
from shared.chassis.events.fetch import Unreadable
from shared.chassis.events.headers import Headers, from_wire
from shared.contracts.catalog import BY_TOPIC
from shared.contracts.envelope import Event, MarketEvent, Message
from shared.contracts.market import MarketInterest
from shared.contracts.types import Instant

NOBODY = 0
LARGEST_USER_ID = 2**63 - 1
LONGEST_KEY = 200
LONGEST_REASON = 500
# Of a record. What our own publishers send is far below, and no part of more than this is looked at or kept.
MOST_HEADERS = 128
MOST_HEADER_BYTES = 32_768
MOST_VALUE_BYTES = 1_048_576
# What decoding may raise. It is a pure function of the message, so each of these is a fault of the message.
FAULTS_OF_THE_MESSAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
_VERSION = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class Received:
    """A record as it came; `event` is None where `fault` says why it cannot be handled.

    `needs_version` is the version that a reader would have to know, 0 where the record is not newer than this
    program. `order_key` is what it waits with, where that is another than its key.
    """

    topic: str
    partition: int
    offset: int
    key: str
    event_id: UUID | None
    headers: Headers
    payload: bytes
    event: Message | None
    fault: str
    needs_version: int = 0
    is_forged: bool = False
    order_key: str = ""

    @property
    def user_id(self) -> int:
        """The tenant named by the key, which is what the database is told; 0 where it names none."""
        if self.key.isascii() and self.key.isdigit() and len(self.key) <= 19:
            value = int(self.key)
            return value if value <= LARGEST_USER_ID and self.topic not in _OF_NOBODY else NOBODY
        return NOBODY

    @property
    def waits_with(self) -> str:
        """What it is ordered with, as the database stores it."""
        return bounded(self.order_key or self.key)

    def refused(self, reason: str, *, is_forged: bool) -> "Received":
        """It can never be handled."""
        return replace(self, event=None, fault=bounded(reason, LONGEST_REASON), is_forged=is_forged)

    def body_sha256(self) -> bytes:
        return hashlib.sha256(self.payload).digest()


def decode_record(topic: str, record: ConsumerRecord | Unreadable) -> Received:
    """Raises nothing: whatever is wrong with the record is a fault on the result."""
    if isinstance(record, Unreadable):
        return Received(topic, record.partition, record.offset, "", None, {}, b"", None, record.reason)
    if fault := _oversize(record):
        return Received(topic, record.partition, record.offset, "", None, {}, b"", None, fault)
    key, payload, headers, fault = "", record.value or b"", {}, ""
    event: Message | None = None
    needs_version, is_forged = 0, False
    try:
        key = (record.key or b"").decode("utf-8", "replace")
        headers = from_wire(record.headers)
        event = decode(topic, key, payload, headers)
    except NewerVersionError as error:
        fault, needs_version = str(error), error.version
    except PoisonError as error:
        fault, is_forged = str(error), isinstance(error, ForgedError)
    order_key = event.order_key() if event else _order_key_of_newer(topic, payload) if needs_version else ""
    return Received(
        topic,
        record.partition,
        record.offset,
        key,
        event_id_of(headers),
        headers,
        payload,
        event,
        bounded(fault, LONGEST_REASON),
        needs_version,
        is_forged,
        order_key,
    )


def _oversize(record: ConsumerRecord) -> str:
    """Why it is not even looked at; empty where it is of a size to be decoded."""
    if len(record.headers) > MOST_HEADERS:
        return f"has {len(record.headers)} headers, more than {MOST_HEADERS}"
    size = sum(len(name) + len(value or b"") for name, value in record.headers)
    if size > MOST_HEADER_BYTES:
        return f"has headers of {size} bytes, more than {MOST_HEADER_BYTES}"
    if (size := len(record.value or b"") + len(record.key or b"")) > MOST_VALUE_BYTES:
        return f"has {size} bytes, more than {MOST_VALUE_BYTES}"
    return ""


def decode(topic: str, key: str, payload: bytes, headers: Headers) -> Message:
    """The event in a message. Raises PoisonError, NewerVersionError, and nothing else."""
    try:
        return _decode(topic, key, payload, headers)
    except FAULTS_OF_THE_MESSAGE as error:
        raise PoisonError(f"cannot be decoded: {error!r}") from error


def _decode(topic: str, key: str, payload: bytes, headers: Headers) -> Message:
    model = BY_TOPIC.get(topic)
    if model is None:
        raise PoisonError(f"{topic} is no topic of ours")
    version = version_of(topic, headers)
    if version is not None and version > model.version:
        raise NewerVersionError(f"{topic} version {version}, this program knows {model.version}", version)
    event = _validate(model, payload)
    if event.key() != key:
        raise PoisonError("the key does not belong to what the body says")
    if isinstance(event, Event) and (event.user_id == NOBODY) != isinstance(event, MarketInterest):
        raise PoisonError("user_id: names nobody" if event.user_id == NOBODY else "user_id: is about nobody")
    event_id = event_id_of(headers)
    if event_id is None:
        raise PoisonError("ce_id is missing or no UUID")
    if isinstance(event, MarketEvent) and event.event_id() != event_id:
        raise PoisonError("ce_id does not follow from the bar")
    _check_attributes(event, headers, version)
    event.note_said_at(_said_at(headers))
    event.note_heard_id(event_id)
    return event


def _validate(model: type[Message], payload: bytes) -> Message:
    try:
        event = model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise PoisonError(f"{where}: {first['msg']}") from error
    if b"\\u0000" in payload:  # the only way in which JSON can hold a NUL
        for where, text in _texts(event.model_dump()):
            if "\x00" in text:
                raise PoisonError(f"{where}: holds a NUL character")
    return event


def _texts(value: object, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield where, str(name)
            yield from _texts(each, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, where)


def version_of(topic: str, headers: Headers) -> int | None:
    """The version in `ce_dataschema`; None where it names none of this topic."""
    prefix, _, version = headers.get("ce_dataschema", "").rpartition(":")
    return int(version) if prefix == f"tradefleet:{topic}" and _VERSION.fullmatch(version) else None


def _check_attributes(event: Message, headers: Headers, version: int | None) -> None:
    if version is None:
        raise PoisonError(f"ce_dataschema is missing or not tradefleet:{event.topic}:<version>")
    if headers.get("ce_type") != event.topic:
        raise PoisonError("ce_type is missing or not the topic")
    if not event.is_of(headers.get("ce_source", "")):
        raise ForgedError("ce_source is missing or no service that may publish this")


def _said_at(headers: Headers) -> datetime:
    try:
        return _INSTANT.validate_python(headers.get("ce_time", ""))
    except ValidationError as error:
        raise PoisonError("ce_time is missing or no time") from error


def event_id_of(headers: Headers) -> UUID | None:
    """The id that a message carries, if it is one."""
    text = headers.get("ce_id", "")
    return UUID(text) if _ID.fullmatch(text) else None


def _order_key_of_newer(topic: str, payload: bytes) -> str:
    """As far as this program can read it: fields are only added, so mostly it can."""
    model = BY_TOPIC[topic]
    try:
        return model.model_validate_json(payload).order_key()
    except FAULTS_OF_THE_MESSAGE:
        return ""


def storable(text: str) -> str:
    """Without what Postgres does not store: NUL, and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def bounded(text: str, most: int = LONGEST_KEY) -> str:
    """Storable, and short enough for an index: the end of a longer one is replaced by its hash."""
    text = storable(text)
    if len(text) <= most:
        return text
    return f"{text[: most - 17]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"


_OF_NOBODY = frozenset(
    topic for topic, event in BY_TOPIC.items() if not issubclass(event, Event) or event is MarketInterest
)
