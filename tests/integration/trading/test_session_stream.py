"""The event stream of a session: no event is missed or duplicated, even over broken connections."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from shared.chassis.http.paging import encode_cursor
from shared.contracts.types import new_id
from shared.testing.tokens import serve_tokens
from stack.ports import Ports
from tests.integration.accounts import eventually
from tests.integration.trading.callers import Api, Caller
from tests.integration.trading.conftest import Trading
from tests.unit.trading.scenes import wavy_bars

StreamEvent = tuple[str, str, dict[str, Any]]  # id, event, data


async def read_events(lines: aiohttp.StreamReader, most: int = 10_000) -> list[StreamEvent]:
    """Return the events until the stream ends or `most` have arrived."""
    events: list[StreamEvent] = []
    fields: dict[str, str] = {}
    while len(events) < most and (line := (await lines.readline()).decode()):
        name, _, value = line.rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            events.append((fields["id"], fields["event"], json.loads(fields["data"])))
            fields = {}
    return events


async def read_stream(caller: Caller, path: str, last: str = "") -> list[StreamEvent]:
    """Return the events that exist after the event id `last`."""
    headers = {"Authorization": f"Bearer {caller.token}", **({"Last-Event-ID": last} if last else {})}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{caller.url}{path}/stream?seconds=0", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await read_events(answer.content)


async def run_session(api: Api, ann: Caller) -> str:
    """Run a session that is paused, resumed and stopped; returns its path."""
    path = f"/v1/sessions/{(await ann.start(await ann.make_strategy())).text('session_id')}"
    market = await api.trading.market(wavy_bars(90))
    await api.trading.until_stepped(await market.close_bars(40))
    await ann.call("POST", path + "/pause")
    await api.trading.until_stepped(await market.close_bars(20))
    await ann.call("POST", path + "/resume")
    await api.trading.until_stepped(await market.close_bars(30))
    await ann.call("POST", path + "/stop", {"reason": "end_of_data"})
    return path


async def test_the_stream_matches_the_lists(api: Api) -> None:
    ann = await api.caller()
    path = await run_session(api, ann)
    events = await read_stream(ann, path)
    states = [data["kind"] for _, event, data in events if event == "state"]
    assert states == ["STARTED", "PAUSED", "RESUMED", "STOPPED"]
    assert (events[0][1], events[-1][1]) == ("state", "state")
    assert [data for _, event, data in events if event == "fill"] == await ann.list_all(
        path + "/fills?sort=fill_number"
    )
    equities = [Decimal(data["equity"]) for _, event, data in events if event == "equity"]
    pnls = [
        Decimal(trade["pnl"]) for trade in await ann.list_all(f"/v1/trades?session_id={path[-36:]}&sort=entry_time")
    ]
    assert equities == [10_000 + sum(pnls[: number + 1]) for number in range(len(pnls))]
    assert str((await ann.call("GET", path)).body["final_balance"]) == events[-2][2]["equity"]


async def test_a_stream_resumes_after_any_event(api: Api) -> None:
    ann = await api.caller()
    path = await run_session(api, ann)
    events = await read_stream(ann, path)
    assert len({one for one, _, _ in events}) == len(events) > 15
    for number, (last, _, _) in enumerate(events, 1):
        assert await read_stream(ann, path, last) == events[number:]


@pytest.mark.parametrize("last", ["x", encode_cursor(1), encode_cursor("a", "b")])
async def test_an_id_of_another_stream_is_refused(api: Api, last: str) -> None:
    ann, bob = await api.caller(1), await api.caller(2)
    path = f"/v1/sessions/{(await ann.start(await ann.make_strategy())).text('session_id')}/stream?seconds=0"
    assert (await ann.call("GET", path, Last_Event_ID=last)).status == 422
    assert (await bob.call("GET", path)).status == 404
    assert (await ann.call("GET", f"/v1/sessions/{new_id()}/stream?seconds=0")).status == 404


@asynccontextmanager
async def http_process(env: dict[str, str], port: int, **more: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.trading", "--only", "http"),
        env={**os.environ, **env, "HTTP_PORT": str(port), **more},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def test_a_client_of_a_killed_process_resumes_at_the_next(
    trading: Trading, service_env: Callable[[str], dict[str, str]]
) -> None:
    """The session keeps trading meanwhile."""
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    path = f"/v1/sessions/{session.session_id}/stream"
    ports = Ports()
    events: list[StreamEvent] = []
    async with serve_tokens() as tokens, trading.worker(), aiohttp.ClientSession() as client:
        market = await trading.market(wavy_bars(90))
        headers = {"Authorization": f"Bearer {tokens.make_token(ann.public_id)}"}
        more = {"JWKS_URL": tokens.jwks_url, "BYBIT_REST_URL": trading.exchange.url}
        for most in (6, 10_000):
            port = ports.take()
            ports.release(port)
            async with http_process(service_env("trading"), port, **more) as process:
                url = f"http://127.0.0.1:{port}"
                await eventually(lambda url=url: ready(client, url), bool, 60)  # type: ignore[misc]
                last = {"Last-Event-ID": events[-1][0]} if events else {}
                ends = {"seconds": "0"} if most > 100 else {}
                async with client.get(url + path, params=ends, headers={**headers, **last}) as answer:
                    reading = asyncio.create_task(read_events(answer.content, most))
                    if not ends:
                        await trading.until_stepped(await market.close_bars(45))
                    events += await reading
                    process.kill()
            if not ends:
                await trading.until_stepped(await market.close_bars(45))  # while no process serves the stream
        fills = await trading.fetch("SELECT fill_number FROM fills ORDER BY fill_number")
    assert len({one for one, _, _ in events}) == len(events)
    assert [data["fill_number"] for _, event, data in events if event == "fill"] == [row[0] for row in fills]
    assert len(fills) > 10


async def ready(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url + "/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
