"""Requests use units of leased blocks; what happens when a block ends, and when billing is unavailable."""

import asyncio
from collections.abc import Sequence
from typing import cast
from uuid import UUID

import pytest

from shared.chassis.auth import Principal
from shared.chassis.errors import AccountNotReady, ProblemError, QuotaExceeded, Unavailable
from shared.chassis.postgres import Database
from shared.chassis.quota.leases import Lease, LeaseRequest, ReturnedBlock
from shared.chassis.quota.meter import RETRY_AFTER_S, UNLEASED_BLOCK, Meter
from shared.contracts.types import new_id

NO_DATABASE = cast(Database, None)  # no test here reports usage


def caller(user_id: int = 1) -> Principal:
    return Principal(user_id, UUID(int=user_id), frozenset(), None)


class Billing:
    """A day of `left` requests in blocks of `size`; while `fault` is set, it is raised instead."""

    def __init__(self, left: int, size: int) -> None:
        self.left = left
        self.size = size
        self.fault: ProblemError | None = None
        self.asked: list[LeaseRequest] = []
        self.back: list[ReturnedBlock] = []
        self.hangs: asyncio.Event | None = None

    async def lease(self, request: LeaseRequest) -> Lease:
        self.asked.append(request)
        await asyncio.sleep(0)
        if self.hangs is not None:
            await self.hangs.wait()
        if self.fault is not None:
            raise self.fault
        granted = min(self.size, self.left)
        if granted == 0:
            raise QuotaExceeded(limit=100, used=100, retry_after_s=3_600)
        self.left -= granted
        return Lease(lease_id=new_id(), granted=granted, usable_ms=50_000)

    async def return_blocks(self, blocks: Sequence[ReturnedBlock]) -> None:
        if self.fault is not None:
            raise Unavailable
        self.back += blocks

    async def close(self) -> None: ...


class Scene:
    """A meter with a clock that the test moves."""

    def __init__(self, left: int = 100, size: int = 2) -> None:
        self.now = 0.0
        self.billing = Billing(left, size)
        self.meter = Meter(NO_DATABASE, self.billing, "notifications", lambda: self.now)

    async def ask(self, user_id: int = 1) -> str:
        """Return "ok" or the type of the problem that a request is answered with."""
        try:
            await self.meter.admit(caller(user_id), "other", "GET /v1/alerts")
        except ProblemError as error:
            return error.type
        return "ok"

    async def many(self, count: int) -> list[str]:
        return [await self.ask() for _ in range(count)]

    async def back(self) -> list[int]:
        self.meter._unreported.clear()  # there is no database in these tests
        await self.meter.report()
        return [block.used for block in self.billing.back]


async def test_billing_is_asked_once_per_block() -> None:
    scene = Scene(size=50)
    assert await scene.many(100) == ["ok"] * 100
    assert len(scene.billing.asked) == 2
    assert scene.billing.asked[0].operation == "GET /v1/alerts"


async def test_of_fifty_concurrent_requests_with_one_unit_left_one_passes_with_two_calls_to_billing() -> None:
    scene = Scene(left=1)
    answers = await asyncio.gather(*(scene.ask() for _ in range(50)))
    assert sorted(answers) == ["ok"] + ["quota-exceeded"] * 49
    assert len(scene.billing.asked) == 2


async def test_fifty_concurrent_requests_share_the_available_blocks() -> None:
    scene = Scene(left=30)
    answers = await asyncio.gather(*(scene.ask() for _ in range(50)))
    assert (answers.count("ok"), answers.count("quota-exceeded")) == (30, 20)


async def test_a_refusal_is_cached_briefly_and_then_billing_is_asked_again() -> None:
    scene = Scene(left=0)
    assert await scene.many(3) == ["quota-exceeded"] * 3
    assert len(scene.billing.asked) == 1
    scene.billing.left = 2
    scene.now += RETRY_AFTER_S
    assert await scene.ask() == "ok"


