"""The exhausted quotas that a process keeps: by version, by tenant, until their day ends."""

from datetime import timedelta

from shared.chassis.quota.quotas import Quotas
from tests.unit.chassis.quota_events import MIDNIGHT, NOON, quota_event

A_SECOND = timedelta(seconds=1)


def test_a_tenant_without_a_state_is_not_exhausted() -> None:
    assert Quotas().find_exhausted(1, NOON) is None


def test_an_exhausted_quota_concerns_its_tenant_only() -> None:
    quotas = Quotas()
    quotas.apply(quota_event(1), NOON)
    found = quotas.find_exhausted(1, NOON)
    assert found is not None
    assert (found.limit, found.used, found.until) == (100, 103, MIDNIGHT)
    assert quotas.find_exhausted(2, NOON) is None


def test_it_is_available_again_at_midnight_without_an_event() -> None:
    quotas = Quotas()
    quotas.apply(quota_event(1), NOON)
    assert quotas.find_exhausted(1, MIDNIGHT - A_SECOND) is not None
    assert quotas.find_exhausted(1, MIDNIGHT) is None


def test_only_a_higher_version_is_applied() -> None:
    quotas = Quotas()
    quotas.apply(quota_event(2), NOON)
    for version in (1, 2):
        quotas.apply(quota_event(version, "OK"), NOON)
    assert quotas.find_exhausted(1, NOON) is not None
    quotas.apply(quota_event(3, "OK", limit=None), NOON)
    quotas.apply(quota_event(2), NOON)
    assert quotas.find_exhausted(1, NOON) is None


def test_a_version_far_ahead_is_not_applied() -> None:
    quotas = Quotas()
    quotas.apply(quota_event(1), NOON)
    quotas.apply(quota_event(1_002, "OK"), NOON)
    assert quotas.find_exhausted(1, NOON) is not None


def test_states_of_days_that_have_ended_are_neither_applied_nor_kept() -> None:
    quotas = Quotas()
    quotas.apply(quota_event(1, until=NOON), NOON)
    assert len(quotas) == 0
    quotas.apply(quota_event(1), NOON)
    quotas.apply(quota_event(1, user_id=2, until=MIDNIGHT + timedelta(days=1)), MIDNIGHT)
    assert len(quotas) == 1


def test_their_number_is_limited() -> None:
    quotas = Quotas(most=2)
    for user_id in (1, 2, 3):
        quotas.apply(quota_event(1, user_id=user_id), NOON)
    assert [quotas.find_exhausted(user_id, NOON) is not None for user_id in (1, 2, 3)] == [False, True, True]
