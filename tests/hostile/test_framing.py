"""Malformed HTTP is answered with a 4xx or a closed connection, quickly, and without affecting other clients."""

from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from shared.testing.operations import UNKNOWN_ID, Operation
from tests.hostile import table
from tests.hostile.operations import operations
from tests.hostile.wire import exchange, head
from tests.hostile.world import World
from tests.hostile.wrong_values import NAIVE_TIMES, WRONG_IDS
from tests.pace import patient

SOONEST_S = patient(6.0)
JSON = {"Content_Type": "application/json"}
POST = head("POST", "/v1/auth/refresh", **JSON)[:-2]  # without the final line, so that more headers can follow
BODY = b'{"refresh_token": "x"}'
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
GET = head("GET", "/v1/plans")[:-2]

FRAMES: Mapping[str, bytes] = {
    "no length": POST + b"\r\n" + BODY,
    "length and chunks": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 22\r\n\r\n" + BODY,
    "two equal lengths": POST + b"Content-Length: 22, 22\r\n\r\n" + BODY,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "a length with a sign": POST + b"Content-Length: +22\r\n\r\n" + BODY,
    "a length that is none": POST + b"Content-Length: many\r\n\r\n" + BODY,
    "a length beyond 64 bits": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n" + BODY,
    "a length of 1 TB": POST + b"Content-Length: 1099511627776\r\n\r\n" + BODY,
    "a chunk of no size": CHUNKED + b"\r\n\r\n" + BODY,
    "a chunk of size ZZ": CHUNKED + b"\r\nZZ\r\n" + BODY,
    "a chunk of size -1": CHUNKED + b"\r\n-1\r\n" + BODY,
    "a chunk of size 0x5": CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"\r\n" + b"F" * 40 + b"\r\n" + BODY,
    "a chunk longer than it says": CHUNKED + b"\r\n2\r\nhello\r\n0\r\n\r\n",
    "chunks with 1 MB of extensions": CHUNKED + b"\r\n5;" + b"x" * 2**20 + b"\r\nhello\r\n0\r\n\r\n",
    "chunks of one byte without end": CHUNKED + b"\r\n" + b"1\r\n \r\n" * 1_200_000,
    "chunks with 1 MB of trailers": CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * 200_000 + b"\r\n",
    "an unknown transfer coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + BODY,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked, then identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "packed chunks": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a folded header": GET + b"X-Long: a\r\n b\r\n\r\n",
    "a header without a name": GET + b": a\r\n\r\n",
    "a header with a space in its name": GET + b"X Y: a\r\n\r\n",
    "a space before the colon": GET + b"Content-Length : 5\r\n\r\nhello",
    "NUL in a header": GET + b"X: a\x00b\r\n\r\n",
    "bare line feeds in a header": GET + b"X: a\nY: b\x01\r\n\r\n",
    "1,000 headers": GET + b"".join(b"X-%d: y\r\n" % number for number in range(1_000)) + b"\r\n",
    "200 headers of 8 kB": GET + b"".join(b"X-%d: %b\r\n" % (n, b"y" * 8_000) for n in range(200)) + b"\r\n",
    "a header of 1 MB": GET + b"X: " + b"y" * 2**20 + b"\r\n\r\n",
    "a header name of 1 MB": GET + b"X" * 2**20 + b": y\r\n\r\n",
    "an address of 1 MB": head("GET", "/v1/plans/" + "x" * 2**20),
    "a query of 1 MB": head("GET", "/v1/candles?symbol=" + "x" * 2**20),
    "a method of 1 MB": head("G" * 2**20, "/v1/plans"),
    "no method": b"\r\n\r\n\r\n /v1/plans HTTP/1.1\r\n\r\n",
    "an unknown method": head("BREW", "/v1/plans"),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9": b"GET /v1/plans HTTP/9.9\r\nHost: x\r\n\r\n",
    "a tunnel": head("CONNECT", "example.org:443"),
    "NUL in the address": head("GET", "/v1/plans\x00"),
    "a control character in the address": head("GET", "/v1/pl\x07ans"),
    "an expectation that is none": POST + b"Expect: 200-maybe\r\nContent-Length: 22\r\n\r\n" + BODY,
    "half a body, then the end": POST + b"Content-Length: 1000\r\n\r\n" + BODY,
    "half a chunk, then the end": CHUNKED + b"\r\n10\r\n" + BODY[:5],
    "half a head, then the end": GET,
    "nothing, then the end": b"",
}
# Caddy accepts a folded line as RFC 9112 allows, and answers 501 and 505 where HTTP requires them.
OTHER_STATUS: Mapping[tuple[str, str], int] = {
    ("gateway", "a folded header"): 200,
    ("gateway", "an unknown transfer coding"): 501,
    ("gateway", "chunked twice"): 501,
    ("gateway", "chunked, then identity"): 501,
    ("gateway", "packed chunks"): 501,
    ("gateway", "HTTP/9"): 505,
}
# Caddy copies each chunk separately until its time limit for a body: see test_slow_clients.py.
NOT_TRIED: Mapping[str, tuple[str, ...]] = {"gateway": ("chunks of one byte without end",)}
# Paths that do not exist: a 404 or 400, whatever the encoding.
NOWHERE = (
    "/..", "/../../etc/passwd", "/v1/../../etc/passwd", "/v1/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/%252e%252e/etc/passwd", "/openapi.json/../../../etc/passwd", "/..\\..\\windows", "/v1/%zz", "/v1/%",
    "/v1/%0", "/v1/%00", "/v1/%ff%fe", "/v1/%c0%af", "/v1/%ed%a0%80", "/v1//strategies", "//v1/strategies",
    "/v1/strategies/", "/V1/STRATEGIES", "/v1/strategies;x=y", "/v1/ｓtrategies", "/v1/.env", "/.git/config",
    "/v1/strategies/a/b/c/d",
    "/internal/v1/candles?symbol=BTCUSDT&interval=15&to_ms=0", "/v1/" + "a/" * 1_000,
)  # fmt: skip


