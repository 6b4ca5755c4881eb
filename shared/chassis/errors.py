"""What goes wrong above the services, and what follows from it.

ProblemError               an answer for the client, RFC 9457
├── InvalidBody       400  not JSON
├── Unauthorized      401  no token, or not a valid one
├── Forbidden         403
├── NotFound          404  also for what belongs to somebody else
├── RequestTimeout    408  the body did not arrive in time
├── Conflict          409
├── IdempotencyInFlight 409  the first request with this key is still under way
├── TooLarge          413
├── UnsupportedEncoding 415
├── UnsupportedMediaType 415  a body that is not application/json
├── IdempotencyMismatch 422  this key was another request's
├── InvalidInput      422  names each field and the reason
└── Unavailable       503  try again; Retry-After says when
PoisonError                one message that can never be worked: parked or sent to the dead letters
NewerVersionError          a message newer than this reader: our mistake, the partition stops
"""

from collections.abc import Mapping
from typing import ClassVar


class ProblemError(Exception):
    """Base of everything that is answered as problem+json; `extra` is shown to the client beside it."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(self, detail: str = "", **extra: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extra: Mapping[str, object] = extra


class InvalidBody(ProblemError):
    status = 400
    type = "invalid-body"
    title = "The body is not valid JSON"


class Unauthorized(ProblemError):
    status = 401
    type = "unauthorized"
    title = "A valid access token is needed"


class Forbidden(ProblemError):
    status = 403
    type = "forbidden"
    title = "This token may not do that"


class NotFound(ProblemError):
    status = 404
    type = "not-found"
    title = "There is no such thing"


class MethodNotAllowed(ProblemError):
    status = 405
    type = "method-not-allowed"
    title = "This resource has no such method"


class RequestTimeout(ProblemError):
    status = 408
    type = "request-timeout"
    title = "The request did not arrive in time"


class Conflict(ProblemError):
    status = 409
    type = "conflict"
    title = "This conflicts with what is there"


class IdempotencyInFlight(ProblemError):
    status = 409
    type = "idempotency-in-flight"
    title = "The first request with this Idempotency-Key is still under way; try again"


class IdempotencyMismatch(ProblemError):
    status = 422
    type = "idempotency-mismatch"
    title = "This Idempotency-Key was given to another request"


class UnsupportedMediaType(ProblemError):
    status = 415
    type = "unsupported-media-type"
    title = "Bodies are taken as application/json"


class TooLarge(ProblemError):
    status = 413
    type = "too-large"
    title = "The body is too large"


class UnsupportedEncoding(ProblemError):
    status = 415
    type = "unsupported-encoding"
    title = "Bodies are not taken in this encoding"


class InvalidInput(ProblemError):
    """`errors` is a list of {path, reason}, the path a JSON path such as `$.price`."""

    status = 422
    type = "invalid-input"
    title = "The request is not valid"


class Unavailable(ProblemError):
    status = 503
    type = "unavailable"
    title = "Not available at the moment"


class AccountNotReady(ProblemError):
    status = 503
    type = "account-not-ready"
    title = "The account is new and not known here yet; try again in a second"


class PoisonError(Exception):
    """This message can never be worked."""


class NewerVersionError(Exception):
    """This message is of a later version than this program knows."""
