"""Faults of requests on demand: which calls they hit, and what becomes of those."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase

from sandbox.bybit.fields import set_fields
from sandbox.bybit.messages import Json

ACTIONS = ("cut", "hang", "delay", "answer", "ret_code", "truncate", "empty_list", "race")
MAX_FAULTS = 1_000
MAX_MS = 3_600_000

# Bybit's words for the codes that a fault may return.
WORDS = {
    10001: "params error",
    10002: "invalid request, please check your server timestamp or recv_window param.",
    10003: "API key is invalid.",
    10004: "error sign! Please check your signature generation algorithm.",
    10005: "Permission denied, please check your API key permissions.",
    10006: "Too many visits. Exceeded the API Rate Limit.",
    10008: "User has been banned.",
    10009: "IP has been banned.",
    10010: "Unmatched IP, please check your API key's bound IP addresses.",
    10014: "Invalid duplicate request.",
    10016: "Server error.",
    10017: "Route not found.",
    10019: "Service is restarting, please retry later.",
    10024: "Compliance rules are triggered.",
    10027: "Transactions are banned.",
    10028: "The API can only be accessed by unified account users.",
    10029: "The requested symbol is invalid, please check symbol whitelist.",
    33004: "Your api key has expired.",
    110079: "The order is processing and can not be operated, please try again later",
}


@dataclass
class Fault:
    """`route` is a pattern as of the shell (`/v5/order/*`). The first call that is hit is the `nth` of those that
    match route, account and payload (a part of the raw query or body); `times` calls are hit, None: all, and only
    within `for_ms` of the fault's creation. With `when` "after" the call is carried out first.

    - `cut` closes the connection; `hang` keeps it open for `ms` without an answer, then closes it
    - `delay` waits `ms`
    - `answer` answers with `status`, `content_type` and `body`; `ret_code` with `code` and `message`
    - `truncate` sends the first `length` bytes of the true answer; `empty_list` empties its list
    - `race` lets the order that a cancellation names fill first
    """

    number: int
    created_ms: int
    action: str
    route: str = "/v5/*"
    account: str | None = None
    payload: str = ""
    when: str = "before"
    nth: int = 1
    times: int | None = 1
    for_ms: int | None = None
    ms: int = 0
    status: int = 502
    content_type: str = "text/html"
    body: str = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"
    code: int = 10016
    message: str = ""
    reset_in_ms: int | None = None  # of X-Bapi-Limit-Reset-Timestamp, from now; negative: past
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int = 20
    seen: int = 0
    hits: int = 0

    @property
    def words(self) -> str:
        return self.message or WORDS.get(self.code, "error")

    def matches(self, route: str, uid: str, payload: str) -> bool:
        return (
            fnmatchcase(route, self.route)
            and (self.account is None or self.account == uid)
            and self.payload in payload
        )


SETTABLE = {each.name for each in fields(Fault)} - {"number", "created_ms", "seen", "hits"}


class Faults:
    """The faults that wait to be hit, in the order of their creation."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._last = 0

    def add(self, given: Mapping[str, object], now_ms: int) -> Fault:
        """Raises ValueError."""
        if len(self._faults) >= MAX_FAULTS:
            raise ValueError(f"there are {MAX_FAULTS} faults already")
        fault = Fault(self._last + 1, now_ms, action="")
        set_fields(fault, given, SETTABLE)
        _check(fault)
        self._last = fault.number
        self._faults[fault.number] = fault
        return fault

    def hit(self, route: str, uid: str, payload: str, now_ms: int) -> Fault | None:
        """Count a call. Return the first fault that hits it."""
        chosen = None
        for fault in self._faults.values():
            if fault.for_ms is not None and now_ms >= fault.created_ms + fault.for_ms:
                continue
            if not fault.matches(route, uid, payload):
                continue
            fault.seen += 1
            if chosen is None and fault.seen >= fault.nth and (fault.times is None or fault.hits < fault.times):
                fault.hits += 1
                chosen = fault
        return chosen

    def remove(self, number: int | None = None) -> int:
        """Remove one fault, or all. Return how many there were."""
        numbers = list(self._faults) if number is None else [number]
        return sum(self._faults.pop(each, None) is not None for each in numbers)

    def views(self) -> list[Json]:
        return [asdict(fault) for fault in self._faults.values()]


def _check(fault: Fault) -> None:
    if fault.action not in ACTIONS:
        raise ValueError(f"action must be one of {', '.join(ACTIONS)}")
    if fault.when not in ("before", "after"):
        raise ValueError("when must be before or after")
    if fault.nth < 1 or (fault.times is not None and fault.times < 1):
        raise ValueError("nth and times must be at least 1")
    if not (0 <= fault.ms <= MAX_MS and 0 <= (fault.for_ms or 0) <= MAX_MS):
        raise ValueError(f"ms and for_ms must be from 0 to {MAX_MS}")
    if not 200 <= fault.status <= 599:
        raise ValueError("status must be from 200 to 599")
