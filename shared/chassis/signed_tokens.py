"""Checks shared by access tokens and service tokens: EdDSA, a fixed type, an issuer, an audience and times."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jwt
from jwt import PyJWK

from shared.chassis.errors import Unauthorized
from shared.chassis.keys import ALGORITHM

LONGEST_TOKEN = 2_048
CLOCK_LEEWAY_S = 5  # how far the signing host's clock may be ahead of ours; `exp` has no leeway
MALFORMED = (jwt.InvalidTokenError, KeyError, ValueError, AttributeError, TypeError, OverflowError)

Body = Mapping[str, Any]  # Any: JSON


def key_id_of(token: str, token_type: str) -> str:
    """Return the key id in the token's header. Raises Unauthorized if it is not a token of this type."""
    if len(token) > LONGEST_TOKEN:
        raise Unauthorized
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError) as error:
        raise Unauthorized from error
    if header.get("alg") != ALGORITHM or header.get("typ") != token_type:
        raise Unauthorized
    return str(header.get("kid", ""))


def body_of(
    token: str, key: PyJWK, *, issuer: str, audience: str, now: datetime, required: Sequence[str] = ()
) -> Body:
    """Return the claims of a token that is signed with this key and valid now. Raises Unauthorized."""
    try:
        body = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=issuer,
            audience=audience,
            options={
                "require": ["exp", "iat", "iss", "aud", *required],
                "verify_exp": False,  # these three are checked below, with our clock and leeway
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        _check_times(body, now)
    except MALFORMED as error:
        raise Unauthorized from error
    return body


def _check_times(body: Body, now: datetime) -> None:
    """Check that now is after `iat` and `nbf`, with some leeway, and before `exp`, with none. Raises Unauthorized,
    ValueError."""
    begins = max(_seconds(body["iat"]), _seconds(body.get("nbf", 0)))
    if not begins - CLOCK_LEEWAY_S <= now.timestamp() < _seconds(body["exp"]):
        raise Unauthorized


def _seconds(claim: object) -> float:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        raise ValueError("is not a number of seconds")
    return claim
