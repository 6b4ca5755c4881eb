"""Follows `login.ended` in every process that serves HTTP."""

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
    """Reads every partition without a group, from so far back that no token of an ended login is still good.

    While the broker is away the tokens of logins that end meanwhile go on until they expire, ten minutes at most:
    nobody is refused because Kafka is.
    """

    def __init__(self, kafka: KafkaAccess | str, topic_prefix: str, ended: EndedLogins) -> None:
        self._kafka = kafka
        self._prefix = topic_prefix
        self._ended = ended
        self._caught_up = False

    @property
    def fault(self) -> str:
        """Until what had ended before this process began is known."""
        return "" if self._caught_up else "the logins that have ended are not read yet"

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop, whatever happens to the broker."""
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
    """Of a newer version too: its fields are only added to, and a login that has ended is refused in any case."""
    if isinstance(item.event, LoginEnded):
        return item.event
    if item.needs_version:
        with suppress(ValidationError):
            return LoginEnded.model_validate_json(item.payload)
    return None
