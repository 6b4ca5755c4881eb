"""Series in demand: the latest event of each service counts, and a series is kept for ten minutes afterwards."""

import random
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import pytest

from services.trading.feed.demand import DemandedSeries
from shared.chassis.errors import ImplausibleError, PoisonError
from shared.chassis.events.plausible_versions import MAX_STEP
from shared.contracts.market import MarketInterest

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BTC = ("BTCUSDT", "1")


def interest(
    version: int,
    *,
    wanted: bool = True,
    by: Literal["trading", "analytics"] = "trading",
    interval: str = "1",
    history: int = 0,
    generations: tuple[int, ...] = (),
) -> MarketInterest:
    return MarketInterest(
        user_id=0,
        public_id=UUID(int=0),
        aggregate="market_interest",
        aggregate_seq=version,
        wished_by=by,
        symbol="BTCUSDT",
        interval=interval,
        wanted=wanted,
        interest_version=version,
        history_bars=history,
        generations=generations,
    )


def record_all(*interests: MarketInterest, at: datetime = NOON) -> DemandedSeries:
    known = DemandedSeries()
    for each in interests:
        known.record(each, at)
    return known


def test_a_requested_series_is_in_demand() -> None:
    assert record_all(interest(1)).list_series(NOON + timedelta(days=9)) == {BTC}


@pytest.mark.parametrize(("minutes", "still"), [(0, {BTC}), (9, {BTC}), (10, set())])
def test_a_series_is_dropped_ten_minutes_after_the_last_request(minutes: int, still: set[tuple[str, str]]) -> None:
    demand = record_all(interest(1), interest(2, wanted=False))
    assert demand.list_series(NOON + timedelta(minutes=minutes)) == still


def test_a_request_dropped_long_ago_is_not_kept_when_read_late() -> None:
    dropped = interest(2, wanted=False).received(NOON)
    assert record_all(dropped, at=NOON + timedelta(hours=1)).list_series(NOON + timedelta(hours=1)) == set()


def test_a_series_is_kept_while_one_service_requests_it() -> None:
    demand = record_all(interest(1), interest(1, by="analytics"), interest(2, wanted=False))
    assert demand.list_series(NOON + timedelta(hours=1)) == {BTC}


def test_an_older_event_delivered_again_changes_nothing() -> None:
    demand = record_all(interest(3, wanted=False), interest(2))
    assert demand.list_series(NOON + timedelta(hours=1)) == set()


def test_a_series_requested_again_is_in_demand() -> None:
    demand = record_all(interest(1), interest(2, wanted=False), interest(3))
    assert demand.list_series(NOON + timedelta(hours=1)) == {BTC}


def test_an_interval_unknown_to_the_exchange_is_poison() -> None:
    demand = DemandedSeries()
    with pytest.raises(PoisonError):
        demand.record(interest(1, interval="7"), NOON)
    assert demand.list_series(NOON) == set()


def test_a_version_that_jumps_is_refused_and_the_next_one_counts() -> None:
    demand = record_all(interest(1))
    for version in (1 + MAX_STEP + 1, 2**63 - 1):
        with pytest.raises(ImplausibleError):
            demand.record(interest(version, wanted=False), NOON)
    demand.record(interest(2, wanted=False), NOON)
    assert demand.list_series(NOON + timedelta(minutes=10)) == set()


def test_the_first_version_seen_can_be_high_within_bounds() -> None:
    assert record_all(interest(50_000)).list_series(NOON) == {BTC}
    with pytest.raises(ImplausibleError):
        record_all(interest(2**40))


def test_the_deepest_requested_history_counts() -> None:
    demand = record_all(interest(1, history=4_000), interest(1, by="analytics", history=100))
    assert demand.demand_for(BTC, NOON).history_bars == 4_000
    demand.record(interest(2, wanted=False, history=0), NOON)
    assert demand.demand_for(BTC, NOON).history_bars == 100


@pytest.mark.parametrize(("minutes", "kept"), [(9, {1, 2, 3}), (10, {2})])
def test_a_generation_no_longer_requested_is_kept_for_ten_minutes(minutes: int, kept: set[int]) -> None:
    demand = record_all(interest(1, generations=(1, 2)), interest(2, generations=(2,)))
    wanted = demand.demand_for(BTC, NOON + timedelta(minutes=minutes))
    assert {generation for generation in (1, 2, 3) if wanted.includes(generation)} == kept


def test_an_event_read_late_counts_from_its_publication() -> None:
    event = interest(1, generations=(2,)).received(NOON)
    wanted = record_all(event, at=NOON + timedelta(hours=1)).demand_for(BTC, NOON + timedelta(hours=1))
    assert not wanted.includes(1)


@pytest.mark.parametrize("seed", range(20))
def test_the_highest_versions_count_with_duplicates_in_any_order(seed: int) -> None:
    draw = random.Random(seed)
    events = [
        interest(version, by=by, wanted=draw.random() < 0.5, history=draw.randrange(9_000))
        for by in ("trading", "analytics")
        for version in range(1, 6)
    ]
    shuffled = draw.choices(events, k=15) + events
    draw.shuffle(shuffled)
    last = [each for each in events if each.interest_version == 5 and each.wanted]
    demand, later = record_all(*shuffled), NOON + timedelta(hours=1)
    assert demand.list_series(later) == ({BTC} if last else set())
    assert demand.demand_for(BTC, later).history_bars == max((each.history_bars for each in last), default=0)
