"""Whatever the stream skips, repeats or turns around, each bar is said once, ascending, in a chain."""

import random

import pytest

from tests.integration.feed.conftest import FeedScene, LoneSeries, chain, said
from tests.integration.feed.exchange import candles

BARS = 30
MARKET = {"BTCUSDT": candles(range(BARS + 1))}


def hear_badly(series: LoneSeries, minute: int, draw: random.Random) -> None:
    """Of the bar that has just closed, the one that has just opened, and those before: some, in some order."""
    words = [(minute - 1, True), (minute, False)]
    words += [(draw.randrange(minute), draw.random() < 0.5) for _ in range(draw.randrange(3))]
    words = [word for word in words if word[0] >= 0 and draw.random() < 0.7]
    draw.shuffle(words)
    for bar, confirmed in words:
        series.hear(bar, confirmed=confirmed and bar < minute)
        if draw.random() < 0.2:
            series.hear(bar, confirmed=confirmed and bar < minute)
    if draw.random() < 0.1:
        series.feed.reconcile()


@pytest.mark.parametrize("scene", [MARKET], indirect=True)
@pytest.mark.parametrize("seed", range(3))
async def test_each_bar_is_said_once_in_its_place(scene: FeedScene, seed: int) -> None:
    draw = random.Random(seed)
    async with scene.series() as series:
        await scene.exchange.step()
        for minute in range(1, BARS + 1):
            await scene.exchange.step()
            hear_badly(series, minute, draw)
        series.hear(BARS, confirmed=False)
        assert await said(series.producer, 2 * BARS + 1) == chain(*range(BARS + 1))[:-1]
        assert series.alarms == 0
    assert await scene.stored() == list(range(BARS))
