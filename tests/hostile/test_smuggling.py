"""A body is never interpreted as a request, neither on the client's connection nor on the shared one behind the
gateway."""

import re
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import pytest

from tests.hostile import http2
from tests.hostile.wire import exchange, head
from tests.hostile.world import World
from tests.pace import patient

PATIENCE_S = patient(20.0)
QUIET_S = 2.5  # no more data for this long after an answer
AT_ONCE = 8
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
SMUGGLED = head("GET", "/healthz")

# Answered by Caddy itself, without a service.
OWN = ("/healthz", "/docs", "/openapi.json", "/problems/not-found", "/nothing", "/", "/readyz")
METHODS = ("POST", "GET", "HEAD", "BREW")
# One request for each kind of answer that a service gives before reading the body: method, path, token, headers.
EARLY: Mapping[str, Sequence[tuple[str, str, bool, Mapping[str, str]]]] = {
    "auth": [
        ("POST", "/v1/me/password", False, {}),
        ("PUT", "/v1/auth/login", False, {}),
        ("POST", "/v1/auth/nothing", False, {}),
        ("POST", "/v1/auth/login", False, {"Content_Encoding": "gzip"}),
        ("GET", "/v1/me", True, {}),
        ("HEAD", "/v1/me", True, {}),
        ("GET", "/.well-known/jwks.json", False, {}),
        ("CONNECT", "/v1/me", True, {}),
    ],
    "billing": [
        ("GET", "/v1/plans", False, {}),
        ("POST", "/v1/plans", False, {}),
        ("GET", "/v1/usage", True, {}),
        ("CONNECT", "/v1/plans", False, {}),
    ],
    "trading": [
        ("POST", "/v1/strategies", False, {}),
        ("GET", "/v1/strategies", True, {}),
        ("GET", "/v1/strategies?no_such=1", True, {}),
        ("POST", "/v1/sessions/0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21/pause", True, {}),
        ("PATCH", "/v1/strategies", True, {"If_Match": "x"}),
        ("POST", "/v1/strategies", False, {"Connection": "Upgrade", "Upgrade": "h2c"}),
        ("CONNECT", "/v1/strategies", True, {}),
    ],
    "analytics": [
        ("POST", "/v1/watchlist", False, {}),
        ("GET", "/v1/performance/summary", True, {}),
        ("CONNECT", "/v1/watchlist", True, {}),
    ],
    "notifications": [
        ("POST", "/v1/alerts", False, {}),
        ("GET", "/v1/inbox", True, {}),
        ("DELETE", "/v1/alerts/x", True, {}),
        ("CONNECT", "/v1/alerts", True, {}),
    ],
}


@dataclass(frozen=True)
class Talk:
    """The answers' statuses on one connection, and whether the server closed it."""

    statuses: tuple[int, ...]
    closed: bool
    text: bytes


def talk(port: int, sent: bytes, then: bytes = b"") -> Talk:
    """Send `sent`, then `then` after the first answer; read until the connection is closed or quiet."""
    received, closed, until = b"", False, time.monotonic() + PATIENCE_S
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.setblocking(False)
        rest = sent
        while not closed and time.monotonic() < until:
            readable, writable, _ = select.select([connection], [connection] if rest else [], [], QUIET_S)
            try:
                if writable:
                    rest = rest[connection.send(rest[:65_536]) :]
                if readable:
                    more = connection.recv(1 << 20)
                    received, closed = received + more, not more
            except ConnectionError:
                closed, rest = True, b""
            if not readable and not writable and received:
                if not then:
                    break
                rest, then = then, b""
    statuses = tuple(int(status) for status in STATUS_LINE.findall(received) if status != b"100")
    return Talk(statuses, closed, received)


def framed(content: bytes) -> dict[str, tuple[dict[str, str], bytes]]:
    """Return the same content framed in each way; in `broken` no reader can find the end."""
    chunk = b"%x\r\n%b\r\n" % (len(content), content)
    return {
        "length": ({"Content_Length": str(len(content))}, content),
        "expected": ({"Content_Length": str(len(content)), "Expect": "100-continue"}, content),
        "chunked": ({"Transfer_Encoding": "chunked"}, chunk + b"0\r\n\r\n"),
        "broken": ({"Transfer_Encoding": "chunked"}, b"1\r\nx\r\nZZ\r\n" + content),
    }


# Go reads up to 256 kB of a body before it gives up; the gateway accepts 1 MB.
SIZES = {"100 bytes": 100, "300 kB": 300_000, "1.1 MB": 1_100_000}


