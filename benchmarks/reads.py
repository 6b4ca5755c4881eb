"""An authenticated read over HTTP against the same by hand, and what row-level security costs in the database."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg

from benchmarks.measuring import RUNS, Figure, summarised
from benchmarks.servers import Place
from shared.testing.tokens import TokenIssuer
from stack.ports import Ports

CONNECTIONS = 16
SECONDS = 2.0
USER_ID = 7
USERS = 1_000
WATCHES = 20
READY_WITHIN_S = 20.0
READS = 2_000


async def measure(place: Place) -> list[Figure]:
    watch_id = await _fill(place)
    issuer = TokenIssuer()
    token = issuer.make_token(UUID(int=USER_ID))
    rates: dict[str, list[float]] = {"ours": [], "open": [], "metered": [], "aiohttp": [], "fastapi": []}
    async with _billing(place) as billing_url:
        for way in ("ours", "aiohttp", "fastapi"):
            async with _server(way, place, issuer) as port:
                await _load(port, f"/things/{watch_id}", token)  # warms up
                if way != "ours":
                    for _ in range(RUNS):
                        rates[way].append(await _load(port, f"/things/{watch_id}", token))
                    continue
                async with _server(way, place, issuer, billing_url) as metered:
                    await _load(metered, f"/things/{watch_id}", token)
                    for _ in range(RUNS):  # by turns, so that the machine's moods are the same for all
                        rates["ours"].append(await _load(port, f"/things/{watch_id}", token))
                        rates["open"].append(await _load(port, f"/open/{watch_id}", ""))
                        rates["metered"].append(await _load(metered, f"/things/{watch_id}", token))
    measured = {way: summarised(each) for way, each in rates.items()}
    name = "authenticated read over HTTP"
    return [
        Figure(name, "requests/s", measured["ours"], "the same read without a token", measured["open"], aim=0.8),
        Figure(name, "requests/s", measured["ours"], "the same by hand on FastAPI", measured["fastapi"], aim=1),
        Figure(name, "requests/s", measured["ours"], "the same by hand on bare aiohttp", measured["aiohttp"]),
        Figure(
            "metered authenticated read over HTTP",
            "requests/s",
            measured["metered"],
            "the same read without metering",
            measured["ours"],
            aim=0.95,
        ),
        await _row_level_security(place, watch_id),
    ]


async def _fill(place: Place) -> UUID:
    connection = await asyncpg.connect(place.superuser_dsn)
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
async def _billing(place: Place) -> AsyncIterator[str]:
    """A process that leases quota to the one caller, who is on PRO; its internal address."""
    connection = await asyncpg.connect(place.superuser_dsn, server_settings={"search_path": "billing"})
    await connection.execute(
        f"""
        INSERT INTO subscribers (user_id, public_id) VALUES ({USER_ID}, '{UUID(int=USER_ID)}');
        INSERT INTO user_subscriptions (user_id, subscription_id, plan_id, status, reason, start_date,
                                        current_period_start, current_period_end)
        SELECT {USER_ID}, gen_random_uuid(), plan_id, 'ACTIVE', 'granted', now(), now(), now() + interval '1 month'
        FROM subscription_plans WHERE name = 'PRO' AND is_active
        """
    )
    await connection.close()
    ports = Ports()
    port = ports.take()
    ports.release(port)
    environment = {name.upper(): value for name, value in place.environment("billing").items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.billing", "--only", "http"),
        env={**os.environ, **environment, "INTERNAL_HTTP_PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await _until_it_answers(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _server(way: str, place: Place, issuer: TokenIssuer, billing_url: str = "") -> AsyncIterator[int]:
    """With billing's address its requests are metered."""
    ports = Ports()
    port = ports.take()
    keys = issuer.jwks()["keys"]
    assert isinstance(keys, list)
    given = {
        "settings": {
            "service": "analytics",
            "billing_internal_url": billing_url,
            **place.environment("analytics"),
        },
        "jwk": keys[0],
        "user_id": USER_ID,
        "port": port,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        Path(file.name).write_text(json.dumps(given))
        ports.release(port)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.http_server", way, file.name
        )
        try:
            await _until_it_answers(port)
            yield port
        finally:
            process.terminate()
            await process.wait()


async def _until_it_answers(port: int) -> None:
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
    """Requests a second over some connections kept open, each with one request under way."""
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


async def _row_level_security(place: Place, watch_id: UUID) -> Figure:
    """The tenant set in the round trip that begins, against an explicit WHERE as a role that sees all."""
    app = await asyncpg.connect(place.access.dsn("analytics_app"))
    plain = await asyncpg.connect(place.superuser_dsn, server_settings={"search_path": "analytics"})
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
        summarised(ours),
        "an explicit WHERE without it",
        summarised(theirs),
        aim=0.9,
    )


async def _read_rows(connection: asyncpg.Connection, begin: str) -> float:
    began = time.perf_counter()
    for _ in range(READS):
        await connection.execute(begin)
        rows = await connection.fetch("SELECT * FROM watchlist WHERE user_id = $1", USER_ID)
        assert len(rows) == WATCHES
        await connection.execute("COMMIT")
    return READS / (time.perf_counter() - began)
