"""Which series are wanted: the latest word of each service counts, and a series stays for a while."""

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


def wish(
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


def heard(*wishes: MarketInterest, at: datetime = NOON) -> DemandedSeries:
    known = DemandedSeries()
    for each in wishes:
        known.record(each, at)
    return known


def test_what_somebody_wants_is_wanted() -> None:
    assert heard(wish(1)).list_series(NOON + timedelta(days=9)) == {BTC}


@pytest.mark.parametrize(("minutes", "still"), [(0, {BTC}), (9, {BTC}), (10, set())])
def test_a_series_is_dropped_ten_minutes_after_the_last_wish(minutes: int, still: set[tuple[str, str]]) -> None:
    wishes = heard(wish(1), wish(2, wanted=False))
    assert wishes.list_series(NOON + timedelta(minutes=minutes)) == still


def test_a_wish_that_was_dropped_long_ago_is_not_kept_by_whoever_reads_of_it_now() -> None:
    dropped = wish(2, wanted=False)
    dropped.set_published_at(NOON)
    assert heard(dropped, at=NOON + timedelta(hours=1)).list_series(NOON + timedelta(hours=1)) == set()


def test_one_that_still_wants_it_keeps_it_for_all() -> None:
    wishes = heard(wish(1), wish(1, by="analytics"), wish(2, wanted=False))
    assert wishes.list_series(NOON + timedelta(hours=1)) == {BTC}


def test_an_older_word_that_comes_again_changes_nothing() -> None:
    wishes = heard(wish(3, wanted=False), wish(2))
    assert wishes.list_series(NOON + timedelta(hours=1)) == set()


def test_wanted_again_is_wanted() -> None:
    wishes = heard(wish(1), wish(2, wanted=False), wish(3))
    assert wishes.list_series(NOON + timedelta(hours=1)) == {BTC}


def test_an_interval_that_the_exchange_does_not_have_is_passed_over() -> None:
    wishes = DemandedSeries()
    with pytest.raises(PoisonError):
        wishes.record(wish(1, interval="7"), NOON)
    assert wishes.list_series(NOON) == set()


def test_a_version_that_leaps_is_refused_and_the_next_one_counts() -> None:
    wishes = heard(wish(1))
    for version in (1 + MAX_STEP + 1, 2**63 - 1):
        with pytest.raises(ImplausibleError):
            wishes.record(wish(version, wanted=False), NOON)
    wishes.record(wish(2, wanted=False), NOON)
    assert wishes.list_series(NOON + timedelta(minutes=10)) == set()


def test_an_old_sequence_that_is_met_for_the_first_time_is_plausible() -> None:
    assert heard(wish(50_000)).list_series(NOON) == {BTC}
    with pytest.raises(ImplausibleError):
        heard(wish(2**40))


def test_the_deepest_history_that_somebody_needs_counts() -> None:
    wishes = heard(wish(1, history=4_000), wish(1, by="analytics", history=100))
    assert wishes.demand_for(BTC, NOON).history_bars == 4_000
    wishes.record(wish(2, wanted=False, history=0), NOON)
    assert wishes.demand_for(BTC, NOON).history_bars == 100


@pytest.mark.parametrize(("minutes", "kept"), [(9, {1, 2, 3}), (10, {2})])
def test_a_generation_that_nobody_names_is_kept_for_ten_minutes_after_the_last_wish(
    minutes: int, kept: set[int]
) -> None:
    wishes = heard(wish(1, generations=(1, 2)), wish(2, generations=(2,)))
    wanted = wishes.demand_for(BTC, NOON + timedelta(minutes=minutes))
    assert {generation for generation in (1, 2, 3) if wanted.includes(generation)} == kept


def test_what_one_reads_late_counts_from_when_it_was_said() -> None:
    spoken = wish(1, generations=(2,))
    spoken.set_published_at(NOON)
    wanted = heard(spoken, at=NOON + timedelta(hours=1)).demand_for(BTC, NOON + timedelta(hours=1))
    assert not wanted.includes(1)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_twice_and_in_whatever_order_the_highest_versions_count(seed: int) -> None:
    draw = random.Random(seed)
    said = [
        wish(version, by=by, wanted=draw.random() < 0.5, history=draw.randrange(9_000))
        for by in ("trading", "analytics")
        for version in range(1, 6)
    ]
    turned = draw.choices(said, k=15) + said
    draw.shuffle(turned)
    last = [each for each in said if each.interest_version == 5 and each.wanted]
    wishes, later = heard(*turned), NOON + timedelta(hours=1)
    assert wishes.list_series(later) == ({BTC} if last else set())
    assert wishes.demand_for(BTC, later).history_bars == max((each.history_bars for each in last), default=0)