async def test_a_refusal_contains_limit_usage_and_time_to_the_end_of_the_day() -> None:
    scene = Scene(left=0)
    await scene.ask()
    with pytest.raises(QuotaExceeded) as refused:
        await scene.meter.admit(caller(), "other", "x")
    extra = refused.value.extra
    assert (extra["limit"], extra["used"]) == (100, 100)
    assert 1 <= cast(int, extra["retry_after_s"]) <= 86_400


async def test_an_expired_block_is_not_used_and_is_returned() -> None:
    scene = Scene()
    await scene.ask()
    scene.now += 50
    await scene.ask()
    assert len(scene.billing.asked) == 2
    assert await scene.back() == [1]


async def test_an_idle_block_is_returned_when_it_expires() -> None:
    scene = Scene()
    await scene.ask()
    assert await scene.back() == []
    scene.now += 50
    assert await scene.back() == [1]


async def test_without_billing_there_is_one_more_block_and_then_none() -> None:
    scene = Scene()
    await scene.many(2)
    scene.billing.fault = Unavailable()
    assert await scene.many(3) == ["ok", "ok", "unavailable"]
    scene.now += RETRY_AFTER_S
    assert await scene.ask() == "unavailable"
    assert len(scene.billing.asked) == 3


async def test_a_new_tenant_has_a_small_block_without_billing() -> None:
    scene = Scene()
    scene.billing.fault = Unavailable()
    answers = await scene.many(UNLEASED_BLOCK + 1)
    assert (answers.count("ok"), answers[-1]) == (UNLEASED_BLOCK, "unavailable")


async def test_cleanup_does_not_grant_a_second_extra_block() -> None:
    scene = Scene()
    scene.billing.fault = Unavailable()
    await scene.many(UNLEASED_BLOCK)
    for _ in range(5):
        scene.now += 100
        await scene.back()
        assert await scene.ask() == "unavailable"


async def test_when_billing_is_back_leases_resume_and_the_next_outage_has_its_own_block() -> None:
    scene = Scene()
    scene.billing.fault = Unavailable()
    await scene.many(5)
    scene.billing.fault = None
    scene.now += RETRY_AFTER_S
    assert await scene.many(4) == ["ok"] * 4
    assert scene.billing.left == 96
    scene.billing.fault = Unavailable()
    assert await scene.many(3) == ["ok", "ok", "unavailable"]


async def test_while_billing_hangs_one_request_waits_for_it_and_others_pass() -> None:
    scene = Scene()
    scene.billing.fault = Unavailable()
    await scene.ask()
    scene.billing.hangs = asyncio.Event()
    scene.now += RETRY_AFTER_S
    waiting = asyncio.create_task(scene.ask(2))
    await asyncio.sleep(0)
    assert await scene.many(3) == ["ok"] * 3
    assert not waiting.done()
    scene.billing.hangs.set()
    assert await waiting == "ok"


async def test_a_tenant_refused_today_has_no_extra_block_without_billing() -> None:
    scene = Scene(left=0)
    await scene.ask()
    scene.billing.fault = Unavailable()
    scene.now += 10 * RETRY_AFTER_S
    await scene.back()
    assert await scene.many(2) == ["quota-exceeded"] * 2


async def test_an_account_unknown_to_billing_is_admitted_for_a_short_time() -> None:
    scene = Scene()
    scene.billing.fault = AccountNotReady()
    assert await scene.many(3) == ["ok"] * 3
    scene.billing.fault = None
    scene.now += RETRY_AFTER_S
    assert await scene.ask() == "ok"
    assert len(scene.billing.asked) == 2


async def test_a_block_that_could_not_be_returned_is_returned_later() -> None:
    scene = Scene()
    await scene.ask()
    scene.now += 50
    scene.billing.fault = Unavailable()
    assert await scene.back() == []
    scene.billing.fault = None
    assert await scene.back() == [1]


async def test_idle_tenants_are_removed() -> None:
    scene = Scene(left=10_000)
    for user_id in range(1, 100):
        await scene.ask(user_id)
    scene.now += 50
    await scene.back()
    assert not scene.meter._tenants
