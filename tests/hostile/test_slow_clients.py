"""Slow clients: others are still served, and the slow ones soon lose their connection."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests

from stack.ports import Ports
from tests.hostile.wire import exchange, head
from tests.hostile.world import Process, World
from tests.pace import patient

LIMIT_S = 1.0
CLOSED_WITHIN_S = patient(6.0)
SLOWEST_S = patient(1.0)  # for 99 of 100 requests of other clients, on two cores with other tests running
SERVED = 150
MOST_GROWTH = 48 * 2**20
MOST_UNREAD_GROWTH = 128 * 2**20  # ten answers of 2 MB in progress at once
LARGE_ROWS, LARGE_ROW_BYTES = 90, 19_000  # of the hundred configurations that a tenant may have

Held = list[socket.socket]


@dataclass(frozen=True)
class Impatient:
    """A trading service with limits of a second, alone or behind a gateway with similar limits."""

    world: World
    process: Process
    behind: Process
    others: str  # the token of another tenant, because a slow client only uses up its own tenant's share

    def head(self, method: str, path: str, **more: str) -> bytes:
        return head(method, path, Authorization=f"Bearer {self.world.token}", **more)

    def serve_others(self) -> float:
        """Return the 99th percentile of other clients' request times, in seconds."""
        request = head("GET", "/v1/sessions/limits", Authorization=f"Bearer {self.others}")
        answers = [exchange(self.process.port, request) for _ in range(SERVED)]
        assert {answer.status for answer in answers} == {200}
        return sorted(answer.seconds for answer in answers)[int(0.99 * SERVED)]


@pytest.fixture(scope="module", params=["trading", "gateway"])
def impatient(running: World, request: pytest.FixtureRequest) -> Iterator[Impatient]:
    running.log_in()
    ports = Ports()
    service, gateway = ports.take(), ports.take()
    ports.release()
    limits = dict.fromkeys(("HTTP_IDLE_S", "HTTP_BODY_S", "HTTP_ANSWER_S"), str(LIMIT_S))
    names = ("GATEWAY_READ_HEADER", "GATEWAY_IDLE")
    with contextlib.ExitStack() as stack:
        trading = stack.enter_context(running.another("trading", service, **limits))
        process = trading
        if request.param == "gateway":
            longer = dict.fromkeys(("GATEWAY_READ_BODY", "GATEWAY_WRITE"), "3s")
            at = {**dict.fromkeys(names, "1s"), **longer, "TRADING_ADDRESS": f"127.0.0.1:{service}"}
            process = stack.enter_context(running.another("gateway", gateway, **at))
        _fill(running, trading)
        others = running.register(f"{request.param}@example.org")
        yield Impatient(running, process, trading, others)


def _fill(world: World, trading: Process) -> None:
    """Create so many rows that a page of them exceeds a socket's buffers."""
    with requests.Session() as session:
        for number in range(LARGE_ROWS):
            body = {"config_name": f"large {number}", "config_data": {"x": "y" * LARGE_ROW_BYTES}}
            url = f"{trading.url}/v1/bot-configurations"
            answer = session.post(url, json=body, headers=world.headers, timeout=10)
            assert answer.status_code in (201, 409), answer.text  # 409: they exist from the previous run


