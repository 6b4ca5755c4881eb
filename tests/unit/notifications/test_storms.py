"""What is too much of a kind in a minute is counted, exactly, in whatever batches it comes."""

import random
from collections import Counter
from datetime import timedelta
from uuid import UUID

from services.notifications.domain.digests import SINGLY_IN_A_MINUTE, Minute, MinuteKey, minute_of, share_out
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
    said_at = from_ms(0) + timedelta(milliseconds=number)
    return Notice(user_id, new_id(), said_at, kind, symbol, {}, severity=severity)


def test_a_few_stand_by_themselves_and_the_rest_in_one_digest() -> None:
    several = [notice(number, symbol=f"S{number % 2}") for number in range(SINGLY_IN_A_MINUTE + 5)]
    shares = share_out(several, {})
    assert list(shares.singly) == several[:SINGLY_IN_A_MINUTE]
    assert list(shares.digested) == several[SINGLY_IN_A_MINUTE:]
    (minute,) = shares.minutes.values()
    assert minute.told == len(several)
    assert minute.digested == {"S0": 3, "S1": 2}


def test_minutes_people_and_kinds_do_not_count_for_each_other() -> None:
    full = [notice(number) for number in range(SINGLY_IN_A_MINUTE)]
    others = [notice(60_000), notice(user_id=2), notice(kind="SESSION_STARTED"), notice(59_999)]
    shares = share_out([*full, *others], {})
    assert list(shares.digested) == others[3:]


def test_a_digest_is_as_grave_as_the_gravest_in_it() -> None:
    several = [notice(severity="WARNING" if number == 22 else "INFO") for number in range(30)]
    (minute,) = share_out(several, {}).minutes.values()
    assert minute.severity == "WARNING"


def test_in_batches_it_comes_to_the_same() -> None:
    draw = random.Random(3)
    everything = [
        notice(draw.randrange(150_000), user_id=draw.randrange(3), symbol=f"S{draw.randrange(4)}")
        for _ in range(3_000)
    ]
    known: dict[MinuteKey, Minute] = {}
    singly: list[UUID] = []
    rest = everything
    while rest:
        size = draw.randrange(1, 200)
        shares = share_out(rest[:size], known)
        known |= shares.minutes
        singly += [each.event_id for each in shares.singly]
        rest = rest[size:]
    whole = share_out(everything, {})
    assert singly == [each.event_id for each in whole.singly]
    assert {key: (each.told, each.digested) for key, each in known.items()} == {
        key: (each.told, each.digested) for key, each in whole.minutes.items()
    }
    of_minute = Counter(minute_of(each) for each in everything)
    assert {key: each.told for key, each in known.items()} == of_minute
