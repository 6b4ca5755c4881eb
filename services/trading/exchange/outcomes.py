"""The meaning of each answer of the exchange, and of each fault instead of one, for the request that was sent.

A command is done, refused, not sent or unknown (`venue.py`). Only what the exchange documents as definite is taken
as definite; everything else, such as a code that is not listed here, is unknown: ask, never repeat.
"""

import re
from collections.abc import Mapping

import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from services.trading.bybit_api import PYBIT_FAULTS
from services.trading.exchange.refusals import explain
from services.trading.exchange.venue import (
    KeyRejected,
    LinkIdUsed,
    NotSent,
    OutcomeUnknown,
    Refused,
    StopPassed,
    VenueUnavailable,
)

# Raised by pybit, requests and the reading of an answer.
FAULTS = (InvalidRequestError, *PYBIT_FAULTS, HTTPError, OSError, RuntimeError)

TIMESTAMP = 10002
RATE_LIMIT = 10006
BANNED_ADDRESS = 403
LEVERAGE_UNCHANGED = 110043
STOP_UNCHANGED = 34040
PARAMETERS = 10001
LINK_ID_USED = frozenset({110072, 170141})

# The key is revoked, expired, bound to other addresses, or lacks a permission.
KEY_CODES = frozenset({401, 10003, 10004, 10005, 10007, 10010, 33004, -2015})

# Turned away before it was carried out: the clock, a rate limit, a restart that "does not accept new requests".
NOT_SENT_CODES = frozenset({TIMESTAMP, RATE_LIMIT, 10018, 10019, -1})

REFUSED_CODES = frozenset(
    {
        *(400, 404, 10001, 10008, 10009, 10017, 10024, 10027, 10028, 10029),
        *(30208, 30209, 30228, STOP_UNCHANGED),
        *(110001, 110003, 110004, 110005, 110006, 110007, 110008, 110009, 110010, 110011, 110012, 110013, 110014),
        *(110015, 110017, 110018, 110019, 110020, 110021, 110022, 110023, 110024, 110025, 110026, 110027, 110028),
        *(110029, 110031, 110032, 110033, 110034, 110036, 110037, 110038, 110039, 110040, 110041, 110042),
        *(LEVERAGE_UNCHANGED, 110044, 110045, 110046, 110047, 110048, 110049, 110050, 110051, 110052, 110053),
        *(110057, 110058, 110059, 110060, 110061, 110063, 110064, 110066, 110067, 110068, 110069, 110070, 110072),
        *(110073, 110074, 110077, 110080, 110085, 110086, 110087, 110088, 110089, 110090, 110092, 110093, 110094),
        *(110095, 110096, 110097, 110098, 110099, 110100, 110103, 110108, 110109, 110118, 110120, 110121, 110123),
        *(110124, 110125, 110131, 110132, 110135, 110136, 110137, 3400139),
        *(170131, 170136, 170140, 170141, 170213),
    }
)

# HTTP statuses with which the exchange turns a request away; a proxy's 5xx may follow an order that arrived.
NOT_SENT_STATUSES = frozenset({BANNED_ADDRESS, 429})
REFUSED_STATUSES = frozenset({400, 401, 404})

BAN_S = 600.0
TURNED_AWAY_S = 1.0
LONGEST_LIMIT_S = 2.0  # the limits are of a second
LONGEST_WORDS = 300
_STOP_PASSED = re.compile(r"StopLoss.*base_price")  # "StopLoss:… set for … position should be … than base_price:…"
_SERVER_TIME = re.compile(r"server_timestamp\D{0,3}(\d{13})\b", re.ASCII)

CommandFault = Refused | NotSent | OutcomeUnknown
QuestionFault = KeyRejected | VenueUnavailable


def fault_of_command(error: Exception, now_ms: int) -> CommandFault:
    """Return the exception that says how a command ended. `now_ms` is the exchange's clock."""
    if isinstance(error, InvalidRequestError):
        return _fault_of_code(error.status_code, words_of(error.message), error.resp_headers, now_ms)
    if (
        isinstance(error, FailedRequestError) and error.resp_headers is not None
    ):  # None: pybit's own, after an answer
        return _fault_of_status(error.status_code)
    if _never_left(error):
        return NotSent("the exchange cannot be reached", TURNED_AWAY_S)
    return OutcomeUnknown(_without_answer(error))