@contextlib.contextmanager
def held(port: int, count: int, first: bytes) -> Iterator[Held]:
    """Open `count` connections, each of which has sent only `first`."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(5)
            connection.connect(("127.0.0.1", port))
            connection.sendall(first)
            connections.append(connection)
        yield connections


@contextlib.contextmanager
def dripping(connections: Held, drop: bytes) -> Iterator[None]:
    """Send a little more on each connection ten times a second."""
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.1):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(drop)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _until_closed(process: Process, all_but: int = 0) -> None:
    deadline = time.monotonic() + CLOSED_WITHIN_S
    while (left := process.connections()) > all_but:
        assert time.monotonic() < deadline, f"{left} connections are still held"
        time.sleep(0.05)


@contextlib.contextmanager
def undisturbed(impatient: Impatient, most_growth: int = MOST_GROWTH) -> Iterator[None]:
    """Assert that memory stays bounded and nothing is thrown."""
    processes = {impatient.process.port: impatient.process, impatient.behind.port: impatient.behind}.values()
    before = [(process, process.peak_bytes(), process.log_size()) for process in processes]
    yield
    for process, peak, began in before:
        assert process.peak_bytes() - peak < most_growth
        assert process.tracebacks(began) == []


CLIENTS: dict[str, tuple[int, Callable[[Impatient], bytes], bytes]] = {
    "say nothing": (500, lambda _: b"", b""),
    "never end their head": (100, lambda _: b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nX: ", b"y"),
    "send headers one by one": (100, lambda _: b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"),
    "never end their body": (
        100,
        lambda impatient: impatient.head("POST", "/v1/alerts", Content_Length="9000"),
        b" ",
    ),
    "never end their chunks": (100, lambda impatient: _post(impatient, Transfer_Encoding="chunked"), b"1\r\n \r\n"),
    "stop in their body": (100, lambda impatient: _post(impatient, Content_Length="9000") + b"{", b""),
    "keep what they asked through": (100, lambda impatient: impatient.head("GET", "/v1/sessions/limits"), b""),
}


# How many connections Caddy 2.11 may hold until their clients go; the service is not held up. After its answer Go
# reads up to 256 kB of the rest of a body, however slowly it comes. If it just then cancels a read of the proxy, it
# clears the time limit that would end the reading of a body that stops (about one connection in a hundred).
HELD_BY_THE_GATEWAY = {"never end their body": 100, "stop in their body": 5}


def _post(impatient: Impatient, **headers: str) -> bytes:
    return impatient.head("POST", "/v1/strategies", Content_Type="application/json", **headers)


@pytest.mark.parametrize("clients", CLIENTS)
def test_slow_clients_delay_no_others_and_lose_their_connection(impatient: Impatient, clients: str) -> None:
    count, first, drop = CLIENTS[clients]
    with undisturbed(impatient), held(impatient.process.port, count, first(impatient)) as connections:
        with dripping(connections, drop) if drop else contextlib.nullcontext():
            assert impatient.serve_others() < SLOWEST_S
            _until_closed(impatient.behind)
            if impatient.process is not impatient.behind:
                _until_closed(impatient.process, all_but=HELD_BY_THE_GATEWAY.get(clients, 0))


def test_a_client_that_never_reads_a_large_answer_is_disconnected(impatient: Impatient) -> None:
    request = impatient.head("GET", "/v1/bot-configurations?limit=200") * 8
    with undisturbed(impatient, MOST_UNREAD_GROWTH), held(impatient.process.port, 10, request):
        assert impatient.serve_others() < SLOWEST_S
        _until_closed(impatient.process)


def test_a_client_that_closes_its_side_is_disconnected(impatient: Impatient) -> None:
    whole = impatient.head("GET", "/v1/sessions/limits")
    for sent in (b"GET /v1/ses", _post(impatient, Content_Length="9000") + b"{", whole):
        with undisturbed(impatient), held(impatient.process.port, 50, sent) as connections:
            for connection in connections:
                connection.shutdown(socket.SHUT_WR)
            assert impatient.serve_others() < SLOWEST_S
            _until_closed(impatient.process)


def test_a_client_that_disconnects_in_the_middle_leaves_nothing(impatient: Impatient) -> None:
    rows = impatient.world.rows_of(impatient.world.services["trading"])
    whole = impatient.head("GET", "/v1/trades")
    for sent in (b"GET /v1/ses", _post(impatient, Content_Length="9000") + b"{", whole):
        with undisturbed(impatient):
            with held(impatient.process.port, 50, sent):
                pass
            assert impatient.serve_others() < SLOWEST_S
            _until_closed(impatient.process)
    assert impatient.world.rows_of(impatient.world.services["trading"]) == rows
