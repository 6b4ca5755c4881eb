"""An authenticated read over HTTP against other frameworks, and the cost of row-level security."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg

from benchmarks.measuring import RUNS, Figure, summarise
from benchmarks.servers import BenchmarkServers
from shared.testing.tokens import TokenIssuer
from stack.ports import Ports

CONNECTIONS = 16
SECONDS = 2.0
USER_ID = 7
USERS = 1_000
WATCHES = 20
READY_WITHIN_S = 20.0
READS = 2_000


async def measure(servers: BenchmarkServers) -> list[Figure]:
    watch_id = await _fill(servers)
    issuer = TokenIssuer()
    token = issuer.make_token(UUID(int=USER_ID))
    metered, unmetered, public = (f"/{path}/{watch_id}" for path in ("things", "v1/usage", "open"))
    rates: dict[str, list[float]] = {"ours": [], "unmetered": [], "open": [], "aiohttp": [], "fastapi": []}
    for variant in ("ours", "aiohttp", "fastapi"):
        async with _server(variant, servers, issuer) as port:
            await _load(port, metered, token)  # warms up
            for _ in range(RUNS):  # alternating, so that changes of the machine's speed affect all alike
                rates[variant].append(await _load(port, metered, token))
                if variant == "ours":
                    rates["unmetered"].append(await _load(port, unmetered, token))
                    rates["open"].append(await _load(port, public, ""))
    measured = {variant: summarise(each) for variant, each in rates.items()}
    name = "authenticated read over HTTP"
    return [
        Figure(name, "requests/s", measured["ours"], "the same read without a token", measured["open"], aim=0.8),
        Figure(name, "requests/s", measured["ours"], "the same directly on FastAPI", measured["fastapi"], aim=1),
        Figure(name, "requests/s", measured["ours"], "the same directly on aiohttp", measured["aiohttp"]),
        Figure(
            "metered authenticated read over HTTP",
            "requests/s",
            measured["ours"],
            "the same read without metering",
            measured["unmetered"],
            aim=0.95,
        ),
        await _row_level_security(servers, watch_id),
    ]


async def _fill(servers: BenchmarkServers) -> UUID:
    connection = await asyncpg.connect(servers.superuser_dsn)
    await connection.execute(
        """
        INSERT INTO analytics.watchlist (user_id, watch_id, symbol, interval, ema_period)
        SELECT u, gen_random_uuid(), 'S' || w, '15', 20
        FROM generate_series(1, $1::int) u, generate_series(1, $2::int) w
        """,
        USERS,
        WATCHES,
    )
    await connection.execute("VACUUM ANALYZE analytics.watchlist")
    found: UUID = await connection.fetchval(
        "SELECT watch_id FROM analytics.watchlist WHERE user_id = $1 LIMIT 1", USER_ID
    )
    await connection.close()
    return found


@asynccontextmanager
async def _server(variant: str, servers: BenchmarkServers, issuer: TokenIssuer) -> AsyncIterator[int]:
    """Run a server process. Yields its port."""
    ports = Ports()
    port = ports.take()
    keys = issuer.jwks()["keys"]
    assert isinstance(keys, list)
    given = {
        "settings": {"service": "analytics", **servers.environment("analytics")},
        "jwk": keys[0],
        "user_id": USER_ID,
        "port": port,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        Path(file.name).write_text(json.dumps(given))
        ports.release(port)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.http_server", variant, file.name
        )
        try:
            await _wait_until_listening(port)
            yield port
        finally:
            process.terminate()
            await process.wait()


async def _wait_until_listening(port: int) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def _load(port: int, path: str, token: str) -> float:
    """Return requests per second over kept-alive connections with one request in flight each."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{authorization}\r\n".encode()
    until = time.perf_counter() + SECONDS
    began = time.perf_counter()
    done = sum(await asyncio.gather(*(_ask(port, request, until) for _ in range(CONNECTIONS))))
    return done / (time.perf_counter() - began)


async def _ask(port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        done += 1
    writer.close()
    return done


async def _row_level_security(servers: BenchmarkServers, watch_id: UUID) -> Figure:
    """Compare a tenant set in the transaction's first round trip with an explicit WHERE as a superuser."""
    app = await asyncpg.connect(servers.access.dsn("analytics_app"))
    plain = await asyncpg.connect(servers.superuser_dsn, server_settings={"search_path": "analytics"})
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(RUNS):
        ours.append(await _read_rows(app, f"BEGIN; SET LOCAL app.user_id = '{USER_ID}'"))
        theirs.append(await _read_rows(plain, "BEGIN"))
    await app.close()
    await plain.close()
    return Figure(
        "a tenant's rows, by row-level security",
        "transactions/s",
        summarise(ours),
        "an explicit WHERE without it",
        summarise(theirs),
        aim=0.92,
    )


async def _read_rows(connection: asyncpg.Connection, begin: str) -> float:
    began = time.perf_counter()
    for _ in range(READS):
        await connection.execute(begin)
        rows = await connection.fetch("SELECT * FROM watchlist WHERE user_id = $1", USER_ID)
        assert len(rows) == WATCHES
        await connection.execute("COMMIT")
    return READS / (time.perf_counter() - began)
