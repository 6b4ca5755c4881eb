"""What can go wrong in auth, beside what can go wrong everywhere.

ProblemError
├── EmailTaken            409  this e-mail has an account
├── BadCredentials        401  says the same for an unknown e-mail and a wrong password
├── BadRefreshToken       401  unknown, expired, used before or logged out: log in again
├── AccountDisabled       403  the password was right
└── TooManyLogins         503  all hashers are busy and the queue is full
"""

from shared.chassis.errors import ProblemError


class EmailTaken(ProblemError):
    """Registering with an e-mail that has an account, unless the first answer is asked for again."""

    status = 409
    type = "email-taken"
    title = "This e-mail has an account already"


class BadCredentials(ProblemError):
    """The same for an e-mail that nobody has and for a wrong password."""

    status = 401
    type = "bad-credentials"
    title = "E-mail or password is wrong"


class BadRefreshToken(ProblemError):
    """It is unknown, expired, logged out, or was used before, which ends the log-in that it belongs to."""

    status = 401
    type = "bad-refresh-token"
    title = "This refresh token is not valid; log in again"


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
