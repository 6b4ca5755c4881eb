"""The conditions of a live session's start: a usable account, a stop, and a symbol that nothing else trades."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from services.trading.custody.operations import require_usable
from services.trading.custody.queries import AccountRow
from services.trading.errors import ForeignPosition, KillSwitchOn, LiveTradingOff, SymbolInUse
from services.trading.exchange.symbol_state import Contract, SymbolState
from services.trading.exchange.venue import VenueOrder, VenuePosition
from services.trading.orders.book import SETTLE_COIN
from services.trading.queries import kill_switches, sessions
from shared.chassis.errors import InvalidInput, NotFound
from shared.chassis.postgres import Connection
from shared.contracts.types import decimal_text
from shared.strategy.document.parse import Strategy

CONTRACT_TYPE = "LinearPerpetual"
TRADED = "Trading"
SYMBOL_TYPES = ("", "innovation")


@dataclass(frozen=True)
class LiveStart:
    """A start on an exchange account, with what the exchange has answered about the symbol. `allows_live`: accounts
    of environment LIVE may be used."""

    account_id: UUID
    state: SymbolState
    allows_live: bool = False


async def find_usable_account(
    connection: Connection, user_id: int, account_id: UUID | None, *, allows_live: bool
) -> AccountRow:
    """Return the account, locked against its deletion. Raises LiveTradingOff, InvalidInput, RiskNoticeNotAccepted,
    ExchangeAccountNotUsable."""
    if account_id is None and not allows_live:
        raise LiveTradingOff("without an exchange account, this platform only runs paper sessions")
    if account_id is None:
        raise _fault("exchange_account_id", "a LIVE session needs one")
    try:
        return await require_usable(connection, user_id, account_id, allows_live=allows_live)
    except NotFound as error:
        raise _fault("exchange_account_id", "there is no such exchange account") from error


async def claim_symbol(
    connection: Connection, account: AccountRow, symbol: str, session_id: UUID, start: LiveStart
) -> None:
    """Claim the symbol of the account for the session. Raises SymbolInUse, ForeignPosition."""
    environment, uid = account.environment, account.exchange_uid
    if not await sessions.claim_symbol(connection, environment, uid, symbol, session_id):
        raise SymbolInUse(f"another live session trades {symbol} on this exchange account")
    found = foreign_to(start.state)
    if found:
        raise ForeignPosition(
            f"{symbol} has a position or orders on this account: {', '.join(found)}; close them first",
            found=found,
        )


async def check_kill_switches(connection: Connection, user_id: int, symbol: str) -> None:
    """Raises KillSwitchOn."""
    if (scope := await kill_switches.find_scope(connection, user_id, symbol)) is not None:
        raise KillSwitchOn(f"the kill switch of {scope} is on", scope=scope)


def check_strategy(strategy: Strategy, max_leverage: Decimal) -> None:
    """Check that the strategy protects each position, with a leverage that the account may set. Raises
    InvalidInput."""
    risk = strategy.risk
    if not risk.has_stop:
        raise _fault("strategy_id", "a LIVE session needs a stop_loss, or a trailing_stop without activation")
    if risk.leverage > max_leverage:
        highest = decimal_text(max_leverage)
        raise _fault("strategy_id", f"its leverage is {decimal_text(risk.leverage)}; the exchange allows {highest}")


def check_contract(contract: Contract) -> None:
    """Raises InvalidInput for a contract that live sessions do not trade."""
    kind, settle_coin = contract.contract_type, contract.settle_coin
    if (kind, settle_coin) != (CONTRACT_TYPE, SETTLE_COIN):
        only = f"a LIVE session trades only {CONTRACT_TYPE} settled in {SETTLE_COIN}"
        raise _fault("symbol", f"it is a {kind} settled in {settle_coin}; {only}")
    if (kind := contract.symbol_type) not in SYMBOL_TYPES:
        raise _fault("symbol", f"it is a contract of a {kind}; a LIVE session trades only crypto coins")
    if (status := contract.status) != TRADED:
        raise _fault("symbol", f"its status at the exchange is {status}; to be traded it must be {TRADED}")


def foreign_to(state: SymbolState) -> list[str]:
    """Describe the position and the orders of a symbol: none of them can be the new session's."""
    position = [_described(state.position)] if state.position.quantity else []
    return position + [_described_order(order) for order in state.orders]


def _described(position: VenuePosition) -> str:
    return f"position {position.side} {decimal_text(position.quantity)}"


def _described_order(order: VenueOrder) -> str:
    return f"order {order.order_id} ({order.side} {decimal_text(order.quantity)})"


def _fault(field: str, reason: str) -> InvalidInput:
    return InvalidInput(errors=[{"path": f"$.{field}", "reason": reason}])
