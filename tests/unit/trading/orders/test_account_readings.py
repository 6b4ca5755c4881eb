"""Sessions of an account that share its readings."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from services.trading.exchange.venue import VenueExecution, VenueOrder, VenuePosition, VenueUnavailable
from services.trading.orders.account_readings import AccountReadings, Reading
from shared.contracts.types import EPOCH
from tests.unit.trading.orders.scenes import Scene
from tests.unit.trading.orders.virtual_time import VirtualLoop, run

READING_S = 2.0


class Account:
    """Flat in all symbols; each question takes a second. `asked`: the symbols of each reading."""

    def __init__(self, loop: VirtualLoop, *executions: VenueExecution) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.executions = executions
        self.is_down = False
        self.unreadable = ""  # a symbol
        self._readings = AccountReadings(self, loop.now)  # type: ignore[arg-type]

    async def take(self, symbol: str, after_s: float = 0, since: datetime = EPOCH) -> Reading:
        await asyncio.sleep(after_s)
        return await self._readings.take(symbol, since)

    async def list_positions(self, symbols: Collection[str]) -> Sequence[VenuePosition]:
        self.asked.append(tuple(sorted(symbols)))
        await self._answer()
        if self.unreadable in symbols:
            raise VenueUnavailable
        return [VenuePosition(each, None, Decimal(0), None, Decimal(1), None, EPOCH) for each in symbols]

    async def list_open_orders(self, symbols: Collection[str]) -> Sequence[VenueOrder]:
        await self._answer()
        return []

    async def list_executions(self, since: datetime, symbols: Collection[str]) -> Sequence[VenueExecution]:
        await self._answer()
        return [each for each in self.executions if each.time >= since]

    async def _answer(self) -> None:
        await asyncio.sleep(1)
        if self.is_down:
            raise VenueUnavailable


def seconds(reading: Reading) -> float:
    return (reading.at - EPOCH).total_seconds()


def test_sessions_that_ask_together_share_one_reading(loop: VirtualLoop) -> None:
    account = Account(loop)

    async def main() -> None:
        readings = await asyncio.gather(account.take("BTCUSDT"), account.take("ETHUSDT"), account.take("XRPUSDT"))
        assert [reading.position.symbol for reading in readings] == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]

    run(loop, main())
    assert account.asked == [("BTCUSDT", "ETHUSDT", "XRPUSDT")]


def test_a_reading_that_began_before_the_demand_does_not_answer_it(loop: VirtualLoop) -> None:
    account = Account(loop)

    async def main() -> None:
        late = (account.take("BTCUSDT", after_s=1), account.take("ETHUSDT", after_s=1.5))
        readings = await asyncio.gather(account.take("BTCUSDT"), *late)
        assert [seconds(reading) for reading in readings] == [0, READING_S, READING_S]

    run(loop, main())
    assert account.asked == [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")]


def test_if_the_exchange_does_not_answer_all_that_wait_learn_it(loop: VirtualLoop) -> None:
    account = Account(loop)
    account.is_down = True

    async def main() -> None:
        failed = await asyncio.gather(account.take("BTCUSDT"), account.take("ETHUSDT"), return_exceptions=True)
        assert [type(each) for each in failed] == [VenueUnavailable, VenueUnavailable]
        account.is_down = False
        await account.take("BTCUSDT")

    run(loop, main())
    together, *alone, later = account.asked
    assert (together, sorted(alone), later) == (("BTCUSDT", "ETHUSDT"), [("BTCUSDT",), ("ETHUSDT",)], ("BTCUSDT",))


def test_a_symbol_that_cannot_be_read_hides_no_other(loop: VirtualLoop) -> None:
    account = Account(loop)
    account.unreadable = "ETHUSDT"

    async def main() -> None:
        read, failed = await asyncio.gather(
            account.take("BTCUSDT"), account.take("ETHUSDT"), return_exceptions=True
        )
        assert isinstance(read, Reading)
        assert read.position.symbol == "BTCUSDT"
        assert isinstance(failed, VenueUnavailable)

    run(loop, main())


def test_a_session_that_stops_while_it_reads_leaves_the_others_to_the_next(loop: VirtualLoop) -> None:
    account = Account(loop)

    async def main() -> None:
        first = asyncio.create_task(account.take("BTCUSDT"))
        others = [asyncio.create_task(account.take(symbol)) for symbol in ("ETHUSDT", "XRPUSDT")]
        await asyncio.sleep(1.5)
        first.cancel()
        others[1].cancel()
        assert seconds(await others[0]) == 1.5
        with pytest.raises(asyncio.CancelledError):
            await first

    run(loop, main())
    assert account.asked == [("BTCUSDT", "ETHUSDT", "XRPUSDT"), ("ETHUSDT",)]


def test_each_session_gets_its_own_executions_from_its_own_time_on(loop: VirtualLoop) -> None:
    mine = Scene().executes("BUY", "1", "100")
    other, earlier = replace(mine, symbol="ETHUSDT"), replace(mine, time=mine.time - timedelta(days=1))
    account = Account(loop, earlier, mine, other)

    async def main() -> None:
        new, old = await asyncio.gather(
            account.take("BTCUSDT", since=mine.time), account.take("ETHUSDT", since=earlier.time)
        )
        assert (new.executions, old.executions) == ((mine,), (other,))

    run(loop, main())
