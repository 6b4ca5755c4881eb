"""Reads `login.ended` and `quota.changed` in every process that serves HTTP, which then refuses requests."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from shared.chassis.clock import utc_now
from shared.chassis.ended_logins import KEPT_FOR, EndedLogins
from shared.chassis.events.broker_access import KafkaAccess
from shared.chassis.events.decoding import Received
from shared.chassis.events.handlers import PartitionReader
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS
from shared.chassis.quota.quotas import Quotas
from shared.contracts.auth import LoginEnded
from shared.contracts.billing import QuotaChanged

QUOTAS_SINCE = timedelta(hours=25)  # more than the UTC day for which a state is valid
START_TIMEOUT_S = 20
RETRY_S = 0.5

log = structlog.get_logger()


class AccessReader:
    """Reads every partition without a group, far enough back to know every ended login with unexpired tokens and
    every quota that is exhausted today.

    While the broker is unavailable, the tokens of logins that end meanwhile stay valid until they expire, ten
    minutes at most, and no further quota is exhausted: an outage of Kafka locks no user out.
    """

    def __init__(self, kafka: KafkaAccess | str, topic_prefix: str, ended: EndedLogins, quotas: Quotas) -> None:
        self._kafka = kafka
        self._prefix = topic_prefix
        self._ended = ended
        self._quotas = quotas
        self._caught_up = False

    @property
    def fault(self) -> str:
        """Set until the events from before this process started are read."""
        return "" if self._caught_up else "ended logins and exhausted quotas are not read yet"

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set, restarting after any fault of the broker."""
        while not stop.is_set():
            reader = PartitionReader(
                self._kafka,
                self._prefix,
                [LoginEnded, QuotaChanged],
                from_end=False,
                reaching_back={LoginEnded.topic: KEPT_FOR, QuotaChanged.topic: QUOTAS_SINCE},
            )
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await reader.start()
                while not stop.is_set():
                    self._caught_up = self._caught_up or await reader.caught_up()
                    self._take(await reader.read(stop=stop))
            except (*INFRASTRUCTURE_FAULTS, KafkaError) as error:
                log.warning("access_reader_restarts", error=repr(error))
                await pause(stop, RETRY_S)
            finally:
                await reader.stop()

    def _take(self, received: list[Received]) -> None:
        for item in received:
            if (ended := _login_ended(item)) is not None:
                self._ended.add(ended.login_id, ended.at)
            elif isinstance(item.event, QuotaChanged):
                self._quotas.apply(item.event, utc_now())
            else:
                log.error("access_event_unreadable", topic=item.topic, reason=item.fault, offset=item.offset)


def _login_ended(item: Received) -> LoginEnded | None:
    """Return the event, also one of a newer version: versions only add fields, and an ended login must be refused
    in any case."""
    if isinstance(item.event, LoginEnded):
        return item.event
    if item.needs_version and item.topic == LoginEnded.topic:
        with suppress(ValidationError):
            return LoginEnded.model_validate_json(item.payload)
    return None
