"""The HTTP layer: validate a request, call the handler, render the response; every error is problem+json."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar  # Any: a reply of any model
from uuid import UUID

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError

from shared.chassis import telemetry
from shared.chassis.auth import Authenticator, Principal, Scope
from shared.chassis.clock import utc_now
from shared.chassis.crash_points import point
from shared.chassis.errors import (
    InvalidBody,
    InvalidInput,
    MethodNotAllowed,
    MissingScope,
    NotFound,
    ProblemError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from shared.chassis.http.downloads import Download, FileStream
from shared.chassis.http.etags import ANY_STATE, IfMatch, etag_of, if_match_of, is_known
from shared.chassis.http.idempotency import (
    REPLAYED,
    IdempotencyKey,
    StoredAnswer,
    insert_answer,
    key_of,
)
from shared.chassis.http.json_body import parse_body
from shared.chassis.http.streaming import EventStream, Stream, Streams, last_event_id_of
from shared.chassis.http.transaction import RequestTransaction, answer_once
from shared.chassis.http.transport import check_head, read_body, send
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, LOST_CONNECTION, ROLLED_BACK, Connection, Database
from shared.chassis.service_tokens import ServiceCallers
from shared.contracts.types import new_id

PROBLEM = web.ResponseKey("problem", str)
STREAMS = web.AppKey("streams", Streams)
REQUEST_LOG: web.AppKey[structlog.typing.FilteringBoundLogger] = web.AppKey("request_log")
MAX_ATTEMPTS = 3  # one migration may change the schema more than once

V = TypeVar("V", bound=BaseModel)

log = structlog.get_logger()


@dataclass(frozen=True)
class Reply(Generic[V]):
    """A response whose status or headers differ from the endpoint's defaults."""

    body: V | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def created(view: V, location: str) -> Reply[V]:
    """Return 201 with the created resource and its Location."""
    return Reply(view, 201, {"Location": location})


def tagged(view: V, state: int | datetime, shown: datetime | None = None) -> Reply[V]:
    """Return the view with its ETag, for a `tagged` endpoint; see `etag_of`."""
    return Reply(view, headers={"ETag": etag_of(state, shown)})


