"""Start a session, within the limits of the plan."""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.bybit_api import VENUE
from services.trading.domain import RunningSession, exceeded_limit, history_needed
from services.trading.errors import LiveTradingOff, StrategyInactive
from services.trading.operations.block_entries import block_entries
from services.trading.operations.execution_settings import limits_of, strategy_of
from services.trading.operations.start_live_session import (
    LiveStart,
    check_contract,
    check_kill_switches,
    check_strategy,
    claim_symbol,
    find_usable_account,
)
from services.trading.queries import account_risk, configurations, entitlements, sessions, strategies
from services.trading.queries.configurations import ConfigurationRow
from services.trading.queries.sessions import NewSession, SessionRow
from shared.chassis.auth import Principal
from shared.chassis.errors import AccountNotReady, InvalidInput, PlanLimitReached
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.trading import SessionStarted
from shared.contracts.types import new_id
from shared.market.demand import insert_demand
from shared.strategy.bars import Instrument
from shared.strategy.decimals import ZERO
from shared.strategy.document.parse import Strategy


@dataclass(frozen=True)
class StartRequest:
    strategy_id: UUID
    version: int | None
    bot_configuration_id: UUID | None
    symbol: str
    mode: str
    initial_balance: Decimal
    notes: str | None = None
    exchange_account_id: UUID | None = None
    slippage_tolerance_ticks: int | None = None
    slippage_tolerance_percentage: Decimal | None = None


@dataclass(frozen=True)
class PaperTerms:
    """The costs of paper trading, as fractions; the fee also sizes the reserve of live entries."""

    fee: Decimal
    slippage: Decimal


async def find_interval(connection: Connection, user_id: int, request: StartRequest) -> str | None:
    """Return the interval of the strategy's version; None if there is no such strategy or version."""
    strategy = await strategies.find_strategy(connection, user_id, request.strategy_id)
    if strategy is None:
        return None
    number = request.version or strategy.version
    version = await strategies.find_version(connection, user_id, request.strategy_id, number)
    return strategy_of(version.document).interval if version else None


async def start_session(
    connection: Connection,
    caller: Principal,
    request: StartRequest,
    paper: PaperTerms,
    venue_now: datetime,
    instrument: Instrument | None = None,
    live: LiveStart | None = None,
) -> SessionRow:
    """Start a session. `instrument` is the exchange's current one; None: the session's worker takes the stored one.
    `live`: what the exchange has answered about the symbol of a live session.

    Limits are checked in the same transaction, with the tenant's plan locked: when starts race for one free place,
    one wins. Raises AccountNotReady, InvalidInput, StrategyInactive, PlanLimitReached, KillSwitchOn; for a live
    session LiveTradingOff, SymbolInUse and ForeignPosition too.
    """
    if request.mode == "LIVE" and live is None:
        raise LiveTradingOff("without an exchange account, this platform only runs paper sessions")
    limits = await entitlements.find_plan_limits(connection, caller.user_id, lock=True)
    if limits is None:
        raise AccountNotReady
    strategy = await strategies.find_strategy(connection, caller.user_id, request.strategy_id, lock="SHARE")
    if strategy is None:
        raise _missing("strategy_id", "strategy")
    if not strategy.is_active:
        raise StrategyInactive
    version = await strategies.find_version(
        connection, caller.user_id, request.strategy_id, request.version or strategy.version
    )
    if version is None:
        raise _missing("version", "version of the strategy")
    configuration = await _configuration_of(connection, caller.user_id, request.bot_configuration_id)
    running = await sessions.list_running(connection, caller.user_id)
    requested = RunningSession(new_id(), request.strategy_id, request.symbol)
    if (exceeded := exceeded_limit(limits, running, requested)) is not None:
        what = exceeded.name.removeprefix("max_").replace("_", " ")
        raise PlanLimitReached(
            f"the plan {limits.plan} allows {exceeded.limit} {what}, {exceeded.used} in use",
            limit_name=exceeded.name,
            allowed=exceeded.limit,
            used=exceeded.used,
            plan=limits.plan,
        )
    document = strategy_of(version.document)
    await check_kill_switches(connection, caller.user_id, request.symbol)
    if live is not None:
        await _claim(connection, caller.user_id, requested, document, live)
    await sessions.insert_locator(connection, caller.user_id, requested.session_id)
    created = await _insert(
        connection, caller, request, paper, venue_now, requested, version, document, configuration, instrument, live
    )
    if live is not None:
        await _apply_breach(connection, created, live)
    return created


