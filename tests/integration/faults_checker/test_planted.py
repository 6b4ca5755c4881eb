"""Each planted violation is found under its invariant and described, and nothing else is found."""

import pytest

from tests.integration.faults_checker.conftest import Judge
from tests.integration.faults_checker.planted import PLANTED, Planted
from tests.integration.faults_checker.world import World


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
async def test_a_planted_violation_is_found_and_no_other(planted: Planted, world: World, judge: Judge) -> None:
    await planted.spoil(world)
    found = await judge()
    assert [violation.invariant for violation in found] == [planted.invariant], found
    for name in planted.named:
        assert name in found[0].detail


def test_every_invariant_has_violations_planted() -> None:
    assert {planted.invariant for planted in PLANTED} == {f"I{number}" for number in range(1, 8)}
