"""The worker: claims sessions, keeps their leases, reads all candles, and steps what it holds."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import structlog
from aiokafka.errors import KafkaError

from services.trading.bybit_api import VENUE
from services.trading.domain import LONGEST_SILENCE
from services.trading.exchange.venue import VenueUnavailable
from services.trading.operations.alarms import alarm_failure, alarm_incidents
from services.trading.orders.store import Incident
from services.trading.queries import candles, leases
from services.trading.queries.sessions import SessionLease
from services.trading.venue_clock import VenueClock
from services.trading.worker.candle_intake import Candle, CandleIntake, check_bar
from services.trading.worker.candle_repair import CandleRepairer
from services.trading.worker.candle_stream import CandleStream
from services.trading.worker.exchange_sessions import ExchangeSessions
from services.trading.worker.kill_switch_watch import KillSwitchWatch
from services.trading.worker.live_series import SESSIONS_FAILED, LiveSeries
from services.trading.worker.live_session import STEP_FAULTS, LiveSession, load_session
from services.trading.worker.overdue_bars import OverdueMonitor
from services.trading.worker.step_writer import StepWriter
from shared.chassis.clock import utc_now
from shared.chassis.crash_points import point
from shared.chassis.errors import ProblemError, Unavailable
from shared.chassis.events.decoding import Received
from shared.chassis.events.handlers import PartitionReader
from shared.chassis.infrastructure_faults import RETRYABLE_FAULTS, is_infrastructure
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.market import CandleClosed, CandleOpened

RENEW_EVERY_S = 3.0
CLAIM_EVERY_S = 0.2
IDLE_CLAIM_EVERY_S = 1.0  # after a while in which no lease changed
IDLE_AFTER_S = 1.0
CHECK_EVERY_S = 1.0  # how often to check series, instruments and overdue bars
MAX_CLAIMS = 500

log = structlog.get_logger()

SeriesKey = tuple[str, str, int]


class Worker:
    """Keeps only a cache: leases, cursors and snapshots in the database are authoritative."""

    def __init__(
        self,
        database: Database,
        settings: ServiceSettings,
        clock: VenueClock,
        patience: timedelta = LONGEST_SILENCE,
        idle_claim_every_s: float = IDLE_CLAIM_EVERY_S,
        open_exchange: Callable[[], ExchangeSessions] | None = None,
    ) -> None:
        """`open_exchange` returns what runs live sessions; None: this worker leaves them waiting."""
        self._database = database
        self._settings = settings
        self._clock = clock
        self._patience = patience
        self._idle_claim_every_s = idle_claim_every_s
        self._repairer = CandleRepairer(database, clock.api)
        self._open_exchange = open_exchange
        self._name = str(uuid4())
        self._woken = asyncio.Event()
        self._intake = CandleIntake(database, self._replay)
        self._reset()

    def _reset(self) -> None:
        self._held: dict[UUID, SessionLease] = {}
        self._held_hash: int | None = None  # of the leases as last read
        self._series: dict[SeriesKey, LiveSeries] = {}
        self._unfollowed: set[UUID] = set()  # held, but in no series: it is not ready, or dropped them
        self._failed: dict[UUID, int] = {}  # must not be stepped again under this epoch
        self._taken_over: set[UUID] = set()  # claimed from workers that are gone; tenants are still to be notified
        self._unnotified: list[SessionLease] = []  # failed sessions whose tenants are still to be notified
        self._ended: list[tuple[LiveSession, Exception | None]] = []  # live sessions whose actors ended
        self._writer = StepWriter(self._database)
        self._exchange = self._open_exchange() if self._open_exchange else None
        self._overdue = OverdueMonitor(self._database, self._clock, self._patience / 2)
        self._killed = KillSwitchWatch(self._database)

    def wake(self) -> None:
        """Claim at once: a session was started in this process."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then release the leases at once. After an outage, reload all state."""
        while not stop.is_set():
            self._name = str(uuid4())
            self._reset()
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
            except (*RETRYABLE_FAULTS, KafkaError, OSError) as error:
                log.warning("worker_restarts", worker=self._name, error=repr(error))
                await pause(stop, 0.5)
            finally:
                await reader.stop()
                await self._release()

    async def _work(self, reader: PartitionReader, stop: asyncio.Event) -> None:
        over = asyncio.Event()
        claiming = asyncio.create_task(self._keep_leases(over))
        candles = CandleStream(reader, stop, self._woken)
        try:
            loop = asyncio.get_running_loop()
            next_claim = next_check = changed_at = loop.time()
            while not stop.is_set():
                if claiming.done():
                    claiming.result()
                received = await candles.next(min(next_claim, next_check) - loop.time())
                await self._step_all(await self._intake.admit(received))
                await self._collect_ended()
                if self._unfollowed:
                    next_claim = min(next_claim, loop.time() + CLAIM_EVERY_S)
                if self._woken.is_set() or loop.time() >= next_claim:
                    self._woken.clear()
                    if await self._claim_and_join():
                        changed_at = loop.time()
                    is_idle = loop.time() - changed_at > IDLE_AFTER_S
                    next_claim = loop.time() + (self._idle_claim_every_s if is_idle else CLAIM_EVERY_S)
                if loop.time() >= next_check:
                    await self._intake.retry_parked()
                    await self._watch()
                    await self._apply_instruments()
                    await self._killed.observe(self._held)
                    await self._overdue.update_marks(self._held, self._series.values(), self._unfollowed)
                    await self._replace_keys()
                    next_check = loop.time() + CHECK_EVERY_S
                await self._notify_failures()
        finally:
            over.set()
            claiming.cancel()
            if self._exchange is not None:
                await self._exchange.close()
            closing = (candles.close(), self._repairer.close(), self._writer.close())
            await asyncio.gather(claiming, *closing, return_exceptions=True)

    async def _step_all(self, received: Sequence[Received]) -> None:
        """Step each series in order, several series concurrently. Infrastructure faults are raised after all ended.

        A candle that cannot be stepped is parked, and its sessions are loaded again from the database.
        """
        by_series: dict[SeriesKey, list[Received]] = {}
        for record in received:
            if isinstance(record.event, Candle):
                self._clock.see(record.event.venue_time)
                key = (record.event.symbol, record.event.interval, record.event.generation)
                by_series.setdefault(key, []).append(record)
        steps = [_Steps(self._series[key], of_key) for key, of_key in by_series.items() if key in self._series]
        done = await asyncio.gather(*(each.run() for each in steps), return_exceptions=True)
        outages = [fault for fault in done if fault is not None and not _is_candle_fault(fault)]
        if outages:
            raise outages[0]
        for each, fault in zip(steps, done, strict=True):
            if isinstance(fault, Exception):
                await self._intake.park(each.received[each.stepped], fault)
                self._unfollowed |= set(self._series.pop(each.series.key).sessions)
            else:
                self._collect_dropped(each.series)

    async def _replay(self, candles: Sequence[Candle]) -> None:
        """Step candles that an operator replays. A series skips those that it has from the stored candles."""
        for candle in candles:
            if (series := self._series.get((candle.symbol, candle.interval, candle.generation))) is not None:
                await _step(series, candle)
                self._collect_dropped(series)

    async def _watch(self) -> None:
        for series in self._series.values():
            await series.watch()
            self._collect_dropped(series)

    async def _apply_instruments(self) -> None:
        """Pass stored instruments to the series. Whichever process asked the exchange has stored them."""
        if not self._series:
            return
        async with self._database.untenanted() as connection:
            symbols = sorted({symbol for symbol, _, _ in self._series})
            known = await candles.list_instruments(connection, VENUE, symbols)
        for (symbol, _, _), series in self._series.items():
            if symbol in known:
                await series.apply_instrument(known[symbol])
                self._collect_dropped(series)

    async def _notify_failures(self) -> None:
        while self._unnotified:
            lease = self._unnotified[0]
            async with self._database.tenants([lease.user_id]) as connection:
                await alarm_failure(connection, lease, self._clock.last_seen or utc_now())
            self._unnotified.pop(0)

    def _collect_dropped(self, series: LiveSeries) -> None:
        """Collect the sessions that the series dropped or that failed."""
        self._unfollowed |= series.lost
        series.lost.clear()
        for session_id in series.failed:
            self._fail(session_id)
        series.failed.clear()

    def _fail(self, session_id: UUID) -> None:
        self._unfollowed.discard(session_id)
        if session_id in self._held:
            self._failed[session_id] = self._held[session_id].epoch
            self._unnotified.append(self._held[session_id])

    async def _keep_leases(self, over: asyncio.Event) -> None:
        """Renew all leases in one statement, independently of the steps."""
        while not over.is_set():
            async with self._database.queue() as connection:
                await leases.heartbeat(connection, self._name)
                await leases.renew(connection, self._name)
            await pause(over, RENEW_EVERY_S)

    async def _claim_and_join(self) -> bool:
        """Claim free sessions and load those that follow no series. Returns whether there is anything new."""
        share, has_free, held_hash = await leases.survey(self._database, self._name)
        wanted = share - len(self._held) if has_free else 0
        waiting = self._unfollowed | self._taken_over
        if wanted <= 0 and held_hash == self._held_hash and not waiting and len(self._held) <= share:
            return False
        async with self._database.queue() as connection:
            if wanted > 0:
                claimed = await leases.claim(connection, self._name, min(wanted, MAX_CLAIMS))
                self._taken_over |= {lease.session_id for lease in claimed if lease.taken_over}
                held_hash = await leases.hash_held(connection, self._name)
            held = {lease.session_id: lease for lease in await leases.list_held(connection, self._name)}
        if held.keys() - self._held.keys():
            point("worker.after_claim")
        surplus = sorted(held)[share:]
        if surplus:
            async with self._database.queue() as connection:
                await leases.release(connection, self._name, surplus)
        self._held_hash = held_hash
        self._taken_over &= held.keys()
        for session_id in self._apply_leases({key: lease for key, lease in held.items() if key not in surplus}):
            await self._stop_following(session_id)
        if self._exchange is not None:
            self._exchange.wake()  # something is demanded of them, perhaps
        for session_id in sorted(self._unfollowed):
            await self._join(self._held[session_id])
        if self._taken_over:
            await self._notify_takeovers()
        return True

    def _apply_leases(self, held: dict[UUID, SessionLease]) -> list[UUID]:
        """Give sessions their current leases; returns those that are no longer held, to be dropped."""
        lost = []
        following = {
            session_id: session
            for series in self._series.values()
            for session_id, session in series.sessions.items()
        }
        for session_id, session in following.items():
            lease = held.get(session_id)
            if lease is None or lease.epoch != session.lease.epoch:
                lost.append(session_id)
            else:
                session.lease = lease
        self._unfollowed = {
            session_id
            for session_id, lease in held.items()
            if (session_id not in following or lease.epoch != following[session_id].lease.epoch)
            and self._failed.get(session_id) != lease.epoch
        }
        self._held = held
        self._failed = {session_id: epoch for session_id, epoch in self._failed.items() if session_id in held}
        if not self._unfollowed:
            self._series = {key: series for key, series in self._series.items() if series.sessions}
        return lost

    async def _stop_following(self, session_id: UUID) -> None:
        for series in self._series.values():
            series.sessions.pop(session_id, None)
        if self._exchange is not None:
            await self._exchange.stop(session_id)

    async def _collect_ended(self) -> None:
        """Load live sessions again whose actors ended: they have stopped, or another worker has them."""
        while self._ended:
            session, fault = self._ended.pop()
            session_id = session.row.session_id
            await self._stop_following(session_id)
            if session_id not in self._held or self._held[session_id].epoch != session.lease.epoch:
                continue
            if fault is None:
                self._unfollowed.add(session_id)
            else:
                SESSIONS_FAILED.inc()
                log.error("session_failed", session_id=str(session_id), exc_info=fault)
                self._fail(session_id)

    async def _replace_keys(self) -> None:
        """Start the sessions again whose account has another key."""
        if self._exchange is not None:
            for session in await self._exchange.replace_keys():
                self._unfollowed.add(session.row.session_id)

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
        if session.is_live and not await self._start_live(session, series):
            return
        self._unfollowed.discard(lease.session_id)
        await series.add_session(session)
        self._collect_dropped(series)

    async def _start_live(self, session: LiveSession, series: LiveSeries) -> bool:
        """Let the session trade on its exchange account. Returns False if that is not possible here, or not yet:
        an entry must not be sent before its lateness is known."""
        if self._exchange is None or self._clock.last_seen is None:
            return False
        try:
            await self._exchange.start(session, series.series, lambda *ended: self._ended.append(ended))
        except Unavailable as error:  # the key ring: perhaps it is back soon
            log.warning("session_not_started", session_id=str(session.row.session_id), error=repr(error))
            return False
        except (ProblemError, VenueUnavailable) as error:
            log.error("session_failed", session_id=str(session.row.session_id), exc_info=error)
            self._fail(session.row.session_id)
            return False
        return True

    async def _notify_takeovers(self) -> None:
        """Notify the owners of live sessions that were taken over and trade here now."""
        followed = [
            session
            for series in self._series.values()
            for session_id, session in series.sessions.items()
            if session_id in self._taken_over
        ]
        now = self._clock.last_seen or utc_now()
        found = [
            (session.lease, [Incident("taken_over", f"taken_over:{session.lease.epoch}")], now)
            for session in followed
            if session.is_live
        ]
        if found:
            async with self._database.tenants({lease.user_id for lease, _, _ in found}) as connection:
                await alarm_incidents(connection, found)
        self._taken_over &= self._unfollowed  # these are loaded later

    async def _series_of(self, session: LiveSession) -> LiveSeries | None:
        """Return the series from memory, or load it from the database; None if it is not stored."""
        row = session.row
        assert row.generation is not None, "prepared with its instrument"
        key = (row.symbol, row.interval, row.generation)
        if key in self._series:
            return self._series[key]
        async with self._database.untenanted() as connection:
            stored = await candles.find_series(connection, VENUE, *key)
        if stored is None:
            return None
        series = LiveSeries(
            stored.series_id,
            *key,
            self._database,
            self._clock,
            self._repairer,
            self._writer,
            self._patience,
            self._exchange.wake if self._exchange is not None else lambda session_ids: None,
        )
        await series.load_stored()
        self._series[key] = series
        return series

    async def _release(self) -> None:
        """Release all leases, so that other workers need not wait for them to expire."""
        try:
            async with self._database.queue() as connection:
                await leases.release(connection, self._name)
                await leases.delete_worker(connection, self._name)
        except INFRASTRUCTURE_FAULTS as error:
            log.warning("leases_not_released", worker=self._name, error=repr(error))


class _Steps:
    """The received candles of one series; `stepped` counts those processed."""

    def __init__(self, series: LiveSeries, received: Sequence[Received]) -> None:
        self.series = series
        self.received = received
        self.stepped = 0

    async def run(self) -> None:
        for record in self.received:
            assert isinstance(record.event, Candle), "taken as a candle"
            await _step(self.series, record.event)
            self.stepped += 1


async def _step(series: LiveSeries, candle: Candle) -> None:
    check_bar(candle)
    if isinstance(candle, CandleOpened):
        await series.on_opened(candle)
    else:
        await series.on_closed(candle)


def _is_candle_fault(fault: BaseException) -> bool:
    return isinstance(fault, Exception) and not is_infrastructure(fault)
