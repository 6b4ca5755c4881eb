"""`tradefleet candles fetch`: a candle file from the exchange's public REST, as `backtest` reads it."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import click

from cli.candles.instrument import Beside, path_beside, write_beside
from cli.candles.part import CandlesRequest, Part
from cli.failure import BadInput
from cli.options import BadOption, OneLineCommand, one_line, quoted, time_option
from cli.progress import Tell, progress_bar
from services.trading.bybit_api import KLINE_LIMIT, Kline, MarketApi, NotBars, UnknownSymbol, VenueUnavailable
from shared.contracts.types import SYMBOL_PATTERN, from_ms, instant_text, to_ms
from shared.market.bars import Gap, find_gaps
from shared.strategy.bars import INTERVAL_MS, Instrument

SETTLED_AFTER_S = 2.0  # a bar that has been over for so long does not change any more
WAITS_S = (0.5, 1, 2, 4, 8, 15, 30, 30, 30, 60, 60, 60)  # between tries of one request
FIRST_WAITS_S = WAITS_S[:5]  # of the first: where nothing answered yet, there may be no network
TOLD_FROM_S = 2
HOLES_SHOWN = 10
LONGEST_FAULT = 160
_SYMBOL = re.compile(SYMBOL_PATTERN)

T = TypeVar("T")


@dataclass(frozen=True)
class Fetched:
    """What the file has in the end, and how much of it an earlier run had fetched."""

    bars: int
    resumed_from: int
    first_ms: int
    last_ms: int
    holes: Sequence[Gap]
    widened: Sequence[int]  # open times of bars whose high or low did not enclose open and close
    instrument: Instrument | None  # None where the exchange did not give it


@click.command("fetch", cls=OneLineCommand)
@click.argument("symbol")
@click.option("--interval", required=True, type=click.Choice([*INTERVAL_MS]), help="As Bybit names it.")
@click.option("--from", "first", required=True, metavar="TIME", help="ISO or ms: bars open then or later.")
@click.option("--to", "before", metavar="TIME", help="ISO or ms: bars open before it; default: up to now.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.csv[.gz]")
@click.option("--endpoint", default="", metavar="URL", help="Another address than the exchange's own.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the summary.")
def fetch_command(
    symbol: str,
    interval: str,
    first: str,
    before: str | None,
    output: Path,
    endpoint: str,
    force: bool,
    as_json: bool,
) -> None:
    """Fetch closed candles of a linear contract into a file that `backtest` reads.

    An interrupted run leaves FILE.part, and the same command goes on from there; FILE appears when it is whole. The
    exchange's instrument is kept beside it, in FILE.instrument.json, where `backtest` and `demo` find it.
    """
    for there in (output, path_beside(output)):
        if there.exists() and not force:
            raise BadOption(f"-o: {there} is there already: --force replaces it")
    if not _SYMBOL.fullmatch(symbol):
        raise BadOption(f"{quoted(symbol)} is no symbol: capital letters and digits, such as BTCUSDT")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise BadOption(f"--endpoint: {quoted(endpoint)} is not an http address")
    first_ms = time_option("--from", first)
    before_ms = None if before is None else time_option("--to", before)
    if before_ms is not None and before_ms <= first_ms:
        raise BadOption("--to: must be later than --from")
    question = CandlesRequest(symbol, interval, first_ms, before_ms, endpoint)
    with Part(output, question) as part:
        fetched = _run(part, question)
    if as_json:
        click.echo(json.dumps(_as_object(fetched, question, output)))
    else:
        click.echo(_summary(fetched, question, output))


def _run(part: Part, question: CandlesRequest) -> Fetched:
    resumed_from = part.rows
    try:
        with progress_bar(f"{question.symbol} {question.interval}") as tell:
            instrument = asyncio.run(_fetch(part, question, tell))
    except NotBars as error:
        raise BadInput(f"the exchange gave what is no bar: {_short(error)}; {_kept(part)}") from error
    except VenueUnavailable as error:
        raise BadInput(f"the exchange does not answer: {_short(error)}; {_kept(part)}") from error
    except UnknownSymbol as error:
        part.path.unlink()
        raise BadInput(f"the exchange lists no linear contract {question.symbol}") from error
    except KeyboardInterrupt:
        click.echo(_kept(part), err=True)
        raise
    times = list(part.times())
    if not times:
        part.path.unlink()
        raise BadInput(f"the exchange has no closed bars of {question.symbol} {question.interval} then")
    widened, interval = list(part.widened()), question.interval
    path_beside(part.final).unlink(missing_ok=True)
    part.finish()
    if instrument is not None:
        write_beside(part.final, Beside(question.symbol, interval, instrument))
    holes = find_gaps(times, INTERVAL_MS[interval])
    return Fetched(len(times), resumed_from, times[0], times[-1], holes, widened, instrument)


def _kept(part: Part) -> str:
    """What is told of it; where there is nothing in it, it goes."""
    if not part.rows:
        part.path.unlink()
        return "nothing was fetched"
    return f"{part.rows} bars are kept in {part.path}: the same command goes on from there"


async def _fetch(part: Part, question: CandlesRequest, tell: Tell) -> Instrument | None:
    """Page after page, until the last bar that is closed; then the instrument, if the exchange gives it."""
    api = MarketApi(question.endpoint)
    pages = _Pages(api, question)
    try:
        now_ms = to_ms(await _again(api.server_time, FIRST_WAITS_S))
        began = time.monotonic()
        interval_ms = INTERVAL_MS[question.interval]
        last_ms = now_ms - interval_ms
        if question.before_ms is not None:
            last_ms = min(last_ms, question.before_ms - 1)
        total = max(0, last_ms - question.from_ms) // interval_ms + 1
        position = question.from_ms if part.last_ms is None else part.last_ms + 1
        while position <= last_ms:
            tell((position - question.from_ms) // interval_ms, total)
            if position + pages.reach_ms > last_ms:
                await _until_settled(began, now_ms - last_ms - interval_ms)
            bars, position = await pages.get(position, last_ms)
            if bars:
                part.append(bars)
        return await _instrument(api, question.symbol)
    finally:
        api.close()


async def _instrument(api: MarketApi, symbol: str) -> Instrument | None:
    """Candles are worth having without it, so that it is not waited for."""
    try:
        contract = await _again(lambda: api.contract(symbol), WAITS_S[:1])
    except (VenueUnavailable, UnknownSymbol):
        return None
    return Instrument(contract.tick_size, contract.qty_step, contract.min_order_qty, contract.min_notional)


async def _until_settled(began: float, over_ms: int) -> None:
    """What ended so shortly before we began is read a little later."""
    await asyncio.sleep(max(0.0, began + SETTLED_AFTER_S - over_ms / 1_000 - time.monotonic()))


class _Pages:
    """As many bars as one request gives; what is empty is passed over in ever larger strides."""

    def __init__(self, api: MarketApi, question: CandlesRequest) -> None:
        self._api = api
        self._question = question
        self._page_ms = KLINE_LIMIT * INTERVAL_MS[question.interval]
        self._stride = 1  # pages
        self._found = False  # whether the last larger stride had something

    @property
    def reach_ms(self) -> int:
        """How far the next one goes."""
        return self._stride * self._page_ms

    async def get(self, position: int, last_ms: int) -> tuple[list[Kline], int]:
        """The bars from here to the end of a page, and where the next one begins."""
        end = min(position + self.reach_ms - 1, last_ms)
        bars = await _again(lambda: self._bars_between(position, end))
        if bars and self._stride > 1:
            self._stride, self._found = max(1, self._stride // 2), True
            return [], position
        if not bars and not self._found:
            self._stride *= 2
        elif not bars:
            self._stride = max(1, self._stride // 2)
        else:
            self._found = False
        return bars, end + 1

    async def _bars_between(self, first_ms: int, last_ms: int) -> list[Kline]:
        told = await self._api.klines(self._question.symbol, self._question.interval, start=first_ms, end=last_ms)
        return [bar for bar in told if first_ms <= to_ms(bar.open_time) <= last_ms]


async def _again(ask: Callable[[], Awaitable[T]], waits_s: Sequence[float] = WAITS_S) -> T:
    """Raises VenueUnavailable after the last try."""
    for wait_s in waits_s:
        try:
            return await ask()
        except NotBars:
            raise
        except VenueUnavailable as error:
            if wait_s >= TOLD_FROM_S:
                click.echo(f"the exchange does not answer: {_short(error)}; again in {wait_s:g} s", err=True)
            await asyncio.sleep(wait_s)
    return await ask()


def _short(error: VenueUnavailable) -> str:
    return one_line(str(error))[:LONGEST_FAULT]


def _as_object(fetched: Fetched, question: CandlesRequest, output: Path) -> dict[str, object]:
    return {
        "file": str(output),
        "symbol": question.symbol,
        "interval": question.interval,
        "bars": fetched.bars,
        "resumed_from": fetched.resumed_from,
        "first": _time(fetched.first_ms),
        "last": _time(fetched.last_ms),
        "holes": [asdict(hole) for hole in fetched.holes],
        "widened": list(fetched.widened),
        "instrument": None if fetched.instrument is None else str(path_beside(output)),
    }


def _summary(fetched: Fetched, question: CandlesRequest, output: Path) -> str:
    missing = sum(hole.missing for hole in fetched.holes)
    lines = [
        f"{output}: {fetched.bars} bars of {question.symbol} {question.interval}, "
        f"from {_time(fetched.first_ms)} to {_time(fetched.last_ms)}",
        f"{len(fetched.holes)} holes, {missing} bars missing" if fetched.holes else "no holes",
    ]
    lines += [
        f"  {hole.missing} after {_time(hole.after_ms)}, before {_time(hole.before_ms)}"
        for hole in fetched.holes[:HOLES_SHOWN]
    ]
    if len(fetched.holes) > HOLES_SHOWN:
        lines.append(f"  and {len(fetched.holes) - HOLES_SHOWN} more (--json lists all)")
    if fetched.widened:
        shown = ", ".join(map(_time, fetched.widened[:HOLES_SHOWN]))
        lines.append(f"{len(fetched.widened)} widened, their high or low did not enclose open and close: {shown}")
    if fetched.instrument is None:
        lines.append("the exchange did not give the instrument: `backtest` takes the tick from the candles")
    else:
        lines.append(f"the instrument is in {path_beside(output)}")
    return "\n".join(lines)


def _time(milliseconds: int) -> str:
    return instant_text(from_ms(milliseconds)).replace(".000Z", "Z")
