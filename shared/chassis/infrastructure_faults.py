"""The faults of the infrastructure, listed class by class; any other fault is blamed on the event that met it."""

import socket

import asyncpg
from aiokafka.errors import KafkaError

from shared.chassis.errors import HistoryTooShort, Unavailable
from shared.chassis.postgres import LOST_CONNECTION

RETRYABLE_FAULTS = (
    # No connection. Not OSError as a whole: a file that is not a time zone raises one too.
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    *(fault for fault in LOST_CONNECTION if fault is not OSError),
    # The server is up but cannot serve.
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    # A conflict with another transaction.
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    # The schema changed during the connection.
    asyncpg.InvalidCachedStatementError,
    # Another service does not answer.
    Unavailable,
)


def is_infrastructure(error: BaseException) -> bool:
    """Return whether the same operation may succeed later, whichever event it handles."""
    if isinstance(error, KafkaError):
        return bool(error.retriable)
    return isinstance(error, RETRYABLE_FAULTS) and not isinstance(error, HistoryTooShort)
