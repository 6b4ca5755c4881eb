"""Bytes that are not valid text, in every part of a request: a 4xx from every service, never a 5xx."""

from collections.abc import Iterator

import pytest

from tests.hostile.wire import exchange
from tests.hostile.world import World

NO_TEXT = (b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"a\x80b", b"\xf4\x90\x80\x80", b"\xc0\xaf")
HEADERS = (
    b"Authorization: Bearer %b", b"Authorization: %b", b"Cookie: a=%b", b"Content-Type: %b",
    b"Content-Type: application/json; charset=%b", b"Content-Encoding: %b", b"If-Match: %b", b'If-None-Match: "%b"',
    b"Idempotency-Key: %b", b"Range: bytes=%b", b"Accept: %b", b"Accept-Language: %b", b"User-Agent: %b",
    b"X-Forwarded-For: %b", b"Forwarded: for=%b", b"X-Real-IP: %b", b"X-Request-Id: %b", b"traceparent: %b",
    b"Last-Event-ID: %b", b"If-Modified-Since: %b", b"Origin: %b", b"X-Anything: %b",
)  # fmt: skip
TARGETS = (b"%b", b"%%ff%b", b"?limit=%b", b"?%b=1", b"?cursor=%b", b"/%b", b"?limit=1#%b")
PATHS = {
    "auth": (b"POST", b"/v1/auth/login"),
    "billing": (b"GET", b"/v1/plans"),
    "trading": (b"POST", b"/v1/strategies"),
    "analytics": (b"GET", b"/v1/watchlist"),
    "notifications": (b"GET", b"/v1/inbox"),
}


def requests(method: bytes, path: bytes, token: bytes) -> Iterator[bytes]:
    """Return requests with those bytes in one place each."""
    body = b"Content-Length: 2\r\n\r\n{}" if method == b"POST" else b"\r\n"
    bearer = b"Authorization: Bearer " + token + b"\r\n"
    for raw in NO_TEXT:
        for header in HEADERS:
            rest = b"" if header.startswith(b"Authorization") else bearer
            yield method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + rest + header % raw + b"\r\n" + body
        for target in TARGETS:
            yield method + b" " + path + target % raw + b" HTTP/1.1\r\nHost: x\r\n" + bearer + body


@pytest.mark.parametrize("name", [*PATHS, "gateway"])
def test_undecodable_bytes_are_a_client_error(world: World, name: str) -> None:
    process = world.process(name)
    began = process.log_size()
    method, path = PATHS.get(name, PATHS["trading"])
    tried = list(requests(method, path, world.token.encode()))
    answers = [(sent, exchange(process.port, sent)) for sent in tried]
    assert [(sent, answer.status) for sent, answer in answers if not answer.refused] == []
    assert process.tracebacks(began) == []


@pytest.mark.parametrize("query", ["limit=%ff", "cursor=%ff", "%ff=1", "cursor=%ed%a0%80", "cursor=%c0%af"])
def test_escaped_undecodable_bytes_are_refused_or_find_nothing(world: World, query: str) -> None:
    for process, path in ((world.services["trading"], "/v1/strategies"), (world.services["billing"], "/v1/plans")):
        sent = f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.token}\r\n\r\n"
        assert exchange(process.port, sent.encode()).status < 500
