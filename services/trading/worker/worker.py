"""The worker: claims sessions, keeps their leases, reads all candles, and steps what it holds."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from aiokafka.errors import KafkaError

from services.trading.bybit_api import VENUE
from services.trading.domain import LONGEST_SILENCE
from services.trading.operations.alarms import alarm_failure
from services.trading.queries import candles, leases
from services.trading.queries.sessions import SessionLease
from services.trading.venue_clock import VenueClock
from services.trading.worker.candle_intake import Candle, CandleIntake, check_bar
from services.trading.worker.candle_repair import Mender
from services.trading.worker.live_series import LiveSeries
from services.trading.worker.live_session import STEP_FAULTS, LiveSession, load_session
from services.trading.worker.overdue_bars import Waits
from shared.chassis.clock import utc_now
from shared.chassis.crash_points import point
from shared.chassis.events.decoding import Received
from shared.chassis.events.handlers import PartitionReader
from shared.chassis.infrastructure_faults import AWAY, is_infrastructure
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.market import CandleClosed, CandleOpened

RENEW_EVERY_S = 3.0
CLAIM_EVERY_S = 0.2
READ_WAIT_MS = 20
WATCH_EVERY_S = 1.0  # series that say nothing, or cannot go on
CLAIM_AT_ONCE = 500

log = structlog.get_logger()

SeriesKey = tuple[str, str, int]


class Worker:
    """Everything it knows can be lost: the leases, cursors and snapshots in the database are the truth."""

    def __init__(
        self,
        database: Database,
        settings: ServiceSettings,
        clock: VenueClock,
        patience: timedelta = LONGEST_SILENCE,
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._patience = patience
        self._mender = Mender(database, clock.api)
        self._name = str(uuid4())
        self._intake = CandleIntake(database, self._step_again)
        self._forget()

    def _forget(self) -> None:
        self._held: dict[UUID, SessionLease] = {}
        self._series: dict[SeriesKey, LiveSeries] = {}
        self._waiting: set[UUID] = set()  # held, and not yet followed: the series is not there, or it was dropped
        self._failed: dict[UUID, int] = {}  # not to be stepped again under this epoch
        self._untold: list[SessionLease] = []  # failed, and their tenants do not know
        self._waits = Waits(self._database, self._clock, self._patience / 2)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; then the leases are let go at once. After a fault everything is taken up anew."""
        while not stop.is_set():
            self._name = str(uuid4())
            self._forget()
            reader = PartitionReader(
                self._settings.kafka,
                self._settings.kafka_topic_prefix,
                [CandleOpened, CandleClosed],
                from_end=True,
            )
            try:
                await reader.start()
                async with self._database.queue() as connection:
                    await leases.heartbeat(connection, self._name)
                await self._work(reader, stop)
            except (*AWAY, KafkaError, OSError) as error:
                log.warning("worker_begins_anew", worker=self._name, error=repr(error))
                await pause(stop, 0.5)
            finally:
                await reader.stop()
                await self._release()

    async def _work(self, reader: PartitionReader, stop: asyncio.Event) -> None:
        over = asyncio.Event()
        claiming = asyncio.create_task(self._keep_leases(over))
        try:
            last_claim = last_look = 0.0
            loop = asyncio.get_running_loop()
            while not stop.is_set():
                if claiming.done():
                    claiming.result()
                if loop.time() - last_claim > CLAIM_EVERY_S:
                    await self._claim_and_join()
                    last_claim = loop.time()
                await self._step_all(await self._intake.take(await reader.read(READ_WAIT_MS)))
                if loop.time() - last_look > WATCH_EVERY_S:
                    await self._intake.retry_parked()
                    await self._watch()
                    await self._take_instruments()
                    await self._waits.look(self._held, self._series.values(), self._waiting)
                    last_look = loop.time()
                await self._tell_failures()
        finally:
            over.set()
            claiming.cancel()
            await asyncio.gather(claiming, self._mender.close(), return_exceptions=True)

    async def _step_all(self, received: Sequence[Received]) -> None:
        """Each series in its order; several series side by side. All are through before a fault goes its way.

        A candle that cannot be stepped is parked, and its series is taken up again from the stored candles.
        """
        by_series: dict[SeriesKey, list[Received]] = {}
        for one in received:
            if isinstance(one.event, Candle):
                self._clock.see(one.event.venue_time)
                key = (one.event.symbol, one.event.interval, one.event.generation)
                by_series.setdefault(key, []).append(one)
        steps = [_Steps(self._series[key], of_key) for key, of_key in by_series.items() if key in self._series]
        done = await asyncio.gather(*(each.run() for each in steps), return_exceptions=True)
        outages = [fault for fault in done if fault is not None and not _is_of_the_candle(fault)]
        if outages:
            raise outages[0]
        for each, fault in zip(steps, done, strict=True):
            if isinstance(fault, Exception):
                await self._intake.park(each.received[each.stepped], fault)
                self._waiting |= set(self._series.pop(each.series.key).sessions)
            else:
                self._note(each.series)

    async def _step_again(self, candles: Sequence[Candle]) -> None:
        """Those that a person had replayed: a series that has them from the stored candles passes over them."""
        for candle in candles:
            if (series := self._series.get((candle.symbol, candle.interval, candle.generation))) is not None:
                await _step(series, candle)
                self._note(series)

    async def _watch(self) -> None:
        for series in self._series.values():
            await series.watch()
            self._note(series)

    async def _take_instruments(self) -> None:
        """Whoever learned of a new one has stored it."""
        if not self._series:
            return
        async with self._database.untenanted() as connection:
            symbols = sorted({symbol for symbol, _, _ in self._series})
            known = await candles.list_instruments(connection, VENUE, symbols)
        for (symbol, _, _), series in self._series.items():
            if symbol in known:
                await series.take_instrument(known[symbol])
                self._note(series)

    async def _tell_failures(self) -> None:
        while self._untold:
            await alarm_failure(self._database, self._untold[0], self._clock.last_seen or utc_now())
            self._untold.pop(0)

    def _note(self, series: LiveSeries) -> None:
        """What the series could not go on with."""
        self._waiting |= series.lost
        series.lost.clear()
        for session_id in series.failed:
            self._fail(session_id)
        series.failed.clear()

    def _fail(self, session_id: UUID) -> None:
        self._waiting.discard(session_id)
        if session_id in self._held:
            self._failed[session_id] = self._held[session_id].epoch
            self._untold.append(self._held[session_id])

    async def _keep_leases(self, over: asyncio.Event) -> None:
        """Renew all in one statement, whatever the steps are at."""
        while not over.is_set():
            async with self._database.queue() as connection:
                await leases.heartbeat(connection, self._name)
                await leases.renew(connection, self._name)
            await pause(over, RENEW_EVERY_S)

    async def _claim_and_join(self) -> None:
        async with self._database.queue() as connection:
            share = await leases.fair_share(connection)
            if len(self._held) < share:
                await leases.claim(connection, self._name, min(share - len(self._held), CLAIM_AT_ONCE))
            held = {lease.session_id: lease for lease in await leases.list_held(connection, self._name)}
        if held.keys() - self._held.keys():
            point("worker.after_claim")
        surplus = sorted(held)[share:]
        if surplus:
            async with self._database.queue() as connection:
                await leases.release(connection, self._name, surplus)
        self._take_over({key: lease for key, lease in held.items() if key not in surplus})
        for session_id in sorted(self._waiting):
            await self._join(self._held[session_id])

    def _take_over(self, held: dict[UUID, SessionLease]) -> None:
        """Drop what is held no more, and let sessions see what they are allowed now."""
        following = {
            session_id: session
            for series in self._series.values()
            for session_id, session in series.sessions.items()
        }
        for session_id, session in following.items():
            lease = held.get(session_id)
            if lease is None or lease.epoch != session.lease.epoch:
                self._stop_following(session_id)
            else:
                session.lease = lease
        self._waiting = {
            session_id
            for session_id, lease in held.items()
            if (session_id not in following or lease.epoch != following[session_id].lease.epoch)
            and self._failed.get(session_id) != lease.epoch
        }
        self._held = held
        self._failed = {session_id: epoch for session_id, epoch in self._failed.items() if session_id in held}
        if not self._waiting:
            self._series = {key: series for key, series in self._series.items() if series.sessions}

    def _stop_following(self, session_id: UUID) -> None:
        for series in self._series.values():
            series.sessions.pop(session_id, None)

    async def _join(self, lease: SessionLease) -> None:
        try:
            session = await load_session(self._database, lease)
        except STEP_FAULTS as error:
            log.error("session_failed", session_id=str(lease.session_id), exc_info=error)
            self._fail(lease.session_id)
            return
        if session is None:
            return
        series = await self._series_of(session)
        if series is None:
            return
        self._waiting.discard(lease.session_id)
        await series.join(session)
        self._note(series)

    async def _series_of(self, session: LiveSession) -> LiveSeries | None:
        """In memory already, or from its first bar on out of the database."""
        row = session.row
        assert row.generation is not None, "prepared with its instrument"
        key = (row.symbol, row.interval, row.generation)
        if key in self._series:
            return self._series[key]
        async with self._database.untenanted() as connection:
            stored = await candles.get_series(connection, VENUE, *key)
        if stored is None:
            return None
        series = LiveSeries(stored.series_id, *key, self._database, self._clock, self._mender, self._patience)
        await series.heal()
        self._series[key] = series
        return series

    async def _release(self) -> None:
        """So that another worker need not wait for the leases to expire."""
        try:
            async with self._database.queue() as connection:
                await leases.release(connection, self._name)
                await leases.forget_worker(connection, self._name)
        except INFRASTRUCTURE_FAULTS as error:
            log.warning("leases_expire", worker=self._name, error=repr(error))


class _Steps:
    """The candles of one series; `stepped` are through."""

    def __init__(self, series: LiveSeries, received: Sequence[Received]) -> None:
        self.series = series
        self.received = received
        self.stepped = 0

    async def run(self) -> None:
        for one in self.received:
            assert isinstance(one.event, Candle), "taken as a candle"
            await _step(self.series, one.event)
            self.stepped += 1


async def _step(series: LiveSeries, candle: Candle) -> None:
    check_bar(candle)
    if isinstance(candle, CandleOpened):
        await series.on_opened(candle)
    else:
        await series.on_closed(candle)


def _is_of_the_candle(fault: BaseException) -> bool:
    return isinstance(fault, Exception) and not is_infrastructure(fault)
