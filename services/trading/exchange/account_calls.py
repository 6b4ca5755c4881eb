"""One account's commands and questions: admitted by the limits, run in the tenant's threads, and classified."""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
from prometheus_client import Counter

from services.trading.exchange.account_api import AccountApi, Answer
from services.trading.exchange.messages import Row
from services.trading.exchange.outcomes import (
    BAN_S,
    FAULTS,
    RATE_LIMIT,
    TIMESTAMP,
    fault_of_command,
    fault_of_question,
    is_banned,
    limit_reset_s,
)
from services.trading.exchange.rate_budget import Ticket
from services.trading.exchange.request_gate import LONGEST_WAIT_S, NoRoom, RequestGate
from services.trading.exchange.request_window import Lane
from services.trading.exchange.signing_clock import SigningClock
from services.trading.exchange.tenant_threads import NotStarted, StillRunning, TenantThreads
from services.trading.exchange.venue import NotSent, OutcomeUnknown, Refused, VenueUnavailable

CALL_S = 6.0  # from the turn of a request to its answer
ATTEMPTS = 3  # of a request that the exchange turned away because of its time or a rate limit
NO_ROOM_S = 1.0

REQUESTS = Counter("exchange_requests_total", "Requests to the exchange, by what came of them", ["path", "outcome"])

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AccountKey:
    """Whose requests these are. `uid` is the exchange's: two keys of one account share its limits."""

    tenant: int
    uid: str
    address: str  # the name of the limit per address


@dataclass(slots=True)
class _Request:
    ticket: Ticket
    abandoned: bool = False  # nothing waits for the answer any more


class AccountCalls:
    def __init__(
        self, key: AccountKey, api: AccountApi, clock: SigningClock, gate: RequestGate, threads: TenantThreads
    ) -> None:
        self._key = key
        self._api = api
        self._clock = clock
        self._gate = gate
        self._threads = threads
        self._bans: set[asyncio.Task[None]] = set()

    async def command(
        self,
        lane: Lane,
        path: str,
        body: Mapping[str, object],
        done: Collection[int] = (),
        until: float | None = None,
    ) -> Row | None:
        """Return the result, or None if the exchange refused with a code of `done`. Raises as a command.

        `until`: the command is not sent after it, by the loop's clock.
        If the task is cancelled meanwhile, the outcome is unknown; what comes of it later is logged.
        """
        try:
            result: Row = (await self._send("POST", lane, path, body, until)).result
            return result
        except (NoRoom, NotStarted):
            raise NotSent("the limits have no room for the command", NO_ROOM_S) from None
        except StillRunning:
            raise OutcomeUnknown("no answer in time") from None
        except FAULTS as error:
            fault = fault_of_command(error, self._clock.now_ms())
            if isinstance(fault, Refused) and fault.code in done:
                return None
            raise fault from error

    async def question(self, lane: Lane, path: str, query: Mapping[str, object], read: Callable[[Answer], T]) -> T:
        """Return what `read` makes of the answer. Raises KeyRejected, VenueUnavailable."""
        try:
            return read(await self._send("GET", lane, path, query))
        except (NoRoom, NotStarted):
            raise VenueUnavailable("the limits have no room for the question") from None
        except StillRunning:
            raise VenueUnavailable("no answer in time") from None
        except FAULTS as error:
            raise fault_of_question(error) from error

    async def _send(
        self, method: str, lane: Lane, path: str, values: Mapping[str, object], until: float | None = None
    ) -> Answer:
        """Send a request, again if its time or a rate limit was the reason why it was not carried out."""
        deadline = asyncio.get_running_loop().time() + LONGEST_WAIT_S[lane]
        if until is not None:
            deadline = min(deadline, until)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._send_once(method, lane, path, values, deadline)
            except FAULTS as error:
                code = getattr(error, "status_code", None)
                if attempt == ATTEMPTS or code not in (TIMESTAMP, RATE_LIMIT):
                    raise
        raise AssertionError("unreachable")

    async def _send_once(
        self, method: str, lane: Lane, path: str, values: Mapping[str, object], deadline: float
    ) -> Answer:
        ticket = Ticket(self._key.tenant, self._key.uid, self._key.address, path, lane)
        request = _Request(ticket)
        await self._gate.admit(ticket, deadline)
        try:
            return await self._threads.run(
                self._key.tenant,
                partial(self._api.send, method, path, values),
                partial(self._on_end, request),
                CALL_S,
                patient=lane is Lane.POLL,
                start_by=deadline if lane is Lane.ENTRY else math.inf,
            )
        except (StillRunning, asyncio.CancelledError):
            request.abandoned = True
            raise

    def _on_end(self, request: _Request, call: Future[Answer] | None) -> None:
        """Report to the limits what the answer shows, before the request ends for them."""
        ticket = request.ticket
        error = call.exception() if call is not None else None
        headers = call.result().headers if call is not None and error is None else _headers_of(error)
        outcome = "never_ran" if call is None else _name_of(error)
        REQUESTS.labels(ticket.path, outcome).inc()
        if request.abandoned and call is not None:
            log.warning("exchange_request_ended_late", path=ticket.path, user_id=ticket.tenant, outcome=outcome)
        if getattr(error, "status_code", None) == RATE_LIMIT:
            self._gate.block_account(ticket, limit_reset_s(headers, self._clock.now_ms()))
        if isinstance(error, Exception) and is_banned(error):
            ban = asyncio.get_running_loop().create_task(self._gate.block_address(ticket, BAN_S))
            self._bans.add(ban)
            ban.add_done_callback(self._bans.discard)
        self._gate.end(ticket, headers)


def _headers_of(error: BaseException | None) -> Mapping[str, str] | None:
    headers: Mapping[str, str] | None = getattr(error, "resp_headers", None)
    return headers


def _name_of(error: BaseException | None) -> str:
    """Return the code or status of the answer, or the fault that came instead."""
    if error is None:
        return "0"
    return str(getattr(error, "status_code", type(error).__name__))[:20]
