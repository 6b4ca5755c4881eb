"""Wires the trading service together."""

from services.trading.backtests.retention import retention
from services.trading.backtests.worker import BacktestWorker
from services.trading.bybit_api import MarketApi
from services.trading.connected_accounts import ConnectedAccounts
from services.trading.consumers import EVENT_HANDLERS
from services.trading.custody.account_reader import AccountReader
from services.trading.custody.custody import Custody
from services.trading.custody.key_ring import FileKeyRing
from services.trading.custody.probe import AccountProbe
from services.trading.exchange.environments import Environments
from services.trading.exchange.exchange import Exchange
from services.trading.exchange.stored_budgets import StoredBudgets
from services.trading.exchange.symbol_state import SymbolReader
from services.trading.feed.feed import feed_job
from services.trading.listed_series import Listing
from services.trading.operations.start_session import PaperTerms
from services.trading.routes.account_risk import AccountRiskRoutes
from services.trading.routes.backtests import BacktestRoutes
from services.trading.routes.candles import CandleRoutes
from services.trading.routes.configurations import ConfigurationRoutes
from services.trading.routes.exchange_accounts import ExchangeAccountRoutes
from services.trading.routes.kill_switches import KillSwitchRoutes
from services.trading.routes.published_strategies import PublishingRoutes
from services.trading.routes.session_drift import SessionDriftRoutes
from services.trading.routes.session_parts import SessionPartRoutes
from services.trading.routes.sessions import LiveTrading, SessionRoutes
from services.trading.routes.strategies import StrategyRoutes
from services.trading.routes.trades import TradeRoutes
from services.trading.settings import TradingSettings
from services.trading.venue_clock import VenueClock
from services.trading.worker.exchange_sessions import ExchangeSessions
from services.trading.worker.worker import Worker
from shared.chassis.jobs import Job
from shared.chassis.service_types import Context, Service
from shared.market.demand import publish_demand


def build(
    context: Context, account_reader: AccountReader | None = None, symbol_reader: SymbolReader | None = None
) -> Service:
    """Tests pass readers of their own in place of the exchange's."""
    settings = context.settings
    assert isinstance(settings, TradingSettings), "trading has settings of its own"
    database = context.database
    api = MarketApi(settings.bybit_rest_url)
    clock = VenueClock(api)
    listing = Listing(database, api)
    paper = PaperTerms(settings.paper_fee, settings.paper_slippage)
    ring = FileKeyRing(settings.exchange_keys_file, settings.exchange_keys.get_secret_value())
    allows_live = settings.tradefleet_live == "on"
    environments = Environments(allows_live, settings.bybit_rest_url, settings.bybit_ws_url)
    exchange = Exchange(StoredBudgets(database), environments, settings.exchange_egress, settings.exchange_requests)
    custody = Custody(ring, account_reader or exchange, allows_live=allows_live)
    accounts = ConnectedAccounts(database, custody, exchange, api)
    live = LiveTrading(symbol_reader or accounts, allows_live)
    worker = Worker(
        database, settings, clock, open_exchange=lambda: ExchangeSessions(database, accounts, exchange, clock)
    )
    check_every_s = settings.exchange_check_every_s

    async def close() -> None:
        await exchange.close()
        api.close()

    return Service(
        name="trading",
        endpoints=[
            *StrategyRoutes(database).endpoints(),
            *PublishingRoutes(database).endpoints(),
            *ConfigurationRoutes(database).endpoints(),
            *SessionRoutes(database, listing, clock, paper, worker.wake, live).endpoints(),
            *SessionPartRoutes(database).endpoints(),
            *SessionDriftRoutes(database).endpoints(),
            *TradeRoutes(database).endpoints(),
            *KillSwitchRoutes(database, clock).endpoints(),
            *AccountRiskRoutes(database, clock).endpoints(),
            *BacktestRoutes(database, listing, paper, settings.backtest_most_bars).endpoints(),
            *CandleRoutes(database, listing).endpoints(),
            *ExchangeAccountRoutes(database, custody, check_every_s).endpoints(),
        ],
        handlers=EVENT_HANDLERS,
        jobs=[
            publish_demand(database, "trading"),
            Job("worker", worker.run, role="worker"),
            Job("venue-clock", clock.follow, role="worker"),
            feed_job(context, settings),
            Job("backtests", BacktestWorker(database, settings.backtest_processes).run, role="backtests"),
            retention(database, settings.backtest_keep_days),
            AccountProbe(database, custody, check_every_s).job(),
        ],
        on_close=[close],
    )
