"""What can go wrong in auth.

ProblemError
├── EmailTaken            409  this e-mail has an account
├── BadCredentials        401  says the same for an unknown e-mail and a wrong password
├── BadRefreshToken       401  unknown, expired, used before or logged out: log in again
├── AccountDisabled       403  the password was right
└── TooManyLogins         503  all hashers are busy and the queue is full; retry_after_s
"""

from shared.chassis.errors import ProblemError


class EmailTaken(ProblemError):
    status = 409
    type = "email-taken"
    title = "This e-mail has an account already"


class BadCredentials(ProblemError):
    status = 401
    type = "bad-credentials"
    title = "E-mail or password is wrong"


class BadRefreshToken(ProblemError):
    status = 401
    type = "bad-refresh-token"
    title = "This refresh token is not valid; log in again"


class AccountDisabled(ProblemError):
    status = 403
    type = "account-disabled"
    title = "This account is disabled"


class TooManyLogins(ProblemError):
    status = 503
    type = "too-many-logins"
    title = "Too many people are logging in; try again in a moment"
