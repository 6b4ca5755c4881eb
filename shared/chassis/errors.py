"""The errors shared by all services, and the consequence of each.

ProblemError               answered to the client as RFC 9457 problem+json
├── InvalidBody       400  not JSON
├── Unauthorized      401  no token, or not a valid one
├── Forbidden         403
│   ├── MissingScope       names the scope that the token needs
│   └── PlanLimitReached   names the limit and how much of it is used
├── NotFound          404  also for what belongs to another user
├── MethodNotAllowed  405
├── RequestTimeout    408  the body did not arrive in time
├── Conflict          409
│   └── NameTaken
├── IdempotencyInFlight 409  the first request with this key is still in progress
├── PreconditionFailed 412  If-Match names a state that is no longer current
├── TooLarge          413
├── UnsupportedEncoding 415
├── UnsupportedMediaType 415  a body that is not application/json
├── IdempotencyMismatch 422  this key was used for another request
├── InvalidInput      422  names each field and the reason
├── ExchangeUnreachable 424  not this platform but the exchange
├── QuotaExceeded     429  the plan's requests for this UTC day are used up
├── TooManyStreams    429
├── TooManyAtOnce     429
├── TooManyHeaders    431
├── HeadTooLarge      431
├── BadGateway        502  sent by the gateway: the service was not reached or closed the connection
├── Unavailable       503  retry after the seconds in Retry-After
├── AccountNotReady   503  the same, for an account that is seconds old
└── GatewayTimeout    504  sent by the gateway: the service took too long
PoisonError                a message that can never be handled; goes to the dead letters
└── ForgedError            a message that its sender may not publish; its key is not blocked
    └── ImplausibleError   a version far ahead of the known one
NewerVersionError          a message newer than this reader; its key waits for the upgrade
"""

from collections.abc import Mapping
from typing import ClassVar, TypeVar

T = TypeVar("T")


