"""The exchange's clock: polled every second while it is used, and updated from the times in the stream."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import structlog

from services.trading.bybit_api import MarketApi
from services.trading.exchange.venue import VenueUnavailable
from shared.chassis.pause import pause, pause_until

ASK_EVERY_S = 1.0
REST_S = 10.0  # between two polls while nobody reads the clock
STEADY_SPEED = 0.99
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


class VenueClock:
    """Follows the exchange's clock: never ahead of it, and about a second behind at most while it answers.

    The first read after a rest may be REST_S behind.
    """

    def __init__(self, api: MarketApi) -> None:
        self.api = api
        self._latest = BEGINNING
        self._seen_at = time.monotonic()
        self._read = asyncio.Event()
        self._steady = BEGINNING
        self._steady_at = self._seen_at

    @property
    def latest(self) -> datetime:
        """The latest time received from the exchange."""
        self._read.set()
        return self._latest

    @property
    def last_seen(self) -> datetime | None:
        """The latest time received from the exchange; None before the first."""
        return self.latest if self._latest > BEGINNING else None

    @property
    def estimated(self) -> datetime:
        """The exchange's current time, estimated: its clock is assumed to keep running since the latest answer."""
        return self.latest + timedelta(seconds=time.monotonic() - self._seen_at)

    @property
    def steady(self) -> datetime:
        """The estimate, for waits: it never goes back, and continues while the exchange's clock stands, as in a
        replay. While it is ahead it runs slightly slower, so it does not drift."""
        now = time.monotonic()
        passed, self._steady_at = now - self._steady_at, now
        self._steady = max(self.estimated, self._steady + timedelta(seconds=STEADY_SPEED * passed))
        return self._steady

    def see(self, moment: datetime) -> None:
        if moment > self._latest:
            self._latest, self._seen_at = moment, time.monotonic()

    async def now(self) -> datetime:
        """Ask the exchange for its time. Raises VenueUnavailable."""
        self.see(await self.api.server_time())
        self._seen_at = time.monotonic()
        return self._latest

    async def follow(self, stop: asyncio.Event, ask_every_s: float = ASK_EVERY_S, rest_s: float = REST_S) -> None:
        """Ask every `ask_every_s` while the clock is read, and at once when it is read after a rest."""
        while not stop.is_set():
            await self.refresh()
            await pause(stop, ask_every_s)
            await pause_until(stop, self._read, rest_s)

    async def refresh(self) -> None:
        """Ask the exchange for its time; keep the estimate if it does not answer."""
        try:
            await self.now()
        except VenueUnavailable as error:
            log.warning("venue_clock", error=repr(error))
