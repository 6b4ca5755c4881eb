"""CloudEvents 1.0 in binary mode: its attributes as Kafka headers."""

from collections.abc import Mapping
from datetime import datetime

from shared.chassis import telemetry
from shared.contracts.envelope import Event, Message
from shared.contracts.types import instant_text

Headers = dict[str, str]


def headers_of(event: Message, event_id: str, source: str, published_at: datetime) -> Headers:
    """`published_at` is wall time; it becomes `ce_time`."""
    return {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": source,
        "ce_type": event.topic,
        "ce_time": instant_text(published_at),
        "ce_dataschema": f"tradefleet:{event.topic}:{event.version}",
        "content-type": "application/json",
        "traceparent": telemetry.trace_for(event.user_id if isinstance(event, Event) else None),
    }


def to_wire(headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in headers.items()]


def from_wire(headers: object) -> Headers:
    """Return headers as text; values of the same name are joined. Bytes that are not UTF-8 are replaced, so that no
    header stops a reader."""
    if not isinstance(headers, list | tuple):
        return {}
    try:
        single = {name: value.decode() for name, value in headers}
    except (AttributeError, UnicodeDecodeError):
        single = {}
    if len(single) == len(headers):
        return single  # the usual case
    texts: dict[str, list[str]] = {}
    for name, value in headers:
        texts.setdefault(str(name), []).append((value or b"").decode("utf-8", "replace"))
    return {name: ", ".join(several) for name, several in texts.items()}
