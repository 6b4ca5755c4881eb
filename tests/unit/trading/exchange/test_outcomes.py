"""Every answer of the exchange, and every fault instead of one, means one thing for a command."""

import pytest
import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)

from services.trading.exchange.outcomes import (
    FAULTS,
    KEY_CODES,
    NOT_SENT_CODES,
    REFUSED_CODES,
    fault_of_command,
    fault_of_question,
    limit_reset_s,
    server_time_of,
)
from services.trading.exchange.refusals import WORDS, explain
from services.trading.exchange.venue import (
    KeyRejected,
    LinkIdUsed,
    NotSent,
    OutcomeUnknown,
    Refused,
    StopPassed,
    VenueUnavailable,
)

NOW_MS = 1_700_000_000_000
HERE = HTTPConnection("127.0.0.1")


def coded(code: object, headers: dict[str, str] | None = None) -> InvalidRequestError:
    return InvalidRequestError("POST /v5/order/create", "words", code, "10:00:00", headers or {})


def status(code: int) -> FailedRequestError:
    return FailedRequestError("POST /v5/order/create", "no", code, "10:00:00", {})


def unconnected(reason: Exception) -> requests.ConnectionError:
    return requests.ConnectionError(MaxRetryError(HERE, "/", reason))  # type: ignore[arg-type]


# Everything that the exchange documents or is known to answer. What is not here is in the ranges below.
OF_CODES: dict[object, type[Exception]] = {
    -1: NotSent,  # request expired
    0: OutcomeUnknown,  # pybit never raises it
    "0": OutcomeUnknown,
    None: OutcomeUnknown,
    401: KeyRejected,
    404: Refused,
    429: OutcomeUnknown,  # "high server load": whether it was carried out is not documented
    -2015: KeyRejected,
    10000: OutcomeUnknown,  # server timeout
    10001: Refused,
    10002: NotSent,
    10003: KeyRejected,
    10004: KeyRejected,
    10005: KeyRejected,
    10006: NotSent,
    10007: KeyRejected,
    10008: Refused,
    10009: Refused,
    10010: KeyRejected,
    10014: OutcomeUnknown,  # a duplicate of a request that may have been carried out
    10016: OutcomeUnknown,
    10017: Refused,
    10018: NotSent,
    10019: NotSent,
    10024: Refused,
    10027: Refused,
    10028: Refused,
    10029: Refused,
    33004: KeyRejected,
    34040: Refused,
    40004: OutcomeUnknown,  # "check the order status again"
    110001: Refused,
    110003: Refused,
    110004: Refused,
    110007: Refused,
    110008: Refused,
    110009: Refused,
    110010: Refused,
    110012: Refused,
    110013: Refused,
    110017: Refused,
    110020: Refused,
    110023: Refused,
    110024: Refused,
    110025: Refused,
    110028: Refused,
    110042: Refused,
    110043: Refused,
    110072: LinkIdUsed,
    110074: Refused,
    110079: OutcomeUnknown,  # "the order is processing"
    110090: Refused,
    110092: Refused,
    110093: Refused,
    110094: Refused,
    110100: Refused,
    110108: Refused,
    110109: Refused,
    110120: Refused,
    110121: Refused,
    110123: Refused,
    110124: Refused,
    110125: Refused,
    110131: Refused,
    110132: Refused,
    110136: Refused,
    170007: OutcomeUnknown,  # timeout of a backend
    170131: Refused,
    170136: Refused,
    170140: Refused,
    170141: LinkIdUsed,
    170146: OutcomeUnknown,
    170213: Refused,
    3400214: OutcomeUnknown,  # server error
    987654: OutcomeUnknown,  # new
}
OF_STATUSES: dict[int, type[Exception]] = {
    301: OutcomeUnknown,
    400: Refused,
    401: KeyRejected,
    403: NotSent,
    404: Refused,
    408: OutcomeUnknown,
    409: OutcomeUnknown,
    429: NotSent,
    500: OutcomeUnknown,
    502: OutcomeUnknown,
    503: OutcomeUnknown,
    504: OutcomeUnknown,
    520: OutcomeUnknown,
}
OF_FAULTS: list[tuple[Exception, type[Exception]]] = [
    (FailedRequestError("JSON decoding", "Conflict.", 409, "10:00:00", None), OutcomeUnknown),
    (FailedRequestError("POST", "Bad Request. Retries exceeded maximum.", 400, "10:00:00", None), OutcomeUnknown),
    (unconnected(NewConnectionError(HERE, "refused")), NotSent),
    (unconnected(NameResolutionError("api.example", HERE, OSError("no such name"))), NotSent),  # type: ignore[arg-type]
    (requests.ConnectTimeout(MaxRetryError(HERE, "/", ConnectTimeoutError("late"))), NotSent),  # type: ignore[arg-type]
    (requests.ReadTimeout("no answer"), OutcomeUnknown),
    (requests.ConnectionError(ProtocolError("aborted", ConnectionResetError(104, "reset"))), OutcomeUnknown),
    (requests.ConnectionError(ProtocolError("aborted", "closed without response")), OutcomeUnknown),
    (requests.ConnectionError(), OutcomeUnknown),
    (requests.exceptions.SSLError("handshake or later"), OutcomeUnknown),
    (requests.exceptions.ProxyError("who knows"), OutcomeUnknown),
    (requests.exceptions.ChunkedEncodingError("cut"), OutcomeUnknown),
    (requests.exceptions.ContentDecodingError("gzip"), OutcomeUnknown),
    (requests.TooManyRedirects("moved"), OutcomeUnknown),
    (ValueError("sleep length must be non-negative"), OutcomeUnknown),
    (KeyError("retMsg"), OutcomeUnknown),
    (TypeError("not subscriptable"), OutcomeUnknown),
    (AttributeError("get"), OutcomeUnknown),
    (RecursionError("nested"), OutcomeUnknown),
    (ConnectionResetError("reset"), OutcomeUnknown),
]


