"""Errors of auth, beside those of the chassis.

ProblemError
├── EmailTaken            409  this e-mail has an account, and the password is right
├── UsernameTaken         409  `errors` names the field
├── TooManyRegistrations  429  from this network; Retry-After gives the wait
├── BadCredentials        401  the same for an unknown e-mail and a wrong password
├── WrongPassword         403  the old password, when setting a new one
├── AlreadyRefreshed      409  this refresh token was used many times seconds ago; use a token from those responses
├── BadRefreshToken       401  unknown, expired, reused or logged out: log in again
├── AccountDisabled       403  the password was right
├── TooManyAttempts       429  too many have failed; Retry-After gives the wait
└── TooManyLogins         503  all password threads are busy and the queue is full
"""

from shared.chassis.errors import ProblemError


class EmailTaken(ProblemError):
    """This e-mail has an account, and the password is right: log in. With another password, registering is answered
    like a login."""

    status = 409
    type = "email-taken"
    title = "This e-mail already has an account"


class UsernameTaken(ProblemError):
    """Usernames are unique, compared without case. `errors` names the field."""

    status = 409
    type = "username-taken"
    title = "This username is taken"

    def __init__(self) -> None:
        super().__init__(errors=[{"path": "$.username", "reason": "is taken; choose another"}])


class TooManyRegistrations(ProblemError):
    """Too many accounts were registered from this network within the hour or the day."""

    status = 429
    type = "too-many-registrations"
    title = "Too many accounts were registered from this network; try again later"
    retry_after_s = 3_600


class BadCredentials(ProblemError):
    """The e-mail is unknown or the password is wrong; the response is the same for both."""

    status = 401
    type = "bad-credentials"
    title = "E-mail or password is wrong"


class WrongPassword(ProblemError):
    """Setting a new password requires the old one."""

    status = 403
    type = "wrong-password"
    title = "The old password is wrong"


class TooManyAttempts(ProblemError):
    """Too many attempts have failed for this account or from this network. Until Retry-After has passed, even a
    right password is not checked."""

    status = 429
    type = "too-many-attempts"
    title = "Too many attempts have failed; wait before the next one"
    retry_after_s = 1


class BadRefreshToken(ProblemError):
    """The refresh token is unknown, expired, logged out or was used before. Reuse ends the login it belongs to."""

    status = 401
    type = "bad-refresh-token"
    title = "This refresh token is not valid; log in again"


class AlreadyRefreshed(ProblemError):
    """The same refresh token was sent many times within seconds: continue with a token that one of these requests
    returned. The login stays active."""

    status = 409
    type = "already-refreshed"
    title = "Other requests refreshed this login a moment ago"


class AccountDisabled(ProblemError):
    """The password is right, but the account is closed."""

    status = 403
    type = "account-disabled"
    title = "This account is disabled"


class TooManyLogins(ProblemError):
    """Checking passwords is slow on purpose, and too many requests are waiting for it."""

    status = 503
    type = "too-many-logins"
    title = "Too many people are logging in; try again in a moment"
    retry_after_s = 2
