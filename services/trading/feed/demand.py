"""Which series somebody wants, read from `market.interest` from its beginning on, also while standing by."""

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
from shared.chassis.events.plausible_versions import refuse_leap
from shared.chassis.infrastructure_faults import AWAY
from shared.chassis.pause import pause
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.market import MarketInterest
from shared.contracts.types import SYMBOL_PATTERN
from shared.strategy.bars import INTERVAL_MS

KEEP_UNWANTED = timedelta(minutes=10)
READ_WAIT_MS = 200
RETRY_S = 1.0
RETRY_PARKED_EVERY_S = 1.0
MOST_HISTORY_BARS = 1_000_000
CONSUMER = "trading-feed"

log = structlog.get_logger()


@dataclass(frozen=True)
class SeriesDemand:
    """What all together want of a series: so many bars of history, and the generations that sessions are on.

    None: some may be on any, as they have said so or have said nothing for a moment only.
    """

    history_bars: int = 0
    generations: frozenset[int] | None = None

    def keeps(self, generation: int) -> bool:
        return self.generations is None or generation in self.generations


class DemandedSeries:
    """The latest word of each who wishes; a series stays for a while after the last wish."""

    def __init__(self) -> None:
        self._wished: dict[SeriesKey, dict[str, MarketInterest]] = {}
        self._dropped_at: dict[SeriesKey, datetime] = {}
        self._changed_at: dict[SeriesKey, datetime] = {}

    def hear(self, wish: MarketInterest, now: datetime) -> None:
        """Raises PoisonError for what names no series."""
        if wish.interval not in INTERVAL_MS or not re.fullmatch(SYMBOL_PATTERN, wish.symbol):
            raise PoisonError("symbol, interval: name no series")
        if wish.history_bars > MOST_HISTORY_BARS:
            raise PoisonError("history_bars: more than any indicator needs")
        series = (wish.symbol, wish.interval)
        known = self._wished.setdefault(series, {})
        before = known.get(wish.wished_by)
        if before is not None and wish.interest_version <= before.interest_version:
            return
        refuse_leap(wish, wish.interest_version, before.interest_version if before else None)
        known[wish.wished_by] = wish
        changed_at = min(wish.said_at or now, now)
        self._changed_at[series] = max(changed_at, self._changed_at.get(series, changed_at))
        if any(each.wanted for each in known.values()):
            self._dropped_at.pop(series, None)
        else:
            self._dropped_at[series] = changed_at

    def wanted(self, now: datetime) -> set[SeriesKey]:
        return {
            series
            for series in self._wished
            if series not in self._dropped_at or now - self._dropped_at[series] < KEEP_UNWANTED
        }

    def is_needed(self, series: SeriesKey) -> bool:
        """Whether anybody wants it now, and not only until a moment ago."""
        return series in self._wished and series not in self._dropped_at

    def of(self, series: SeriesKey, now: datetime) -> SeriesDemand:
        """A generation is kept for a while after the last wish too."""
        wishes = [each for each in self._wished.get(series, {}).values() if each.wanted]
        needed = max((each.history_bars for each in wishes), default=0)
        if series not in self._changed_at or now - self._changed_at[series] < KEEP_UNWANTED:
            return SeriesDemand(needed)
        return SeriesDemand(needed, frozenset(generation for each in wishes for generation in each.generations))

    async def listen(self, settings: ServiceSettings, database: Database, stop: asyncio.Event) -> None:
        """Until told to stop; again from the beginning when the broker was away: the versions tell what is new.

        What cannot be read is set aside, and the demand for the other series is read on.
        """
        inbox = MarketInbox(database, CONSUMER, MarketInterest, self._hear_all, in_order=False)
        while not stop.is_set():
            reader = PartitionReader(settings.kafka, settings.kafka_topic_prefix, [MarketInterest], from_end=False)
            try:
                await reader.start()
                await self._read(reader, inbox, stop)
            except (*AWAY, KafkaError, OSError) as error:
                log.warning("wishes_retry", error=repr(error))
                await pause(stop, RETRY_S)
            finally:
                await reader.stop()

    async def _read(self, reader: PartitionReader, inbox: MarketInbox[MarketInterest], stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        retried_at = loop.time()
        while not stop.is_set():
            if received := await reader.read(READ_WAIT_MS):
                await inbox.work(received)
            if loop.time() - retried_at > RETRY_PARKED_EVERY_S:
                await inbox.retry_parked()
                retried_at = loop.time()

    async def _hear_all(self, wishes: Sequence[MarketInterest]) -> None:
        for wish in wishes:
            self.hear(wish, utc_now())