@dataclass(frozen=True)
class Call:
    """One validated request. Its body and query are separate arguments of the handler."""

    request: web.Request
    now: datetime
    caller: Principal | None = None
    idempotency_key: IdempotencyKey | None = None  # endpoints that create
    if_match: IfMatch = ANY_STATE  # endpoints that change a tagged resource
    last_event_id: str | None = None  # streams
    service: str | None = None  # internal endpoints: the calling service
    own_transaction: RequestTransaction | None = None  # endpoints of authenticated callers

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Open the transaction of this request, for all its changes, after its calls to others.

        It is committed when the handler has returned, together with the answer under the idempotency key and the
        activity; if the block or the handler raises, nothing is. A request that was answered before does not enter
        the block.
        """
        return self._request_transaction.open()

    async def replay_if_answered(self) -> None:
        """Leave the handler if the request was answered before, so that a repeated one calls nobody."""
        await self._request_transaction.replay_if_answered()

    @property
    def _request_transaction(self) -> RequestTransaction:
        assert self.own_transaction is not None, "only requests of users have one"
        return self.own_transaction

    @property
    def principal(self) -> Principal:
        if self.caller is None:
            raise Unauthorized
        return self.caller

    @property
    def path(self) -> Mapping[str, str]:
        return self.request.match_info

    def uuid(self, name: str = "id") -> UUID:
        """Return an id in the path. Raises NotFound if it is not a UUID in canonical form."""
        text = self.request.match_info[name]
        try:
            if len(text) != 36:
                raise ValueError("not the canonical form")
            return UUID(text)
        except ValueError as error:
            raise NotFound from error

    def number(self, name: str) -> int:
        """Return a number in the path. Raises NotFound if it is not one of up to 9 digits."""
        text = self.request.match_info[name]
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise NotFound
        return int(text)


HandlerResult: TypeAlias = Reply[Any] | BaseModel | Stream | Download | None
# Takes the call, and `body` and `query` as keywords if the endpoint declares their models.
EndpointHandler: TypeAlias = Callable[..., Awaitable[HandlerResult]]
# Called at the end of a successful request's transaction, with the Location that it answers. Writes its record and,
# if it has a key, its answer in one statement.
Record: TypeAlias = Callable[[Connection, Call, str | None, StoredAnswer | None], Awaitable[None]]
# Called with the caller, method and path template before the request is parsed. Raises a ProblemError to refuse it.
Admit: TypeAlias = Callable[[Principal, str, str], None]
Models: TypeAlias = Mapping[str, BaseModel]  # the validated body and query, by the handler's argument


@dataclass(frozen=True)
class Endpoint:
    """One operation: its input, its response and who may call it. OpenAPI is generated from these."""

    method: str
    path: str
    handler: EndpointHandler
    summary: str
    response: type[BaseModel] | None = None
    status: int = 200
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    public: bool = False
    scope: Scope | None = None  # the scope a token must have; the default of a GET is `read`
    callers: frozenset[str] = frozenset()  # internal endpoints: the services that may call it
    errors: tuple[type[ProblemError], ...] = ()
    tagged: bool = False  # has an ETag: a GET accepts If-None-Match, a change accepts If-Match
    events: Mapping[str, type[BaseModel]] = field(default_factory=dict)  # streams: the model of each event name
    media: str = ""  # downloads: the media type, such as text/csv
    media_example: str = ""
    records_itself: bool = False  # the handler records the activity itself, the chassis does not: activity.py
    record: Record | None = None

    @property
    def internal(self) -> bool:
        """True for an endpoint that only other services call, on a separate listener."""
        return bool(self.callers)

    @property
    def needs(self) -> Scope | None:
        """The scope that the caller's token must have; None for public and internal endpoints."""
        if self.public or self.internal:
            return None
        return self.scope or ("read" if self.method == "GET" else None)

    @property
    def creates(self) -> bool:
        """True for an endpoint that accepts an Idempotency-Key. The chassis processes the key of an authenticated
        caller; otherwise the handler has to process it."""
        return self.method == "POST" and self.status in (201, 202)

    @property
    def changes_tagged(self) -> bool:
        return self.tagged and self.method in ("PUT", "PATCH", "DELETE")


def make_app(
    endpoints: Sequence[Endpoint],
    authenticator: Authenticator | None,
    *,
    body_limit_bytes: int,
    callers: ServiceCallers | None = None,
    database: Database | None = None,
    admit: Admit | None = None,
) -> web.Application:
    """Build an aiohttp application from these endpoints."""
    app = web.Application(client_max_size=body_limit_bytes, middlewares=[_answer_problems])
    app[STREAMS] = Streams()
    app[REQUEST_LOG] = log.bind()  # bound once: what `get_logger` returns binds itself again for every line
    app.on_shutdown.append(app[STREAMS].end_all)
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    for path, several in by_path.items():
        resource = app.router.add_resource(path)
        for endpoint in several:
            handler = _aiohttp_handler(endpoint, authenticator, callers, database, admit)
            resource.add_route(endpoint.method, handler)
        if _overlaps_id_path(path, by_path):
            resource.add_route("*", _refuse_method([endpoint.method for endpoint in several]))
    return app


def _overlaps_id_path(path: str, paths: Iterable[str]) -> bool:
    return "{" not in path and any(other.startswith(path.rpartition("/")[0] + "/{") for other in paths)


