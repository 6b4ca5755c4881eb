"""`tradefleet candles fetch`: write a candle file for `backtest` from the exchange's public REST API."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import click

from cli.candles.instrument import InstrumentFile, instrument_path, write_instrument_file
from cli.candles.part import CandlesRequest, PartialFile
from cli.options import BadOption, OneLineCommand, one_line, quoted, time_option
from cli.progress import OnProgress, progress_bar
from services.trading.bybit_api import KLINE_LIMIT, MarketApi, NotBars, UnknownSymbol
from services.trading.exchange.venue import VenueUnavailable
from shared.contracts.types import SYMBOL_PATTERN, from_ms, instant_text, to_ms
from shared.market.bars import Gap, find_gaps
from shared.strategy.bars import INTERVAL_MS, Bar, Instrument
from stack.failure import BadInput

SETTLED_AFTER_S = 2.0  # a bar no longer changes this long after its end
WAITS_S = (0.5, 1, 2, 4, 8, 15, 30, 30, 30, 60, 60, 60)  # between attempts of one request
FIRST_WAITS_S = WAITS_S[:5]  # of the first request: if nothing has answered yet, there may be no network
MIN_REPORTED_WAIT_S = 2
MAX_GAPS_SHOWN = 10
MAX_ERROR_LENGTH = 160
_SYMBOL = re.compile(SYMBOL_PATTERN)

T = TypeVar("T")


@dataclass(frozen=True)
class Fetched:
    """Content of the finished file; `resumed_from` is the number of bars fetched by an earlier run."""

    bars: int
    resumed_from: int
    first_ms: int
    last_ms: int
    gaps: Sequence[Gap]
    widened: Sequence[int]  # open times of bars whose high or low did not enclose open and close
    instrument: Instrument | None  # None if the exchange did not return it


@click.command("fetch", cls=OneLineCommand)
@click.argument("symbol")
@click.option("--interval", required=True, type=click.Choice([*INTERVAL_MS]), help="Interval as named by Bybit.")
@click.option("--from", "first", required=True, metavar="TIME", help="ISO or ms: bars that open at or after it.")
@click.option("--to", "before", metavar="TIME", help="ISO or ms: bars that open before it; default: now.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.csv[.gz]")
@click.option("--endpoint", default="", metavar="URL", help="Address of the API; default: the exchange's.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the summary.")
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
    """Fetch closed candles of a linear contract into a file for `backtest`.

    An interrupted run leaves FILE.part, and the same command resumes from it; FILE is written when complete. The
    exchange's instrument is stored in FILE.instrument.json, where `backtest` and `demo` find it.
    """
    for file in (output, instrument_path(output)):
        if file.exists() and not force:
            raise BadOption(f"-o: {file} already exists: use --force to replace it")
    if not _SYMBOL.fullmatch(symbol):
        raise BadOption(f"{quoted(symbol)} is not a symbol: use capital letters and digits, such as BTCUSDT")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise BadOption(f"--endpoint: {quoted(endpoint)} is not an HTTP URL")
    first_ms = time_option("--from", first)
    before_ms = None if before is None else time_option("--to", before)
    if before_ms is not None and before_ms <= first_ms:
        raise BadOption("--to: must be later than --from")
    request = CandlesRequest(symbol, interval, first_ms, before_ms, endpoint)
    with PartialFile(output, request) as part:
        fetched = _run(part, request)
    if as_json:
        click.echo(json.dumps(_as_object(fetched, request, output)))
    else:
        click.echo(_summary(fetched, request, output))


def _run(part: PartialFile, request: CandlesRequest) -> Fetched:
    resumed_from = part.rows
    try:
        with progress_bar(f"{request.symbol} {request.interval}") as on_progress:
            instrument = asyncio.run(_fetch(part, request, on_progress))
    except NotBars as error:
        raise BadInput(f"the exchange returned an invalid bar: {_short(error)}; {_close_partial(part)}") from error
    except VenueUnavailable as error:
        raise BadInput(f"the exchange does not answer: {_short(error)}; {_close_partial(part)}") from error
    except UnknownSymbol as error:
        part.path.unlink()
        raise BadInput(f"the exchange lists no linear contract {request.symbol}") from error
    except KeyboardInterrupt:
        click.echo(_close_partial(part), err=True)
        raise
    times = list(part.times())
    if not times:
        part.path.unlink()
        raise BadInput(f"the exchange has no closed bars of {request.symbol} {request.interval} in this period")
    widened, interval = list(part.widened()), request.interval
    instrument_path(part.final).unlink(missing_ok=True)
    part.finish()
    if instrument is not None:
        write_instrument_file(part.final, InstrumentFile(request.symbol, interval, instrument))
    gaps = find_gaps(times, INTERVAL_MS[interval])
    return Fetched(len(times), resumed_from, times[0], times[-1], gaps, widened, instrument)


def _close_partial(part: PartialFile) -> str:
    """Delete the partial file if it is empty; returns the message for the user."""
    if not part.rows:
        part.path.unlink()
        return "nothing was fetched"
    return f"{part.rows} bars are kept in {part.path}: run the same command to resume"


async def _fetch(part: PartialFile, request: CandlesRequest, on_progress: OnProgress) -> Instrument | None:
    """Append pages up to the last closed bar; returns the instrument if the exchange provides it."""
    api = MarketApi(request.endpoint)
    pages = _Pages(api, request)
    try:
        now_ms = to_ms(await _retry(api.server_time, FIRST_WAITS_S))
        began = time.monotonic()
        interval_ms = INTERVAL_MS[request.interval]
        last_ms = now_ms - interval_ms
        if request.before_ms is not None:
            last_ms = min(last_ms, request.before_ms - 1)
        total = max(0, last_ms - request.from_ms) // interval_ms + 1
        position = request.from_ms if part.last_ms is None else part.last_ms + 1
        while position <= last_ms:
            on_progress((position - request.from_ms) // interval_ms, total)
            if position + pages.reach_ms > last_ms:
                await _until_settled(began, now_ms - last_ms - interval_ms)
            bars, position = await pages.get(position, last_ms)
            if bars:
                part.append(bars)
        return await _instrument(api, request.symbol)
    finally:
        api.close()


async def _instrument(api: MarketApi, symbol: str) -> Instrument | None:
    """Fetch the instrument with one retry only, as the candles are usable without it; None on failure."""
    try:
        return await _retry(lambda: api.instrument(symbol), WAITS_S[:1])
    except (VenueUnavailable, UnknownSymbol):
        return None


async def _until_settled(began: float, ended_ms_ago: int) -> None:
    """Wait until a bar that ended shortly before the start no longer changes."""
    await asyncio.sleep(max(0.0, began + SETTLED_AFTER_S - ended_ms_ago / 1_000 - time.monotonic()))


class _Pages:
    """Fetches one request's worth of bars at a time; skips empty periods in growing strides."""

    def __init__(self, api: MarketApi, request: CandlesRequest) -> None:
        self._api = api
        self._request = request
        self._page_ms = KLINE_LIMIT * INTERVAL_MS[request.interval]
        self._stride = 1  # pages
        self._found = False  # whether the last larger stride had bars

    @property
    def reach_ms(self) -> int:
        """Length of the next request's period."""
        return self._stride * self._page_ms

    async def get(self, position: int, last_ms: int) -> tuple[list[Bar], int]:
        """Return the bars from `position` to the end of a page, and the start of the next page."""
        end = min(position + self.reach_ms - 1, last_ms)
        bars = await _retry(lambda: self._bars_between(position, end))
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

    async def _bars_between(self, first_ms: int, last_ms: int) -> list[Bar]:
        bars = await self._api.bars(self._request.symbol, self._request.interval, start=first_ms, end=last_ms)
        return [bar for bar in bars if first_ms <= bar.open_time_ms <= last_ms]


