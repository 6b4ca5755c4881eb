"""The exchange's clock: polled every second, and updated from the times in the stream."""

import time
from datetime import UTC, datetime, timedelta

import structlog

from services.trading.bybit_api import MarketApi, VenueUnavailable

ASK_EVERY_S = 1.0
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


class VenueClock:
    """Follows the exchange's clock: never ahead of it, and about a second behind at most while it answers."""

    def __init__(self, api: MarketApi) -> None:
        self.api = api
        self._latest = BEGINNING
        self._seen_at = time.monotonic()

    @property
    def latest(self) -> datetime:
        """The latest time received from the exchange."""
        return self._latest

    @property
    def last_seen(self) -> datetime | None:
        """The latest time received from the exchange; None before the first."""
        return self._latest if self._latest > BEGINNING else None

    @property
    def estimated(self) -> datetime:
        """The exchange's current time, estimated: its clock is assumed to keep running since the latest answer."""
        return self._latest + timedelta(seconds=time.monotonic() - self._seen_at)

    def see(self, moment: datetime) -> None:
        if moment > self._latest:
            self._latest, self._seen_at = moment, time.monotonic()

    async def now(self) -> datetime:
        """Ask the exchange for its time. Raises VenueUnavailable."""
        self.see(await self.api.server_time())
        self._seen_at = time.monotonic()
        return self._latest

    async def refresh(self) -> None:
        """Ask the exchange for its time; keep the estimate if it does not answer."""
        try:
            await self.now()
        except VenueUnavailable as error:
            log.warning("venue_clock", error=repr(error))
