"""Bodies, values and errors of the control API."""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import wraps
from json import dumps

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.bybit.messages import Json

Respond = Callable[[web.Request], Awaitable[object]]


def answering(respond: Respond) -> Handler:
    """Return a handler: its value as JSON, ValueError as 422, KeyError as 404."""

    @wraps(respond)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(await respond(request), dumps=_dumps)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=422)
        except KeyError as error:
            return web.json_response({"error": f"not found: {error.args[0]}"}, status=404)

    return handle


def _dumps(value: object) -> str:
    return dumps(value, default=str)


async def read_body(request: web.Request) -> Json:
    """Raises ValueError."""
    try:
        body = await request.json() if request.can_read_body else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


def number(given: Mapping[str, object], name: str, default: Decimal | None = None) -> Decimal:
    """Return a number that is sent as text or as an integer. Raises ValueError."""
    value = given.get(name, default)
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            found = Decimal(value)
        except InvalidOperation:
            found = Decimal("NaN")
        if found.is_finite():
            return found
    raise ValueError(f"{name} must be a number")


def integer(given: Mapping[str, object], name: str, default: int | None, least: int, most: int) -> int:
    """Raises ValueError."""
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be an integer from {least} to {most}")
    return value


def flag(given: Mapping[str, object], name: str, default: bool) -> bool:
    """Raises ValueError."""
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


def name_of(given: Mapping[str, object], name: str) -> str | None:
    """Raises ValueError."""
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be a text")
    return value


def only(given: Mapping[str, object], *known: str) -> None:
    """Raises ValueError for a name that is not known."""
    for name in given:
        if name not in known:
            raise ValueError(f"unknown: {name}; known are {', '.join(known)}")
