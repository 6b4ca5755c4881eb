"""Every operation with a body refuses an invalid one, names the wrong field, and stores nothing."""

import gzip
import http.client
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import cast

import pytest

from shared.testing.api_client import Json
from shared.testing.operations import Field, Operation
from tests.hostile import table
from tests.hostile.operations import operations, sample_of, with_ids
from tests.hostile.world import Process, World
from tests.hostile.wrong_values import wrong_values
from tests.pace import patient

MIB = 2**20
SLOWEST_S = patient(5.0)
MOST_GROWTH = 64 * MIB
WITH_BODY = [operation for operation in operations() if operation.body is not None]


@dataclass(frozen=True)
class Attempt:
    """`path` is the JSON path that the answer must name, if any."""

    name: str
    body: bytes
    statuses: tuple[int, ...]
    path: str = ""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: bytes
    seconds: float

    def fault(self, attempt: Attempt) -> str:
        """Return the fault of this answer to the attempt, or an empty text."""
        if self.status not in attempt.statuses or self.seconds > SLOWEST_S:
            return f"{self.status} after {self.seconds:.1f} s"
        if not self.content_type.startswith("application/problem+json"):
            return self.content_type
        problem = json.loads(self.body)
        complete = {"type", "title", "status", "detail", "request_id"} <= set(problem)
        if not complete or problem["status"] != self.status or len(self.body) > 20_000:
            return self.body[:300].decode()
        paths = [fault["path"] for fault in problem.get("errors", [])]
        named = not attempt.path or any(path.startswith(attempt.path) for path in paths)
        return "" if named else f"names {paths}, not {attempt.path}"


def send(process: Process, operation: Operation, path: str, token: str, attempt: Attempt) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=SLOWEST_S)
    headers = dict(attempt.headers) if operation.public else {**dict(attempt.headers), "Authorization": token}
    began = time.monotonic()
    try:
        with suppress(ConnectionError):  # the answer may arrive before the whole body is sent
            connection.request(operation.method, path, attempt.body, headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return Answer(answer.status, answer.headers.get("Content-Type", ""), body, time.monotonic() - began)


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.label)
def test_a_wrong_body_is_refused_with_the_reason_and_stores_nothing(
    world: World, operation: Operation, record_property: Callable[[str, object], None]
) -> None:
    process = world.service_of(operation.path)
    sample = sample_of(operation, world.created["/v1/strategies"])
    attempts = [*_no_bodies(operation, sample), *_compressed(sample), *_wrong_fields(operation, sample)]
    path, token = with_ids(operation.path, world.created), f"Bearer {world.token}"
    before, peak, began = world.rows_of(process), process.peak_bytes(), process.log_size()
    answers = [(attempt, send(process, operation, path, token, attempt)) for attempt in attempts]
    table.record(record_property, "wrong bodies", Counter({operation.label: len(attempts)}))
    faults = [f"{attempt.name}: {fault}" for attempt, answer in answers if (fault := answer.fault(attempt))]
    assert not faults, "\n".join(faults)
    assert world.rows_of(process) == before
    assert process.peak_bytes() - peak < MOST_GROWTH
    assert process.tracebacks(began) == []


