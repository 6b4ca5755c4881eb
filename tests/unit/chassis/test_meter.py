"""Requests are counted in memory, and refused only while the tenant's quota is exhausted."""

from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import pytest

from shared.chassis.auth import Principal
from shared.chassis.errors import QuotaExceeded
from shared.chassis.postgres import Database
from shared.chassis.quota.meter import Meter
from shared.chassis.quota.quotas import Quotas
from shared.contracts.billing import UsageRecorded
from tests.unit.chassis.quota_events import MIDNIGHT, NOON, quota_event

NO_DATABASE = cast(Database, None)  # no test here reports usage
LOGIN = UUID(int=7)


class Scene:
    """A meter with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOON
        self.quotas = Quotas()
        self.meter = Meter(NO_DATABASE, self.quotas, "notifications", lambda: self.now)

    def ask(self, path: str = "/v1/alerts", user_id: int = 1) -> bool:
        """Return whether a request is admitted."""
        try:
            self.meter.admit(Principal(user_id, UUID(int=user_id), frozenset(), LOGIN), "GET", path)
        except QuotaExceeded:
            return False
        return True

    def reports(self, now: datetime | None = None) -> list[UsageRecorded]:
        """Close the window and return all events that are not written yet."""
        self.meter._close_window(now or self.now)
        rows = [row for batch in self.meter._unwritten for row in batch]
        self.meter._unwritten.clear()
        return [UsageRecorded.model_validate_json(row.payload) for row in rows]


def test_without_an_event_from_billing_every_request_is_admitted() -> None:
    scene = Scene()
    assert all(scene.ask() for _ in range(5_000))
    (report,) = scene.reports()
    assert (report.count, report.used, report.refusals) == (5_000, 5_000, ())


def test_a_tenant_whose_quota_is_exhausted_is_refused_until_midnight_and_others_are_not() -> None:
    scene = Scene()
    scene.quotas.apply(quota_event(1), NOON)
    assert (scene.ask(), scene.ask(user_id=2)) == (False, True)
    scene.now = MIDNIGHT
    assert scene.ask()


def test_a_higher_quota_admits_at_once() -> None:
    scene = Scene()
    scene.quotas.apply(quota_event(1), NOON)
    assert not scene.ask()
    scene.quotas.apply(quota_event(2, "OK", limit=1_000), NOON)
    assert scene.ask()


def test_a_refusal_contains_limit_usage_and_time_to_the_end_of_the_day() -> None:
    scene = Scene()
    scene.quotas.apply(quota_event(1), NOON)
    scene.now = MIDNIGHT - timedelta(milliseconds=1_500)
    with pytest.raises(QuotaExceeded) as refused:
        scene.meter.admit(Principal(1, UUID(int=1), frozenset(), None), "GET", "/v1/alerts")
    assert refused.value.extra == {"limit": 100, "used": 103, "retry_after_s": 2}


def test_operations_that_are_never_metered_are_neither_counted_nor_refused() -> None:
    scene = Scene()
    scene.quotas.apply(quota_event(1), NOON)
    assert scene.ask("/v1/usage")
    assert scene.reports() == []


def test_refused_requests_are_reported_by_operation_and_do_not_count() -> None:
    scene = Scene()
    scene.ask()
    scene.quotas.apply(quota_event(1), NOON)
    for _ in range(2):
        scene.ask()
    scene.now += timedelta(seconds=1)
    for path in ("/v1/alerts", "/v1/inbox", "/v1/candles"):
        scene.ask(path)
    other, trading = scene.reports()
    assert (other.count, other.used, trading.count, trading.used) == (5, 1, 1, 0)
    assert [(each.operation, each.count, each.login_id, each.refused_at) for each in other.refusals] == [
        ("GET /v1/alerts", 3, LOGIN, scene.now),
        ("GET /v1/inbox", 1, LOGIN, scene.now),
    ]
    assert [(each.operation, each.used, each.limit) for each in trading.refusals] == [("GET /v1/candles", 103, 100)]


def test_windows_are_numbered_and_lie_within_one_day() -> None:
    scene = Scene()
    scene.ask()
    scene.ask(user_id=2)
    assert [(each.user_id, each.window, each.aggregate_seq) for each in scene.reports()] == [(1, 1, 1), (2, 1, 1)]
    assert scene.reports() == []
    scene.now = MIDNIGHT - timedelta(seconds=1)
    scene.ask()
    scene.now = MIDNIGHT + timedelta(seconds=1)
    scene.ask()
    scene.ask("/v1/candles")
    reports = scene.reports()
    assert [(each.window, each.window_start.day, each.kind) for each in reports] == [
        (2, 31, "other"),
        (3, 1, "other"),
        (3, 1, "trading"),
    ]
    assert len({(each.aggregate, each.aggregate_seq) for each in reports}) == 3
