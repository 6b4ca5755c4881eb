"""The way of every REST request: address limit, faults, authentication, rate limit, handler, ledger."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import uuid4

from aiohttp import web

from sandbox.bybit.accounts import Accounts
from sandbox.bybit.clock import Clock
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.faults import Fault, Faults
from sandbox.bybit.keys import ApiKey, KeyRegistry
from sandbox.bybit.ledger import Ledger
from sandbox.bybit.limits import RateLimits, Visit
from sandbox.bybit.messages import Json, envelope
from sandbox.bybit.signing import Authentication

MAX_BODY = 1_000_000
FORBIDDEN = "<html><head><title>403 Forbidden</title></head><body>403 Forbidden</body></html>"


@dataclass(frozen=True)
class Call:
    """A request that may be carried out. `uid` is empty on public routes."""

    uid: str
    key: ApiKey | None
    query: Mapping[str, str]
    body: Json
    now_ms: int
    fault: Fault | None = None


@dataclass(frozen=True)
class Answer:
    """`extra`: retExtInfo."""

    result: Mapping[str, object]
    extra: Mapping[str, object] = field(default_factory=dict)


Handler = Callable[[Call], Answer | Json]


def _costs_one(_: Json) -> int:
    return 1


@dataclass(frozen=True)
class Endpoint:
    """`permission`: group and name that the key needs; a key that is read-only may use GET only."""

    handler: Handler
    is_private: bool = True
    permission: tuple[str, str] | None = None
    cost: Callable[[Json], int] = _costs_one


Routes = dict[tuple[str, str], Endpoint]


@dataclass
class _Request:
    """A request on its way, and what is known of it so far."""

    request: web.Request
    payload: str
    body: Json
    key: ApiKey | None
    fault: Fault | None = None
    visit: Visit | None = None


class Gateway:
    """Serves all routes below `/v5`."""

    def __init__(
        self,
        routes: Routes,
        accounts: Accounts,
        keys: KeyRegistry,
        clock: Clock,
        ledger: Ledger,
        faults: Faults,
        limits: RateLimits,
        authentication: Authentication,
    ) -> None:
        self._limits = limits
        self._authentication = authentication
        self._routes = routes
        self._accounts = accounts
        self._keys = keys
        self._clock = clock
        self._ledger = ledger
        self._faults = faults
        self._closing = asyncio.Event()

    def stop(self) -> None:
        """Release the requests that hang."""
        self._closing.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self._limits.is_banned(request.remote or "", self._clock.wall_ms):
            self._record(request, answer="status 403")
            return web.Response(status=403, text=FORBIDDEN, content_type="text/html")
        text = (await request.read()).decode(errors="replace")
        if request.method == "GET" and text:
            self._record(request, answer="status 403")
            return web.Response(status=403, text=FORBIDDEN, content_type="text/html")
        payload = request.raw_path.partition("?")[2] if request.method == "GET" else text
        key = self._keys.find(request.headers.get("X-BAPI-API-KEY", ""))
        current = _Request(request, payload, _parse(text), key)
        current.fault = self._faults.hit(request.path, key.uid if key else "", payload, self._clock.wall_ms)
        fault = current.fault
        if fault is not None and fault.when == "before":
            if fault.action not in ("delay", "race"):
                return await self._inject(current, fault, None)
            await self._sleep(fault.ms)
        message = self._carry_out(current)
        if current.key and request.method == "POST":
            await self._sleep(self._accounts.delays_of(current.key.uid).answer_ms)
        if fault is not None and fault.when == "after":
            return await self._inject(current, fault, message)
        self._record_call(current, message, "sent")
        return self._respond(current, message)

    def _carry_out(self, current: _Request) -> Json:
        """Return the answer's envelope."""
        request, now_ms = current.request, self._clock.market_ms
        try:
            endpoint = self._routes.get((request.method, request.path))
            if endpoint is None:
                raise Refusal(10017, "Route not found.")
            uid = ""
            if endpoint.is_private:
                uid = self._admit(current, endpoint).uid
            call = Call(uid, current.key, request.query, current.body, now_ms, current.fault)
            answer = endpoint.handler(call)
        except Refusal as refusal:
            return envelope({}, now_ms, refusal.code, refusal.message)
        finally:
            self._accounts.deliver()
        if isinstance(answer, Answer):
            return {**envelope(answer.result, now_ms), "retExtInfo": answer.extra}
        return envelope(answer, now_ms)

    def _admit(self, current: _Request, endpoint: Endpoint) -> ApiKey:
        """Raises Refusal."""
        request = current.request
        key = self._authentication.check_request(request.headers, current.payload, request.remote or "")
        current.key = key
        is_allowed = endpoint.permission is None or key.allows(*endpoint.permission)
        if not is_allowed or (key.read_only and request.method != "GET"):
            raise Refusal(10005, "Permission denied, please check your API key permissions.")
        cost = endpoint.cost(current.body)
        current.visit = self._limits.visit(key.uid, request.path, self._clock.wall_ms, cost)
        if current.visit.exceeded:
            raise Refusal(10006, "Too many visits. Exceeded the API Rate Limit.")
        if request.method == "POST" and not current.body and current.payload.strip() not in ("", "{}"):
            raise Refusal(10001, "params error: the body is no JSON object")
        return key

    async def _inject(self, current: _Request, fault: Fault, message: Json | None) -> web.StreamResponse:
        """Answer as the fault has it. `message`: the true answer; None: the request is not carried out."""
        match fault.action:
            case "cut" | "hang":
                self._record_call(current, message, fault.action)
                await self._sleep(fault.ms)
                if current.request.transport is not None:
                    current.request.transport.abort()
                return web.Response()
            case "answer":
                self._record_call(current, message, f"status {fault.status}")
                return web.Response(
                    status=fault.status, text=fault.body, content_type=fault.content_type, headers=fault.headers
                )
            case "ret_code":
                refused = envelope({}, self._clock.market_ms, fault.code, fault.words)
                self._record_call(current, message, f"retCode {fault.code}")
                return self._respond(current, refused)
        message = message or self._carry_out(current)
        if fault.action == "empty_list":
            self._record_call(current, message, "empty list")
            return self._respond(
                current, {**message, "result": {**_result(message), "list": [], "nextPageCursor": ""}}
            )
        if fault.action == "delay":
            self._record_call(current, message, "late")
            await self._sleep(fault.ms)
            return self._respond(current, message)
        self._record_call(current, message, "truncated")
        return web.Response(text=json.dumps(message)[: fault.length], content_type="application/json")

    def _respond(self, current: _Request, message: Json) -> web.Response:
        headers = {"Timenow": str(self._clock.wall_ms), "Traceid": uuid4().hex}
        if current.visit is not None:
            headers.update(current.visit.headers())
        if current.fault is not None:
            headers.update(current.fault.headers)
            if current.fault.reset_in_ms is not None:
                reset_ms = self._clock.wall_ms + current.fault.reset_in_ms
                headers |= {"X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": str(reset_ms)}
        return web.json_response(message, headers=headers)

    async def _sleep(self, ms: int) -> None:
        """Wait, unless the sandbox is stopping."""
        if ms:
            try:
                await asyncio.wait_for(self._closing.wait(), ms / 1000)
            except TimeoutError:
                return

    def _record_call(self, current: _Request, message: Json | None, answer: str) -> None:
        """`message`: the outcome; None: not carried out. `answer`: what the client gets."""
        outcome = message["retCode"] if message else None
        result = _result(message) if message else {}
        known = {name: result[name] for name in ("orderId", "orderLinkId") if name in result}
        self._record(
            current.request,
            uid=current.key.uid if current.key else "",
            key_number=current.key.number if current.key else 0,
            body=current.body,
            outcome=outcome,
            answer=answer,
            fault=current.fault.number if current.fault else None,
            **known,
        )

    def _record(self, request: web.Request, **entry: object) -> None:
        self._ledger.add(
            "request",
            {
                "wall_ms": self._clock.wall_ms,
                "clock_ms": self._clock.market_ms,
                "method": request.method,
                "route": request.path,
                "path": request.path_qs,
                **entry,
            },
        )


def _parse(text: str) -> Json:
    """Return a body that is a JSON object, or an empty one."""
    try:
        body = json.loads(text, parse_float=Decimal) if text and len(text) <= MAX_BODY else {}
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _result(message: Json) -> Mapping[str, object]:
    result = message["result"]
    return result if isinstance(result, Mapping) else {}
