"""The sandbox as one aiohttp application: Bybit's API, and our own control API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from sandbox.bybit.accounts import Accounts
from sandbox.bybit.clock import Clock
from sandbox.bybit.control.accounts import AccountControl
from sandbox.bybit.control.faults import FaultControl
from sandbox.bybit.control.replay import ReplayControl
from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.faults import Faults
from sandbox.bybit.gateway import Gateway, Routes
from sandbox.bybit.instruments import Instrument
from sandbox.bybit.keys import KeyRegistry
from sandbox.bybit.ledger import Ledger
from sandbox.bybit.limits import RateLimits
from sandbox.bybit.playback import Playback
from sandbox.bybit.private_stream import PrivateStream
from sandbox.bybit.replay import Market
from sandbox.bybit.routes.account import AccountRoutes
from sandbox.bybit.routes.market import MarketRoutes
from sandbox.bybit.routes.orders import OrderRoutes
from sandbox.bybit.routes.positions import PositionRoutes
from sandbox.bybit.signing import Authentication
from sandbox.bybit.stream import PublicStream


@dataclass(frozen=True)
class Options:
    """`bar_ms`: the duration of a step once started; None: the replay moves only by `/control/step` and `jump`.
    `limits_factor` multiplies the rate limits. `ledger`: a file that all entries are appended to. `accounts`: what
    `POST /control/accounts` takes, for those that exist from the start."""

    bar_ms: int | None = None
    limits_factor: int = 1
    ledger: Path | None = None
    accounts: Sequence[Mapping[str, object]] = ()


def make_app(
    market: Market, instruments: Mapping[str, Instrument], options: Options | None = None
) -> web.Application:
    """Raises OSError if the ledger cannot be written, ValueError for accounts and filters that are not valid."""
    chosen = options or Options()
    known = {symbol: instruments.get(symbol, Instrument()) for symbol in market.series}
    exchange = Exchange({symbol: instrument.filters(symbol) for symbol, instrument in known.items()})
    clock, keys, faults = Clock(market), KeyRegistry(), Faults()
    limits, ledger = RateLimits(chosen.limits_factor), Ledger(chosen.ledger)
    authentication = Authentication(keys, clock)

    def admits(address: str) -> bool:
        return not limits.is_banned(address, clock.wall_ms)

    public = PublicStream(market, known, admits)
    private = PrivateStream(clock, authentication, admits)
    accounts = Accounts(exchange, clock, ledger, private.push)
    playback = Playback(market, exchange, is_paced=chosen.bar_ms is not None)
    routes = _routes(MarketRoutes(market, known, exchange), accounts, clock)
    gateway = Gateway(routes, accounts, keys, clock, ledger, faults, limits, authentication)
    replay = ReplayControl(market, playback, accounts, public, private, chosen.bar_ms)

    async def stop(_: web.Application) -> None:
        replay.stop()
        gateway.stop()
        accounts.close()
        await public.close()
        await private.close()

    async def clean_up(_: web.Application) -> None:
        ledger.close()

    app = web.Application()
    app.on_shutdown.append(stop)
    app.on_cleanup.append(clean_up)
    replay.add_to(app)
    account_control = AccountControl(accounts, keys, clock, private)
    for each in chosen.accounts:
        account_control.open(each)
    account_control.add_to(app)
    FaultControl(faults, clock, limits, ledger, public, private).add_to(app)
    app.router.add_get("/v5/public/linear", public.handle)
    app.router.add_get("/v5/private", private.handle)
    app.router.add_route("*", "/v5/{route:.*}", gateway.handle)
    return app


def _routes(market: MarketRoutes, accounts: Accounts, clock: Clock) -> Routes:
    return {
        **market.routes(),
        **OrderRoutes(accounts).routes(),
        **PositionRoutes(accounts).routes(),
        **AccountRoutes(accounts, clock, market).routes(),
    }
