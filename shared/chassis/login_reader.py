"""Reads `login.ended` in every process that serves HTTP."""

import asyncio
from contextlib import suppress

import structlog
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from shared.chassis.ended_logins import KEPT_FOR, EndedLogins
from shared.chassis.events.broker_access import KafkaAccess
from shared.chassis.events.decoding import Received
from shared.chassis.events.handlers import PartitionReader
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS
from shared.contracts.auth import LoginEnded

START_TIMEOUT_S = 20
RETRY_S = 0.5

log = structlog.get_logger()


class LoginReader:
    """Reads every partition without a group, far enough back to know every ended login with unexpired tokens.

    While the broker is unavailable, the tokens of logins that end meanwhile stay valid until they expire, ten
    minutes at most: an outage of Kafka locks no user out.
    """

    def __init__(self, kafka: KafkaAccess | str, topic_prefix: str, ended: EndedLogins) -> None:
        self._kafka = kafka
        self._prefix = topic_prefix
        self._ended = ended
        self._caught_up = False

    @property
    def fault(self) -> str:
        """Set until the logins that ended before this process started are read."""
        return "" if self._caught_up else "the logins that have ended are not read yet"

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set, restarting after any fault of the broker."""
        while not stop.is_set():
            reader = PartitionReader(
                self._kafka, self._prefix, [LoginEnded], from_end=False, reaching_back=KEPT_FOR
            )
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await reader.start()
                while not stop.is_set():
                    self._take(await reader.read())
                    self._caught_up = self._caught_up or await reader.caught_up()
            except (*INFRASTRUCTURE_FAULTS, KafkaError) as error:
                log.warning("login_reader_restarts", error=repr(error))
                await pause(stop, RETRY_S)
            finally:
                await reader.stop()

    def _take(self, received: list[Received]) -> None:
        for item in received:
            if (event := _login_ended(item)) is not None:
                self._ended.add(event.login_id, event.at)
            else:
                log.error("login_ended_unreadable", reason=item.fault, offset=item.offset)


def _login_ended(item: Received) -> LoginEnded | None:
    """Return the event, also one of a newer version: versions only add fields, and an ended login must be refused
    in any case."""
    if isinstance(item.event, LoginEnded):
        return item.event
    if item.needs_version:
        with suppress(ValidationError):
            return LoginEnded.model_validate_json(item.payload)
    return None
