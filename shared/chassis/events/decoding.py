"""Decodes a Kafka record into an event, or into the reason why it is not one."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple
from uuid import UUID

from aiokafka import ConsumerRecord
from pydantic import ValidationError
from pydantic_core import SchemaValidator, core_schema

from shared.chassis.errors import ForgedError, NewerVersionError, PoisonError
from shared.chassis.events.fetch import Unreadable
from shared.chassis.events.headers import Headers, from_wire
from shared.contracts.catalog import BY_TOPIC
from shared.contracts.envelope import NOBODY, Event, MarketEvent, Message
from shared.contracts.market import MarketInterest
from shared.contracts.types import to_instant

LARGEST_USER_ID = 2**63 - 1
LONGEST_KEY = 200
LONGEST_REASON = 500
# Limits of a record. Our own publishers stay far below; a larger record is neither decoded nor stored.
MAX_HEADERS = 128
MAX_HEADER_BYTES = 32_768
MAX_VALUE_BYTES = 1_048_576
# What decoding may raise. Decoding depends on the message only, so each of these is a fault of the message.
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
_UUID = SchemaValidator(core_schema.uuid_schema())  # many times as fast as the constructor
_VERSION = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Received(NamedTuple):
    """A record as received; `event` is None if `fault` says why it cannot be handled.

    `needs_version` is the schema version that a reader needs to know; 0 if the record is not newer than this
    program. `order_key` is the key that orders it, if that differs from its Kafka key.
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
        """The tenant named by the key, under which the database stores the record; 0 if it names none."""
        if self.key.isascii() and self.key.isdigit() and len(self.key) <= 19:
            value = int(self.key)
            return value if value <= LARGEST_USER_ID and self.topic not in _WITHOUT_TENANT else NOBODY
        return NOBODY

    @property
    def stored_order_key(self) -> str:
        """The key that orders it, as the database stores it."""
        return bounded(self.order_key or self.key)

    def with_fault(self, reason: str, *, is_forged: bool) -> "Received":
        """Return a copy that can never be handled, with the reason."""
        return self._replace(event=None, fault=bounded(reason, LONGEST_REASON), is_forged=is_forged)

    def body_sha256(self) -> bytes:
        return hashlib.sha256(self.payload).digest()


def decode_records(topic: str, records: Sequence[ConsumerRecord | Unreadable]) -> list[Received]:
    """Decode records. Raises nothing: any problem with a record becomes the `fault` of its result.

    Their values are validated together; if one of them is not valid, each alone.
    """
    events = _validate_together(topic, records)
    return [decode_record(topic, record, event) for record, event in zip(records, events, strict=True)]


def _validate_together(topic: str, records: Sequence[ConsumerRecord | Unreadable]) -> Sequence[Message | None]:
    """Return the events in the values; None for each if one of the records is not valid."""
    undecided = [None] * len(records)
    values = [record.value for record in records if not isinstance(record, Unreadable) and not _oversize(record)]
    if topic not in BY_TOPIC or len(values) < len(records):
        return undecided
    try:
        events: list[Message] = _values_of(topic).validate_python(values)
    except FAULTS_OF_THE_MESSAGE:
        return undecided
    return events


@cache
def _values_of(topic: str) -> SchemaValidator:
    """Return the validator of a list of values, each JSON of its own."""
    event = BY_TOPIC[topic].__pydantic_core_schema__
    return SchemaValidator(core_schema.list_schema(core_schema.json_schema(event)))


def decode_record(topic: str, record: ConsumerRecord | Unreadable, value: Message | None = None) -> Received:
    """Decode a record. `value` is the event in its value if that has been validated, and its size checked."""
    if isinstance(record, Unreadable):
        return Received(topic, record.partition, record.offset, "", None, {}, b"", None, record.reason)
    if value is None and (fault := _oversize(record)):
        return Received(topic, record.partition, record.offset, "", None, {}, b"", None, fault)
    key, payload, headers, fault = "", record.value or b"", {}, ""
    event: Message | None = None
    needs_version, is_forged = 0, False
    try:
        key = (record.key or b"").decode("utf-8", "replace")
        headers = from_wire(record.headers)
        event = decode(topic, key, payload, headers, value=value)
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
        event.message_id if event else event_id_of(headers),
        headers,
        payload,
        event,
        bounded(fault, LONGEST_REASON),
        needs_version,
        is_forged,
        order_key,
    )


