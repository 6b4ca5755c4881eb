"""The exhausted quotas, as billing published them."""

from dataclasses import dataclass
from datetime import datetime

import structlog

from shared.chassis.errors import ImplausibleError
from shared.chassis.events.plausible_versions import check_version_step
from shared.contracts.billing import QuotaChanged, QuotaState

MAX_KEPT = 200_000  # about 40 MB

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Quota:
    version: int
    state: QuotaState
    until: datetime
    limit: int
    used: int


class Quotas:
    """Keeps the last state of each tenant in memory, until its day ends: then the quota is available again."""

    def __init__(self, most: int = MAX_KEPT) -> None:
        self._most = most
        self._quotas: dict[int, Quota] = {}  # in the order of arrival

    def __len__(self) -> int:
        return len(self._quotas)

    def apply(self, event: QuotaChanged, now: datetime) -> None:
        """Keep the state if its version is higher than the known one and its day has not ended."""
        known = self._quotas.get(event.user_id)
        if event.until <= now or (known is not None and event.quota_version <= known.version):
            return
        try:
            check_version_step(event, event.quota_version, None if known is None else known.version)
        except ImplausibleError as error:
            log.error("quota_implausible", user_id=event.user_id, reason=str(error))
            return
        self._quotas.pop(event.user_id, None)
        self._make_room(now)
        self._quotas[event.user_id] = Quota(
            event.quota_version, event.state, event.until, event.limit or 0, event.used
        )

    def find_exhausted(self, user_id: int, now: datetime) -> Quota | None:
        """Return the tenant's quota if it is exhausted at this time."""
        quota = self._quotas.get(user_id)
        return quota if quota is not None and quota.state == "EXHAUSTED" and now < quota.until else None

    def _make_room(self, now: datetime) -> None:
        while self._quotas:
            oldest = next(iter(self._quotas))
            if self._quotas[oldest].until > now:
                if len(self._quotas) < self._most:
                    return
                log.error("quota_dropped_early", most=self._most)
            del self._quotas[oldest]
