"""Endpoints declared on their handlers: the decorator names the operation, the signature its models."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints  # Any: a return annotation

from pydantic import BaseModel

from shared.chassis.auth import Scope
from shared.chassis.errors import ProblemError
from shared.chassis.http.app import Endpoint, EndpointHandler, Reply
from shared.chassis.http.downloads import Download
from shared.chassis.http.streaming import Stream

H = TypeVar("H", bound=EndpointHandler)
DECLARED = "__endpoint__"


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

    def declare(handler: H) -> H:
        hints = get_type_hints(handler)
        declared = Endpoint(
            method,
            path,
            handler,
            summary,
            response=_response_of(hints["return"]),
            status=status,
            body=hints.get("body"),
            query=hints.get("query"),
            public=public,
            scope=scope,
            callers=callers,
            errors=errors,
            tagged=tagged,
            events=events or {},
            media=media,
            media_example=media_example,
            records_itself=records_itself,
        )
        setattr(handler, DECLARED, declared)
        return handler

    return declare


class Routes:
    """Base of classes whose methods are endpoint handlers; the attributes hold what the handlers need."""

    def endpoints(self) -> list[Endpoint]:
        """Return the declared endpoints in the order of their methods, with handlers bound to this instance."""
        return [
            replace(getattr(method, DECLARED), handler=getattr(self, name))
            for name, method in vars(type(self)).items()
            if hasattr(method, DECLARED)
        ]


def _response_of(returned: Any) -> type[BaseModel] | None:
    if get_origin(returned) is Reply:
        (returned,) = get_args(returned)
    if returned in (NoneType, Stream, Download):
        return None
    model: type[BaseModel] = returned
    return model
