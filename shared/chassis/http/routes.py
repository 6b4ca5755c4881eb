"""Endpoints declared on their handlers: the decorator has the operation, the signature its models."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints  # Any: handlers take what they name

from pydantic import BaseModel

from shared.chassis.auth import Scope
from shared.chassis.errors import ProblemError
from shared.chassis.http.app import Call, Endpoint, EndpointHandler, HandlerResult, Reply
from shared.chassis.http.downloads import Download
from shared.chassis.http.streaming import Stream

H = TypeVar("H", bound=Callable[..., Awaitable[HandlerResult]])
DECLARED = "__endpoint__"


@dataclass(frozen=True)
class _Declaration:
    method: str
    path: str
    summary: str
    options: Mapping[str, Any]


def endpoint(
    method: str,
    path: str,
    summary: str,
    *,
    status: int = 200,
    public: bool = False,
    scope: Scope | None = None,
    callers: frozenset[str] = frozenset(),
    errors: tuple[type[ProblemError], ...] = (),
    tagged: bool = False,
    events: Mapping[str, type[BaseModel]] | None = None,
    media: str = "",
    media_example: str = "",
    records_itself: bool = False,
) -> Callable[[H], H]:
    """Declare a method of a `Routes` class as an endpoint; see `Endpoint` for the options.

    The handler takes `call`, and `body` and `query` if the operation has them; their annotations are its models. It
    returns its response model, `Reply[Model]`, None, a `Stream` or a `Download`. Its name is the operation's id.
    """
    given = {
        "status": status,
        "public": public,
        "scope": scope,
        "callers": callers,
        "errors": errors,
        "tagged": tagged,
        "events": events or {},
        "media": media,
        "media_example": media_example,
        "records_itself": records_itself,
    }

    def declare(handler: H) -> H:
        setattr(handler, DECLARED, _Declaration(method, path, summary, given))
        return handler

    return declare


class Routes:
    """Base of a class whose methods are handlers; its attributes are what they need."""

    def endpoints(self) -> list[Endpoint]:
        """The declared endpoints, in the order of their methods."""
        return [
            _endpoint_of(getattr(member, DECLARED), getattr(self, name))
            for name, member in vars(type(self)).items()
            if hasattr(member, DECLARED)
        ]


def _endpoint_of(declared: _Declaration, handler: Callable[..., Awaitable[HandlerResult]]) -> Endpoint:
    hints = get_type_hints(handler)
    models: dict[str, type[BaseModel]] = {name: hints[name] for name in ("body", "query") if name in hints}
    return Endpoint(
        declared.method,
        declared.path,
        _with_models(handler, models),
        declared.summary,
        response=_response_of(hints["return"]),
        body=models.get("body"),
        query=models.get("query"),
        **declared.options,
    )


def _with_models(
    handler: Callable[..., Awaitable[HandlerResult]], models: Mapping[str, type[BaseModel]]
) -> EndpointHandler:
    @wraps(handler)
    async def handle(call: Call) -> HandlerResult:
        arguments: dict[str, BaseModel] = {}
        if body := models.get("body"):
            arguments["body"] = call.body(body)
        if query := models.get("query"):
            arguments["query"] = call.query(query)
        return await handler(call, **arguments)

    return handle


def _response_of(returned: Any) -> type[BaseModel] | None:
    if get_origin(returned) is Reply:
        (returned,) = get_args(returned)
    if returned in (NoneType, Stream, Download):
        return None
    model: type[BaseModel] = returned
    return model