async def _claim(
    connection: Connection, user_id: int, requested: RunningSession, document: Strategy, live: LiveStart
) -> None:
    """Raises InvalidInput, SymbolInUse, ForeignPosition."""
    account = await find_usable_account(connection, user_id, live.account_id, allows_live=live.allows_live)
    check_contract(live.state.contract)
    check_strategy(document, live.state.contract.max_leverage)
    await claim_symbol(connection, account, requested.symbol, requested.session_id, live)


async def _apply_breach(connection: Connection, session: SessionRow, live: LiveStart) -> None:
    """Start without entries if a limit of the account is breached."""
    risk = await account_risk.find_risk(connection, session.user_id, live.account_id)
    if risk is not None and risk.breached_at is not None:
        await block_entries(connection, session.user_id, [session.session_id], "ACCOUNT_RISK")


def _missing(field: str, what: str) -> InvalidInput:
    return InvalidInput(errors=[{"path": f"$.{field}", "reason": f"there is no such {what}"}])


async def _configuration_of(
    connection: Connection, user_id: int, requested: UUID | None
) -> ConfigurationRow | None:
    """Return the requested configuration, else the default one, else None; counts its use. Raises InvalidInput."""
    if requested is None:
        found = await configurations.find_default_configuration(connection, user_id)
    else:
        found = await configurations.find_configuration(connection, user_id, requested)
        if found is None or not found.is_active:
            raise _missing("bot_configuration_id", "active bot configuration")
    if found is not None:
        await configurations.count_use(connection, user_id, found.bot_configuration_id)
    return found


async def _insert(
    connection: Connection,
    caller: Principal,
    request: StartRequest,
    paper: PaperTerms,
    venue_now: datetime,
    requested: RunningSession,
    version: strategies.VersionRow,
    document: Strategy,
    configuration: ConfigurationRow | None,
    instrument: Instrument | None,
    live: LiveStart | None,
) -> SessionRow:
    new = NewSession(
        user_id=caller.user_id,
        session_id=requested.session_id,
        public_id=caller.public_id,
        strategy_id=requested.strategy_id,
        strategy_version=version.version,
        strategy_hash=version.content_hash,
        bot_configuration_id=configuration.bot_configuration_id if configuration else None,
        **asdict(limits_of(configuration)),
        venue=VENUE,
        symbol=request.symbol,
        interval=document.interval,
        strategy_config=version.document,
        is_paper_trading=request.exchange_account_id is None,
        exchange_account_id=request.exchange_account_id,
        start_time=venue_now,
        notes=request.notes,
        initial_balance=request.initial_balance,
        highest_equity=request.initial_balance,
        fee_rate=paper.fee,
        slippage=paper.slippage if request.exchange_account_id is None else ZERO,
        event_seq=1,
        slippage_tolerance_ticks=request.slippage_tolerance_ticks,
        slippage_tolerance_percentage=request.slippage_tolerance_percentage,
        max_order_quantity=live.state.contract.max_order_quantity if live is not None else None,
        **(asdict(instrument) if instrument is not None else {}),
    )
    created = await sessions.insert_session(connection, new)
    await sessions.insert_lease(connection, new.user_id, new.session_id)
    series = (new.symbol, document.interval, history_needed(document.longest_lookback))
    await insert_demand(connection, new.user_id, new.session_id, *series)
    await emit(
        connection,
        SessionStarted(
            user_id=new.user_id,
            public_id=new.public_id,
            aggregate=f"session:{new.session_id}",
            aggregate_seq=1,
            session_id=new.session_id,
            symbol=new.symbol,
            interval=document.interval,
            mode="PAPER" if new.is_paper_trading else "LIVE",
            initial_balance=new.initial_balance,
            strategy_id=new.strategy_id,
            strategy_name=document.name,
            strategy_hash=new.strategy_hash,
            started_at=new.start_time,
        ),
    )
    return created