@pytest.mark.parametrize("code", OF_CODES, ids=str)
def test_a_code_means_one_thing_for_a_command(code: object) -> None:
    assert type(fault_of_command(coded(code), NOW_MS)) is OF_CODES[code]


@pytest.mark.parametrize("code", OF_STATUSES)
def test_a_status_means_one_thing_for_a_command(code: int) -> None:
    assert type(fault_of_command(status(code), NOW_MS)) is OF_STATUSES[code]


@pytest.mark.parametrize(("error", "meaning"), OF_FAULTS, ids=lambda each: repr(each)[:50])
def test_a_fault_means_one_thing_for_a_command(error: Exception, meaning: type[Exception]) -> None:
    assert isinstance(error, FAULTS)
    assert type(fault_of_command(error, NOW_MS)) is meaning
    assert type(fault_of_question(error)) is VenueUnavailable


def test_only_listed_codes_are_definite() -> None:
    definite = {code for code in range(-3_000, 200_000) if not _is_unknown(code)}
    assert definite == {code for code in KEY_CODES | NOT_SENT_CODES | REFUSED_CODES if code < 200_000}
    assert not KEY_CODES & NOT_SENT_CODES
    assert not (KEY_CODES | NOT_SENT_CODES) & REFUSED_CODES


def _is_unknown(code: int) -> bool:
    return type(fault_of_command(coded(code), NOW_MS)) is OutcomeUnknown


@pytest.mark.parametrize("code", [0, 10001, 10006, 10016, 110079, 987654])
def test_a_question_may_be_asked_again(code: int) -> None:
    assert type(fault_of_question(coded(code))) is VenueUnavailable


@pytest.mark.parametrize("code", sorted(KEY_CODES - {401}))
def test_a_question_with_a_rejected_key_may_not(code: int) -> None:
    assert type(fault_of_question(coded(code))) is KeyRejected
    assert type(fault_of_question(status(401))) is KeyRejected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1700000000250", 0.25), ("1600000000000", 0), ("1900000000000", 2.0), ("", 1.0), ("soon", 1.0), ("١", 1.0)],
)
def test_a_rate_limit_holds_for_a_bounded_time(text: str, seconds: float) -> None:
    headers = {"X-Bapi-Limit-Reset-Timestamp": text}
    assert limit_reset_s(headers, NOW_MS) == seconds
    fault = fault_of_command(coded(10006, headers), NOW_MS)
    assert isinstance(fault, NotSent)
    assert fault.wait_s == seconds
    assert limit_reset_s(None, NOW_MS) == 1.0


def test_the_exchanges_words_are_bounded_and_fit_into_a_text_of_the_database() -> None:
    refused = fault_of_command(InvalidRequestError("POST", "no\x00 \ud800" + "w" * 10_000, 110007, "", {}), NOW_MS)
    assert isinstance(refused, Refused)
    assert refused.message == f"{WORDS[110007]} (no? ?{'w' * 295})"


def test_a_stop_that_the_price_has_passed_is_told_from_one_that_is_not_valid() -> None:
    words = "StopLoss:40000 set for Buy position should lower than base_price:39000??LastPrice"
    passed = fault_of_command(InvalidRequestError("POST", words, 10001, "", {}), NOW_MS)
    invalid = fault_of_command(InvalidRequestError("POST", "StopLoss invalid", 10001, "", {}), NOW_MS)
    assert (type(passed), type(invalid)) == (StopPassed, Refused)


def test_a_refused_timestamp_names_the_exchanges_clock() -> None:
    words = "invalid request, please check your server timestamp or recv_window param. "
    numbers = "req_timestamp[1678623600260],server_timestamp[1678623606869],recv_window[5000]"
    error = InvalidRequestError("POST", words + numbers, 10002, "10:00:00", {})
    assert server_time_of(error) == 1_678_623_606_869
    assert server_time_of(coded(10002)) is None
    assert server_time_of(InvalidRequestError("POST", numbers, 10001, "", {})) is None


def test_a_tenant_reads_a_sentence_with_the_code() -> None:
    fault = fault_of_command(coded(110007), 0)
    assert str(fault) == ("Your balance on the exchange is not sufficient for this order. (words) (code 110007)")
    assert explain(99, "Something else") == "Something else"


def test_every_sentence_is_of_a_code_that_is_a_refusal() -> None:
    assert set(WORDS) - {10006} <= KEY_CODES | REFUSED_CODES
    assert all(words.endswith(".") and words[0].isupper() for words in WORDS.values())