def _no_bodies(operation: Operation, sample: Json) -> Iterator[Attempt]:
    """Yield bodies without JSON, with JSON that is not accepted, or that are too large."""
    text = json.dumps(sample)
    within, first = text[:-1], next(iter(sample), "anything")
    if operation.body_required:
        yield Attempt("empty", b"", (400,))
    yield Attempt("10 MB", text.encode() + b" " * 10 * MIB, (413,))
    yield Attempt("10 MB in a text", f'{{"x": "{"x" * 10 * MIB}"}}'.encode(), (413,))
    yield Attempt("100,000 arrays", b"[" * 100_000 + b"]" * 100_000, (400,))
    yield Attempt("100,000 open arrays", b"[" * 100_000, (400,))
    yield Attempt("100,000 arrays in a field", f'{{"{first}": {"[" * 100_000}{"]" * 100_000}}}'.encode(), (400,))
    yield Attempt("objects in objects", b'{"a":' * 50_000 + b"1" + b"}" * 50_000, (400,))
    for number in ("NaN", "Infinity", "-Infinity", "1e999999", "-1e999999", "1e-999999", "1e400", "1_000", "01"):
        yield Attempt(number, f'{within}, "x": {number}}}'.encode(), (400,))
    yield Attempt("100,000 digits", f'{within}, "x": {"9" * 100_000}}}'.encode(), (400,))
    yield Attempt("100,000 digits after the point", f'{within}, "x": 0.{"9" * 100_000}}}'.encode(), (400,))
    yield Attempt("a surrogate", f'{within}, "x": "\\ud800"}}'.encode(), (400,))
    yield Attempt("a surrogate in a name", f'{within}, "\\udfff": 1}}'.encode(), (400,))
    yield Attempt("a raw surrogate", f'{within}, "x": "'.encode() + b'\xed\xa0\x80"}', (400,))
    yield Attempt("NUL", f'{within}, "x": "\\u0000"}}'.encode(), (400,))
    yield Attempt("NUL in a name", f'{within}, "\\u0000": 1}}'.encode(), (400,))
    yield Attempt("a raw NUL", f'{within}, "x": "\x00"}}'.encode(), (400,))
    yield Attempt("no UTF-8", f'{within}, "x": "'.encode() + b'\xff\xfe"}', (400,))
    yield Attempt("a byte order mark", b"\xef\xbb\xbf" + text.encode(), (400,))
    yield Attempt("UTF-16", text.encode("utf-16"), (400,))
    yield Attempt("a key twice", f'{within}, "{first}": {json.dumps(sample.get(first))}}}'.encode(), (400,))
    yield Attempt("a key twice, deep", f'{within}, "x": {{"a": 1, "\\u0061": 1}}}}'.encode(), (400,))
    yield Attempt("more after the end", text.encode() + b"{}", (400,))
    yield Attempt("cut short", text[:-1].encode(), (400,))
    yield Attempt("a comment", text.encode() + b"// fine", (400,))
    yield Attempt("single quotes", text.replace('"', "'").encode() + b"'", (400,))
    for value in ("null", "5", "true", '"text"', "[]", f"[{text}]"):
        yield Attempt(value[:20], value.encode(), (422,), "$")


@cache  # rather than a constant: each process of a run imports this file
def _bombs() -> dict[str, bytes]:
    """Return bodies that unpack to a gigabyte and to a quarter of one."""
    return {"gzip": gzip.compress(bytes(16 * MIB)) * 64, "deflate": zlib.compress(bytes(256 * MIB), 1)}


def _compressed(sample: Json) -> Iterator[Attempt]:
    text = json.dumps(sample).encode()
    packed = {**_bombs(), "x-gzip": gzip.compress(text), "br": text, "zstd": text}
    packed |= {"gzip, gzip": gzip.compress(gzip.compress(text)), "identity, gzip": gzip.compress(text), "x": text}
    for coding, body in packed.items():
        headers = (("Content-Type", "application/json"), ("Content-Encoding", coding))
        yield Attempt(f"packed by {coding}", body, (415,), headers=headers)


def _wrong_fields(operation: Operation, sample: Json) -> Iterator[Attempt]:
    for name in ("__proto__", "x" * 10_000, "user_id", ""):
        if operation.body:
            yield Attempt(f"unknown {name[:20]!r}", json.dumps({**sample, name: 1}).encode(), (422,), "$.")
    for field in cast("tuple[Field, ...]", operation.body):
        if field.required:
            without = {name: value for name, value in sample.items() if name != field.name}
            yield Attempt(f"no {field.name}", json.dumps(without).encode(), (422,), f"$.{field.name}")
        for value in wrong_values(field):
            others = json.dumps({name: each for name, each in sample.items() if name != field.name})[1:-1]
            text = f'{{"{field.name}": {value}{", " if others else ""}{others}}}'
            yield Attempt(f"{field.name}: {value[:60]}", text.encode(), (422,), f"$.{field.name}")
