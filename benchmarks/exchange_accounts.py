"""What live accounts cost a process: memory, threads and sockets at rest, and an order for each at once.

`python -m benchmarks.exchange_accounts [ACCOUNTS]` prints them. The exchange is a small server in another process
that accepts everything at once, so that the figures are of the adapter alone.
"""

import asyncio
import json
import statistics
import sys
import time
from collections import defaultdict
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.connection import Connection

import psutil
from aiohttp import WSMsgType, web

from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.address_budget import AddressLimit, AddressState, Grant, grant
from services.trading.exchange.environments import Environments
from services.trading.exchange.exchange import CONNECTIONS, Exchange, TradingAccount
from services.trading.exchange.private_stream import StreamItem
from services.trading.exchange.venue import NewOrder

ACCOUNTS = 1_000
REST_S = 20.0
CONNECT_WITHIN_S = 120.0
UNLIMITED = 1_000_000
MIB = 1 << 20


class Unlimited:
    """Implements BudgetStore: the limits per address are not what is measured, but their bookkeeping is."""

    def __init__(self) -> None:
        self._states: dict[str, AddressState] = defaultdict(AddressState)

    async def take(self, address: str, wanted: tuple[int, ...], limit: AddressLimit) -> Grant:
        unlimited = AddressLimit(UNLIMITED, limit.slot_s, limit.counted_slots)
        self._states[address], given = grant(self._states[address], time.time(), wanted, unlimited)
        return given

    async def block(self, address: str, for_s: float) -> None:
        raise AssertionError("nothing is banned here")


def serve(port: Connection) -> None:
    asyncio.run(_serve(port))


async def _serve(port: Connection) -> None:
    app = web.Application()
    app.router.add_get("/v5/private", _stream)
    app.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    port.send(runner.addresses[0][1])
    await asyncio.Event().wait()


async def _answer(request: web.Request) -> web.Response:
    link_id = (await request.json()).get("orderLinkId")
    result = {"orderId": link_id, "orderLinkId": link_id}
    return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1})


async def _stream(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            asked = json.loads(message.data)
            answer = {"success": True, "ret_msg": "", "op": asked["op"], "req_id": asked.get("req_id", "")}
            await socket.send_json({"op": "pong"} if asked["op"] == "ping" else answer)
    return socket


async def measure(url: str, count: int) -> None:
    environments = Environments(False, url, url.replace("http", "ws"))
    exchange = Exchange(Unlimited(), environments, "here", UNLIMITED)
    process, stop = psutil.Process(), asyncio.Event()
    before = process.memory_info().rss
    connected: list[StreamItem] = []
    accounts = [
        TradingAccount(n, str(n), "SANDBOX", "GLOBAL", Credentials(f"key-{n}", f"secret-{n}")) for n in range(count)
    ]
    venues = [exchange.venue(account) for account in accounts]
    with_venues = process.memory_info().rss
    began = time.monotonic()
    streams = [asyncio.create_task(exchange.stream(each, connected.append).run(stop)) for each in accounts]
    while len(connected) < count and time.monotonic() - began < CONNECT_WITHIN_S:
        await asyncio.sleep(0.05)
    print(f"{len(connected)} streams connected after {time.monotonic() - began:.1f} s")
    await asyncio.sleep(REST_S)
    used = process.cpu_times()
    await asyncio.sleep(REST_S)
    rested = sum(process.cpu_times()[:2]) - sum(used[:2])
    print(f"at rest: {process.num_threads()} threads, {len(process.net_connections())} sockets")
    of_venues, of_streams = with_venues - before, process.memory_info().rss - with_venues
    print(f"memory: venues {of_venues / MIB:.0f} MiB, streams {of_streams / MIB:.0f} MiB")
    print(f"processor at rest: {100 * rested / REST_S:.1f} % of a core")

    async def send(number: int) -> float:
        order = NewOrder(f"link-{number}", "BTCUSDT", "SELL", Decimal(1), reduce_only=True)
        await venues[number].create_order(order)
        return time.monotonic() - began

    for _ in range(3):
        began = time.monotonic()
        taken = sorted(await asyncio.gather(*(send(number) for number in range(count))))
        middle = statistics.median(taken)
        print(f"an order for each: first {taken[0]:.3f} s, median {middle:.3f} s, last {taken[-1]:.3f} s")
    print(f"afterwards: {process.num_threads()} threads, {len(process.net_connections())} sockets")
    stop.set()
    await asyncio.gather(*streams)
    await exchange.close()


def main() -> None:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ACCOUNTS
    print(f"{count} accounts; connections are limited to {CONNECTIONS.most} in five minutes outside this benchmark")
    asyncio.run(measure(f"http://127.0.0.1:{ours.recv()}", count))
    server.kill()


if __name__ == "__main__":
    main()
