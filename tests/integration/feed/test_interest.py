"""What the feed watches: what somebody wishes, by the highest version, and for ten minutes after the last wish."""

from datetime import timedelta

from tests.integration.feed.conftest import FeedScene, chain, said

LONG_AGO = timedelta(minutes=11)


async def test_what_nobody_wishes_is_dropped_and_caught_up_with_when_it_is_wished_again(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(3)
        await said(producer, 5)
        await scene.wish("BTCUSDT", version=2, wanted=False, ago=LONG_AGO)
        await scene.subscribed()
        await scene.exchange.step(3)
        await scene.wish("BTCUSDT", version=3)
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step()
        told = await said(producer, 14)  # the bar that was open is said to open again
        assert list(dict.fromkeys(told)) == chain(*range(7))[:-1]


async def test_a_wish_that_ended_a_moment_ago_is_still_followed(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.wish("BTCUSDT", version=2, wanted=False)
        await scene.exchange.step(4)
        assert await said(producer, 7) == chain(*range(4))[:-1]


async def test_older_words_after_newer_ones_and_words_twice_change_nothing(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT", version=3)
    await scene.wish("BTCUSDT", version=2, wanted=False, ago=LONG_AGO)
    await scene.wish("BTCUSDT", version=3)
    await scene.wish("ETHUSDT", version=2, wanted=False, ago=LONG_AGO)
    await scene.wish("ETHUSDT", version=1)
    for _ in range(2):  # and after a restart, from the topic's beginning
        async with scene.feed():
            await scene.subscribed("BTCUSDT")
            assert [row["symbol"] for row in await scene.see("SELECT symbol FROM series")] == ["BTCUSDT"]