def _refuse_method(allowed: Sequence[str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Answer 405, so that an undefined method of `/things/known` is not routed to `/things/{id}`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return handle


def _aiohttp_handler(
    endpoint: Endpoint,
    authenticator: Authenticator | None,
    callers: ServiceCallers | None,
    database: Database | None,
    admit: Admit | None,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = service = None
        if endpoint.internal:
            assert callers is not None, "an internal endpoint needs the services' keys"
            service = callers.check(request.headers.get("Authorization"), endpoint.callers)
        elif not endpoint.public:
            assert authenticator is not None, "a user endpoint needs an authenticator"
            caller = await authenticator.principal(request.headers.get("Authorization"))
            _check_scope(endpoint, caller)
        if caller is None or database is None:
            return await work(request, caller, service)
        with database.share.request(caller.user_id):
            return await work(request, caller, service)

    async def work(request: web.Request, caller: Principal | None, service: str | None) -> web.StreamResponse:
        if admit is not None and caller is not None:
            admit(caller, endpoint.method, endpoint.path)
        if caller is None or database is None:
            call, models = await _parse(endpoint, request, caller, service)
            return _response(endpoint, call, await endpoint.handler(call, **models))
        transaction = RequestTransaction(database, caller.user_id)
        call, models = await _parse(endpoint, request, caller, service, transaction)
        if call.idempotency_key is not None:
            return await _answer_once(endpoint, call, models, call.idempotency_key, database)
        async with transaction:
            answer = await endpoint.handler(call, **models)
            if endpoint.record is not None:
                location = answer.headers.get("Location") if isinstance(answer, Reply) else None
                await endpoint.record(await transaction.ensure_open(), call, location, None)
        return _response(endpoint, call, answer)

    return handle


async def _parse(
    endpoint: Endpoint,
    request: web.Request,
    caller: Principal | None,
    service: str | None,
    own: RequestTransaction | None = None,
) -> tuple[Call, Models]:
    models: dict[str, BaseModel] = {}
    if endpoint.query:
        models["query"] = _parse_query(endpoint.query, request)
    if endpoint.body:
        models["body"] = await _parse_body(endpoint.body, request)
    key = key_of(request, models.get("body")) if endpoint.creates else None
    if_match = if_match_of(request) if endpoint.changes_tagged else ANY_STATE
    last_event_id = last_event_id_of(request) if endpoint.events else None
    return Call(request, utc_now(), caller, key, if_match, last_event_id, service, own), models


def _response(endpoint: Endpoint, call: Call, answer: HandlerResult) -> web.StreamResponse:
    request = call.request
    if isinstance(answer, Stream):
        return EventStream(answer, request.app[STREAMS], call.principal)
    if isinstance(answer, Download):
        return FileStream(answer, endpoint.media, request.app[STREAMS], call.principal.user_id)
    response = _render(endpoint, answer)
    return _not_modified(request, response) if endpoint.tagged and endpoint.method == "GET" else response


def _not_modified(request: web.Request, response: web.Response) -> web.Response:
    """Answer 304 if the client already has this state."""
    tag = response.headers["ETag"]
    return web.Response(status=304, headers={"ETag": tag}) if is_known(request, tag) else response


async def _answer_once(
    endpoint: Endpoint, call: Call, models: Models, key: IdempotencyKey, database: Database
) -> web.Response:
    async def work(transaction: RequestTransaction) -> StoredAnswer:
        made = await endpoint.handler(replace(call, own_transaction=transaction), **models)
        assert not isinstance(made, Stream | Download), "an endpoint that creates does not stream"
        response = _render(endpoint, made)
        return StoredAnswer(response.status, response.headers.get("Location"), response.text or "")

    async def store(connection: Connection, answer: StoredAnswer) -> None:
        if endpoint.record is None:
            await insert_answer(connection, call.principal.user_id, key, answer)
        else:
            await endpoint.record(connection, call, answer.location, answer)

    answer, replayed = await answer_once(database, call.principal.user_id, key, work, store)
    headers = {**({"Location": answer.location} if answer.location else {}), **(REPLAYED if replayed else {})}
    return web.Response(text=answer.body, status=answer.status, headers=headers, content_type="application/json")


def _check_scope(endpoint: Endpoint, caller: Principal) -> None:
    """Raises MissingScope, also for an endpoint that declares no scope: it is denied by default."""
    if endpoint.needs is None or endpoint.needs not in caller.scopes:
        raise MissingScope(f"the scope {endpoint.needs} is required", scope=endpoint.needs)


def _render(endpoint: Endpoint, answer: Reply[Any] | BaseModel | None) -> web.Response:
    reply = answer if isinstance(answer, Reply) else Reply(answer)
    status = reply.status or endpoint.status
    if reply.body is None:
        return web.Response(status=204 if reply.status is None and status == 200 else status, headers=reply.headers)
    return web.Response(
        text=reply.body.model_dump_json(by_alias=True),
        status=status,
        headers=reply.headers,
        content_type="application/json",
    )


async def _parse_body(model: type[BaseModel], request: web.Request) -> BaseModel:
    raw = await read_body(request)
    if raw and request.content_type != "application/json":
        raise UnsupportedMediaType
    if not raw:
        if any(field.is_required() for field in model.model_fields.values()):
            raise InvalidBody("a JSON body is required")
        return model()  # every field is optional, so the body is too
    return _validate(model, parse_body(raw))


def _parse_query(model: type[BaseModel], request: web.Request) -> BaseModel:
    values: dict[str, object] = {}
    for name in request.query:
        given = request.query.getall(name)
        if len(given) > 1:
            raise InvalidInput(errors=[{"path": f"$.{name}", "reason": "is given more than once"}])
        if "\x00" in given[0]:
            raise InvalidInput(errors=[{"path": f"$.{name}", "reason": "must not contain NUL"}])
        values[name] = given[0]
    return _validate(model, values)


def _validate(model: type[BaseModel], values: object) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(errors=_faults(error)) from error


def _faults(error: ValidationError) -> list[dict[str, str]]:
    return [
        {
            "path": "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in fault["loc"]),
            "reason": fault["msg"].removeprefix("Value error, "),
        }
        for fault in error.errors(include_url=False, include_input=False)[:50]
    ]


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = time.monotonic()
    telemetry.request_id.set(str(new_id()))
    telemetry.traceparent.set(telemetry.new_traceparent(request.headers.get("traceparent")))
    try:
        response = await _handle(request, handler)
    finally:
        seconds = time.monotonic() - started
    route = _route_of(request)
    telemetry.HTTP_REQUESTS.labels(request.method, route, response.status).inc()
    telemetry.HTTP_SECONDS.labels(request.method, route).observe(seconds)
    response.headers["X-Request-Id"] = telemetry.request_id.get()
    response.headers["Cache-Control"] = response.headers.get("Cache-Control", "no-store")
    problem = {"problem": response[PROBLEM]} if PROBLEM in response else {}
    request.app[REQUEST_LOG].info(
        "request", method=request.method, route=route, status=response.status, seconds=round(seconds, 4), **problem
    )
    point("http.before_answer")
    await send(request, response)
    return response


async def _handle_with_retries(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request, and retry it where a retry repeats no effect: a read whose database connection was cut, and
    any request whose transaction was rolled back by a schema change or a deadlock."""
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return await handler(request)
        except ROLLED_BACK as error:
            log.warning("request_retried", error=repr(error))
        except LOST_CONNECTION as error:
            if request.method not in ("GET", "HEAD") or isinstance(error, TimeoutError):
                raise
            log.warning("read_retried", error=repr(error))
    return await handler(request)


async def _handle(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        check_head(request)
        return await _handle_with_retries(request, handler)
    except ProblemError as error:
        return problem_response(error)
    except web.HTTPException as error:
        response = problem_response(_problem_of(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except INFRASTRUCTURE_FAULTS as error:
        log.warning("unavailable", error=repr(error))
        return problem_response(Unavailable())
    except Exception:
        log.exception("request_failed", method=request.method, route=_route_of(request))
        return problem_response(ProblemError())


def _problem_of(error: web.HTTPException) -> ProblemError:
    match error.status:
        case 404:
            return NotFound()
        case 405:
            return MethodNotAllowed()
        case 413:
            return TooLarge()
        case _ if error.status < 500:
            return InvalidBody(error.reason)
        case _:
            return ProblemError()


def problem_response(error: ProblemError) -> web.Response:
    """Render a problem (RFC 9457). `retry_after_s` in the extras also sets the Retry-After header."""
    body = {
        "type": f"/problems/{error.type}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "request_id": telemetry.request_id.get(),
        **error.extra,
    }
    telemetry.HTTP_PROBLEMS.labels(error.type).inc()
    response = web.json_response(body, status=error.status, content_type="application/problem+json")
    response[PROBLEM] = error.type
    if (seconds := error.extra.get("retry_after_s")) is not None:
        response.headers["Retry-After"] = str(seconds)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MissingScope):
        response.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{error.extra["scope"]}"'
    return response


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
