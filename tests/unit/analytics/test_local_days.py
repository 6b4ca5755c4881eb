"""A time belongs to the date that a clock of the zone shows, also where the clock goes back across midnight."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from services.analytics.domain.days import compute_days
from services.analytics.domain.facts import local_date
from services.analytics.domain.local_days import (
    INSTANT,
    ONE_DAY,
    Cutoff,
    LocalPeriod,
    day_start,
    first_date,
    is_within,
    last_date,
)
from services.analytics.routes.period import period_of
from tests.unit.analytics.facts import at, trade

ROME, BEIRUT, ST_JOHNS = ZoneInfo("Europe/Rome"), ZoneInfo("Asia/Beirut"), ZoneInfo("America/St_Johns")
YEARS = range(1970, 2030)
STEP = timedelta(days=20)
NEAR = [timedelta(minutes=minutes) for minutes in (-1500, -181, -61, -60, -59, -1, 0, 1, 59, 60, 61, 181, 1500)]


def clock_changes(zone: ZoneInfo) -> Iterator[datetime]:
    """When the zone's offset changed, searched in steps of 20 days."""
    low = datetime(YEARS.start, 1, 1, tzinfo=UTC)
    before = low.astimezone(zone).utcoffset()
    while low.year < YEARS.stop:
        high = low + STEP
        after = high.astimezone(zone).utcoffset()
        if before != after:
            begin, end = low, high
            while end - begin > timedelta(seconds=1):
                middle = begin + (end - begin) // 2
                if middle.astimezone(zone).utcoffset() == before:
                    begin = middle
                else:
                    end = middle
            yield end.replace(microsecond=0)
        low, before = high, after


def is_near_midnight(change: datetime, zone: ZoneInfo) -> bool:
    hour = timedelta(minutes=61)
    return len({local_date(change + near, zone) for near in (-hour, -INSTANT, 0 * hour, hour)}) > 1


@pytest.mark.parametrize("letter", ["A", "B-E", "F-Z"])
def test_around_every_clock_change_near_midnight_the_date_is_that_of_the_clock(letter: str) -> None:
    first, _, last = letter.partition("-")
    names = [name for name in sorted(available_timezones()) if first <= name[0] <= (last or first)]
    turned_back, seen = 0, set[tuple[datetime, ...]]()
    for zone in map(ZoneInfo, names):
        changes = tuple(change for change in clock_changes(zone) if is_near_midnight(change, zone))
        if changes not in seen:  # many zones have two names
            seen.add(changes)
            turned_back += sum(check_dates_around(change, zone) for change in changes)
    assert letter != "A" or turned_back > 40  # America/St_Johns alone has 25


def check_dates_around(change: datetime, zone: ZoneInfo) -> bool:
    """Returns whether the clock went back across midnight."""
    day = local_date(change, zone)
    starts = {each: day_start(each, zone) for each in (day - ONE_DAY, day, day + ONE_DAY, day + 2 * ONE_DAY)}
    ends = {end for start in starts.values() for span in start.after for end in span if end.year < 9000}
    moments = sorted(
        {change + near for near in NEAR} | {end + one for end in ends for one in (-INSTANT, 0 * INSTANT)}
    )
    dates = [local_date(moment, zone) for moment in moments]
    for each, start in starts.items():
        for moment, shown in zip(moments, dates, strict=True):
            assert is_within(moment, start.after) == (shown >= each), (zone, each, moment)
            assert is_within(moment, start.before) == (shown < each), (zone, each, moment)
    for number, moment in enumerate(moments):
        assert first_date(moment, zone) == min(dates[number:]), (zone, moment)
        assert last_date(moment, zone) == max(
            local_date(moment - INSTANT, zone), *dates[:number], day - 9 * ONE_DAY
        )
    return any(start.turned_back for start in starts.values())


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)])
def test_a_day_is_as_long_as_in_its_zone(day: str, hours: int) -> None:
    begin = date.fromisoformat(day)
    start, end = day_start(begin, ROME).moment, day_start(begin + ONE_DAY, ROME).moment
    assert end - start == timedelta(hours=hours)
    cut = compute_days([trade(start, "1"), trade(end - INSTANT, "1")], [], ROME)
    assert [(each.date, each.total_trades) for each in cut] == [(begin, 2)]


def test_a_day_whose_midnight_is_skipped_begins_at_the_first_time_the_clock_shows() -> None:
    start = day_start(date(2026, 3, 29), BEIRUT).moment  # at 01:00
    assert start.astimezone(BEIRUT).isoformat() == "2026-03-29T01:00:00+03:00"
    assert local_date(start - INSTANT, BEIRUT) == date(2026, 3, 28)


def test_a_date_that_was_skipped_is_empty() -> None:
    """Samoa skipped 2011-12-30: after 2011-12-29 came 2011-12-31."""
    apia = ZoneInfo("Pacific/Apia")
    assert day_start(date(2011, 12, 30), apia) == day_start(date(2011, 12, 31), apia)
    assert period_of(date(2011, 12, 30), date(2011, 12, 30), apia).spans == []


def test_where_the_clock_goes_back_across_midnight_a_date_has_two_spans() -> None:
    """In St. John's the clock went from 00:01 on 2010-11-07 back to 23:01 of the day before."""
    start = day_start(date(2010, 11, 7), ST_JOHNS)
    assert start == Cutoff(at("2010-11-07 02:30"), (at("2010-11-07 02:31"), at("2010-11-07 03:30")))
    sixth = period_of(date(2010, 11, 6), date(2010, 11, 6), ST_JOHNS)
    assert sixth.spans == [
        (at("2010-11-06 02:30"), at("2010-11-07 02:30")),
        (at("2010-11-07 02:31"), at("2010-11-07 03:30")),
    ]
    assert sixth.end == at("2010-11-07 03:30")
    seventh = period_of(date(2010, 11, 7), date(2010, 11, 7), ST_JOHNS)
    assert seventh.spans == [
        (at("2010-11-07 02:30"), at("2010-11-07 02:31")),
        (at("2010-11-07 03:30"), at("2010-11-08 03:30")),
    ]
    assert period_of(date(2010, 11, 6), date(2010, 11, 7), ST_JOHNS).spans == [
        (at("2010-11-06 02:30"), at("2010-11-08 03:30"))
    ]


def test_days_and_periods_of_a_day_have_the_same_trades() -> None:
    trades = [trade(f"2010-11-07 0{time}", "1") for time in ("2:29", "2:30", "2:31", "3:29", "3:30")]
    days = compute_days(trades, [], ST_JOHNS)
    assert [(day.date.day, day.total_trades) for day in days] == [(6, 3), (7, 2)]
    for day in days:
        spans = period_of(day.date, day.date, ST_JOHNS).spans
        assert sum(is_within(each.exit_time, spans) for each in trades) == day.total_trades


def test_a_period_that_ends_before_it_begins_is_empty() -> None:
    assert LocalPeriod(Cutoff(at("2026-01-02 00:00")), Cutoff(at("2026-01-01 00:00"))).spans == []
