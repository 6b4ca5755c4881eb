"""The sandbox as one aiohttp application: Bybit's public API, and our own control API."""

import asyncio
from collections import deque
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sandbox.bybit.messages import Instrument, Json
from sandbox.bybit.replay import Market
from sandbox.bybit.rest import add_rest
from sandbox.bybit.stream import Stream

LEDGER_LENGTH = 10_000
MAX_STEPS = 100_000


def make_app(market: Market, instruments: Mapping[str, Instrument], bar_ms: int | None = None) -> web.Application:
    """`bar_ms`: the duration of a step once started; None: the replay moves only by `/control/step` and `jump`."""
    ledger: deque[Json] = deque(maxlen=LEDGER_LENGTH)
    app = web.Application(middlewares=[_recorder(market, ledger)])
    stream = Stream(market)
    add_rest(app, market, instruments)
    app.router.add_get("/v5/public/linear", stream.handle)
    _Control(app, market, stream, ledger, bar_ms)
    return app


class _Control:
    """`/control/*`: moves the replay, injects faults, and shows state and ledger. Bybit has no such API."""

    def __init__(
        self, app: web.Application, market: Market, stream: Stream, ledger: deque[Json], bar_ms: int | None
    ) -> None:
        self._market = market
        self._stream = stream
        self._ledger = ledger
        self._bar_ms = bar_ms
        self._pacing: asyncio.Task[None] | None = None
        app.router.add_get("/control/state", self._get_state)
        app.router.add_get("/control/ledger", self._get_ledger)
        app.router.add_post("/control/step", self._post_step)
        app.router.add_post("/control/jump", self._post_jump)
        app.router.add_post("/control/start", self._post_start)
        app.router.add_post("/control/stream", self._post_stream)
        app.on_shutdown.append(self._shut_down)

    async def _get_state(self, _: web.Request) -> web.Response:
        return web.json_response(self._state())

    async def _get_ledger(self, _: web.Request) -> web.Response:
        return web.json_response(list(self._ledger))

    async def _post_step(self, request: web.Request) -> web.Response:
        count = (await _read_body(request)).get("count", 1)
        if not isinstance(count, int) or not 1 <= count <= MAX_STEPS:
            return web.json_response({"error": "count must be from 1 to 100000"}, status=422)
        for _step in range(count):
            await self._stream.push(self._market.step())
        return web.json_response(self._state())

    async def _post_jump(self, request: web.Request) -> web.Response:
        """Jump without pushing: for a market that has no subscribers yet."""
        steps_done = (await _read_body(request)).get("steps_done")
        if not isinstance(steps_done, int) or steps_done < 0:
            return web.json_response({"error": "steps_done must be an integer of at least 0"}, status=422)
        self._market.jump_to(steps_done)
        return web.json_response(self._state())

    async def _post_start(self, _: web.Request) -> web.Response:
        if self._bar_ms is None:
            return web.json_response({"error": "start the sandbox with --bar-ms for a paced replay"}, status=409)
        if self._pacing is None:
            self._pacing = asyncio.create_task(self._pace(self._bar_ms / 1000))
        return web.json_response(self._state())

    async def _post_stream(self, request: web.Request) -> web.Response:
        """Inject a fault: `mute` stops pushing, `speak` resumes it, `drop` closes all connections."""
        fault = (await _read_body(request)).get("fault")
        if fault == "drop":
            await self._stream.close()
        elif fault in ("mute", "speak"):
            self._stream.muted = fault == "mute"
        else:
            return web.json_response({"error": "fault must be mute, speak or drop"}, status=422)
        return web.json_response(self._state())

    async def _pace(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._market.done:
            await self._stream.push(self._market.step())
            due += seconds
            await asyncio.sleep(max(0, due - loop.time()))

    async def _shut_down(self, _: web.Application) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
        await self._stream.close()

    def _state(self) -> Json:
        market = self._market
        return {
            "clock_ms": market.clock_ms,
            "steps_done": market.steps_done,
            "steps_total": market.steps_total,
            "done": market.done,
            "subscriptions": self._stream.topics(),
            "symbols": {
                symbol: {
                    "interval": series.interval,
                    "intervals": market.intervals(symbol),
                    "bars": len(series.candles),
                    "closed": series.closed,
                    "open_ms": series.current.start if series.current else None,
                    "last_closed_ms": series.last_closed.start if series.last_closed else None,
                }
                for symbol, series in market.series.items()
            },
        }


async def _read_body(request: web.Request) -> Json:
    try:
        body = await request.json() if request.can_read_body else {}
    except ValueError:
        return {"count": None}
    return body if isinstance(body, dict) else {"count": None}


def _recorder(market: Market, ledger: deque[Json]) -> Middleware:
    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/control"):
            ledger.append({"clock_ms": market.clock_ms, "method": request.method, "path": request.path_qs})
        return await handler(request)

    return record
