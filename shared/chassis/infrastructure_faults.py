"""Which faults are the infrastructure's, named class by class: any other is a fault of the event that met it."""

import socket

import asyncpg
from aiokafka.errors import KafkaError

from shared.chassis.errors import HistoryTooShort, Unavailable
from shared.chassis.postgres import LOST_CONNECTION

AWAY = (
    # No connection. Not OSError: a file that is no zone is one too.
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    *(fault for fault in LOST_CONNECTION if fault is not OSError),
    # The server is there and cannot serve.
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    # It was not our turn.
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    # The schema was changed under the connection.
    asyncpg.InvalidCachedStatementError,
    # Another service does not answer.
    Unavailable,
)


def is_infrastructure(error: BaseException) -> bool:
    """Whether the same work may succeed later, whatever event it is about."""
    if isinstance(error, KafkaError):
        return bool(error.retriable)
    return isinstance(error, AWAY) and not isinstance(error, HistoryTooShort)
