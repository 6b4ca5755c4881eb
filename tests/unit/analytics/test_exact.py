"""Every displayed digit of every figure equals that of the exact calculation, over hundreds of random histories."""

import random
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from services.analytics.domain.days import compute_days
from services.analytics.domain.facts import SessionFact, TradeFact
from services.analytics.domain.summary import summarise
from tests.unit.analytics.exact import World, day_figures, period_figures
from tests.unit.analytics.facts import at, trade

START = at("2024-10-20 00:00")
ZONES = ("UTC", "Europe/Rome", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
MINUTES = 24 * 60
HISTORIES = 300


def random_world(seed: int) -> World:
    """The first session runs throughout, others start and stop on any day; amounts have 0, 2 or 8 places."""
    draw = random.Random(seed)
    trades, sessions = list[TradeFact](), list[SessionFact]()
    days, places = draw.choice((3, 12, 12, 40)), draw.choice((0, 2, 8))
    for number in range(draw.randint(1, 6)):
        begun = 0 if number == 0 else draw.randrange(days * MINUTES)
        stopped = days * MINUTES if number == 0 else draw.randrange(begun + 1, days * MINUTES + 1)
        balance = Decimal(draw.randint(100, 20_000)) + Decimal(draw.randrange(10**places)).scaleb(-places)
        pnls = [some_pnl(draw, balance, places) for _ in range(draw.randint(1, 12))]
        trades += [trade(START + timedelta(minutes=draw.randint(begun, stopped)), pnl) for pnl in pnls]
        ended = (balance + sum(pnls), START + timedelta(minutes=stopped, seconds=1)) if number else (None, None)
        sessions.append(SessionFact(balance, START + timedelta(minutes=begun), *ended))
    return World(
        sorted(trades, key=lambda each: (each.exit_time, each.trade_id)), sessions, ZoneInfo(draw.choice(ZONES))
    )


def some_pnl(draw: random.Random, balance: Decimal, places: int) -> Decimal:
    """At most 3 % of the balance."""
    limit = int(balance.scaleb(places) * 3 / 100)
    return Decimal(draw.randint(-limit, limit)).scaleb(-places)


@pytest.mark.parametrize(
    "seeds", [range(start, start + HISTORIES // 6) for start in range(0, HISTORIES, HISTORIES // 6)]
)
def test_every_displayed_digit_equals_that_of_the_exact_calculation(seeds: range) -> None:
    for seed in seeds:
        world = random_world(seed)
        for day in compute_days(world.trades, world.sessions, world.zone):
            for name, exact in day_figures(world, day.date).items():
                assert getattr(day, name) == exact, (seed, day.date, name)
        summary = summarise(world.trades, world.sessions, Decimal(0), world.zone)
        found = {
            **vars(summary.ratios),
            "return_pct": summary.return_pct,
            "max_drawdown_pct": summary.max_drawdown_pct,
        }
        for name, exact in period_figures(world).items():
            assert (found[name] if name in found else getattr(summary.sums, name)) == exact, (seed, name)