@pytest.mark.parametrize("name_of_process", ["auth", "gateway"])
def test_malformed_http_is_refused_quickly(
    world: World, name_of_process: str, record_property: Callable[[str, object], None]
) -> None:
    process = world.process(name_of_process)
    peak, began = process.peak_bytes(), process.log_size()
    frames = {name: sent for name, sent in FRAMES.items() if name not in NOT_TRIED.get(name_of_process, ())}
    answers = {name: exchange(process.port, sent, end=name.endswith("the end")) for name, sent in frames.items()}
    table.record(record_property, "hardly HTTP", Counter({name_of_process: len(frames)}))
    faults = [
        f"{name}: {answer.status} after {answer.seconds:.1f} s"
        for name, answer in answers.items()
        if answer.seconds > SOONEST_S
        or not (answer.refused or OTHER_STATUS.get((name_of_process, name)) == answer.status)
    ]
    assert not faults, "\n".join(faults)
    assert process.tracebacks(began) == []
    assert process.peak_bytes() - peak < 64 * 2**20
    assert exchange(process.port, head("GET", "/healthz")).status == 200


LONG_HEADS: Mapping[str, tuple[bytes, int]] = {
    "2,000 headers": (GET + b"".join(b"%x: y\r\n" % number for number in range(1_000, 3_000)) + b"\r\n", 431),
    "a header of 15 kB": (GET + b"X: " + b"y" * 15_000 + b"\r\n\r\n", 200),
    "an address of 15 kB": (head("GET", "/v1/plans/" + "x" * 15_000), 404),
}


@pytest.mark.parametrize("name", LONG_HEADS)
def test_the_service_answers_every_head_that_the_gateway_passes_on(world: World, name: str) -> None:
    """A regression: the service closed the connection in the middle of some heads, and the gateway answered 502."""
    sent, status = LONG_HEADS[name]
    answers = [exchange(world.process("gateway").port, sent).status for _ in range(30)]
    assert answers == [status] * 30


