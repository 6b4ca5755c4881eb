"""Moves the market, and shows where it stands."""

import asyncio

from aiohttp import web

from sandbox.bybit.accounts import Accounts
from sandbox.bybit.control.requests import answering, integer, read_body
from sandbox.bybit.messages import Json
from sandbox.bybit.playback import Playback
from sandbox.bybit.private_stream import PrivateStream
from sandbox.bybit.replay import Market
from sandbox.bybit.stream import PublicStream

MAX_STEPS = 100_000


class ReplayControl:
    """`bar_ms`: the duration of a step once started; None: the replay moves only by `step` and `jump`."""

    def __init__(
        self,
        market: Market,
        playback: Playback,
        accounts: Accounts,
        public: PublicStream,
        private: PrivateStream,
        bar_ms: int | None,
    ) -> None:
        self._market = market
        self._playback = playback
        self._accounts = accounts
        self._public = public
        self._private = private
        self._bar_ms = bar_ms
        self._pacing: asyncio.Task[None] | None = None

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/control/state", answering(self._get_state))
        app.router.add_post("/control/step", answering(self._post_step))
        app.router.add_post("/control/jump", answering(self._post_jump))
        app.router.add_post("/control/start", self._post_start)

    def stop(self) -> None:
        if self._pacing is not None:
            self._pacing.cancel()

    async def _get_state(self, _: web.Request) -> Json:
        return self._state()

    async def _post_step(self, request: web.Request) -> Json:
        count = integer(await read_body(request), "count", 1, 1, MAX_STEPS)
        for _step in range(count):
            await self._step()
        return self._state()

    async def _post_jump(self, request: web.Request) -> Json:
        """Jump without pushing: for a market that has no subscribers yet."""
        self._market.jump_to(integer(await read_body(request), "steps_done", None, 0, 2**62))
        self._playback.stand()
        self._accounts.deliver()
        return self._state()

    async def _post_start(self, _: web.Request) -> web.Response:
        if self._bar_ms is None:
            return web.json_response({"error": "start the sandbox with --bar-ms for a paced replay"}, status=409)
        if self._pacing is None:
            self._pacing = asyncio.create_task(self._pace(self._bar_ms / 1000))
        return web.json_response(self._state())

    async def _pace(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._market.done:
            await self._step()
            due += seconds
            await asyncio.sleep(max(0, due - loop.time()))

    async def _step(self) -> None:
        pushes = self._market.step()
        self._playback.play(pushes)
        self._accounts.deliver()
        self._public.push(pushes)
        await asyncio.sleep(0)  # let the connections write

    def _state(self) -> Json:
        market = self._market
        return {
            "clock_ms": market.clock_ms,
            "steps_done": market.steps_done,
            "steps_total": market.steps_total,
            "done": market.done,
            "stands_at_close": market.stands_at_close,
            "executions": self._accounts.executions,
            "subscriptions": self._public.topics(),
            "private_subscriptions": self._private.subscriptions(),
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
