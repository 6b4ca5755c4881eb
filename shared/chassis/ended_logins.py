"""The ended logins whose access tokens have not expired yet; those tokens are refused."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from shared.chassis.clock import utc_now

LONGEST_ACCESS_TOKEN = timedelta(seconds=600)
CLOCK_MARGIN = timedelta(seconds=60)  # between the clock of auth's host and ours
KEPT_FOR = LONGEST_ACCESS_TOKEN + CLOCK_MARGIN
MAX_KEPT = 200_000  # about 30 MB; logins end no faster than passwords can be checked

log = structlog.get_logger()


class EndedLogins:
    """Keeps ended logins in memory, each until its last access token has expired."""

    def __init__(self, clock: Callable[[], datetime] = utc_now, most: int = MAX_KEPT) -> None:
        self._clock = clock
        self._most = most
        self._until: dict[UUID, datetime] = {}  # in the order of arrival
        self._watchers: list[Callable[[UUID], None]] = []

    def __contains__(self, login_id: UUID) -> bool:
        return login_id in self._until

    def __len__(self) -> int:
        return len(self._until)

    def watch(self, on_end: Callable[[UUID], None]) -> None:
        """Call `on_end` for each login that ends from now on."""
        self._watchers.append(on_end)

    def add(self, login_id: UUID, ended_at: datetime) -> None:
        """Add a login, unless it ended so long ago that all its tokens have expired."""
        now = self._clock()
        until = min(ended_at, now) + KEPT_FOR
        if until <= now or login_id in self._until:
            return
        self._make_room(now)
        self._until[login_id] = until
        for on_end in self._watchers:
            on_end(login_id)

    def _make_room(self, now: datetime) -> None:
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now:
                if len(self._until) < self._most:
                    return
                log.error("ended_login_dropped_early", most=self._most)
            del self._until[oldest]
