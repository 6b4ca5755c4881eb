"""What can go wrong in auth, beside what can go wrong everywhere.

ProblemError
├── EmailTaken            409  this e-mail has an account, and this is its password
├── UsernameTaken         409  names the field
├── TooManyRegistrations  429  of this network; Retry-After says how long to wait
├── BadCredentials        401  says the same for an unknown e-mail and a wrong password
├── WrongPassword         403  the old password, of whoever wants a new one
├── AlreadyRefreshed      409  this refresh token was used seconds ago, and often; go on with the answer
├── BadRefreshToken       401  unknown, expired, used before or logged out: log in again
├── AccountDisabled       403  the password was right
├── TooManyAttempts       429  too many have failed; Retry-After says how long to wait
└── TooManyLogins         503  all hashers are busy and the queue is full
"""

from shared.chassis.errors import ProblemError


class EmailTaken(ProblemError):
    """Registering once more, with the password of the account that there is: log in. With another password it is
    answered as a log-in would be."""

    status = 409
    type = "email-taken"
    title = "This e-mail has an account already"


class UsernameTaken(ProblemError):
    """Usernames are unique, whatever their case. `errors` names the field."""

    status = 409
    type = "username-taken"
    title = "Somebody else has this username"

    def __init__(self) -> None:
        super().__init__(errors=[{"path": "$.username", "reason": "is somebody else's; choose another"}])


class TooManyRegistrations(ProblemError):
    """Many accounts were made from this network within the hour or the day."""

    status = 429
    type = "too-many-registrations"
    title = "Too many accounts were registered from this network; try again later"
    retry_after_s = 3_600


class BadCredentials(ProblemError):
    """The same for an e-mail that nobody has and for a wrong password."""

    status = 401
    type = "bad-credentials"
    title = "E-mail or password is wrong"


class WrongPassword(ProblemError):
    """A new password is set by whoever knows the old one."""

    status = 403
    type = "wrong-password"
    title = "The old password is wrong"


class TooManyAttempts(ProblemError):
    """Too many have failed, for this account or from this network. A right password is not looked at either before
    Retry-After has passed."""

    status = 429
    type = "too-many-attempts"
    title = "Too many attempts have failed; wait before the next one"
    retry_after_s = 1


class BadRefreshToken(ProblemError):
    """It is unknown, expired, logged out, or was used before, which ends the log-in that it belongs to."""

    status = 401
    type = "bad-refresh-token"
    title = "This refresh token is not valid; log in again"


class AlreadyRefreshed(ProblemError):
    """The same refresh token was shown many times within seconds: go on with a token that one of these requests was
    given. The login goes on."""

    status = 409
    type = "already-refreshed"
    title = "Other requests have refreshed this login a moment ago"


class AccountDisabled(ProblemError):
    """The password is right and the account is closed."""

    status = 403
    type = "account-disabled"
    title = "This account is disabled"


class TooManyLogins(ProblemError):
    """Checking passwords takes time on purpose, and a great many people are waiting for it."""

    status = 503
    type = "too-many-logins"
    title = "Too many people are logging in; try again in a moment"
    retry_after_s = 2