def requests_of(size: int) -> bytes:
    """Return about this many bytes of pipelined requests."""
    return SMUGGLED * max(1, size // len(SMUGGLED))


def bodies() -> Iterator[tuple[str, dict[str, str], bytes]]:
    for size, count in SIZES.items():
        for frame, (headers, body) in framed(requests_of(count)).items():
            yield f"{size}, {frame}", headers, body


def _faults(port: int, tried: Sequence[tuple[str, bytes]]) -> list[str]:
    """Return the attempts that got more than one answer, or whose connection stayed open."""

    def fault(one: tuple[str, bytes]) -> str:
        name, sent = one
        got = talk(port, sent)
        if got.closed and not got.statuses:  # a busy client that takes over two seconds to send loses the answer
            got = talk(port, sent)
        # A body that does not wait for `100 Continue`, or has no end, may lose the answer with the connection.
        fewest = 0 if "broken" in name or "expected" in name else 1
        fine = fewest <= len(got.statuses) <= 1 and got.closed
        return "" if fine else f"{name}: {len(got.statuses)} answers {got.statuses[:3]}, closed {got.closed}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [found for found in pool.map(fault, tried) if found]


@pytest.mark.parametrize("path", OWN)
def test_an_answer_of_the_gateway_itself_closes_the_connection_of_a_body(world: World, path: str) -> None:
    tried = [
        (f"{method} {path} with {name}", head(method, path, **headers) + body)
        for method, (name, headers, body) in product(METHODS, bodies())
    ]
    assert _faults(world.gateway.port, tried) == []
    assert exchange(world.gateway.port, head("GET", "/healthz")).status == 200


def _early(world: World, service: str) -> list[tuple[str, bytes]]:
    tried = []
    for (method, path, token, given), (name, headers, body) in product(EARLY[service], bodies()):
        top = head(method, path, **_bearer(world, token), **given, **headers)
        tried.append((f"{method} {path} {given} with {name}", top + body))
    return tried


@pytest.mark.parametrize("through", ["service", "gateway"])
@pytest.mark.parametrize("service", EARLY)
def test_an_answer_before_the_body_was_read_closes_the_connection(world: World, service: str, through: str) -> None:
    process = world.process(service if through == "service" else "gateway")
    began = process.log_size()
    assert _faults(process.port, _early(world, service)) == []
    assert process.tracebacks(began) == []


@pytest.mark.parametrize("path", ["/healthz", "/problems/not-found", "/v1/strategies"])
def test_the_next_client_does_not_complete_a_smuggled_request(world: World, path: str) -> None:
    """The body ends in the head of a request, so that the next client's request, with its token, would become the
    rest of it."""
    strategy = world.created["/v1/strategies"]
    prefix = head("DELETE", f"/v1/strategies/{strategy}", X="")[:-4]
    victim = head("GET", f"/v1/strategies/{strategy}", **_bearer(world, True))
    tried = [
        (port, head(method, path, **headers) + body)
        for port in (world.gateway.port, world.service_of("/v1/strategies").port)
        for filler, method in product((b"", SMUGGLED * 7_000), ("POST", "GET", "CONNECT"))
        for headers, body in framed(filler + prefix).values()
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda one: talk(one[0], one[1], victim).statuses, tried))
    assert [statuses for statuses in answers if statuses[1:] not in ((), (200,))] == []
    assert exchange(world.gateway.port, victim).status == 200


@pytest.mark.parametrize("service", EARLY)
def test_clients_get_their_own_answers_over_shared_connections(world: World, service: str) -> None:
    """On the gateway's connection to a service, another client's request follows each one that was answered
    early."""
    victim = head("GET", "/v1/me", **_bearer(world, True)) if service == "auth" else _victim(world, service)
    expected = exchange(world.gateway.port, victim)
    assert expected.status == 200
    for name, sent in _early(world, service):
        with socket.create_connection(("127.0.0.1", world.gateway.port)) as attacker:
            attacker.settimeout(PATIENCE_S)
            attacker.sendall(sent[:200_000])
            attacker.recv(1 << 16)
            got = exchange(world.gateway.port, victim)
            assert (got.status, got.body) == (200, expected.body), name


def _victim(world: World, service: str) -> bytes:
    path = {
        "billing": "/v1/plans",
        "trading": f"/v1/strategies/{world.created['/v1/strategies']}",
        "analytics": "/v1/watchlist",
        "notifications": "/v1/alerts",
    }[service]
    return head("GET", path, **_bearer(world, True))


def _bearer(world: World, token: bool) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.token}"} if token else {}


def test_a_body_that_was_read_leaves_the_connection_open(world: World) -> None:
    """Otherwise each request of a client would cost a new connection."""
    body = b'{"refresh_token": "x"}'
    sent = head("POST", "/v1/auth/refresh", Content_Type="application/json", Content_Length=str(len(body))) + body
    for process in (world.gateway, world.services["auth"]):
        assert talk(process.port, sent * 3).statuses == (401, 401, 401)


@pytest.mark.parametrize(("path", "early"), [("/v1/auth/login", 400), ("/v1/strategies", 401), ("/v1/plans", 405)])
@pytest.mark.parametrize("declared", [0, 1, 10, 300])
def test_an_http2_body_of_another_length_is_refused(world: World, path: str, early: int, declared: int) -> None:
    """A regression: it was 502, as if the service were down. `early` is the answer of a service that need not read
    the body; 422 would be the answer to a whole body."""
    assert http2.post(world.gateway.port, path, declared, b"{}") in (None, 400, early)
