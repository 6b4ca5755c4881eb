"""Measures how fast kill switches take effect on the sessions of a worker."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from prometheus_client import Histogram

from services.trading.queries.kill_switches import measure_switches
from services.trading.queries.sessions import SessionLease
from shared.chassis.postgres import Database

BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
ENTRIES_STOPPED = Histogram(
    "trading_kill_switch_entries_stopped_seconds",
    "From a kill switch to the answer to the last entry that had passed the gate, per session",
    buckets=BUCKETS,
)
FLAT = Histogram(
    "trading_kill_switch_flat_seconds",
    "From a kill switch that flattens to the last fill, per live session that became flat",
    buckets=BUCKETS,
)


class KillSwitchWatch:
    """Each session is measured once for each switch; a worker that takes over measures again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopped: dict[UUID, datetime] = {}
        self._flat: dict[UUID, datetime] = {}

    async def observe(self, held: Mapping[UUID, SessionLease]) -> None:
        stopped = [lease for lease in held.values() if lease.entries != "ALLOWED"]  # a pause hides a switch
        if not stopped:
            return
        users = {lease.user_id for lease in stopped}
        async with self._database.tenants(users) as connection:
            effects = await measure_switches(connection, users, [lease.session_id for lease in stopped])
        for effect in effects:
            if effect.stopped_s is not None and self._stopped.get(effect.session_id) != effect.killed_at:
                self._stopped[effect.session_id] = effect.killed_at
                ENTRIES_STOPPED.observe(effect.stopped_s)
            if effect.flat_s is not None and self._flat.get(effect.session_id) != effect.killed_at:
                self._flat[effect.session_id] = effect.killed_at
                FLAT.observe(effect.flat_s)