def _oversize(record: ConsumerRecord) -> str:
    """Return the reason why the record is too large to be decoded, or an empty text."""
    if len(record.headers) > MAX_HEADERS:
        return f"has {len(record.headers)} headers, more than {MAX_HEADERS}"
    size = sum(map(len, filter(None, chain.from_iterable(record.headers))))
    if size > MAX_HEADER_BYTES:
        return f"has headers of {size} bytes, more than {MAX_HEADER_BYTES}"
    if (size := len(record.value or b"") + len(record.key or b"")) > MAX_VALUE_BYTES:
        return f"has {size} bytes, more than {MAX_VALUE_BYTES}"
    return ""


def decode(
    topic: str,
    key: str,
    payload: bytes,
    headers: Headers,
    *,
    is_replayed: bool = False,
    value: Message | None = None,
) -> Message:
    """Return the event in a message; `value` if the payload has been validated already.

    Raises PoisonError, NewerVersionError, and nothing else.
    """
    try:
        event, published_at, event_id = _decode(topic, key, payload, headers, value)
        return event.received(published_at, event_id, is_replayed=is_replayed)
    except FAULTS_OF_THE_MESSAGE as error:
        raise PoisonError(f"cannot be decoded: {error!r}") from error


def _decode(
    topic: str, key: str, payload: bytes, headers: Headers, value: Message | None
) -> tuple[Message, datetime, UUID]:
    model = BY_TOPIC.get(topic)
    if model is None:
        raise PoisonError(f"{topic} is not one of our topics")
    version = version_of(topic, headers)
    if version is not None and version > model.version:
        raise NewerVersionError(f"{topic} version {version}, this program knows {model.version}", version)
    event = value or _validate(model, payload)
    _check_texts(event, payload)
    if event.key() != key:
        raise PoisonError("the key does not match the body")
    if isinstance(event, Event) and (event.user_id == NOBODY) != isinstance(event, MarketInterest):
        raise PoisonError("user_id: must name a user" if event.user_id == NOBODY else "user_id: must be 0")
    event_id = event_id_of(headers)
    if event_id is None:
        raise PoisonError("ce_id is missing or not a UUID")
    if isinstance(event, MarketEvent) and event.event_id() != event_id:
        raise PoisonError("ce_id is not the id derived from the bar")
    _check_attributes(event, headers, version)
    return event, _published_at(headers), event_id


def _validate(model: type[Message], payload: bytes) -> Message:
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise PoisonError(f"{where}: {first['msg']}") from error


def _check_texts(event: Message, payload: bytes) -> None:
    if b"\\u0000" in payload:  # the only form in which JSON can contain a NUL
        for where, text in _texts(event.model_dump()):
            if "\x00" in text:
                raise PoisonError(f"{where}: contains a NUL character")


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
    """Return the version in `ce_dataschema`, or None if it is not a schema of this topic."""
    return _version_in(headers.get("ce_dataschema", ""), topic)


@lru_cache(1_000)
def _version_in(schema: str, topic: str) -> int | None:
    prefix, _, version = schema.rpartition(":")
    return int(version) if prefix == f"tradefleet:{topic}" and _VERSION.fullmatch(version) else None


def _check_attributes(event: Message, headers: Headers, version: int | None) -> None:
    if version is None:
        raise PoisonError(f"ce_dataschema is missing or not tradefleet:{event.topic}:<version>")
    if headers.get("ce_type") != event.topic:
        raise PoisonError("ce_type is missing or not the topic")
    if not event.may_come_from(headers.get("ce_source", "")):
        raise ForgedError("ce_source is missing or not a service that may publish this")


def _published_at(headers: Headers) -> datetime:
    try:
        return to_instant(headers.get("ce_time", ""))
    except ValueError as error:
        raise PoisonError("ce_time is missing or not a time") from error


def event_id_of(headers: Headers) -> UUID | None:
    """Return the event id in the headers, or None if it is missing or not a UUID."""
    text = headers.get("ce_id", "")
    return _UUID.validate_python(text) if _ID.fullmatch(text) else None


def _order_key_of_newer(topic: str, payload: bytes) -> str:
    """Return the order key of a newer message, or an empty text if it cannot be read. Usually it can be, as new
    versions only add fields."""
    model = BY_TOPIC[topic]
    try:
        return model.model_validate_json(payload).order_key()
    except FAULTS_OF_THE_MESSAGE:
        return ""


def storable(text: str) -> str:
    """Replace what Postgres cannot store: NUL and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def bounded(text: str, most: int = LONGEST_KEY) -> str:
    """Return the text storable and short enough for an index: a longer one is cut and its hash appended."""
    if len(text) <= most and text.isascii() and "\x00" not in text:
        return text  # the usual case
    text = storable(text)
    if len(text) <= most:
        return text
    return f"{text[: most - 17]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"


_WITHOUT_TENANT = frozenset(
    topic for topic, event in BY_TOPIC.items() if not issubclass(event, Event) or event is MarketInterest
)