class ProblemError(Exception):
    """An internal error. It is in our logs under this request's id.

    Base class of every answer as problem+json. A subclass has its own `type`. Its docstring says when it is
    answered (docs/errors.md is generated from the docstrings). `retry_after_s` is set if the same request may
    succeed later. `extra` is added to the body.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, detail: str = "", **extra: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        if self.retry_after_s is not None:
            extra.setdefault("retry_after_s", self.retry_after_s)
        self.extra: Mapping[str, object] = extra


class InvalidBody(ProblemError):
    """The body is not JSON, is ambiguous or too deeply nested, or does not match the framing in its headers."""

    status = 400
    type = "invalid-body"
    title = "The body is not valid JSON"


class Unauthorized(ProblemError):
    """The access token is missing, invalid or expired. Refresh it or log in."""

    status = 401
    type = "unauthorized"
    title = "A valid access token is required"


class Forbidden(ProblemError):
    """The token is valid but does not permit this request."""

    status = 403
    type = "forbidden"
    title = "This token may not do that"


class MissingScope(Forbidden):
    """`scope` names the scope that the token lacks: `read` to read, `trade` to change strategies, sessions and
    alerts, `admin` to change the account. The tokens of a login have all three."""

    type = "missing-scope"
    title = "The token does not have the required scope"


class PlanLimitReached(Forbidden):
    """A limit of the plan is reached. `limit_name` names the limit of `plan`; `allowed` is its value, `used` the
    current use."""

    type = "plan-limit"
    title = "The plan does not allow that"


class NotFound(ProblemError):
    """The path or the resource does not exist, or the resource belongs to another user."""

    status = 404
    type = "not-found"
    title = "Not found"


class MethodNotAllowed(ProblemError):
    """The resource does not support this method. The `Allow` header lists the supported ones."""

    status = 405
    type = "method-not-allowed"
    title = "This resource does not support this method"


class RequestTimeout(ProblemError):
    """The body did not arrive within the time limit."""

    status = 408
    type = "request-timeout"
    title = "The request did not arrive in time"


class Conflict(ProblemError):
    """The request conflicts with an existing resource or with its state."""

    status = 409
    type = "conflict"
    title = "The request conflicts with the current state"


class NameTaken(Conflict):
    """You already have a resource of this kind with this name. Names are unique per kind."""

    type = "name-taken"
    title = "The name is already in use"


class IdempotencyInFlight(ProblemError):
    """The first request with this key has not been answered yet. This request had no effect."""

    status = 409
    type = "idempotency-in-flight"
    title = "The first request with this Idempotency-Key is still in progress; try again"
    retry_after_s = 1


class IdempotencyMismatch(ProblemError):
    """The key was used with another method, path, query or body. This request had no effect."""

    status = 422
    type = "idempotency-mismatch"
    title = "This Idempotency-Key was used for another request"


class PreconditionFailed(ProblemError):
    """`If-Match` does not name the current state. Read the resource again before you change it."""

    status = 412
    type = "precondition-failed"
    title = "The resource has changed since you read it"


class UnsupportedMediaType(ProblemError):
    """The body has a `Content-Type` other than application/json."""

    status = 415
    type = "unsupported-media-type"
    title = "The body must be application/json"


class TooLarge(ProblemError):
    """The body exceeds the size limit."""

    status = 413
    type = "too-large"
    title = "The body is too large"


class TooManyHeaders(ProblemError):
    """The request has more than 128 headers."""

    status = 431
    type = "too-many-headers"
    title = "The request has too many headers"


class HeadTooLarge(ProblemError):
    """The URL and the headers together are longer than 20 kB."""

    status = 431
    type = "head-too-large"
    title = "The URL and the headers are too long"


class UnsupportedEncoding(ProblemError):
    """The body has a `Content-Encoding`. Only unencoded bodies are accepted."""

    status = 415
    type = "unsupported-encoding"
    title = "The encoding of the body is not supported"


class InvalidInput(ProblemError):
    """The request failed validation. `errors` is a list of {path, reason}. A path is a JSON path such as `$.price`
    or the name of a header."""

    status = 422
    type = "invalid-input"
    title = "The request is not valid"


class QuotaExceeded(ProblemError):
    """The requests of the plan for this UTC day are used up. `limit` is the number per day, `used` how many were
    made; see `GET /v1/usage`. Requests that stop, cancel or close something, or read your positions, are never
    refused for this reason."""

    status = 429
    type = "quota-exceeded"
    title = "The request quota for today is used up"
    retry_after_s = 60


class TooManyStreams(ProblemError):
    """You have reached the limit of concurrently open streams and downloads."""

    status = 429
    type = "too-many-streams"
    title = "Too many streams are open"
    retry_after_s = 5


class TooManyAtOnce(ProblemError):
    """You have reached the limit of concurrent requests. This request had no effect."""

    status = 429
    type = "too-many-at-once"
    title = "Too many concurrent requests"
    retry_after_s = 1


class BadGateway(ProblemError):
    """The gateway did not reach the service or lost the connection. It is unknown whether the request had an
    effect."""

    status = 502
    type = "bad-gateway"
    title = "The service does not answer"
    retry_after_s = 1


class Unavailable(ProblemError):
    """A component that this request needs is temporarily unavailable."""

    status = 503
    type = "unavailable"
    title = "Temporarily unavailable"
    retry_after_s = 1


class ExchangeUnreachable(ProblemError):
    """The exchange does not answer, or not in a usable way. This platform works; nothing was stored. Try again."""

    status = 424
    type = "exchange-unreachable"
    title = "The exchange does not answer at the moment"
    retry_after_s = 5


class ExchangeAway(Unavailable):
    """Trading answers, but the exchange does not: who consumes events waits for it."""


class HistoryTooShort(Unavailable):
    """The history lacks a candle that was published. A forged candle is one cause, so the event itself may be at
    fault: it is not counted as an infrastructure fault."""


class AccountNotReady(ProblemError):
    """The account was registered seconds ago and is not yet known to every service."""

    status = 503
    type = "account-not-ready"
    title = "The account is new and not known here yet; try again in a second"
    retry_after_s = 1


class GatewayTimeout(ProblemError):
    """The service did not answer the gateway in time. It is unknown whether the request had an effect."""

    status = 504
    type = "gateway-timeout"
    title = "The service took too long"
    retry_after_s = 1


class PoisonError(Exception):
    """A message that can never be handled."""


class ForgedError(PoisonError):
    """A message that its sender may not publish. Its key is not blocked, as skipping it loses no genuine event."""


class ImplausibleError(ForgedError):
    """The version of this message is so far ahead of the known one that genuine later versions would be ignored."""


class NewerVersionError(Exception):
    """A message with a schema version later than this program knows."""

    def __init__(self, detail: str, version: int) -> None:
        super().__init__(detail)
        self.version = version


def require_found(found: T | None) -> T:
    """Return what a query has found. Raises NotFound."""
    if found is None:
        raise NotFound
    return found
