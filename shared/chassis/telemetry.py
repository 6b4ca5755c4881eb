"""Structured logs with secrets redacted, metrics, and the trace of a request across Kafka."""

import logging
import re
import secrets
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import TextIO

import structlog
from prometheus_client import Counter, Gauge, Histogram
from structlog.tracebacks import ExceptionDictTransformer

traceparent: ContextVar[str] = ContextVar("traceparent", default="")
request_id: ContextVar[str] = ContextVar("request_id", default="")
# While a batch of events is handled: the trace of each tenant's event, continued in the events that it causes.
_causes: ContextVar[Mapping[int, str] | None] = ContextVar("causes", default=None)

HTTP_REQUESTS = Counter("http_requests_total", "Requests answered", ["method", "route", "status"])
HTTP_PROBLEMS = Counter("http_problems_total", "Requests answered with a problem, by its type", ["type"])
HTTP_SECONDS = Histogram("http_request_seconds", "Time to answer", ["method", "route"])
EVENTS_SENT = Counter("outbox_sent_total", "Outbox rows acknowledged by the broker", ["topic"])
EVENTS_DEAD = Counter("outbox_dead_total", "Outbox rows that can never be sent", ["topic"])
OUTBOX_WAITING = Gauge("outbox_waiting", "Outbox rows not yet sent")
OUTBOX_OLDEST_S = Gauge("outbox_oldest_seconds", "Age of the oldest outbox row not yet sent")
OLDEST_TRANSACTION_S = Gauge("postgres_oldest_transaction_seconds", "How long the oldest transaction has been open")
EVENTS_CONSUMED = Counter("events_consumed_total", "Events handled", ["topic"])
EVENTS_DUPLICATE = Counter("events_duplicate_total", "Events already known to the inbox", ["topic"])
EVENTS_PARKED = Counter("events_parked_total", "Events parked", ["topic"])
EVENTS_TOO_NEW = Counter("events_too_new_total", "Events newer than this program; their keys wait", ["topic"])
EVENTS_FORGED = Counter("events_forged_total", "Events that their sender may not publish", ["topic"])
CONSUMER_LAG = Gauge("consumer_lag", "Unread messages in this member's partitions", ["group"])
EVENTS_ALTERED = Counter("events_altered_total", "Known event ids received with another body", ["topic"])

_TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_SECRET_NAMES = ("password", "secret", "token", "authorization", "dsn", "api_key", "private", "cookie")


def new_traceparent(incoming: str | None = None) -> str:
    """Continue the caller's trace in a new span, or start a new trace."""
    drawn = secrets.token_hex(24)
    trace = incoming[3:35] if incoming and _TRACEPARENT.match(incoming) else drawn[:32]
    return f"00-{trace}-{drawn[32:]}-01"


def set_cause_traces(traces: Mapping[int, str]) -> None:
    """Set the trace of each tenant's event in the batch that is handled next, by user id."""
    _causes.set(traces)


def trace_for(user_id: int | None) -> str:
    """Return the traceparent for a new event of this tenant: that of the event or request that caused it."""
    causes = _causes.get()
    if causes and user_id is not None and user_id in causes:
        return new_traceparent(causes[user_id])
    return traceparent.get() or new_traceparent()


@lru_cache(maxsize=10_000)
def is_secret(name: str) -> bool:
    """Return whether a value of this name must be redacted."""
    return any(word in name.lower() for word in _SECRET_NAMES)


def _redact(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    for name in event:
        if is_secret(name):
            event[name] = "[redacted]"
    return event


def _add_context(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    for name, variable in (("request_id", request_id), ("traceparent", traceparent)):
        if value := variable.get():
            event.setdefault(name, value)
    return event


def configure_logging(service: str, level: str = "INFO", stream: TextIO = sys.stdout) -> None:
    """Log one JSON object per line, including the standard library's loggers from WARNING on."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_context,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            _redact,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = _ToStructlog()
    logging.basicConfig(handlers=[handler], level=max(numeric, logging.WARNING), force=True)


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
