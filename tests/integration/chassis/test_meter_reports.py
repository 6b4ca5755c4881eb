"""A meter reports every admitted request once, even if the outcome of a commit is unknown."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

import asyncpg
import pytest

from services.notifications.settings import NotificationsSettings
from shared.chassis.auth import Principal
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.quota.meter import Meter
from shared.chassis.quota.quotas import Quotas
from shared.contracts.billing import UsageRecorded
from stack.migrate import DatabaseAccess


@pytest.fixture
async def database(service_env: Callable[[str], dict[str, str]]) -> AsyncIterator[Database]:
    values = {name.lower(): value for name, value in service_env("notifications").items()}
    opened = await Database.connect(NotificationsSettings.model_validate(values))
    yield opened
    await opened.close()


def _admit(meter: Meter, user_id: int, count: int) -> None:
    for _ in range(count):
        meter.admit(Principal(user_id, UUID(int=user_id), frozenset(), None), "GET", "/v1/alerts")


async def _list_reports(database: Database) -> list[UsageRecorded]:
    async with database.queue() as connection:
        rows = await connection.fetch("SELECT payload FROM outbox WHERE topic = 'usage.recorded' ORDER BY id")
    return [UsageRecorded.model_validate_json(row["payload"]) for row in rows]


async def test_each_report_is_one_row_per_tenant_and_kind_in_rising_windows(database: Database) -> None:
    meter = Meter(database, Quotas(), "notifications")
    _admit(meter, 1, 3)
    _admit(meter, 2, 1)
    await meter.report()
    await meter.report()
    _admit(meter, 1, 2)
    await meter.close()
    reports = await _list_reports(database)
    assert [(each.user_id, each.count, each.window, each.aggregate_seq) for each in reports] == [
        (1, 3, 1, 1),
        (2, 1, 1, 1),
        (1, 2, 2, 1),
    ]
    assert len({each.lease_id for each in reports}) == 1


async def test_a_failed_report_is_written_later_and_once(
    database: Database, database_access: DatabaseAccess, postgres: str
) -> None:
    """This holds too if the rows were written and the answer to the commit was lost."""
    meter = Meter(database, Quotas(), "notifications")
    owner = await asyncpg.connect(postgres, database=database_access.name)
    try:
        await owner.execute("ALTER TABLE notifications.outbox RENAME TO away")
        _admit(meter, 1, 3)
        with pytest.raises((asyncpg.UndefinedTableError, *INFRASTRUCTURE_FAULTS)):
            await meter.report()
        await owner.execute("ALTER TABLE notifications.away RENAME TO outbox")
        rows = meter._unwritten[0]
        await meter.report()
        meter._unwritten.append(rows)
        _admit(meter, 1, 1)
        await meter.report()
    finally:
        await owner.close()
    assert [each.count for each in await _list_reports(database)] == [3, 1]
