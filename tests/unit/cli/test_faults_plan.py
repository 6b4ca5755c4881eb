"""The plan of a fault run depends on its seed alone, and covers every fault point."""

from collections import Counter
from itertools import islice

import pytest

from faults.exchange_faults import EXCHANGE_FAULTS
from faults.families import FAMILIES
from faults.plan import STRIKES_A_ROUND, FaultRound, plan, points_of
from shared.chassis.crash_points import POINTS
from shared.contracts.catalog import BY_TOPIC
from shared.contracts.envelope import Event
from stack.layout import processes_per_role

ROUNDS = 100
ALL = tuple(FAMILIES)
SERVERS = {"postgres", "kafka"}
FIRST_OF_7 = (
    "0.8 s KILL notifications-consumers at alerts.after_firing, hit 1; "
    "0.9 s STOP billing-relay at relay.after_commit, hit 1 for 12.5 s; "
    "0.9 s KILL auth-relay at relay.after_rows_read, hit 1; "
    "1.5 s KILL trading-feed at feed.after_candle, hit 2; "
    "1.8 s KILL notifications-jobs; "
    "2.2 s poison on session.stopped: a NUL; "
    "2.5 s KILL trading-worker at worker.after_claim, hit 1; "
    "2.7 s STOP auth-http at transaction.after_commit, hit 3 for 3.1 s"
)


def rounds_of(seed: int, families: tuple[str, ...] = ALL) -> list[FaultRound]:
    return list(islice(plan(seed, families), ROUNDS))


def test_the_same_seed_gives_the_same_rounds() -> None:
    assert rounds_of(7) == rounds_of(7)


def test_another_seed_gives_other_rounds() -> None:
    assert rounds_of(7) != rounds_of(8)


def test_a_shorter_plan_is_the_beginning_of_a_longer_one() -> None:
    assert list(islice(plan(7, ALL), 5)) == rounds_of(7)[:5]


def test_a_seed_gives_the_same_rounds_on_every_machine() -> None:
    assert str(rounds_of(7, ("A", "B", "C"))[0]) == FIRST_OF_7


@pytest.mark.parametrize("family", ALL)
def test_every_point_of_a_family_is_hit_often(family: str) -> None:
    struck = Counter(
        fault.point for one in rounds_of(3, (family,)) for fault in one.faults if fault.kind == "strike"
    )
    assert set(struck) == set(FAMILIES[family].points)
    assert min(struck.values()) >= ROUNDS // 5


def test_all_families_together_cover_every_named_point() -> None:
    assert points_of(ALL) == sorted(POINTS)


def test_no_process_has_two_faults_in_a_round() -> None:
    for one in rounds_of(4):
        targets = [fault.target for fault in one.faults if fault.kind not in ("poison", "exchange")]
        assert len(targets) == len(set(targets)) == STRIKES_A_ROUND + 1


def test_every_target_is_a_process_of_the_split_stack_a_server_a_topic_or_a_fault_of_the_exchange() -> None:
    known = {part.name for part in processes_per_role()} | SERVERS | set(BY_TOPIC) | set(EXCHANGE_FAULTS)
    assert {fault.target for one in rounds_of(5) for fault in one.faults} <= known


def test_each_round_of_consumers_has_a_poison_record_and_every_outbox_topic_gets_some() -> None:
    poisoned = [[fault.target for fault in one.faults if fault.kind == "poison"] for one in rounds_of(7, ("B",))]
    assert {len(of_round) for of_round in poisoned} == {1}
    assert not [fault for one in rounds_of(7, ("C",)) for fault in one.faults if fault.kind == "poison"]
    many = {fault.target for one in islice(plan(7, ("B",)), 500) for fault in one.faults if fault.kind == "poison"}
    assert many == {topic for topic, event in BY_TOPIC.items() if issubclass(event, Event)}


def test_each_round_of_trading_has_two_faults_of_the_exchange_and_every_fault_comes_up() -> None:
    drawn = [[fault.target for fault in one.faults if fault.kind == "exchange"] for one in rounds_of(7, ("D",))]
    assert {len(of_round) for of_round in drawn} == {2}
    assert {target for of_round in drawn for target in of_round} == set(EXCHANGE_FAULTS)


def test_processes_are_frozen_for_longer_and_shorter_than_the_session_timeout_of_their_group() -> None:
    lasts = [fault.lasts_s for one in rounds_of(6) for fault in one.faults if fault.action == "STOP"]
    assert min(lasts) < 10 < max(lasts)


def test_both_servers_get_every_kind_of_network_fault() -> None:
    seen = {
        (fault.target, fault.weather) for one in rounds_of(6) for fault in one.faults if fault.kind == "weather"
    }
    assert seen == {(server, kind) for server in SERVERS for kind in ("latency", "resets", "half_open", "slices")}


def test_a_round_has_as_many_strikes_as_asked_for() -> None:
    for one in islice(plan(4, ALL, 12), ROUNDS):
        struck = [fault.target for fault in one.faults if fault.kind == "strike"]
        assert len(struck) == len(set(struck)) == 12


def test_a_round_without_free_processes_is_shorter() -> None:
    assert all(len(one.faults) <= STRIKES_A_ROUND + 1 for one in rounds_of(1, ("C",)))
