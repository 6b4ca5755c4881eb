"""Notices beyond the limit of a kind per minute are counted in a digest, exactly, in batches of any size."""

import random
from collections import Counter
from datetime import timedelta
from uuid import UUID

from services.notifications.domain.digests import MAX_SINGLE_PER_MINUTE, Minute, MinuteKey, minute_of, split_notices
from services.notifications.domain.kinds import Kind, Severity
from services.notifications.domain.notices import Notice
from shared.contracts.types import from_ms, new_id


def notice(
    number: int = 0,
    *,
    user_id: int = 1,
    kind: Kind = "ALERT_TRIGGERED",
    symbol: str = "BTCUSDT",
    severity: Severity = "INFO",
) -> Notice:
    published_at = from_ms(0) + timedelta(milliseconds=number)
    return Notice(user_id, new_id(), published_at, kind, symbol, {}, severity=severity)


def test_a_few_notices_are_single_and_the_rest_in_one_digest() -> None:
    several = [notice(number, symbol=f"S{number % 2}") for number in range(MAX_SINGLE_PER_MINUTE + 5)]
    shares = split_notices(several, {})
    assert list(shares.single) == several[:MAX_SINGLE_PER_MINUTE]
    assert list(shares.digested) == several[MAX_SINGLE_PER_MINUTE:]
    (minute,) = shares.minutes.values()
    assert minute.count == len(several)
    assert minute.digested == {"S0": 3, "S1": 2}


def test_minutes_users_and_kinds_are_counted_separately() -> None:
    full = [notice(number) for number in range(MAX_SINGLE_PER_MINUTE)]
    others = [notice(60_000), notice(user_id=2), notice(kind="SESSION_STARTED"), notice(59_999)]
    shares = split_notices([*full, *others], {})
    assert list(shares.digested) == others[3:]


def test_a_digest_has_the_highest_severity_in_it() -> None:
    several = [notice(severity="WARNING" if number == 22 else "INFO") for number in range(30)]
    (minute,) = split_notices(several, {}).minutes.values()
    assert minute.severity == "WARNING"


def test_batches_of_any_size_give_the_same_result() -> None:
    draw = random.Random(3)
    everything = [
        notice(draw.randrange(150_000), user_id=draw.randrange(3), symbol=f"S{draw.randrange(4)}")
        for _ in range(3_000)
    ]
    known: dict[MinuteKey, Minute] = {}
    single: list[UUID] = []
    rest = everything
    while rest:
        size = draw.randrange(1, 200)
        shares = split_notices(rest[:size], known)
        known |= shares.minutes
        single += [each.event_id for each in shares.single]
        rest = rest[size:]
    whole = split_notices(everything, {})
    assert single == [each.event_id for each in whole.single]
    assert {key: (each.count, each.digested) for key, each in known.items()} == {
        key: (each.count, each.digested) for key, each in whole.minutes.items()
    }
    of_minute = Counter(minute_of(each) for each in everything)
    assert {key: each.count for key, each in known.items()} == of_minute
