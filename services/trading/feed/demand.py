"""The demand for series, read from `market.interest` from its beginning; also while this feed is on standby."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from aiokafka.errors import KafkaError

from services.trading.bybit_stream_api import SeriesKey
from shared.chassis.clock import utc_now
from shared.chassis.errors import PoisonError
from shared.chassis.events.handlers import PartitionReader
from shared.chassis.events.inbox import MarketInbox
from shared.chassis.events.plausible_versions import check_version_step
from shared.chassis.infrastructure_faults import RETRYABLE_FAULTS
from shared.chassis.pause import pause
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.market import MarketInterest
from shared.contracts.types import SYMBOL_PATTERN
from shared.strategy.bars import INTERVAL_MS

DROP_AFTER = timedelta(minutes=10)
READ_WAIT_MS = 1_000
RETRY_S = 1.0
RETRY_PARKED_EVERY_S = 1.0
MAX_HISTORY_BARS = 1_000_000
CONSUMER = "trading-feed"

log = structlog.get_logger()


@dataclass(frozen=True)
class SeriesDemand:
    """The combined demand for a series: bars of history, and the generations that sessions run on.

    `generations` is None while the demand is new or changed recently: sessions may then be on any generation.
    """

    history_bars: int = 0
    generations: frozenset[int] | None = None

    def includes(self, generation: int) -> bool:
        return self.generations is None or generation in self.generations


class DemandedSeries:
    """Keeps the latest demand of each service. A series stays listed for `DROP_AFTER` after demand for it ends."""

    def __init__(self) -> None:
        self._interests: dict[SeriesKey, dict[str, MarketInterest]] = {}
        self._dropped_at: dict[SeriesKey, datetime] = {}
        self._changed_at: dict[SeriesKey, datetime] = {}
        self.changed = asyncio.Event()

    def record(self, interest: MarketInterest, now: datetime) -> None:
        """Store the demand of one message, unless a newer version is known. Raises PoisonError if it is invalid."""
        if interest.interval not in INTERVAL_MS or not re.fullmatch(SYMBOL_PATTERN, interest.symbol):
            raise PoisonError("symbol, interval: not a series")
        if interest.history_bars > MAX_HISTORY_BARS:
            raise PoisonError(f"history_bars: must be at most {MAX_HISTORY_BARS}")
        series = (interest.symbol, interest.interval)
        known = self._interests.setdefault(series, {})
        before = known.get(interest.wished_by)
        if before is not None and interest.interest_version <= before.interest_version:
            return
        check_version_step(interest, interest.interest_version, before.interest_version if before else None)
        known[interest.wished_by] = interest
        self.changed.set()
        changed_at = min(interest.published_at or now, now)
        self._changed_at[series] = max(changed_at, self._changed_at.get(series, changed_at))
        if any(each.wanted for each in known.values()):
            self._dropped_at.pop(series, None)
        else:
            self._dropped_at[series] = changed_at

    def list_series(self, now: datetime) -> set[SeriesKey]:
        """Return the series to follow: those in demand, and those whose demand ended recently."""
        return {
            series
            for series in self._interests
            if series not in self._dropped_at or now - self._dropped_at[series] < DROP_AFTER
        }

    def has_demand(self, series: SeriesKey) -> bool:
        """Return whether any service demands the series now; demand that ended recently does not count."""
        return series in self._interests and series not in self._dropped_at

    def demand_for(self, series: SeriesKey, now: datetime) -> SeriesDemand:
        """Return the series' demand. For `DROP_AFTER` after its last change it includes every generation."""
        interests = [each for each in self._interests.get(series, {}).values() if each.wanted]
        needed = max((each.history_bars for each in interests), default=0)
        if series not in self._changed_at or now - self._changed_at[series] < DROP_AFTER:
            return SeriesDemand(needed)
        return SeriesDemand(needed, frozenset(generation for each in interests for generation in each.generations))

    async def consume(self, settings: ServiceSettings, database: Database, stop: asyncio.Event) -> None:
        """Consume the topic until `stop` is set. A message that cannot be handled is parked and delays no others.

        After an outage of the broker the topic is read again from the beginning; versions show what is new.
        """
        inbox = MarketInbox(database, CONSUMER, MarketInterest, self._record_all, in_order=False)
        while not stop.is_set():
            reader = PartitionReader(settings.kafka, settings.kafka_topic_prefix, [MarketInterest], from_end=False)
            try:
                await reader.start()
                await self._read(reader, inbox, stop)
            except (*RETRYABLE_FAULTS, KafkaError, OSError) as error:
                log.warning("demand_retries", error=repr(error))
                await pause(stop, RETRY_S)
            finally:
                await reader.stop()

    async def _read(self, reader: PartitionReader, inbox: MarketInbox[MarketInterest], stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        retried_at = loop.time()
        while not stop.is_set():
            if received := await reader.read(READ_WAIT_MS, stop):
                await inbox.process(received)
            if loop.time() - retried_at > RETRY_PARKED_EVERY_S:
                await inbox.retry_parked()
                retried_at = loop.time()

    async def _record_all(self, interests: Sequence[MarketInterest]) -> None:
        for interest in interests:
            self.record(interest, utc_now())
