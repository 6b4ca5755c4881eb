"""Messages of every event with one fault: in a header, the key, a field, or the whole body."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from shared.chassis.events.headers import headers_of
from shared.contracts.envelope import Event, MarketEvent, Message
from shared.contracts.types import new_id
from tests.contracts.samples import PUBLISHED_AT, SAMPLES, source_of

FIRST_USER = 5_000_000
Headers = list[tuple[str, bytes | None]]

HEADERS: tuple[bytes | None, ...] = (
    *(None, b"", b"\x00", b"\xff\xfe", b"9" * 4301, b"-1", b"0", b"1e9", b"x" * 100_000, "\u202e".encode()),
    *(b"billing", b"auth", b"nobody", b"tradefleet:candle.closed:2", b"tradefleet:user.updated:9", b"::"),
    *(b"tradefleet:trade.closed:99999999999999999999", b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59-23:59"),
    *(b"2026-01-31T09:30:00", b"00000000-0000-0000-0000-000000000000", b"{0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21}"),
)
KEYS: tuple[bytes | None, ...] = (
    *(None, b"", b"\x00", b"\xff", b"0", b"-1", b"7", b"0007", "\u0667".encode(), b"9" * 19, b"9" * 5_000),
    *(b"bybit:BTCUSDT", b"bybit:\x00", b":", b"x" * 10_000),
)
BODIES: tuple[bytes | None, ...] = (
    *(None, b"", b"null", b"[]", b"{}", b"1", b'"x"', b"\xff\xfe", b"\x00", b"{not json", b"9" * 5_000, b"NaN"),
    *(b"[" * 100_000, b'{"a":' * 50_000, b'{"user_id": 1, "user_id": 2}', b"\xef\xbb\xbf{}", b"{}" * 1_000),
)
# JSON texts, some of which `json` itself does not write.
VALUES = (
    *("null", "true", "0", "-1", "1", "2147483648", "9223372036854775807", "9223372036854775808", "-2147483649"),
    *("9" * 4301, "1e999999999", "NaN", "-Infinity", "0.1", "[]", "{}", "[" * 150 + "]" * 150, '""', '" "'),
    *('"\\u0000"',),
    *('"a\\u0000b"', '"\\ud800"', '"\\udfff\\ud800"', '"\\u202e"', '"Europe"', '"' + "x" * 10_000 + '"'),
    *('"../../etc/passwd"', '"UTC"', '"BTCUSDT"', '"15"', '"7"', '"1E+400"', '"NaN"', '"1e-999999"', '"-0"'),
    *('"99999999999999999999"', '"0.000000000000000001"', '"-1"', '"0000-01-01T00:00:00Z"', '"999.999.1.1/99"'),
    *('"10000-01-01T00:00:00Z"', '"0001-01-03T00:00:00Z"', '"9999-12-28T00:00:00Z"', '"2026-02-30T00:00:00Z"'),
    *('"2026-01-31T09:30:00"', '"00000000-0000-0000-0000-000000000000"', '["\\u0000"]', '{"\\u0000": 1}'),
)


@dataclass(frozen=True)
class Mutation:
    """`what` describes the case if it fails."""

    topic: str
    what: str
    key: bytes | None
    value: bytes | None
    headers: Headers


def mutations(seed: int, count: int) -> Iterator[Mutation]:
    """Yield up to `count` mutations drawn by the seed, each for a user or market of its own."""
    draw = random.Random(seed)
    everything = [(topic, how) for topic, sample in sorted(SAMPLES.items()) for how in _all_of(sample)]
    for number, (topic, how) in enumerate(draw.sample(everything, min(count, len(everything)))):
        yield _mutate(good(SAMPLES[topic], number), *how)


def good(sample: Message, number: int) -> Mutation:
    """Return a valid message: the sample as a separate event."""
    changes: dict[str, object] = {}
    if isinstance(sample, MarketEvent):
        changes["generation"] = number % 1_000 + 1
    elif cast(Event, sample).user_id:
        changes |= {"user_id": FIRST_USER + number, "public_id": UUID(int=FIRST_USER + number)}
        own = ("session_id", "trade_id", "activity_id", "lease_id", "alert_id")
        changes |= {name: new_id() for name in own if name in type(sample).model_fields}
    else:
        changes["symbol"] = f"FUZZ{number}USDT"
    event = sample.model_copy(update=changes)
    event_id = event.event_id() if isinstance(event, MarketEvent) else new_id()
    headers = headers_of(event, str(event_id), source_of(event), PUBLISHED_AT)
    wire: Headers = [(name, value.encode()) for name, value in headers.items()]
    return Mutation(event.topic, "nothing", event.key().encode(), event.model_dump_json().encode(), wire)


def _all_of(sample: Message) -> Iterator[tuple[str, str, Any]]:  # Any: any of the kinds above
    names = ("ce_id", "ce_source", "ce_type", "ce_time", "ce_dataschema", "traceparent", "content-type", "new")
    for name in names:
        yield "header", name, "missing"
        yield "header", name, "twice"
        yield "header", name, "200 times"
        for value in HEADERS:
            yield "header", name, value
    yield "newer", "", None
    # The broker itself refuses a message without a key on a compacted topic.
    yield from (("key", "", key) for key in KEYS if key is not None or not sample.compacted)
    yield from (("body", "", body) for body in BODIES)
    for field in _fields(json.loads(sample.model_dump_json())):
        yield "field", field, "missing"
        yield from (("field", field, value) for value in VALUES)


def _fields(body: Mapping[str, object], path: str = "") -> Iterator[str]:
    for name, value in body.items():
        yield f"{path}{name}"
        if isinstance(value, Mapping):
            yield from _fields(value, f"{path}{name}.")


def _mutate(base: Mutation, kind: str, name: str, value: Any) -> Mutation:  # Any: any of the kinds above
    key, body, headers = base.key, base.value, base.headers
    match kind:
        case "header":
            headers = _header(headers, name, value)
        case "newer":
            headers = _header(headers, "ce_dataschema", f"tradefleet:{base.topic}:2".encode())
        case "key":
            key = value
        case "body":
            body = value
        case "field":
            assert body is not None, "a sample has one"
            body = _field(json.loads(body), name.split("."), value).encode()
    return Mutation(base.topic, f"{base.topic}: {kind} {name} {value!r:.60}", key, body, headers)


def _header(headers: Headers, name: str, value: bytes | str | None) -> Headers:
    if value == "missing":
        return [each for each in headers if each[0] != name]
    if value == "200 times":
        return [*headers, *(each for each in headers if each[0] == name for _ in range(200))]
    if value == "twice":
        return [*headers, *(each for each in headers if each[0] == name)]
    return [*(each for each in headers if each[0] != name), (name, cast("bytes | None", value))]


def _field(body: dict[str, Any], path: list[str], value: str) -> str:  # Any: JSON
    inner = body
    for name in path[:-1]:
        inner = inner[name]
    if value == "missing":
        del inner[path[-1]]
        return json.dumps(body)
    inner[path[-1]] = "@here@"
    return json.dumps(body).replace('"@here@"', value)
