"""Whatever dies, freezes, is lost or is done by hand: an intent is at most one order, and a fill is booked once.

The suite runs a thousand seeded schedules. `TRADEFLEET_TEST_SCHEDULES=10000` runs the long form, and
`TRADEFLEET_TEST_SEED=<seed> TRADEFLEET_TEST_SCHEDULES=1` replays a failing one.
"""

import os

import pytest

from shared.strategy.execution.outcome import Fill
from tests.unit.trading.orders.memory_exchange import Faults
from tests.unit.trading.orders.restores import RestoredWorld
from tests.unit.trading.orders.schedules import STRATEGIES, World, run_schedule
from tests.unit.trading.orders.virtual_time import VirtualLoop

SCHEDULES = int(os.environ.get("TRADEFLEET_TEST_SCHEDULES", "1000"))
FIRST_SEED = int(os.environ.get("TRADEFLEET_TEST_SEED", "0"))
BLOCKS = 4  # so that several test processes share them


def assert_holds(world: World) -> None:
    if world.violations:
        replay = f"TRADEFLEET_TEST_SEED={world.seed} TRADEFLEET_TEST_SCHEDULES=1"
        pytest.fail(f"seed {world.seed} ({replay}): " + "; ".join(world.violations))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_schedule_holds(block: int, loop: VirtualLoop) -> None:
    for seed in range(FIRST_SEED + block, FIRST_SEED + SCHEDULES, BLOCKS):
        assert_holds(run_schedule(loop, seed))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_schedule_holds_after_a_restore(block: int, loop: VirtualLoop) -> None:
    for seed in range(FIRST_SEED + block, FIRST_SEED + max(SCHEDULES // 10, 1), BLOCKS):
        assert_holds(run_schedule(loop, seed, RestoredWorld))


@pytest.mark.parametrize("seed", [25, 34])  # in which a later position of the same side has another stop
def test_a_restored_session_sets_no_stop_of_an_earlier_position(seed: int, loop: VirtualLoop) -> None:
    options = {"bars": 12, "faults": Faults(), "kills": False, "people": False, "strategy": STRATEGIES[0]}
    assert_holds(run_schedule(loop, seed, RestoredWorld, **options))


def quiet(loop: VirtualLoop, seed: int, kill_at: int | None = None) -> World:
    """Trade three bars without faults and people; the first worker dies at its await number `kill_at`."""
    options = {"bars": 3, "faults": Faults(), "kills": False, "people": False, "strategy": STRATEGIES[3]}
    return run_schedule(loop, seed, kill_at=kill_at, **options)


def test_a_worker_may_die_at_every_await(loop: VirtualLoop) -> None:
    undisturbed = quiet(loop, 4)
    assert undisturbed.db.trades, "nothing happens in this schedule"
    for await_number in range(1, undisturbed.first_awaits + 1):
        world = quiet(loop, 4, await_number)
        if world.violations:
            pytest.fail(f"killed at await {await_number}: " + "; ".join(world.violations))


def test_a_schedule_replays_from_its_seed(loop: VirtualLoop) -> None:
    def fills(world: World) -> list[Fill]:
        start_ms = int(world.start * 1000)
        return [fill._replace(time_ms=fill.time_ms - start_ms) for fill in world.db.fills]

    first, again = run_schedule(loop, 11), run_schedule(loop, 11)
    assert fills(first) == fills(again)
    assert fills(first)
