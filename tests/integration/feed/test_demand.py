"""The series the feed follows: those in demand, by the highest version, and for ten minutes after demand ends."""

from datetime import timedelta

from tests.integration.feed.conftest import FeedScene, chain, until_published

LONG_AGO = timedelta(minutes=11)


async def test_a_series_without_demand_is_dropped_and_caught_up_when_demanded_again(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(3)
        await until_published(producer, 5)
        await scene.demand("BTCUSDT", version=2, wanted=False, ago=LONG_AGO)
        await scene.until_subscribed()
        await scene.exchange.step(3)
        await scene.demand("BTCUSDT", version=3)
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step()
        events = await until_published(producer, 14)  # the bar that was open is published as opened again
        assert list(dict.fromkeys(events)) == chain(*range(7))[:-1]


async def test_a_series_whose_demand_just_ended_is_still_followed(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.demand("BTCUSDT", version=2, wanted=False)
        await scene.exchange.step(4)
        assert await until_published(producer, 7) == chain(*range(4))[:-1]


async def test_older_and_repeated_demand_events_change_nothing(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT", version=3)
    await scene.demand("BTCUSDT", version=2, wanted=False, ago=LONG_AGO)
    await scene.demand("BTCUSDT", version=3)
    await scene.demand("ETHUSDT", version=2, wanted=False, ago=LONG_AGO)
    await scene.demand("ETHUSDT", version=1)
    for _ in range(2):  # and after a restart, from the topic's beginning
        async with scene.feed():
            await scene.until_subscribed("BTCUSDT")
            assert [row["symbol"] for row in await scene.fetch("SELECT symbol FROM series")] == ["BTCUSDT"]
