"""The infrastructure faults of handling an event; any other fault is blamed on the event that met it."""

import socket

from aiokafka.errors import KafkaError

from shared.chassis.errors import HistoryTooShort, Unavailable
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS

RETRYABLE_FAULTS = (
    # Not OSError as a whole: a file that is not a time zone raises one too.
    *(fault for fault in INFRASTRUCTURE_FAULTS if fault is not OSError),
    ConnectionError,
    socket.gaierror,
    Unavailable,  # another service does not answer
)


def is_infrastructure(error: BaseException) -> bool:
    """Return whether the same operation may succeed later, whichever event it handles."""
    if isinstance(error, KafkaError):
        return bool(error.retriable)
    return isinstance(error, RETRYABLE_FAULTS) and not isinstance(error, HistoryTooShort)
