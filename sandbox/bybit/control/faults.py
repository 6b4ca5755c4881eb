"""Faults of requests, of streams, of the clock and of addresses; rate limits; the ledger."""

from dataclasses import asdict

from aiohttp import web

from sandbox.bybit.clock import Clock
from sandbox.bybit.control.requests import answering, integer, name_of, only, read_body
from sandbox.bybit.faults import Faults
from sandbox.bybit.ledger import KEPT_ENTRIES, Ledger
from sandbox.bybit.limits import RateLimits
from sandbox.bybit.messages import DAY_MS, Json
from sandbox.bybit.private_stream import Disturbance, PrivateStream
from sandbox.bybit.stream import PublicStream

STREAM_FAULTS = ("mute", "speak", "drop", "cut", "half_open", "refuse", "accept", "duplicate", "reorder")
MAX_FACTOR = 1_000_000


class FaultControl:
    """Injects faults, and shows what happened."""

    def __init__(
        self,
        faults: Faults,
        clock: Clock,
        limits: RateLimits,
        ledger: Ledger,
        public: PublicStream,
        private: PrivateStream,
    ) -> None:
        self._faults = faults
        self._clock = clock
        self._limits = limits
        self._ledger = ledger
        self._public = public
        self._private = private

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/control/faults", answering(self._get_faults))
        app.router.add_post("/control/faults", answering(self._post_fault))
        app.router.add_delete("/control/faults", answering(self._delete_faults))
        app.router.add_delete("/control/faults/{number:[0-9]{1,9}}", answering(self._delete_faults))
        app.router.add_post("/control/stream", answering(self._post_stream))
        app.router.add_post("/control/clock", answering(self._post_clock))
        app.router.add_post("/control/limits", answering(self._post_limits))
        app.router.add_post("/control/ban", answering(self._post_ban))
        app.router.add_get("/control/ledger", answering(self._get_ledger))

    async def _get_faults(self, _: web.Request) -> list[Json]:
        return self._faults.views()

    async def _post_fault(self, request: web.Request) -> Json:
        view = asdict(self._faults.add(await read_body(request), self._clock.wall_ms))
        self._ledger.add("fault", view)
        return view

    async def _delete_faults(self, request: web.Request) -> Json:
        number = request.match_info.get("number")
        return {"removed": self._faults.remove(int(number) if number else None)}

    async def _post_stream(self, request: web.Request) -> Json:
        """`stream` public or private, both by default; `account` narrows it to the connections of one account."""
        body = await read_body(request)
        only(body, "fault", "stream", "account", "topic", "count")
        fault, stream, uid = (name_of(body, name) for name in ("fault", "stream", "account"))
        if fault not in STREAM_FAULTS:
            raise ValueError(f"fault must be one of {', '.join(STREAM_FAULTS)}")
        if stream not in (None, "public", "private"):
            raise ValueError("stream must be public or private")
        if fault in ("duplicate", "reorder"):
            count = integer(body, "count", 1, 1, 1_000)
            self._private.disturb(Disturbance(fault, count, uid, name_of(body, "topic")))
        else:
            await self._disturb_connections(fault, stream, uid)
        self._ledger.add("fault", {"stream": stream, "account": uid, "fault": fault})
        return {"fault": fault}

    async def _disturb_connections(self, fault: str, stream: str | None, uid: str | None) -> None:
        if stream != "private" and uid is None and fault in ("mute", "speak"):
            self._public.muted = fault == "mute"
        if stream != "public" and fault in ("mute", "speak"):
            (self._private.mute if fault == "mute" else self._private.unmute)(uid)
        servers = [self._public] * (stream != "private" and uid is None) + [self._private] * (stream != "public")
        for server in servers:
            if fault in ("refuse", "accept"):
                server.refuses = fault == "refuse"
            elif fault == "drop":
                await server.close(uid)
            elif fault in ("cut", "half_open"):
                for connection in server.connections(uid):
                    connection.is_half_open = True
                    if fault == "cut":
                        connection.cut()

    async def _post_clock(self, request: web.Request) -> Json:
        body = await read_body(request)
        only(body, "skew_ms")
        self._clock.skew_ms = integer(body, "skew_ms", None, -DAY_MS, DAY_MS)
        self._ledger.add("fault", {"skew_ms": self._clock.skew_ms})
        return {"wall_ms": self._clock.wall_ms, "skew_ms": self._clock.skew_ms}

    async def _post_limits(self, request: web.Request) -> Json:
        body = await read_body(request)
        only(body, "factor")
        self._limits.factor = integer(body, "factor", None, 1, MAX_FACTOR)
        return {"factor": self._limits.factor}

    async def _post_ban(self, request: web.Request) -> Json:
        """Ban an address for `for_ms`; 0 lifts a ban."""
        body = await read_body(request)
        only(body, "address", "for_ms")
        address = name_of(body, "address") or "127.0.0.1"
        until_ms = self._clock.wall_ms + integer(body, "for_ms", 600_000, 0, DAY_MS)
        self._limits.ban(address, until_ms)
        self._ledger.add("fault", {"banned": address, "until_ms": until_ms})
        return {"address": address, "until_ms": until_ms}

    async def _get_ledger(self, request: web.Request) -> list[Json]:
        """Without a filter the requests outside `/control`; `kind=*` shows all kinds."""
        filters = dict(request.query)
        since, limit = (int(filters.pop(name, default)) for name, default in (("since", "0"), ("limit", "10000")))
        if filters.setdefault("kind", "request") == "*":
            del filters["kind"]
        return self._ledger.select(filters, since, max(1, min(limit, KEPT_ENTRIES)))