async def _retry(request: Callable[[], Awaitable[T]], waits_s: Sequence[float] = WAITS_S) -> T:
    """Call `request` until the exchange answers. Raises VenueUnavailable after the last attempt."""
    for wait_s in waits_s:
        try:
            return await request()
        except NotBars:
            raise
        except VenueUnavailable as error:
            if wait_s >= MIN_REPORTED_WAIT_S:
                click.echo(f"the exchange does not answer: {_short(error)}; retry in {wait_s:g} s", err=True)
            await asyncio.sleep(wait_s)
    return await request()


def _short(error: VenueUnavailable) -> str:
    return one_line(str(error))[:MAX_ERROR_LENGTH]


def _as_object(fetched: Fetched, request: CandlesRequest, output: Path) -> dict[str, object]:
    return {
        "file": str(output),
        "symbol": request.symbol,
        "interval": request.interval,
        "bars": fetched.bars,
        "resumed_from": fetched.resumed_from,
        "first": _time(fetched.first_ms),
        "last": _time(fetched.last_ms),
        "holes": [asdict(gap) for gap in fetched.gaps],
        "widened": list(fetched.widened),
        "instrument": None if fetched.instrument is None else str(instrument_path(output)),
    }


def _summary(fetched: Fetched, request: CandlesRequest, output: Path) -> str:
    missing = sum(gap.missing for gap in fetched.gaps)
    lines = [
        f"{output}: {fetched.bars} bars of {request.symbol} {request.interval}, "
        f"from {_time(fetched.first_ms)} to {_time(fetched.last_ms)}",
        f"{len(fetched.gaps)} gaps, {missing} bars missing" if fetched.gaps else "no gaps",
    ]
    lines += [
        f"  {gap.missing} after {_time(gap.after_ms)}, before {_time(gap.before_ms)}"
        for gap in fetched.gaps[:MAX_GAPS_SHOWN]
    ]
    if len(fetched.gaps) > MAX_GAPS_SHOWN:
        lines.append(f"  and {len(fetched.gaps) - MAX_GAPS_SHOWN} more (--json lists all)")
    if fetched.widened:
        shown = ", ".join(map(_time, fetched.widened[:MAX_GAPS_SHOWN]))
        lines.append(f"{len(fetched.widened)} widened because high or low did not enclose open and close: {shown}")
    if fetched.instrument is None:
        lines.append("the exchange did not return the instrument: `backtest` will derive the tick from the candles")
    else:
        lines.append(f"the instrument is in {instrument_path(output)}")
    return "\n".join(lines)


def _time(milliseconds: int) -> str:
    return instant_text(from_ms(milliseconds)).replace(".000Z", "Z")