@pytest.mark.parametrize("name_of_process", ["trading", "gateway"])
def test_no_undocumented_path_answers(world: World, name_of_process: str) -> None:
    process = world.process(name_of_process)
    began = process.log_size()
    answers = {path: exchange(process.port, head("GET", path, **_bearer(world))) for path in NOWHERE}
    faults = [f"{path[:60]}: {answer.status}" for path, answer in answers.items() if not answer.refused]
    assert not faults, "\n".join(faults)
    assert not any(b"root:" in answer.body for answer in answers.values())
    assert process.tracebacks(began) == []


ONE_OF_ITS_KIND = [operation for operation in operations() if "{id}" in operation.path]
LISTS = [operation for operation in operations() if operation.query]


@pytest.mark.parametrize("operation", ONE_OF_ITS_KIND, ids=lambda operation: operation.label)
def test_an_invalid_id_is_refused(world: World, operation: Operation) -> None:
    process = world.service_of(operation.path)
    wrong = (*WRONG_IDS[:-1], "1" * 36, "%00", "%2e%2e", "..%2f", UNKNOWN_ID + "%0a", "null", "0" * 2_000)
    sent = JSON | _bearer(world) | ({"Content_Length": "2"} if operation.body is not None else {})
    body = b"{}" if operation.body is not None else b""
    answers = {
        id_: exchange(process.port, head(operation.method, _with(operation.path, id_), **sent) + body)
        for id_ in wrong
    }
    assert [id_ for id_, answer in answers.items() if answer.status not in (400, 404, 422)] == []


def _with(path: str, id_: str) -> str:
    return path.replace("{id}", id_.encode("utf-8", "surrogateescape").decode("latin-1"))


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: operation.label)
def test_a_wrong_query_parameter_is_refused_by_name(world: World, operation: Operation) -> None:
    process = world.service_of(operation.path)
    path = operation.path.replace("{id}", world.created.get(operation.path.partition("/{")[0], UNKNOWN_ID))
    needed = "&".join(f"{field.name}={_plain(field.name)}" for field in operation.query if field.required)
    wrong = [("$.no_such", "no_such=1"), ("$.no_such", "no_such=" + "x" * 5_000)]
    for field in operation.query:
        others = "&".join(part for part in needed.split("&") if part and not part.startswith(f"{field.name}="))
        tried = [*_WRONG_QUERY.get(field.kind, ()), "%00", "a%00b", *(["x" * 5_000] if field.kind else [])]
        if field.schema.get("minimum") == 0:
            tried.remove("0")
        wrong += [(f"$.{field.name}", f"{others}&{field.name}={value}") for value in tried]
        wrong += [(f"$.{field.name}", f"{others}&{field.name}=1&{field.name}=2")]
    faults = []
    for name, query in wrong:
        full = query if name != "$.no_such" else f"{needed}&{query}"
        answer = exchange(process.port, head("GET", f"{path}?{full}", **_bearer(world)))
        if answer.status != 422 or f'"path": "{name}"'.encode() not in answer.body:
            faults.append(f"{query[:80]}: {answer.status} {answer.body[:200]!r}")
    assert not faults, "\n".join(faults)


_WRONG_QUERY: Mapping[str, tuple[str, ...]] = {
    "integer": ("x", "0", "-1", str(2**63), str(10**400), "1e2", "0x1", "1.5", "", "%EF%BC%91", "true", "[]"),
    "boolean": ("maybe", "2", "", "[]"),
    "choice": ("nope", "", "%F0%9F%98%80"),
    "uuid": ("x", "", "0190a6f27b5e7c1f8a523d0f9c7e4b21", "%7B0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21%7D"),
    "date-time": (
        *(time.replace(" ", "%20") for time in NAIVE_TIMES),
        "now",
        "",
        "2026-02-30T00:00:00Z",
        "1769851800",
    ),
}


def _plain(name: str) -> str:
    return {"symbol": "BTCUSDT", "interval": "15"}.get(name, "1")


def _bearer(world: World) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.token}"}
