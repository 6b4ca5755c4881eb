"""What goes wrong above the services, and what follows from it.

ProblemError               an answer for the client, RFC 9457
├── InvalidBody       400  not JSON
├── Unauthorized      401  no token, or not a valid one
├── Forbidden         403
│   ├── MissingScope       names the scope that the token would need
│   └── PlanLimitReached   says which limit and how much is used
├── NotFound          404  also for what belongs to somebody else
├── MethodNotAllowed  405
├── RequestTimeout    408  the body did not arrive in time
├── Conflict          409
│   └── NameTaken
├── IdempotencyInFlight 409  the first request with this key is still under way
├── PreconditionFailed 412  If-Match names another state than the one there is
├── TooLarge          413
├── UnsupportedEncoding 415
├── UnsupportedMediaType 415  a body that is not application/json
├── IdempotencyMismatch 422  this key was another request's
├── InvalidInput      422  names each field and the reason
├── QuotaExceeded     429  the plan's requests of this UTC day are used up
├── TooManyStreams    429
├── TooManyAtOnce     429
├── TooManyHeaders    431
├── HeadTooLarge      431
├── BadGateway        502  the gateway's own: the service was not reached, or went away
├── Unavailable       503  try again; Retry-After says when
├── AccountNotReady   503  the same, for an account that is seconds old
└── GatewayTimeout    504  the gateway's own: the service took too long
PoisonError                one message that can never be handled: it goes to the dead letters
└── ForgedError            it says what its sender may not say: the same, and its key goes on
    └── ImplausibleError   its version is far ahead of what is known
NewerVersionError          a message newer than this reader: its key waits for the upgrade
"""

from collections.abc import Mapping
from typing import ClassVar


class ProblemError(Exception):
    """A fault of ours, which is in our logs under this request's id.

    Base of everything that is answered as problem+json. A class has its own `type`, its docstring says when it is
    answered (docs/errors.md is written out of them), and `retry_after_s` is set where the same request may succeed
    later. `extra` is shown to the client beside it.
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
    """No JSON, JSON that is ambiguous or too deep, or a body that is not framed as its headers say."""

    status = 400
    type = "invalid-body"
    title = "The body is not valid JSON"


class Unauthorized(ProblemError):
    """No access token, or one that is not valid or no longer: refresh it, or log in."""

    status = 401
    type = "unauthorized"
    title = "A valid access token is needed"


class Forbidden(ProblemError):
    """The token is valid and does not reach this far."""

    status = 403
    type = "forbidden"
    title = "This token may not do that"


class MissingScope(Forbidden):
    """`scope` names what the token would need: `read` to look, `trade` to change strategies, sessions and alerts,
    `admin` to change the account. The tokens of a login have all three."""

    type = "missing-scope"
    title = "The token has not the scope that this needs"


class PlanLimitReached(Forbidden):
    """`limit` names which limit of `plan`, `allowed` and `used` how much of it there is and is used."""

    type = "plan-limit"
    title = "The plan does not allow that"


class NotFound(ProblemError):
    """No such path, or no such thing, or somebody else's."""

    status = 404
    type = "not-found"
    title = "There is no such thing"


class MethodNotAllowed(ProblemError):
    """The `Allow` header says which methods there are."""

    status = 405
    type = "method-not-allowed"
    title = "This resource has no such method"


class RequestTimeout(ProblemError):
    """The body took longer to arrive than a body may."""

    status = 408
    type = "request-timeout"
    title = "The request did not arrive in time"


class Conflict(ProblemError):
    """What is there, or its state, does not go with the request."""

    status = 409
    type = "conflict"
    title = "This conflicts with what is there"


class NameTaken(Conflict):
    """Names are unique among your things of one kind."""

    type = "name-taken"
    title = "There is one of that name already"


class IdempotencyInFlight(ProblemError):
    """The first request with this key has no answer yet; this one had no effect."""

    status = 409
    type = "idempotency-in-flight"
    title = "The first request with this Idempotency-Key is still under way; try again"
    retry_after_s = 1


class IdempotencyMismatch(ProblemError):
    """The key is known with another method, path, query or body; this request had no effect."""

    status = 422
    type = "idempotency-mismatch"
    title = "This Idempotency-Key was given to another request"


class PreconditionFailed(ProblemError):
    """`If-Match` names another state than the one there is: read it again, and decide anew."""

    status = 412
    type = "precondition-failed"
    title = "It has changed since you read it"


class UnsupportedMediaType(ProblemError):
    """A body with a `Content-Type` other than application/json."""

    status = 415
    type = "unsupported-media-type"
    title = "Bodies are taken as application/json"


class TooLarge(ProblemError):
    """The body is longer than a body may be."""

    status = 413
    type = "too-large"
    title = "The body is too large"


class TooManyHeaders(ProblemError):
    """The request has more than 128 headers."""

    status = 431
    type = "too-many-headers"
    title = "The request has too many headers"


class HeadTooLarge(ProblemError):
    """The address and the headers together are longer than 20 kB."""

    status = 431
    type = "head-too-large"
    title = "The address and the headers are too long"


class UnsupportedEncoding(ProblemError):
    """A body with a `Content-Encoding`."""

    status = 415
    type = "unsupported-encoding"
    title = "Bodies are not taken in this encoding"


class InvalidInput(ProblemError):
    """`errors` is a list of {path, reason}, the path a JSON path such as `$.price` or the name of a header."""

    status = 422
    type = "invalid-input"
    title = "The request is not valid"


class QuotaExceeded(ProblemError):
    """`limit` is how many requests the plan gives a UTC day, `used` how many of them are gone; `GET /v1/usage` says
    more. What stops, cancels or closes, and reading one's positions, is never refused for it."""

    status = 429
    type = "quota-exceeded"
    title = "The requests of this day are used up"
    retry_after_s = 60


class TooManyStreams(ProblemError):
    """You have as many streams and files open as one may have at once."""

    status = 429
    type = "too-many-streams"
    title = "Too many streams are open"
    retry_after_s = 5


class TooManyAtOnce(ProblemError):
    """You have as many requests under way at once as one may have; this one had no effect."""

    status = 429
    type = "too-many-at-once"
    title = "Too many of your requests are under way"
    retry_after_s = 1


class BadGateway(ProblemError):
    """The gateway did not reach the service, or lost it on the way: whether there was an effect is not known."""

    status = 502
    type = "bad-gateway"
    title = "The service does not answer"
    retry_after_s = 1


class Unavailable(ProblemError):
    """Something that this needs is away for the moment."""

    status = 503
    type = "unavailable"
    title = "Not available at the moment"
    retry_after_s = 1


class HistoryTooShort(Unavailable):
    """The history does not hold a candle that was published: so it is with one that is no fact."""


class AccountNotReady(ProblemError):
    """Just registered: the news has not reached every part of the platform."""

    status = 503
    type = "account-not-ready"
    title = "The account is new and not known here yet; try again in a second"
    retry_after_s = 1


class GatewayTimeout(ProblemError):
    """The service took too long for the gateway: whether there was an effect is not known."""

    status = 504
    type = "gateway-timeout"
    title = "The service took too long"
    retry_after_s = 1


class PoisonError(Exception):
    """This message can never be handled."""


class ForgedError(PoisonError):
    """This message says what its sender may not say. Nobody's true event is lost where its key goes on."""


class ImplausibleError(ForgedError):
    """The version of this message is so far ahead of what is known that it would shut out what is true."""


class NewerVersionError(Exception):
    """This message is of a later version than this program knows."""

    def __init__(self, detail: str, version: int) -> None:
        super().__init__(detail)
        self.version = version
