"""Writes the steps of a worker's sessions, in batches over all series that closed together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Counter

from services.trading.operations.record_step import write_steps
from services.trading.queries import decisions, leases, steps
from services.trading.queries.steps import QuietMove
from services.trading.worker.batches import Batches
from services.trading.worker.live_session import LiveSession
from shared.chassis.crash_points import point
from shared.chassis.postgres import Connection, Database
from shared.strategy.execution.outcome import StepOutcome

STEPS_DECIDED = Counter("trading_steps_decided_total", "Steps of sessions that made a decision")
STEPS_QUIET = Counter("trading_steps_quiet_total", "Steps of sessions that only moved the cursor")


@dataclass(eq=False, slots=True)
class QuietStep:
    """A step that decided nothing. `written` stays False if the lease or the cursor has changed."""

    session: LiveSession
    last_bar: datetime
    written: bool = False

    @property
    def move(self) -> QuietMove:
        lease = self.session.lease
        return QuietMove(lease.user_id, lease.session_id, lease.epoch, self.session.last_bar, self.last_bar)


@dataclass(eq=False, slots=True)
class DecidedStep:
    """A step with an outcome. `written` stays False if the lease, cursor or allowed entries have changed."""

    session: LiveSession
    outcome: StepOutcome
    last_bar: datetime | None
    late: bool
    written: bool = False


class StepWriter:
    """Each batch is one transaction of the tenants of its sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # By tenant, because the tenants' policy compares each row with all tenants of the batch.
        self.quiet = Batches(self._move_cursors, lambda step: step.session.row.user_id)
        self.decided = Batches(self._write, lambda step: step.session.row.user_id)

    async def close(self) -> None:
        await self.quiet.close()
        await self.decided.close()

    async def _write(self, batch: Sequence[DecidedStep]) -> None:
        records = [step.session.record(step.outcome, step.last_bar, late=step.late) for step in batch]
        point("worker.before_decision")
        async with self._database.tenants({step.session.row.user_id for step in batch}) as connection:
            results = await write_steps(connection, records)
        point("worker.after_decision")
        for step in batch:
            if (result := results.get(step.session.row.session_id)) is not None:
                step.session.apply(result, step.last_bar)
                step.written = True
        STEPS_DECIDED.inc(len(results))

    async def _move_cursors(self, batch: Sequence[QuietStep]) -> None:
        async with self._database.tenants({step.session.row.user_id for step in batch}) as connection:
            written = await _move_quietly(connection, batch)
        point("worker.after_quiet_step")
        for step in written:
            step.session.last_bar = step.last_bar
            step.written = True
        STEPS_QUIET.inc(len(written))


async def _move_quietly(connection: Connection, batch: Sequence[QuietStep]) -> list[QuietStep]:
    """Move cursors and end stretches of refusals. Returns the steps written.

    A refusal that is only prolonged writes no decision, so the lease that causes it is locked and checked here; the
    session of a lease that has changed or is locked is not moved.
    """
    if held := [step.session.lease for step in batch if step.session.is_refused_by_lease]:
        unchanged = await leases.lock_entries(connection, held)
        batch = [
            step
            for step in batch
            if not step.session.is_refused_by_lease or step.session.row.session_id in unchanged
        ]
    moved = await steps.move_cursors(connection, [step.move for step in batch]) if batch else set()
    written = [step for step in batch if step.session.row.session_id in moved]
    if ended := [step.session for step in written if step.session.ends_refusal]:
        await decisions.end_refusals(
            connection,
            [session.row.user_id for session in ended],
            [session.row.session_id for session in ended],
            [session.last_bar for session in ended],
        )
    return written
