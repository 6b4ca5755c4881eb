"""Demand in a version that this program does not know yet: the feed's listener goes on, and readiness names it."""

import aiohttp

from services.trading.app import build
from shared.chassis.clock import utc_now
from shared.chassis.events.outbox import serialise
from shared.chassis.events.producer import Outgoing
from shared.chassis.service import RunningService
from tests.contracts.samples import SAMPLES
from tests.integration.feed.conftest import FeedScene


async def test_newer_demand_is_parked_and_later_demand_is_followed(scene: FeedScene) -> None:
    interest = SAMPLES["market.interest"]
    _, headers, payload = serialise(interest, "trading", utc_now())
    headers["ce_dataschema"] = "tradefleet:market.interest:2"
    async with RunningService(build, scene.settings, {"feed"}) as running:
        await scene.producer().send([Outgoing(interest.topic, interest.key(), headers, payload)])
        await scene.demand("BTCUSDT")
        await scene.until_subscribed("BTCUSDT")
        assert not running.failed
        async with aiohttp.ClientSession() as session, session.get(f"{running.url}/readyz") as answer:
            status, body = answer.status, await answer.json()
    assert (status, body["faults"]) == (200, [])
    assert body["parked"] == ["market.interest: version 2 is newer than this program, keys parked: 1"]