def fault_of_question(error: Exception) -> QuestionFault:
    """Return the exception that a question raises: it may be asked again unless the key is rejected."""
    if isinstance(error, InvalidRequestError):
        if error.status_code in KEY_CODES:
            return KeyRejected(error.status_code, explain(error.status_code, words_of(error.message)))
        return VenueUnavailable(f"{error.status_code} {words_of(error.message)}")
    if isinstance(error, FailedRequestError) and error.resp_headers is not None:
        if error.status_code in KEY_CODES:
            return KeyRejected(error.status_code, "the key is not valid here")
        return VenueUnavailable(f"HTTP {error.status_code}")
    return VenueUnavailable(_without_answer(error))


def is_limited(error: Exception) -> bool:
    """Return whether the account's own rate limit was exceeded."""
    return isinstance(error, InvalidRequestError) and error.status_code == RATE_LIMIT


def is_banned(error: Exception) -> bool:
    """Return whether the exchange turns away the address from which we connect."""
    if isinstance(error, InvalidRequestError):
        return bool(error.status_code == 10018)
    return isinstance(error, FailedRequestError) and error.status_code == BANNED_ADDRESS


def limit_reset_s(headers: Mapping[str, str] | None, now_ms: int) -> float:
    """Return how long a rate limit still holds; the exchange may name a time that is past already."""
    text = (headers or {}).get("X-Bapi-Limit-Reset-Timestamp", "")
    if not (text.isascii() and text.isdigit()):
        return TURNED_AWAY_S
    return min(max(int(text) - now_ms, 0) / 1000, LONGEST_LIMIT_S)


def server_time_of(error: Exception) -> int | None:
    """Return the clock (ms) against which the exchange judged a timestamp, if it refused it and names the clock."""
    if not isinstance(error, InvalidRequestError) or error.status_code != TIMESTAMP:
        return None
    named = _SERVER_TIME.search(str(error.message))
    return int(named[1]) if named else None


def words_of(message: object) -> str:
    """Return the exchange's words on one line, bounded, without what a database refuses in a text."""
    line = " ".join(str(message)[: 10 * LONGEST_WORDS].split())[:LONGEST_WORDS]
    return "".join(each if each.isprintable() else "?" for each in line)


def _without_answer(error: Exception) -> str:
    return f"no usable answer: {type(error).__name__}: {words_of(error)}"


def _fault_of_code(code: object, words: str, headers: Mapping[str, str] | None, now_ms: int) -> CommandFault:
    if type(code) is not int:
        return OutcomeUnknown(f"the code {code!r:.40} is none of the exchange's")
    if code in KEY_CODES:
        return KeyRejected(code, explain(code, words))
    if code in LINK_ID_USED:
        return LinkIdUsed(code, explain(code, words))
    if code == PARAMETERS and _STOP_PASSED.search(words):
        return StopPassed(code, explain(code, words))
    if code in REFUSED_CODES:
        return Refused(code, explain(code, words))
    if code == RATE_LIMIT:
        return NotSent(words, limit_reset_s(headers, now_ms))
    if code in NOT_SENT_CODES:
        return NotSent(words, 0 if code == TIMESTAMP else TURNED_AWAY_S)
    return OutcomeUnknown(f"{words} (code {code})")


def _fault_of_status(status: int) -> CommandFault:
    if status in KEY_CODES:
        return KeyRejected(status, "the key is not valid here")
    if status in REFUSED_STATUSES:
        return Refused(status, "the exchange does not accept the request")
    if status in NOT_SENT_STATUSES:
        return NotSent(f"HTTP {status}", BAN_S if status == BANNED_ADDRESS else TURNED_AWAY_S)
    return OutcomeUnknown(f"HTTP {status}")


def _never_left(error: Exception) -> bool:
    """Return whether no connection was made, so that not a byte of the request left."""
    if not isinstance(error, requests.ConnectionError) or not error.args:
        return False
    cause = error.args[0]
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)
